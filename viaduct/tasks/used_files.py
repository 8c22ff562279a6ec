"""Hashes of the other files that rows refer to, such as images, without reading the rows again each time.

The rows say which files these are, and this may depend on which files are in a folder when the rows are read. A reader
that looks into a folder reports it (`looked_in`), so that the result is cached until a file in one of these folders is
added, removed or changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from viaduct.tasks.card import Located, Task, read_located
from viaduct.tasks.hashes import content_of, file_sha256, state_of

_LOOKED: ContextVar[set[str] | None] = ContextVar("_LOOKED", default=None)


def looked_in(folder: str | os.PathLike[str]) -> None:
    """Record that the rows being read depend on which files are in this folder, which need not exist."""
    if (looked := _LOOKED.get()) is not None:
        looked.add(os.fspath(folder))


@contextmanager
def _looking() -> Iterator[set[str]]:
    """Collects the folders that readers look in within this context."""
    found: set[str] = set()
    token = _LOOKED.set(found)
    try:
        yield found
    finally:
        _LOOKED.reset(token)


class Folders:
    """The contents of folders, each listed once: use it only while the folders are trusted not to change."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def state(self, folder: str) -> str:
        """A digest of the names and stamps of the folder's files, which differs whenever a file is added, removed or
        changed; "none" for a folder that is missing or cannot be listed."""
        if folder not in self._known:
            try:
                with os.scandir(folder) as entries:
                    found = sorted(f"{entry.name} {_stamp(entry)}" for entry in entries)
                self._known[folder] = hashlib.sha256("\n".join(found).encode("utf-8", "surrogateescape")).hexdigest()
            except OSError:
                self._known[folder] = "none"
        return self._known[folder]


def _stamp(entry: os.DirEntry[str]) -> tuple[int, ...]:
    try:
        state = entry.stat()
    except OSError:  # a dangling link
        return ()
    return (state.st_mode, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)


def used_digest(
    card: Task, located: Located, split: str, language: str, known: MutableMapping[str, str], folders: Folders
) -> str | None:
    """SHA-256 of the other files that the rows refer to, in the rows' order; None if there are none. `known` is the
    cache: files are hashed again only if the stamp of one of them has changed, and rows are read again only if their
    own files, or something in a folder that their reader looked in, have changed.

    Raises DataError for damaged files.
    """
    if (files_of := card.row_kind.files) is None:
        return None
    read_from = [(str(path), file_sha256(path)) for path in located.paths]
    about = _key([card.name, card.version, located.source.layout, split, language, read_from])
    looked = json.loads(known.get(about, "null"))
    if looked and (found := known.get(_seen(about, looked, folders))) is not None:
        return found or None
    with _looking() as noted:
        used = files_of(read_located(card, located, language, split).rows)
    digest = _digest(used, known)
    if noted and noted.issuperset({os.fspath(path.parent) for path in used if path is not None}):
        known[about] = json.dumps(sorted(noted))
        known[_seen(about, sorted(noted), folders)] = digest or ""
    return digest


def _digest(used: Sequence[Path | None], known: MutableMapping[str, str]) -> str | None:
    states = tuple(map(state_of, used))
    if not any(states):
        return None
    key = _key([one and (str(one[0]), one[1]) for one in states])
    if key not in known:
        known[key] = hashlib.sha256(" ".join(map(content_of, states)).encode()).hexdigest()
    return known[key]


def _seen(about: str, looked: list[str], folders: Folders) -> str:
    return _key([about, *((folder, folders.state(folder)) for folder in looked)])


def _key(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()
