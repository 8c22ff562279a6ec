"""Readers of file formats that two or more cards use: text, tables, line-aligned files, JSON and Parquet.

They turn bytes into records, with file and line in every error; the card decides what a record means. Files are UTF-8
(a leading byte order mark is dropped; one inside a text stays, because official files have it), plain, gzip or bzip2,
with LF or CRLF line ends. Only LF ends a line: a form feed or U+2028 inside a sentence does not. `quoting` detects
whether a table is csv-quoted; `opening` refuses what is not data at all.
"""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from viaduct.errors import DataError, shortened, unknown
from viaduct.tasks.compressed import open_data
from viaduct.tasks.json_text import json_value
from viaduct.tasks.opening import BEGINNING, refuse_other, require_data
from viaduct.tasks.quoting import csv_quoting, first_broken, quoted_rows

Quoting = Literal["never", "detect"]
"""Whether quotation marks in a table are always literal characters, or csv quoting is detected (see `quoting`)."""

LONGEST_LINE = 1 << 28
"""In bytes; a JSON file may be a single line, and the largest published one has half of this."""

_SHARD = re.compile(r"-of-(\d+)\.parquet$")
_UTF8_MARK = b"\xef\xbb\xbf"
_JOINED = re.compile(rb"\xef\xbb\xbf[^\t\r\n]")
"""A byte order mark that begins a line and is followed by text; before a tab it is a token of its own, as in PAN-X."""
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_REPLACE = "replace the file with a complete copy: it may be cut off"


