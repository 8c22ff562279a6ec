"""What a data folder holds of one task: counts, labels, lengths, duplicates, and overlap with the training rows.

Reads what is there and judges nothing; a split that is damaged is told and the others are still looked at.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from viaduct.errors import DataError, NoRowsError
from viaduct.rows import Captioned, Choice, Pair, Row, Sentence, Span, Tagged
from viaduct.runs.texts import text_key
from viaduct.tasks.card import UNLABELLED, Dataset, Task, is_labelled, locate, read, splits_of
from viaduct.tasks.registry import task as card_of


@dataclass(frozen=True, slots=True)
class Images:
    """The images of one split of one language."""

    captions: int
    fewest: int
    """Captions of an image."""
    most: int
    absent: int
    """Rows without an image: the folder of images is not there, or they are not published."""
    missing: tuple[str, ...]
    """Files that are not there, though their folder is."""
    shared: tuple[str, ...]
    """Ids that the training rows of any language have too; () for those themselves."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One split of one language."""

    split: str
    language: str
    layout: str
    rows: int
    published: int | None
    labels: tuple[tuple[str, float], ...]
    """Label (or tag) -> share of the labelled rows (or tokens), most frequent first; () where there are none."""
    unlabelled: int
    """Rows without gold: all of them in a test file whose labels were stripped. Plain text has none to lack."""
    median_length: int
    longest: int
    """Characters of all texts of a row, or of one caption."""
    duplicates: int
    """Rows whose texts an earlier row of the same side has, labels aside."""
    overlap: int | None
    """Rows whose text (for questions: whose context; for captions: whose image's id) is also in the training rows, as
    `overlap.text_key` compares it;
    None for those themselves, and where there are none."""
    trained_on: str
    """Which rows those are, in words."""
    images: Images | None
    """None for kinds without images."""


@dataclass(frozen=True, slots=True)
class Survey:
    """All splits of one task that are there."""

    task: str
    holdings: tuple[Holding, ...]
    absent: tuple[tuple[str, tuple[str, ...]], ...]
    """Split -> languages without files."""
    damaged: tuple[str, ...]
    """What could not be read, in words."""
    looked_for: str
    """Where the files were looked for, in words, when none are there; else ""."""
    example: Row | None
    """The first row of the first split that is there."""


def survey(card: Task, data: Path) -> Survey:
    """What this folder holds of the card's splits."""
    training = _Training(card, data)
    holdings: list[Holding] = []
    absent: dict[str, list[str]] = {}
    damaged: list[str] = []
    looked_for = ""
    example: Row | None = None
    for split in splits_of(card):
        for language in card.languages:
            try:
                locate(card, data, language, split)
            except DataError as error:
                looked_for = looked_for or str(error)
                absent.setdefault(split, []).append(language)
                continue
            try:
                found = read(card, data, language, split)
                holdings.append(_holding(found, training))
                example = example or found.rows[0]
            except NoRowsError:  # a file that several languages share, without this one
                absent.setdefault(split, []).append(language)
            except DataError as error:
                damaged.append(str(error))
    return Survey(
        card.name,
        tuple(holdings),
        tuple((split, tuple(languages)) for split, languages in absent.items()),
        tuple(damaged),
        "" if holdings or damaged else looked_for,
        example,
    )


class _Training:
    """The texts, or ids of images, of the rows that the task is trained on, read once per language."""

    def __init__(self, card: Task, data: Path) -> None:
        self.card = card_of(card.trained_on) if card.trained_on else card
        self.data = data
        self.known: dict[str, frozenset[int]] = {}

    def texts(self, language: str) -> tuple[str, frozenset[int]]:
        """(whose texts, the texts): of the language's own training rows where there are any, else of the English ones.

        Images are the same in every language: their ids are those of all languages' training rows.
        """
        if self.card.kind == "captioned":
            ids = frozenset[int]().union(*(self._of(code) for code in self.card.languages))
            return (f"{self.card.name} train", ids) if ids else ("", ids)
        for code in dict.fromkeys((language, "en")):
            if found := self._of(code):
                return f"{self.card.name} train {code}", found
        return "", frozenset()

    def _of(self, code: str) -> frozenset[int]:
        if code not in self.known:
            try:
                rows = read(self.card, self.data, code, "train").rows if code in self.card.languages else ()
            except DataError:
                rows = ()
            self.known[code] = frozenset(map(text_key, rows))
        return self.known[code]


def _holding(found: Dataset, training: _Training) -> Holding:
    lengths = [length for row in found.rows for length in _lengths(row)]
    texts = Counter((getattr(row, "side", ""), _texts(row)) for row in found.rows)
    plain = card_of(found.task).kind in UNLABELLED
    own = found.split == "train" and training.card.name == found.task
    where, known = ("", frozenset[int]()) if own else training.texts(found.language)
    return Holding(
        split=found.split,
        language=found.language,
        layout=found.layout,
        rows=len(found.rows),
        published=found.expected,
        labels=_shares(found.rows),
        unlabelled=0 if plain else sum(not is_labelled(row) for row in found.rows),
        median_length=round(statistics.median(lengths)),
        longest=max(lengths),
        duplicates=len(found.rows) - len(texts),
        overlap=sum(text_key(row) in known for row in found.rows) if known else None,
        trained_on=where,
        images=_images(found.rows, known),
    )


def _images(rows: Iterable[Row], known: frozenset[int]) -> Images | None:
    captioned = [row for row in rows if isinstance(row, Captioned)]
    if not captioned:
        return None
    counts = [len(row.captions) for row in captioned]
    paths = dict.fromkeys(row.image.path for row in captioned if row.image is not None)
    names: dict[str, frozenset[str]] = {}  # listing a folder once is much faster than asking for each file
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in names:
            names[folder] = frozenset(os.listdir(folder)) if os.path.isdir(folder) else frozenset()  # noqa: PTH112, PTH208
        if name not in names[folder]:
            missing.append(path)
    return Images(
        captions=sum(counts),
        fewest=min(counts),
        most=max(counts),
        absent=sum(row.image is None for row in captioned),
        missing=tuple(missing),
        shared=tuple(row.id for row in captioned if text_key(row) in known),
    )


def _shares(rows: Iterable[Row]) -> tuple[tuple[str, float], ...]:
    count = Counter(label for row in rows for label in _labels(row))
    return tuple((label, number / count.total()) for label, number in count.most_common())


def _labels(row: Row) -> Iterator[str]:
    if isinstance(row, Pair | Choice) and row.label is not None:
        yield str(row.label)
    elif isinstance(row, Tagged):
        yield from row.tags or ()
    elif isinstance(row, Span) and row.answers is not None:
        yield "answer" if row.answers else "no answer"
    elif isinstance(row, Sentence) and row.match is not None and row.side == "source":
        yield "pair" if row.match else "no pair"


def _lengths(row: Row) -> Iterator[int]:
    if isinstance(row, Captioned):
        yield from map(len, row.captions)
    else:
        yield sum(map(len, _texts(row)))


def _texts(row: Row) -> tuple[str, ...]:
    if isinstance(row, Pair):
        return (row.first, row.second)
    if isinstance(row, Choice):
        return (row.context, row.question, *row.choices)
    if isinstance(row, Tagged):
        return row.tokens
    if isinstance(row, Span):
        return (row.context, row.question)
    if isinstance(row, Captioned):
        return row.captions
    return (row.text,)
