"""What a data folder holds for one task: counts, labels, lengths, duplicates, and overlap with the training rows.

Reads the available files and judges nothing; a damaged split is reported and the others are still examined.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from viaduct.errors import DataError, NoRowsError
from viaduct.languages import ENGLISH
from viaduct.rows import Row
from viaduct.runs.rows import text_key
from viaduct.tasks.card import Dataset, Task, splits_of
from viaduct.tasks.folder import DataFolder
from viaduct.tasks.kind import Inspection


@dataclass(frozen=True, slots=True)
class Holding:
    """What one split of one language holds."""

    split: str
    language: str
    layout: str
    rows: int
    rows_published: int | None
    labels: Mapping[str, float]
    """Label (or tag) -> share of the labelled rows (or tokens), most frequent first; {} if there are none."""
    pairs: int | None
    """Gold pairs; None for cards without a published number."""
    pairs_published: int | None
    unlabelled: int
    """Rows without gold: all rows of a test file whose labels were stripped; 0 for plain text, which has no gold."""
    median_characters: int
    longest_characters: int
    duplicates: int
    """Rows whose texts already occur in an earlier row of the same side, ignoring labels."""
    overlap: int | None
    """Rows that also occur in the training rows, as compared by `rows.text_key`; None for the training rows themselves,
    and if there are none."""
    trained_on: str | None
    """Which training rows those are, in words; None if there are none."""
    inspection: Inspection | None
    """Counts of kinds that count something other than labels, such as images; None for other kinds."""


@dataclass(frozen=True, slots=True)
class Survey:
    """All available splits of one task."""

    task: str
    holdings: tuple[Holding, ...]
    absent: Mapping[str, tuple[str, ...]]
    """Split -> languages without files."""
    damaged: tuple[str, ...]
    """What could not be read, in words."""
    looked_for: str | None
    """Where the files were looked for, in words, when none are there."""
    example: Row | None
    """The first row of the first available split."""
    left_out: tuple[str, ...]
    """Rows in the available files that are in none of the card's languages, in words."""


def survey(card: Task, data: DataFolder) -> Survey:
    """What this folder holds for the card's splits."""
    training = _Training(card, data)
    holdings: list[Holding] = []
    absent: dict[str, list[str]] = {}
    damaged: list[str] = []
    left_out: dict[str, None] = {}
    looked_for = ""
    example: Row | None = None
    for split in splits_of(card):
        for language in card.languages:
            try:
                located = data.locate(card.name, split, language)
            except DataError as error:
                looked_for = looked_for or str(error)
                absent.setdefault(split, []).append(language)
                continue
            try:
                found = data.read(card.name, split, language)
                holdings.append(_holding(card, found, training))
                example = example or found.rows[0]
                if located.source.left_out is not None and (others := located.source.left_out(located.files)):
                    words = ", ".join(f"{word} {count:,}" for word, count in sorted(others.items()))
                    left_out[f"{split}: {sum(others.values()):,} rows in languages not requested: {words}"] = None
            except NoRowsError:  # a file shared by several languages, without rows in this one
                absent.setdefault(split, []).append(language)
            except DataError as error:
                damaged.append(str(error))
    return Survey(
        card.name,
        tuple(holdings),
        {split: tuple(languages) for split, languages in absent.items()},
        tuple(damaged),
        None if holdings or damaged else looked_for,
        example,
        tuple(left_out),
    )


class _Training:
    """The texts, or ids of images, of the rows that the task is trained on, read once per language."""

    def __init__(self, card: Task, data: DataFolder) -> None:
        self.card = data.task(card.trained_on) if card.trained_on else card
        self.data = data
        self.known: dict[str, frozenset[int]] = {}

    def texts(self, language: str) -> tuple[str, frozenset[int]]:
        """(which rows, keys of their texts): the language's own training rows if there are any, else the English ones.

        If rows are the same in all languages, as images are: the training rows of all languages.
        """
        if self.card.row_kind.same_in_all_languages:
            ids = frozenset[int]().union(*(self._of(code) for code in self.card.languages))
            return (f"{self.card.name} train", ids) if ids else ("", ids)
        for code in dict.fromkeys((language, ENGLISH)):
            if found := self._of(code):
                return f"{self.card.name} train {code}", found
        return "", frozenset()

    def _of(self, code: str) -> frozenset[int]:
        if code not in self.known:
            try:
                rows = self.data.read(self.card.name, "train", code).rows if code in self.card.languages else ()
            except DataError:
                rows = ()
            self.known[code] = frozenset(map(text_key, rows))
        return self.known[code]


def _holding(card: Task, found: Dataset, training: _Training) -> Holding:
    lengths = [length for row in found.rows for length in row.lengths]
    texts = Counter((getattr(row, "side", ""), row.texts) for row in found.rows)
    kind, pairs = card.row_kind, card.pairs.get((found.language, found.split))
    own = found.split == "train" and training.card.name == found.task
    where, known = ("", frozenset[int]()) if own else training.texts(found.language)
    trained = {row.id for row in found.rows if text_key(row) in known} if known else set[str]()
    return Holding(
        split=found.split,
        language=found.language,
        layout=found.layout,
        rows=len(found.rows),
        rows_published=found.expected,
        labels=_shares(found.rows),
        pairs=None if pairs is None else sum(len(row.links) for row in found.rows) // 2,  # both sides name the other
        pairs_published=pairs,
        unlabelled=sum(not row.is_labelled for row in found.rows) if kind.has_gold else 0,
        median_characters=round(statistics.median(lengths)),
        longest_characters=max(lengths),
        duplicates=len(found.rows) - len(texts),
        overlap=len(trained) if known else None,
        trained_on=where or None,
        inspection=None if kind.inspect is None else kind.inspect(found.rows, trained),
    )


def _shares(rows: Iterable[Row]) -> dict[str, float]:
    count = Counter(label for row in rows for label in row.label_words)
    return {label: number / count.total() for label, number in count.most_common()}
