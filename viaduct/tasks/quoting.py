"""Whether a table is csv-quoted: decided once per file, never per field, because both kinds are published under the
same name and sentences hold quotation marks of their own.

The rule: a record is one as a csv writer writes it when each field either holds no quotation mark or stands between
two, with those inside doubled. Such writers quote fields that need it (MINIMAL), or all that are not numbers
(NONNUMERIC; ALL is the same with numbers quoted too). A file is quoted when all its records with marks are as MINIMAL
writes them, or all its records as the other two do; except that tabs and line ends inside quotes do not count as quoted
where every line as it stands has the same number of tabs. It is broken when at least half of them are, and not all: a
mark is missing, and reading on would swallow rows, or leave marks in the texts. All other files are read as they stand.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_FIELD = r'(?:"(?:[^"]|"")*+"|[^"{0}\r\n]*+)'
_RECORD = {one: re.compile(rf"{_FIELD}(?:{{0}}{_FIELD})*+(?=\r?\n|\Z)".format(one)) for one in ("\t", ",")}
_FIELDS = {one: re.compile(rf"(?:\A|{{0}})({_FIELD})".format(one)) for one in ("\t", ",")}


class Quoted(NamedTuple):
    """Whether a table's quotation marks are csv quoting, and the first line on which they are broken."""

    is_quoted: bool
    broken: int | None = None


def csv_quoting(text: str) -> Quoted:
    """Of a tab-separated table (see the module's rule)."""
    if '"' not in text:
        return Quoted(False)
    plain = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    needs = re.compile('"' if len({line.count("\t") for line in plain}) == 1 else '["\t\r\n]')
    minimal, nonnumeric = _Count(), _Count()
    for line, record, is_sound in _records(text, "\t"):
        fields = _FIELDS["\t"].findall(record) if is_sound else []
        insides = [field[1:-1] for field in fields if field.startswith('"')]
        joins = needs.pattern == '"' and any(re.search(r"[\t\n]", inside) for inside in insides)
        if '"' in record:
            minimal.add(line, is_sound and all(map(needs.search, insides)))
        numbers = all(field.startswith('"') or _NUMBER.fullmatch(field) for field in fields)
        nonnumeric.add(line, is_sound and numbers and not joins)
    if not minimal.bad or not nonnumeric.bad:
        return Quoted(True)
    broken = next((count.first_bad for count in (minimal, nonnumeric) if count.bad <= count.good), None)
    return Quoted(broken is not None, broken)


class _Count:
    """How many records are as one kind of writer writes them, and the line of the first that is not."""

    def __init__(self) -> None:
        self.good = self.bad = 0
        self.first_bad: int | None = None

    def add(self, line: int, is_good: bool) -> None:
        """Count a record."""
        self.good += is_good
        self.bad += not is_good
        if not is_good and self.first_bad is None:
            self.first_bad = line


def first_broken(text: str, delimiter: str) -> int | None:
    """The line on which the first record begins that no csv writer writes; None where all are as they should be."""
    return next((line for line, _, is_sound in _records(text, delimiter) if not is_sound), None)


def _records(text: str, delimiter: str) -> Iterator[tuple[int, str, bool]]:
    """(line, text, whether it is as csv writers write them) of every record; one that is not ends with its line."""
    place, line = 0, 1
    while place < len(text):
        stop = text.find("\n", place)
        stop = len(text) if stop < 0 else stop
        match = None
        if is_marked := text.find('"', place, stop) >= 0:
            match = _RECORD[delimiter].match(text, place)
            stop = stop if match is None else match.end()
        record = text[place:stop]
        yield line, record.removesuffix("\r"), match is not None or not is_marked
        line += record.count("\n") + 1
        place = text.find("\n", stop) + 1 or len(text)


def quoted_rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of every record of a quoted table. Raises csv.Error for broken quoting."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    for fields in reader:
        yield line, fields
        line = reader.line_num + 1
