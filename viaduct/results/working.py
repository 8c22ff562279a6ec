"""Folders in which something is made before it is renamed into place, and that are useless once their process is dead.

A process holds a lock on its folder, which the operating system releases when it dies, so that the next process that
works in the same place can tell abandoned folders from those in use. On a file system without such locks they are left
alone; those of other hosts, whose locks may not be visible, until they are a day old.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from viaduct.results.checksums import flush, open_to_others

UNFINISHED = "viaduct-unfinished-"
"""Part of the folders' names that nothing else uses."""
LEFT_SECONDS = 86400.0
"""Age after which a folder of another host counts as abandoned: that host's locks may not be visible here."""


@cache
def host() -> str:
    """Eight hex digits shared by all processes of one running kernel, which also share its locks. Host names would not
    do: containers have names of their own, and machines may share one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:
        return f"{uuid.getnode() & 0xFFFFFFFF:08x}"


@contextlib.contextmanager
def working_folder(parent: Path, name: str = "") -> Iterator[Path]:
    """A new folder in `parent`, whose name starts with `name` and `UNFINISHED`; it is removed afterwards, unless it has
    been renamed. Folders of dead processes are removed first."""
    prefix = name + UNFINISHED
    parent.mkdir(parents=True, exist_ok=True)
    folder, held = _new(parent, f"{prefix}{host()}-")
    for left in parent.glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(OSError):
            if _is_elsewhere(left, prefix) and folder.stat().st_mtime - left.stat().st_mtime < LEFT_SECONDS:
                continue
            lock = _lock(left)
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


@contextlib.contextmanager
def new_files(directory: Path, last: str, stale: Iterable[str] = ()) -> Iterator[Path]:
    """A folder for new files, which replace those of the same names in `directory` once all are on disk, `last` as the
    last one; folders replace folders. Files and folders in `directory` that match `stale` and are not among the new
    ones are removed. If anything fails, nothing changes."""
    with working_folder(directory, ".") as folder:
        yield folder
        made = sorted(folder.iterdir(), key=lambda path: path.name == last)
        for path in made:
            flush(path)
        for path in made:
            place = directory / path.name
            if path.is_dir() and place.is_dir():
                place.rename(folder / f"earlier-{path.name}")  # a folder cannot replace another
            path.replace(place)
        for path in (path for pattern in stale for path in directory.glob(pattern)):
            if path.name not in {one.name for one in made}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        flush(directory)


def _is_elsewhere(folder: Path, prefix: str) -> bool:
    """Whether a folder was made on another host."""
    maker = re.match(r"([0-9a-f]{8})-", folder.name.removeprefix(prefix))
    return maker is not None and maker[1] != host()


def _new(parent: Path, prefix: str) -> tuple[Path, int | None]:
    """(a new folder, its lock if the file system has locks)."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            open_to_others(folder)
            lock = _lock(folder)
        except (FileNotFoundError, BlockingIOError):
            continue  # another process took it for an abandoned one
        except OSError:
            return folder, None
        if folder.is_dir():
            return folder, lock
        os.close(lock)


def is_locked(path: Path) -> bool:
    """Whether a live process has a lock on a file, which may be another user's; False if there is no such file."""
    try:
        os.close(_lock(path))
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _lock(path: Path) -> int:
    """A locked descriptor. Raises BlockingIOError if a live process has the lock, OSError if there are no locks."""
    import fcntl  # missing on Windows, which commands report in words when they start

    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
