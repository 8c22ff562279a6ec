"""Checks made before a data file is read: it must not be a pipe or a device, nor begin like something else than data.

Reading a pipe could block for ever, and its bytes are gone once they are hashed. A Git LFS pointer and the web page of
a refused download are text, which some readers would take for a row.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path

from viaduct.errors import DataError

BEGINNING = 512
"""Number of leading bytes that are checked."""

_OTHERS = (
    (
        re.compile(rb"version https://git-lfs\.github\.com/spec/"),
        "the file is a Git LFS pointer, not the data",
        "run `git lfs pull` in the repository that it comes from",
    ),
    (
        re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!--|\?xml\s|(?:!doctype|html|head|body|error)\b)", re.IGNORECASE),
        "the file is a web page (HTML or XML), not the data",
        "replace it with the data; the page may say why access was refused",
    ),
)


def require_plain(path: Path) -> None:
    """Raise DataError for a pipe, a device or a socket, OSError for a missing file."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError("is a pipe, a device or a socket, not a file", path=path, fix="write the data to a file")


def other_than_data(beginning: bytes) -> tuple[str, str] | None:
    """(what the file is, what to do) if it begins like a Git LFS pointer or a web page; None otherwise."""
    return next(((message, fix) for pattern, message, fix in _OTHERS if pattern.match(beginning)), None)


def refuse_other(beginning: bytes, path: Path) -> None:
    """Raise DataError if the file begins like a Git LFS pointer or a web page."""
    if (other := other_than_data(beginning)) is not None:
        raise DataError(other[0], path=path, fix=other[1])


def require_data(path: Path) -> None:
    """Make both checks on an uncompressed file. Raises OSError if it cannot be read."""
    require_plain(path)
    with path.open("rb") as file:
        refuse_other(file.read(BEGINNING), path)
