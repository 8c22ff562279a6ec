"""Before a data file is read: only plain files are opened, and what lies in the place of data is told by its beginning.

A pipe would be waited for without end, and its bytes are gone once they are hashed. A Git LFS pointer and the web page
of a refused download are text, which some reader would take for a row.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path

from viaduct.errors import DataError

BEGINNING = 512
"""Bytes that tell what a file is."""

_OTHERS = (
    (
        re.compile(rb"version https://git-lfs\.github\.com/spec/"),
        "the file is a Git LFS pointer, not the data",
        "run `git lfs pull` in the repository that it comes from",
    ),
    (
        re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!--|\?xml\s|(?:!doctype|html|head|body|error)\b)", re.IGNORECASE),
        "the file is a web page (HTML or XML), not the data",
        "put the data in its place; the page may say why they were refused",
    ),
)


def require_plain(path: Path) -> None:
    """Raise DataError for a pipe, a device or a socket, OSError for a file that is not there."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError("is a pipe, a device or a socket, not a file", path=path, fix="write the data to a file")


def other_than_data(beginning: bytes) -> tuple[str, str] | None:
    """What a file is that begins so, and what to do, where it is a Git LFS pointer or a web page."""
    return next(((message, fix) for pattern, message, fix in _OTHERS if pattern.match(beginning)), None)


def refuse_other(beginning: bytes, path: Path) -> None:
    """Raise DataError where a file that begins so is a Git LFS pointer or a web page."""
    if (other := other_than_data(beginning)) is not None:
        raise DataError(other[0], path=path, fix=other[1])


def require_data(path: Path) -> None:
    """Both, for a file that is not compressed. Raises OSError for one that cannot be read."""
    require_plain(path)
    with path.open("rb") as file:
        refuse_other(file.read(BEGINNING), path)
