"""The right to work on one stage, on one host or on several that share the same store.

On one host the lock on `X.lock` decides; the operating system releases it when its holder dies. Other hosts may not see
that lock, so the unfinished folder is also named after its owner: `X.partial` belongs to nobody, and
`X.<name>-<host>-<process>-<random>.partial` to that process. Taking a stage, giving it back and taking it over are
renames of that folder, only one of which can succeed; a process that has lost the stage finds nothing where it writes,
and its final rename fails. An owner keeps touching `alive` in its folder. Another host considers it dead when the time
of that file, by whatever clock, has not changed for `LEASE_SECONDS` by that host's own clock.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from viaduct.errors import StoreError
from viaduct.results.checksums import SEALED, cleaned, seal, sealed
from viaduct.results.working import host
from viaduct.results.writing import canonical, write_atomic

BEAT_SECONDS = 10.0
LEASE_SECONDS = 100.0
"""An owner without a sign of life for this long counts as dead; file systems may show times that are a minute old."""
ALIVE = "alive"
GIVEN_UP = "given_up"
"""File that says why an attempt was given up for good."""
_OWNED = re.compile(r"(?P<stage>.+)\.(?P<name>[\w-]+)-(?P<host>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}\.partial")
_watched: dict[Path, tuple[int | None, float]] = {}
"""Folder of another host -> (time of its `alive`, when that time was first seen by our own clock)."""


def stage_name(unfinished: str) -> str:
    """The name of the stage whose unfinished folder has this name."""
    found = _OWNED.fullmatch(unfinished)
    return found["stage"] if found else unfinished.removesuffix(".partial")


def owned(free: Path) -> list[Path]:
    """The folders of processes that work on a stage, or died doing so; `free`: the stage's folder if nobody owns it."""
    name = free.name.removesuffix(".partial")
    try:
        names = os.listdir(free.parent)  # noqa: PTH208  a stage that has not begun is asked for often
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [free.with_name(one) for one in sorted(names) if one.startswith(name) and stage_name(one) == name != one]


def unfinished(free: Path) -> Path:
    """The unfinished folder of a stage, whoever owns it; `free` if there is none."""
    return next((one for one in (*owned(free), free) if (one / "stage.json").exists()), free)


def is_elsewhere(folder: Path) -> bool:
    """Whether the folder belongs to a process on another host."""
    found = _OWNED.fullmatch(folder.name)
    return found is not None and found["host"] != host()


def is_alive(folder: Path, clock: Path) -> bool:
    """Whether a process on another host seems to be alive, by the file system's clock, which is read by touching
    `clock`; True if unknown."""
    try:
        os.utime(clock)
        return clock.stat().st_mtime - (_beat(folder) or 0) / 1e9 < LEASE_SECONDS
    except OSError:
        return True


def take(free: Path) -> Path | None:
    """Take ownership of the unfinished folder of a stage, a new one if there was none; None if a process on another
    host owns it, or may own it. Call this while holding the stage's lock."""
    others = owned(free)
    if any(is_elsewhere(one) and not _is_abandoned(one) for one in others):
        return None
    source, name = unfinished(free), re.sub(r"[^\w-]", "_", socket.gethostname(), flags=re.ASCII)
    stage = free.name.removesuffix(".partial")
    mine = free.with_name(f"{stage}.{name}-{host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")
    try:
        if source == free:
            free.mkdir(exist_ok=True)
        source.rename(mine)
        (mine / ALIVE).touch()
    except FileNotFoundError:
        return None  # another host was quicker
    for left in {*others} - {source}:
        shutil.rmtree(left, ignore_errors=True)
    if any(one not in others for one in owned(free) if one != mine):  # two hosts made one at the same time
        _give_back(mine, free)
        return None
    return mine


def require_no_other_host(free: Iterable[Path], tell: Callable[[str], None]) -> None:
    """Raise StoreError if a process on another host works on one of these stages. If one owns, or owned, any of them,
    this takes until its next sign of life, at most `LEASE_SECONDS`, which `tell` announces."""
    seen = {one: _beat(one) for each in free for one in owned(each) if is_elsewhere(one)}
    end = time.monotonic() + LEASE_SECONDS
    if seen:
        who = ", ".join(sorted({_owner(one) for one in seen}))
        tell(f"{who} may be at work in this store; checking for at most {LEASE_SECONDS:g} s whether it is")
    while seen and time.monotonic() < end:
        for folder, beat in seen.items():
            _is_abandoned(folder)  # which starts its timer
            if _beat(folder) != beat:
                raise StoreError(
                    f"{_owner(folder)} is at work in this store, on {folder.parent / stage_name(folder.name)}",
                    fix="let it finish, or stop it there; several hosts work on one store together with --executor ray"
                    " (docs/scaling.md)",
                )
        time.sleep(min(0.5, BEAT_SECONDS))


