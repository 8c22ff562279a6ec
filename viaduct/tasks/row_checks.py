"""Checks on all rows of a language and split, regardless of the files they come from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from viaduct.errors import DataError, shortened, unknown
from viaduct.rows import Row


def check_ids(rows: Sequence[Row], path: Path) -> None:
    """Raise DataError if two rows have the same id."""
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise DataError(f"the id '{shortened(row.id)}' occurs twice", path=path, fix="remove the duplicate row")
        seen.add(row.id)


def check_texts(rows: Sequence[Row], path: Path) -> None:
    """Raise DataError for an id or text that is not a string, or that contains a lone surrogate or NUL."""
    for row in rows:
        if (fault := _fault(row)) is not None:
            fix = "rewrite it, or remove the row"
            raise DataError(f"row {shortened(str(row.id))}: {fault}", path=path, fix=fix)


def _fault(row: Row) -> str | None:
    given = (row.id, *row.texts)
    try:
        whole = "\n".join(given)
        if not whole.isascii():
            whole.encode()
    except TypeError:
        kind = next(type(one).__name__ for one in given if not isinstance(one, str))
        return f"{kind} in place of a text"
    except UnicodeEncodeError:
        return "it holds half a character (a lone surrogate)"
    return "it holds NUL, which no text does" if "\0" in whole else None


def check_labels(task: str, rows: Sequence[Row], allowed: Collection[str], path: Path) -> None:
    """Raise DataError for a label that is not in `allowed`."""
    for row in rows:
        for label in row.label_words:
            if label not in allowed:
                error = unknown(f"label of {task}", label, allowed)
                raise DataError(f"row {shortened(row.id)}: {error}", path=path)


def check_gold(rows: Sequence[Row], path: Path, *, unanswerable: bool) -> None:
    """Raise DataError if only some rows are labelled, or if a question has no answer although all must have one
    (not `unanswerable`)."""
    bare = [row for row in rows if not row.is_labelled]
    if 0 < len(bare) < len(rows):
        message = f"row {shortened(bare[0].id)} has no label ({len(bare):,} of {len(rows):,} rows have none)"
        raise DataError(message, path=path, fix="label all rows or none; for a published file, use a complete copy")
    lost = next((row for row in rows if row.gold == () and row.label_words == ("no answer",)), None)
    if lost is not None and not unanswerable:
        fix = "give the file as published; questions without an answer are those of SQuAD 2.0"
        raise DataError(f"question {shortened(lost.id)} has no answer", path=path, fix=fix)
