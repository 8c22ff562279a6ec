"""Cards: everything about one dataset, and how its files are found, read and counted.

A card has one or more sources, in order of preference: the official files as published, the XTREME `download/`
layout, the Hugging Face Hub at a pinned revision. A source names its files by patterns below the data folder;
`{language}`, `{iso3}` and `{split}` are filled in, `*` is a glob. The first source whose files exist is read.
Readers yield rows and raise DataError with file and line; they never guess a label. Instead of sources a card may have
parts: other cards, whose concatenated rows are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from viaduct.errors import DataError, no_exit, unknown
from viaduct.languages import language as language_of
from viaduct.metrics.score import MetricFunction
from viaduct.rows import Row
from viaduct.tasks.kind import RowKind, row_kind
from viaduct.tasks.published import Published
from viaduct.tasks.row_checks import check_gold, check_ids, check_labels, check_texts

Files = Mapping[str, tuple[Path, ...]]
"""Role (as the source names it) -> the files found for it, never empty."""

Reader = Callable[[Files, str, str], Iterable[Row]]
"""(files, language, split) -> rows."""

Tally = Callable[[Files], Mapping[str, int]]
"""(files) -> number of rows in each group, by what the group has in common."""

ROOTS = ("", "download", "xtreme_download")
"""Folders below the data folder in which a source's patterns are tried."""


@dataclass(frozen=True)
class Hub:
    """A dataset repository on the Hugging Face Hub, at the one revision (a commit) that was checked."""

    repository: str
    revision: str | None
    """None: no revision is pinned; existing files are read, and downloading needs a revision from the user."""


XTREME_HUB = Hub("google/xtreme", "ec5f1f46e9af79639a90684a7a70a956c4998f04")
"""The head of `main` according to the Hub's page of the folder PAN-X.af ("Convert dataset to Parquet (#9)")."""


@dataclass(frozen=True)
class Source:
    """One published form of a dataset's files."""

    layout: str
    """"official", "xtreme" or "hub"."""
    files: Mapping[str, str]
    """Role -> path pattern below the data folder, e.g. {"rows": "xnli/{split}-{language}.tsv"}."""
    read: Reader
    splits: Mapping[str, str] = field(default_factory=lambda: {"train": "train", "dev": "dev", "test": "test"})
    """Our split -> the word used in the file names; a split that is absent here is not in this source."""
    languages: Mapping[str, str] | None = None
    """Our code -> the word used for `{language}` in the file names; None: the code itself, for all of the card's
    languages."""
    optional: tuple[str, ...] = ()
    """Roles whose files may be missing (a stripped gold file)."""
    hub: Hub | None = None
    """For layout "hub": files are below `hub/<owner>/<name>/` in the data folder, or are downloaded at this
    revision."""
    left_out: Tally | None = None
    """Counts the rows in these files that are in none of the card's languages, by the files' words for theirs."""


def sources(
    published: str | Hub,
    read: Reader,
    *places: str | Mapping[str, str],
    splits: str | None = None,
    languages: Iterable[str] | Mapping[str, str] | None = None,
) -> tuple[Source, ...]:
    """One source for each place where files of the same format may be: in a layout, or in a Hub dataset.

    A place is a path pattern, for the role "rows", or a mapping of roles to patterns. In `splits`, "dev=val" is a split
    with a different name in file names; None: all three splits, on the Hub with its word for dev. `languages`: codes,
    or a mapping of codes to the words in file names.
    """
    hub = None if isinstance(published, str) else published
    layout = "hub" if isinstance(published, Hub) else published
    named = splits or ("train dev test" if hub is None else "train dev=validation test")
    words = {split: word or split for split, _, word in (one.partition("=") for one in named.split())}
    codes = languages if languages is None or isinstance(languages, Mapping) else {code: code for code in languages}
    roles = [{"rows": place} if isinstance(place, str) else place for place in places]
    return tuple(Source(layout, one, read, words, codes, hub=hub) for one in roles)


@dataclass(frozen=True)
class Task:
    """A card: the description of one dataset."""

    name: str
    title: str
    kind: str
    """Name of a `viaduct.tasks.kind.RowKind`."""
    languages: tuple[str, ...]
    licence: str
    citation: str
    version: int = 1
    """Bumped with every change that can affect a score; `history` says what changed."""
    history: tuple[str, ...] = ("1: first version",)
    sources: tuple[Source, ...] = ()
    parts: tuple[Task, ...] = ()
    """Instead of sources: the cards whose rows, in this order, make up this one; ids begin with the part's name."""
    labels: tuple[str, ...] = ()
    """The label set in index order (pair, tagged); () if the kind has none, and for tagged cards with an open set
    (supertags): their tags are those of the training rows, and no model can get any other tag right."""
    unanswerable: bool = False
    """Kind span: a question may have no answer (SQuAD 2.0), so "" can be predicted."""
    metric: MetricFunction | None = None
    """None for cards that are only trained on, such as plain text."""
    metrics: tuple[str, ...] = ()
    """Names of the scores that `metric` returns, the headline first."""
    trained_on: str | None = None
    """Name of the card whose English train split trains this task; None when nothing is trained (retrieval)."""
    expected: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(language, split) -> number of rows as published; for retrieval the sum of both sides."""
    pairs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(language, split) -> number of gold pairs as published (mining): the number of rows does not show lost pairs."""
    published: tuple[Published, ...] = ()
    translated: bool = False
    """Whether its train rows in languages other than English are machine translations."""
    differs: str = ""
    """Where our reading differs from the paper or from the reference code, and why."""

    @property
    def row_kind(self) -> RowKind:
        """The kind of its rows: what they are, and how they are trained on and predicted."""
        return row_kind(self.kind)

    def is_whole(self, language: str, split: str, examples: int) -> bool:
        """Whether this number of scored examples is the whole split as published; False if no count is known."""
        rows = self.expected.get((language, split), 0) // (2 if self.kind == "retrieval" else 1)
        return examples == self.pairs.get((language, split), rows) > 0

    @property
    def open_labels(self) -> bool:
        """Whether its label set is taken from the training rows."""
        return self.row_kind.label_set == "open" and not self.labels