class TableRow(NamedTuple):
    """One row of a table: the line where it starts, and its fields."""

    line: int
    fields: tuple[str, ...]


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Streams (line number from 1, line) of the file, line ends kept.

    Raises DataError for a missing, empty or unreadable file, one that is not data (see `opening`), a damaged archive,
    bytes that are not UTF-8, NUL, a byte order mark right before text at the start of any line but the first, and
    overlong lines.
    """
    number = 0
    try:
        with open_data(path) as file:
            refuse_other(file.peek(BEGINNING)[:BEGINNING], path)
            for number, raw in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1):
                yield number, _decoded(raw.removeprefix(_UTF8_MARK) if number == 1 else raw, path, number)
    except OSError as error:
        if error.errno is not None:
            raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
        raise _damaged_archive(path, error) from error  # gzip and bz2 set no errno for a damaged archive
    except (EOFError, zlib.error) as error:
        raise _damaged_archive(path, error) from error
    if number == 0:
        raise DataError("the file is empty", path=path, fix=_REPLACE)


def _damaged_archive(path: Path, error: Exception) -> DataError:
    return DataError(f"the archive is damaged ({error})", path=path, fix=_REPLACE)


def _decoded(raw: bytes, path: Path, number: int) -> str:
    if number == 1 and raw.startswith(_UTF16_MARKS):
        raise DataError("the file is UTF-16, not UTF-8", path=path, line=1, fix=f"iconv -f UTF-16 -t UTF-8 {path.name}")
    if b"\0" in raw:
        raise DataError("the line holds NUL, which no text does", path=path, line=number, fix=_REPLACE)
    if _JOINED.match(raw):
        message = "the line begins with a byte order mark, as if files had been joined"
        raise DataError(message, path=path, line=number, fix="remove the three bytes EF BB BF there")
    if len(raw) >= LONGEST_LINE:
        raise DataError(f"the line is longer than {LONGEST_LINE:,} bytes", path=path, line=number, fix=_REPLACE)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"the file is not UTF-8: byte {error.start + 1} of the line is 0x{raw[error.start]:02x}"
        raise DataError(message, path=path, line=number, fix=f"convert it to UTF-8, or {_REPLACE}") from error


def without_end(line: str) -> str:
    """The line without its LF or CRLF."""
    return line.removesuffix("\n").removesuffix("\r")


def text_lines(path: Path) -> list[str]:
    """The lines of a file with one text per line, without line ends.

    Raises DataError for a blank line (it would shift or drop a text), and for a last line without a line end: nothing
    else would show that the file was cut off inside a sentence.
    """
    lines: list[str] = []
    line = ""
    for number, line in numbered_lines(path):
        text = without_end(line)
        if not text.strip():
            raise DataError("the line is blank", path=path, line=number, fix="one text per line, with none left out")
        lines.append(text)
    if not line.endswith("\n"):
        raise no_line_end(path, len(lines))
    return lines


def no_line_end(path: Path, number: int) -> DataError:
    """The error for a file whose last line, with this number, has no line end."""
    return DataError(
        "the last line has no line end, so the file may be cut off",
        path=path,
        line=number,
        fix="replace the file with a complete copy; if the line is whole, add the line end",
    )


def aligned_lines(first: Path, second: Path) -> list[tuple[str, str]]:
    """The texts of two line-aligned files, in pairs. Raises DataError if their numbers of lines differ."""
    ours, theirs = text_lines(first), text_lines(second)
    if len(ours) != len(theirs):
        raise DataError(
            f"{len(theirs):,} lines, but {first.name} has {len(ours):,}: line i must belong to line i",
            path=second,
            fix="use two files that belong together, complete",
        )
    return list(zip(ours, theirs, strict=True))


def tab_separated(
    path: Path, *, widths: Sequence[int], quoting: Quoting = "never", needs_end: bool = False
) -> list[TableRow]:
    """The records of a tab-separated file, all with the same number of fields, which must be one of `widths`.

    Raises DataError with the line for blank lines, wrong numbers of fields, and broken quoting. A last line without a
    line end is accepted if the records have the most fields allowed, since a truncation would then show in the last
    field; it is refused otherwise, and if the table `needs_end`.
    """
    text = "".join(line for _, line in numbered_lines(path))
    records: list[TableRow] = []
    for record in _records(text, path, quoting):
        width = len(record.fields)
        if not any(field.strip() for field in record.fields):
            raise DataError("the line is blank", path=path, line=record.line, fix=f"remove it, or {_REPLACE}")
        if width not in widths or (records and width != len(records[0].fields)):
            wanted = str(len(records[0].fields)) if records else " or ".join(map(str, widths))
            found = "1 field" if width == 1 else f"{width} tab-separated fields"
            raise DataError(f"{found} where {wanted} are expected", path=path, line=record.line, fix=_REPLACE)
        records.append(record)
    if not text.endswith("\n") and (needs_end or len(records[0].fields) < max(widths)):
        raise no_line_end(path, records[-1].line)
    return records


def _records(text: str, path: Path, quoting: Quoting) -> Iterator[TableRow]:
    if quoting == "detect":
        is_quoted, broken = csv_quoting(text)
        if broken is not None:
            raise _broken_quoting(path, broken)
        if is_quoted:
            yield from _quoted_records(text, path)
            return
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        yield TableRow(number, tuple(line.removesuffix("\r").split("\t")))


def _quoted_records(text: str, path: Path, delimiter: str = "\t") -> Iterator[TableRow]:
    try:
        for line, fields in quoted_rows(text, delimiter):
            yield TableRow(line, tuple(fields))
    except csv.Error as error:  # a field longer than csv allows
        raise DataError(f"the table cannot be read as csv: {error}", path=path, fix=_REPLACE) from error


def _broken_quoting(path: Path, line: int) -> DataError:
    fix = "put marks around the field and double those inside, or use a complete copy: it may be cut off"
    return DataError("the quoting of this line is broken: a quotation mark is missing", path=path, line=line, fix=fix)


def columns(
    path: Path, names: Sequence[str], *, quoting: Quoting = "never", closed: Collection[str] = ()
) -> Iterator[TableRow]:
    """The named columns, in the order of `names`, of a tab-separated file with a header line.

    Raises DataError for a missing column (with the nearest one), a duplicate one, and lines with more or fewer fields
    than the header.
    The last line needs a line end if the last column is read and is not one of `closed`: columns in which a truncated
    value is noticed, since none of their values is a prefix of another.
    """
    read = set(names) - set(closed)
    if quoting == "never":
        return _named(_unquoted(path, read), names, path, "tab")
    header = next(_unquoted(path, read)).fields
    lines = tab_separated(path, widths=(len(header),), quoting=quoting, needs_end=header[-1] in read)
    return _named(iter(lines), names, path, "tab")


def _unquoted(path: Path, read: Collection[str]) -> Iterator[TableRow]:
    """Yields header and rows. Raises DataError for a last line without a line end if the last column is in `read`."""
    header: tuple[str, ...] = ()
    number, line = 0, ""
    for number, line in numbered_lines(path):
        row = TableRow(number, tuple(without_end(line).split("\t")))
        header = header or row.fields
        yield row
    if not line.endswith("\n") and header[-1] in read:
        raise no_line_end(path, number)


def csv_columns(path: Path, names: Sequence[str], *, closed: Collection[str] = ()) -> Iterator[TableRow]:
    """Like `columns`, for a comma-separated file with csv quoting; quoted fields may contain commas and line ends."""
    text = "".join(line for _, line in numbered_lines(path))
    if (broken := first_broken(text, ",")) is not None:
        raise _broken_quoting(path, broken)
    records = _quoted_records(text, path, ",")
    header = next(records)
    if not text.endswith("\n") and header.fields[-1] in set(names) - set(closed):
        raise no_line_end(path, text.count("\n") + 1)
    return _named(chain([header], records), names, path, "comma")


def _named(records: Iterator[TableRow], names: Sequence[str], path: Path, separator: str) -> Iterator[TableRow]:
    header = next(records).fields
    for name in names:
        _require_column(name, header, path, 1)
    places = [header.index(name) for name in names]
    for line, fields in records:
        if len(fields) != len(header):
            message = f"{len(fields)} {separator}-separated fields, but the header has {len(header)}"
            fix = _REPLACE if separator == "tab" else "put quotation marks around fields with commas"
            raise DataError(message, path=path, line=line, fix=fix)
        if fields == header:
            message = "the header appears here again, as if files had been joined"
            raise DataError(message, path=path, line=line, fix="remove this line")
        yield TableRow(line, tuple(fields[place] for place in places))


def _require_column(name: str, header: Sequence[str], path: Path, line: int | None = None) -> None:
    if name not in header:
        if len(header) == 1 and ";" in header[0]:  # as spreadsheets save CSV where the comma is the decimal point
            message = f"the header is one field, '{header[0]}', as if semicolons separated the fields"
            raise DataError(message, path=path, line=line, fix="separate them by commas (.csv) or tabs (.tsv)")
        raise DataError(str(unknown("column", name, header)), path=path, line=line)
    if header.count(name) > 1:
        fix = "rename them, or remove all but one"
        raise DataError(f"{header.count(name)} columns are called '{name}'", path=path, line=line, fix=fix)


def json_objects(path: Path, names: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number, the JSON object) for every line.

    Raises DataError with the line if it is not a JSON object or lacks a field in `names`.
    """
    wanted = f" with {', '.join(names)}" if names else ""
    for number, line in numbered_lines(path):
        record = json_value(without_end(line), path, number, _REPLACE)
        if not isinstance(record, dict) or not record.keys() >= set(names):
            raise DataError(f"not a JSON object{wanted}", path=path, line=number, fix=_REPLACE)
        yield number, record


