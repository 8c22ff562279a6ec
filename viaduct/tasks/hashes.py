"""Hashes of files, cached within the process by the files' stamps."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from viaduct.errors import DataError
from viaduct.tasks.opening import require_plain

Stamp = tuple[int, int, int, int]
"""Size, mtime, ctime and inode of a file; while they stay the same, its content is taken to be unchanged."""


def stamp(path: Path) -> Stamp:
    """The file's stamp. Raises OSError for a missing file."""
    state = path.stat()
    return (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, cached within the process until the file changes.

    Raises DataError for a file that is missing or may not be read, and for a pipe or a device.
    """
    try:
        return _sha256(path, stamp(path))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from error


def state_of(path: Path | None) -> tuple[Path, Stamp] | None:
    """The path with its stamp; None if there is no such file."""
    try:
        return None if path is None else (path, stamp(path))
    except OSError:
        return None


def content_of(state: tuple[Path, Stamp] | None) -> str:
    """SHA-256 of a file; "none" if it is missing, "unreadable" if it cannot be read."""
    try:
        return "none" if state is None else _sha256(*state)
    except (OSError, DataError):
        return "unreadable"


@lru_cache(maxsize=2**17)  # COCO's images, which all languages of a caption set share
def _sha256(path: Path, _stamp: Stamp) -> str:
    require_plain(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
