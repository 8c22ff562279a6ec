"""Readers of pairs of texts with a label: JSON lines, tables, XTREME's files and the Hub's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from viaduct.errors import DataError, unknown
from viaduct.rows import Pair
from viaduct.tasks.card import Files, Reader
from viaduct.tasks.formats import parquet, tab_separated

Records = Callable[[Path], Iterable[tuple[int, Sequence[Any]]]]
"""(file) -> (line, fields) of every record."""


def label_of(given: object, names: Mapping[str, str], path: Path, line: int) -> str:
    """Our name for the label in the file. Raises DataError with line and nearest label when `names` has not got it."""
    if not isinstance(given, str) or given not in names:
        raise DataError(str(unknown("label", str(given), names)), path=path, line=line)
    return names[given]


def pairs(
    records: Records, names: Mapping[str, str], *, at: tuple[int, int, int] = (0, 1, 2), without: str | None = None
) -> Reader:
    """A reader of the pairs of one file; `at` are the places of first, second and label among the fields.

    Pairs labelled `without` are left out. An id is the number of the record from 0, whichever are left out.
    """

    def read(files: Files, language: str, _split: str) -> Iterator[Pair]:
        path = files["rows"][0]
        for index, (line, fields) in enumerate(records(path)):
            first, second, label = (fields[place] for place in at)
            if label != without:
                yield Pair(str(index), language, first, second, label_of(label, names, path, line))

    return read


def xtreme_pairs(names: Mapping[str, str]) -> Reader:
    """A reader of XTREME's layout: two texts and a label, or two texts (label None) in a stripped test file.

    No header; quoting is detected. The id is the number of the row from 0, its place in the official file too.
    """

    def read(files: Files, language: str, _split: str) -> Iterator[Pair]:
        path = files["rows"][0]
        for index, record in enumerate(tab_separated(path, widths=(2, 3), quoting="detect")):
            first, second, *rest = record.fields
            label = label_of(rest[0], names, path, record.line) if rest else None
            yield Pair(str(index), language, first, second, label)

    return read


def hub_pairs(names: Sequence[str], labels: Sequence[str]) -> Reader:
    """A reader of Hub Parquet files with the columns `names` (first, second, label id); label id i is `labels[i]`.

    Label id -1, the Hub's mark for a stripped label, becomes None. The id is the number of the row from 0.
    """

    def read(files: Files, language: str, _split: str) -> Iterator[Pair]:
        for index, (first, second, label) in enumerate(parquet(files["rows"], names)):
            if not -1 <= label < len(labels):
                message = f"row {index}: label id {label}, but there are only {len(labels)} labels"
                raise DataError(message, path=files["rows"][0])
            yield Pair(str(index), language, first, second, None if label == -1 else labels[label])

    return read
