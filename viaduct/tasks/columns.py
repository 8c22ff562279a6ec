"""Reads records of JSON lines, CSV, TSV and Parquet files; the caller says which columns hold what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from viaduct.errors import DataError, UsageError, unknown
from viaduct.tasks.formats import columns, csv_columns, json_objects, parquet
from viaduct.tasks.mapped import value_shown

FileFormat = Literal["jsonl", "csv", "tsv", "parquet"]

FILE_FORMATS: Mapping[str, FileFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}

Place = tuple[Path, int | None, str]
"""(file, line number, the line in words); for Parquet files the number is None and the words give the row."""


def format_of(path: str) -> FileFormat:
    """The format of a file, compressed or not, from its name. Raises UsageError if the suffix is unknown."""
    name = PurePosixPath(path).name.removesuffix(".gz").removesuffix(".bz2").rstrip("*")
    suffix = PurePosixPath(name).suffix
    if suffix not in FILE_FORMATS:
        message = f"path '{path}' does not end like a known format"
        raise UsageError(message, fix=f"give format: {', '.join(dict.fromkeys(FILE_FORMATS.values()))}")
    return FILE_FORMATS[suffix]


def records(
    paths: Sequence[Path], form: FileFormat, wanted: Mapping[str, tuple[str, ...]], closed: tuple[str, ...]
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yields (place, role -> value) for each record of all files, in order; a role with several columns has a list.

    `wanted`: role -> its columns, "a.b" for the field `b` of `a`; `closed`: columns in which a truncated value is
    noticed, so that a table whose last column is one of them needs no line end after its last line. Raises DataError
    with file and line for what cannot be read and for a missing column.
    """
    names = tuple(dict.fromkeys(name for one in wanted.values() for name in one))
    for row, (path, line, fields) in enumerate(_fields(paths, form, names, closed)):
        picked = {name: _pick(fields, name, path, line) for name in names}
        values = {
            role: picked[one[0]] if len(one) == 1 else [picked[name] for name in one] for role, one in wanted.items()
        }
        yield (path, line, f"row {row}" if line is None else f"line {line}"), values


def _fields(
    paths: Sequence[Path], form: FileFormat, names: tuple[str, ...], closed: tuple[str, ...]
) -> Iterator[tuple[Path, int | None, Mapping[str, Any]]]:
    """Yields (file, line, top-level column -> value) for each record of all files."""
    if form == "parquet":
        tops = tuple(dict.fromkeys(name.partition(".")[0] for name in names))
        for values in parquet(paths, tops, holes=True):
            yield paths[0], None, dict(zip(tops, values, strict=True))
        return
    for path in paths:
        if form == "jsonl":
            yield from ((path, line, record) for line, record in json_objects(path))
        else:
            read = csv_columns if form == "csv" else partial(columns, quoting="detect")
            rows = read(path, names, closed=closed)
            yield from ((path, line, dict(zip(names, given, strict=True))) for line, given in rows)


def _pick(value: Any, name: str, path: Path, line: int | None) -> Any:
    """The value of a column; "a.b" descends into objects, and into each object of a list."""
    if isinstance(value, Mapping) and name in value:
        return value[name]
    if isinstance(value, list):
        return [_pick(one, name, path, line) for one in value]
    top, dot, rest = name.partition(".")
    if isinstance(value, Mapping) and dot and top in value:
        return _pick(value[top], rest, path, line)
    if not isinstance(value, Mapping):
        raise DataError(f"there is no '{name}' in {value_shown(value)}, which has no fields", path=path, line=line)
    raise DataError(str(unknown("column", name, value)), path=path, line=line)
