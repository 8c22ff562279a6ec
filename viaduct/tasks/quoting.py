"""Detects whether a table is csv-quoted: once per file, never per field, because both forms are published under the
same name and sentences contain quotation marks of their own.

The rule: a record is valid csv if each field either has no quotation mark or is enclosed in a pair, with marks inside
doubled. Writers quote only fields that need it (MINIMAL), or all that are not numbers (NONNUMERIC; ALL is the same with
numbers quoted too). A file is quoted if all its records with marks are as MINIMAL writes them, or all its records are
as the other two write them; except that tabs and line ends inside quotes do not count as quoted if all lines, read
unquoted, have the same number of tabs. It is broken if at least half of these records fit, but not all: a mark is
missing, and reading on would swallow rows, or leave marks in the texts. All other files are read unquoted.
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
    """Whether a table's quotation marks are csv quoting, and the first line on which the quoting is broken."""

    is_quoted: bool
    broken: int | None = None


def csv_quoting(text: str) -> Quoted:
    """Detects the quoting of a tab-separated table (see the rule in the module's docstring)."""
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
    """Counts the records that one kind of csv writer could have written, and keeps the line of the first other one."""

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
    """The line on which the first record begins that is not valid csv; None if all are valid."""
    return next((line for line, _, is_sound in _records(text, delimiter) if not is_sound), None)


def _records(text: str, delimiter: str) -> Iterator[tuple[int, str, bool]]:
    """Yields (line, text, whether it is valid csv) of every record; an invalid one ends with its line."""
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
    """Yields (line, fields) of every record of a quoted table. Raises csv.Error for broken quoting."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # by default, a field of over 131,072 is an error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    for fields in reader:
        yield line, fields
        line = reader.line_num + 1