@dataclass(frozen=True)
class Located:
    """The files of one language and split, and the source they belong to."""

    source: Source
    files: Files

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files, in a fixed order."""
        return tuple(path for role in sorted(self.files) for path in self.files[role])


@dataclass(frozen=True)
class Dataset:
    """The rows of one task, language and split, and where they came from."""

    task: str
    language: str
    split: str
    rows: tuple[Row, ...]
    layout: str
    paths: tuple[Path, ...]
    expected: int | None
    """Published number of rows; None if no paper states it."""

    @property
    def labelled(self) -> bool:
        """Whether the rows carry gold labels (False for stripped test files)."""
        return bool(self.rows) and any(row.is_labelled for row in self.rows)


def locate(task: Task, data: Path, language: str, split: str) -> Located:
    """The files of this language and split. Raises DataError listing every place searched if there are none."""
    if language not in task.languages:
        raise unknown(f"language of {task.name}", language, task.languages)
    if task.parts:
        return _joined({part.name: locate(part, data, language, split) for part in task.parts})
    tried: list[str] = []
    for source in task.sources:
        located = _locate_in(source, data, language, split, tried)
        if located is not None:
            return located
    raise DataError(
        f"no files for {task.name}, split {split}, language {language}; "
        f"looked for {', '.join(tried) or 'nothing: no source has this split'}",
        path=data,
        fix="point --data at the folder that holds them, or declare a substitution in the recipe",
    )


def _joined(parts: Mapping[str, Located]) -> Located:
    """Combines the files of several cards into those of one card."""

    def read_parts(_files: Files, language: str, split: str) -> Iterator[Row]:
        for name, located in parts.items():
            for row in located.source.read(located.files, language, split):
                yield replace(row, id=f"{name}-{row.id}")

    layout = "+".join(dict.fromkeys(located.source.layout for located in parts.values()))
    files = {f"{name}/{role}": paths for name, one in parts.items() for role, paths in one.files.items()}
    return Located(Source(layout, {}, read_parts), files)


def splits_of(task: Task) -> tuple[str, ...]:
    """The splits that any source of this card has; for a card with parts, those that all of them have."""
    if task.parts:
        first, *others = (splits_of(part) for part in task.parts)
        return tuple(split for split in first if all(split in other for other in others))
    return tuple(dict.fromkeys(split for source in task.sources for split in source.splits))


def patterns(source: Source, language: str, split: str) -> dict[str, str] | None:
    """Role -> path pattern for this language and split; None if the source does not have them."""
    if split not in source.splits or (source.languages is not None and language not in source.languages):
        return None
    words = {
        "language": source.languages[language] if source.languages is not None else language,
        "iso3": language_of(language).iso3,
        "split": source.splits[split],
    }
    return {role: pattern.format(**words) for role, pattern in source.files.items()}


def _locate_in(source: Source, data: Path, language: str, split: str, tried: list[str]) -> Located | None:
    wanted = patterns(source, language, split)
    if wanted is None:
        return None
    roots = ROOTS if source.hub is None else (f"hub/{source.hub.repository}",)
    for root in (data / folder for folder in roots):
        found: dict[str, tuple[Path, ...]] = {}
        for role, path in wanted.items():
            found[role] = tuple(sorted(root.glob(path)))
            if not found[role] and role not in source.optional:
                tried.append(str((root / path).relative_to(data)))
        if all(found[role] or role in source.optional for role in found):
            return Located(source, {role: paths for role, paths in found.items() if paths})
    return None


def read(task: Task, data: Path, language: str, split: str) -> Dataset:
    """All rows of one language and split: `read_located` on the files that `locate` finds."""
    return read_located(task, locate(task, data, language, split), language, split)


def read_located(task: Task, located: Located, language: str, split: str) -> Dataset:
    """All rows of one language and split, checked: not empty, ids unique, texts valid strings, labels in the card's set
    and on all rows or none.

    Raises DataError naming the file (and the line if the reader knows it). A count that differs from the published
    one is not an error here: the report and `viaduct check` show it.
    """
    with no_exit(f"the reader of the card {task.name}"):
        rows = tuple(located.source.read(located.files, language, split))
    first = located.paths[0]
    if not rows:
        raise DataError("the file has no rows", path=first, fix="replace it with a complete copy: it may be cut off")
    check_texts(rows, first)
    check_ids(rows, first)
    if task.labels and task.row_kind.label_set != "none":
        check_labels(task.name, rows, task.labels, first)
    if task.row_kind.has_gold:
        check_gold(rows, first, unanswerable=task.unanswerable)
    return Dataset(
        task.name, language, split, rows, located.source.layout, located.paths, task.expected.get((language, split))
    )
