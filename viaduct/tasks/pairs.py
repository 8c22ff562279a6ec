"""Readers of labelled pairs of texts: JSON lines, tables, XTREME's files and the Hub's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from viaduct.errors import DataError, shortened, unknown
from viaduct.rows import Pair, TranslatedPair
from viaduct.tasks.card import Files, Reader
from viaduct.tasks.formats import class_names, parquet, tab_separated

Records = Callable[[Path], Iterable[tuple[int, Sequence[Any]]]]
"""(file) -> (line, fields) of every record."""


def label_of(given: object, names: Mapping[str, str], path: Path, line: int) -> str:
    """Our name for the label in the file. Raises DataError with line and nearest label if `names` lacks it."""
    if not isinstance(given, str) or given not in names:
        raise DataError(str(unknown("label", str(given), names)), path=path, line=line)
    return names[given]


def pairs(
    records: Records, names: Mapping[str, str], *, at: tuple[int, int, int] = (0, 1, 2), without: str | None = None
) -> Reader:
    """A reader of the pairs of one file; `at` are the positions of first, second and label among the fields.

    Pairs labelled `without` are left out. Ids are record numbers, counted from 0, including those left out.
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

    No header; quoting is detected. Ids are row numbers, counted from 0, as in the official file.
    """

    def read(files: Files, language: str, _split: str) -> Iterator[Pair]:
        path = files["rows"][0]
        for index, record in enumerate(tab_separated(path, widths=(2, 3), quoting="detect")):
            first, second, *rest = record.fields
            label = label_of(rest[0], names, path, record.line) if rest else None
            yield Pair(str(index), language, first, second, label)

    return read


def translated_pairs(names: Mapping[str, str], *widths: int) -> Reader:
    """A reader of XTREME's *-translated.tsv: two texts, their translations, perhaps a label, in one of these `widths`.

    No header; quoting is detected. Ids are row numbers, counted from 0. Raises DataError for a blank field.
    """

    def read(files: Files, language: str, _split: str) -> Iterator[TranslatedPair]:
        path = files["rows"][0]
        for index, (line, fields) in enumerate(tab_separated(path, widths=widths, quoting="detect")):
            if not all(map(str.strip, fields)):
                fix = "fill it in, or remove the row from the originals too"
                raise DataError("a text or label is blank", path=path, line=line, fix=fix)
            label = label_of(fields[4], names, path, line) if len(fields) > 4 else None
            yield TranslatedPair(str(index), language, fields[2], fields[3], label, (fields[0], fields[1]))

    return read


def hub_pairs(
    columns: Sequence[str], labels: Sequence[str], *, others: Mapping[str, str] = MappingProxyType({})
) -> Reader:
    """A reader of Hub Parquet files with these columns: first, second, label (see `HubLabels`).

    Label id -1, the Hub's mark for a stripped label, becomes None. Ids are row numbers, counted from 0.
    """

    def read(files: Files, language: str, _split: str) -> Iterator[Pair]:
        path = files["rows"][0]
        known = HubLabels(path, columns[2], labels, others)
        for index, (first, second, label) in enumerate(parquet(files["rows"], columns)):
            yield Pair(str(index), language, first, second, None if label == -1 else known.name(label, index))

    return read


class HubLabels:
    """The labels of a Hub column: text, or numbers whose names the file states; if it does not, their order is that
    of `labels`. `others` maps other names in the file to ours."""

    def __init__(
        self, path: Path, column: str, labels: Sequence[str], others: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Raises DataError if the file has names for other labels."""
        self.path, self.column = path, column
        self.ours = {**{label: label for label in labels}, **others}
        self.names = class_names(path, column) or tuple(labels)
        for name in self.names:
            self._known(name, "")

    def name(self, given: object, row: int) -> str:
        """Our name of a label. Raises DataError with the row if it is neither a label nor the number of one."""
        if isinstance(given, str):
            return self._known(given, f"row {row}: ")
        if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < len(self.names):
            fix = f"the labels are {', '.join(f'{number} {name}' for number, name in enumerate(self.names))}"
            message = f"row {row}: '{self.column}' has {shortened(str(given))}, but there are only {len(self.names)}"
            raise DataError(f"{message} labels", path=self.path, fix=fix)
        return self.ours[self.names[given]]

    def _known(self, name: str, where: str) -> str:
        if name not in self.ours:
            raise DataError(where + str(unknown(f"label in '{self.column}'", name, self.ours)), path=self.path)
        return self.ours[name]