def json_file(path: Path) -> Any:
    """The content of a JSON file. Raises DataError with the line for what `json_value` refuses."""
    return json_value("".join(line for _, line in numbered_lines(path)), path, 1, _REPLACE)


def member(path: Path, given: object, where: str, key: str, kind: type) -> Any:
    """The member `key` of the JSON object at `where`. Raises DataError if it is absent or not a `kind`."""
    if not isinstance(given, Mapping) or key not in given:
        raise DataError(f"{where} has no '{key}'", path=path, fix="give the file as published, not another JSON file")
    value = given[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{where}: '{key}' is {type(value).__name__}, but must be {kind.__name__}", path=path)
    return value


def json_lines(path: Path, names: Sequence[str]) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yields (line number, the values of these fields) for every line, like `json_objects`; other fields are ignored.

    Also raises DataError for a field that is null.
    """
    for number, record in json_objects(path, names):
        values = tuple(record[name] for name in names)
        if None in values:
            message = f"'{names[values.index(None)]}' is null"
            raise DataError(message, path=path, line=number, fix="fill it in, or remove the line")
        yield number, values


def all_shards(paths: Sequence[Path]) -> bool:
    """Whether files named `...-00000-of-00002.parquet` are all there (False for no files)."""
    totals = {int(match[1]) for path in paths if (match := _SHARD.search(path.name))}
    return bool(paths) and totals <= {len(paths)}


def parquet_file(path: Path) -> Any:
    """The open Parquet file, as pyarrow's ParquetFile. Raises DataError if it is missing, damaged, truncated or not
    data at all (see `opening`)."""
    import pyarrow  # slow to load, and only Parquet files need it
    import pyarrow.parquet

    try:
        require_data(path)
        return pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)  # if it has checksums
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"cannot be read as Parquet: {error}", path=path, fix=_REPLACE) from error


def parquet(paths: Sequence[Path], names: Sequence[str], *, holes: bool = False) -> Iterator[tuple[Any, ...]]:
    """The named columns of Parquet files, row by row, the files in the order given.

    Raises DataError for a file that is not Parquet or is truncated, a missing shard, a missing column (with the nearest
    one) or a duplicate one, and a missing value; with `holes` a missing value is None.
    """
    import pyarrow

    if not all_shards(paths):
        raise DataError(
            f"{len(paths)} files, but their names say otherwise", path=paths[0], fix="put all of them there"
        )
    for path in paths:
        file = parquet_file(path)
        for name in names:
            _require_column(name, file.schema_arrow.names, path)
        try:
            for batch in file.iter_batches(columns=list(names)):
                for row in zip(*(batch.column(name).to_pylist() for name in names), strict=True):
                    if None in row and not holes:
                        raise DataError(f"a row has no '{names[row.index(None)]}'", path=path, fix=_REPLACE)
                    yield row
        except (pyarrow.ArrowException, OSError, ValueError) as error:  # ValueError: text that is not UTF-8
            raise DataError(f"cannot be read as Parquet: {error}", path=path, fix=_REPLACE) from error


def class_names(path: Path, column: str) -> tuple[str, ...] | None:
    """The class names of a column of label ids (or of lists of them), as the Hub's `datasets` writes them into a
    Parquet file; None for a file without them."""
    metadata = parquet_file(path).schema_arrow.metadata or {}
    if b"huggingface" not in metadata:
        return None
    about = json_value(metadata[b"huggingface"], path)
    for key in ("info", "features", column):
        about = about.get(key) if isinstance(about, Mapping) else None
    while isinstance(about, Mapping | list) and "names" not in about:  # a list of labels is [one], or {"feature": one}
        about = about.get("feature") if isinstance(about, Mapping) else about[0] if about else None
    names = about.get("names") if isinstance(about, Mapping) else None
    return tuple(map(str, names)) if isinstance(names, list) else None


def index_of(given: object, count: int, path: Path, line: int | None) -> int:
    """The index of a choice, parsed from text. Raises DataError if it is not a number from 0 to count - 1."""
    if given not in {str(number) for number in range(count)}:
        raise DataError(f"unknown label {shortened(str(given))!r}", path=path, line=line, fix=f"use 0 to {count - 1}")
    return int(str(given))