def _owner(folder: Path) -> str:
    found = _OWNED.fullmatch(folder.name)
    return f"process {found['process']} of host {found['name']}" if found else "nobody"


def _beat(folder: Path) -> int | None:
    """The time of the owner's last sign of life, in nanoseconds of some host's clock; None if there is none."""
    try:
        with (folder / ALIVE).open("rb") as file:  # opened, because a network file system may answer `stat` from cache
            return os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def _is_abandoned(folder: Path) -> bool:
    """Whether the owner has shown no sign of life for `LEASE_SECONDS` since this process began watching."""
    beat, now = _beat(folder), time.monotonic()
    before, since = _watched.setdefault(folder, (beat, now))
    if before != beat:
        _watched[folder] = beat, now
        return False
    return now - since >= LEASE_SECONDS


def _give_back(mine: Path, free: Path) -> None:
    """Give up ownership of the folder, for a later attempt; without a record nothing can be resumed: remove it."""
    if (mine / "stage.json").exists():
        with contextlib.suppress(OSError):
            mine.rename(free)
    else:
        shutil.rmtree(mine, ignore_errors=True)


@dataclass
class Claim:
    """The right to work on one stage, held until `finish` or `release`, or until another host takes it over because
    this process showed no sign of life: it was suspended, or cut off from the store."""

    directory: Path
    """The stage's final directory, which does not exist yet, or was cleaned."""
    partial: Path
    """The unfinished folder, named after its owner."""
    free: Path
    """The path of that folder when nobody owns it."""
    record: Mapping[str, Any]
    lock: FileLock
    discarded: Mapping[str, Any] | None = None
    """The record of an interrupted attempt at something else that was discarded; None if there was none."""
    resumed: bool = False
    """Whether the scratch folder of an earlier attempt was kept."""
    seconds_before: float = 0.0
    """Seconds spent by earlier attempts, as far as they had recorded them."""
    _over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        threading.Thread(target=_beat_until, args=(self._over, self.partial / ALIVE), daemon=True).start()

    @property
    def output(self) -> Path:
        """Where the stage writes."""
        return self.partial / "output"

    @property
    def scratch(self) -> Path:
        """Where the stage keeps checkpoints."""
        return self.partial / "scratch"

    def empty_output(self) -> None:
        """Remove what an earlier attempt may have left half written."""
        shutil.rmtree(self.output, ignore_errors=True)
        self.output.mkdir()
        self.scratch.mkdir(exist_ok=True)

    def require_held(self) -> None:
        """Raise StoreError if another host has taken the stage over."""
        if not (self._over.is_set() or (self.partial / "stage.json").exists()):
            raise StoreError(
                f"{self.directory}: another host took this stage over, because this process ({os.getpid()}) gave no"
                f" sign of life for {LEASE_SECONDS:g} s; its work since then is discarded",
                fix="run the same command again when no other host works in this store, or on all of them with"
                " --executor ray (docs/scaling.md)",
            )

    def note_seconds(self, seconds: float) -> None:
        """Record the seconds spent so far in all attempts, in case this process dies. Raises as `require_held` does."""
        self.require_held()
        write_atomic(self.partial / "seconds", repr(seconds), lasting=False)

    def finish(self, cost: Mapping[str, Any]) -> None:
        """Move the output to the stage's directory in one step and release the stage. Raises as `require_held` does."""
        self.require_held()
        try:
            (self.output / "stage.json").write_text(canonical(self.record), encoding="utf-8")
            (self.output / SEALED).write_text(canonical(sealed(cost)), encoding="utf-8")
            seal(self.output)
            if cleaned(self.directory):  # what was left in it is all in the output again
                self.directory.rename(self.partial / "cleaned")
            self.output.rename(self.directory)
        except OSError:
            self.require_held()
            raise
        # The rename is not flushed: a power failure may undo it, and then the stage is resumed.
        shutil.rmtree(self.partial, ignore_errors=True)
        self.release()

    def give_up(self, why: str) -> None:
        """Give the stage up for good: record why, and remove its output and checkpoints."""
        write_atomic(self.partial / GIVEN_UP, f"{why}\n")
        for folder in (self.output, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)

    def forget(self) -> None:
        """Abandon the stage and keep nothing."""
        self._over.set()
        shutil.rmtree(self.partial, ignore_errors=True)

    def release(self) -> None:
        """Release the stage and keep what is there for a later attempt."""
        self._over.set()
        _give_back(self.partial, self.free)
        self.lock.release()


def _beat_until(over: threading.Event, alive: Path) -> None:
    """Touch a file at intervals until `over` is set or the file is gone."""
    while not over.wait(BEAT_SECONDS):
        try:
            os.utime(alive)
        except FileNotFoundError:
            return
        except OSError:
            continue  # a transient fault; if it lasts, the stage is lost
