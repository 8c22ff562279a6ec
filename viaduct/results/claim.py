"""The right to work on one stage, on one host or on several that see the same store.

On one host the lock on `X.lock` decides; the operating system drops it when its holder dies. Other hosts may not see
that lock, so the unfinished folder carries its owner's name as well: `X.partial` is nobody's, and
`X.<name>-<host>-<process>-<random>.partial` is that process's. To take a stage, to give it back and to take it over
are renames of that folder, of which one succeeds; whoever has lost it finds nothing where it writes, and its last
rename fails. An owner touches `alive` in its folder. Another host takes it for dead when the time of that file, by
whatever clock, has stayed the same for `LEASE_SECONDS` of the host's own.
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
"""File systems may show a time that is a minute old."""
ALIVE = "alive"
GIVEN_UP = "given_up"
"""File that says why nothing will come of an attempt."""
_OWNED = re.compile(r"(?P<stage>.+)\.(?P<name>[\w-]+)-(?P<host>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}\.partial")
_watched: dict[Path, tuple[int | None, float]] = {}
"""Folder of another host -> (time of its `alive`, when it was first seen to be that by our own clock)."""


def stage_name(unfinished: str) -> str:
    """The name of the stage whose unfinished folder has this name."""
    found = _OWNED.fullmatch(unfinished)
    return found["stage"] if found else unfinished.removesuffix(".partial")


def owned(free: Path) -> list[Path]:
    """The folders of processes that work on a stage, or have died over it; `free`: its folder while it is nobody's."""
    name = free.name.removesuffix(".partial")
    try:
        names = os.listdir(free.parent)  # noqa: PTH208  a stage that has not begun is asked for often
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [free.with_name(one) for one in sorted(names) if one.startswith(name) and stage_name(one) == name != one]


def unfinished(free: Path) -> Path:
    """The folder of the attempt at a stage, whoever has it."""
    return next((one for one in (*owned(free), free) if (one / "stage.json").exists()), free)


def is_elsewhere(folder: Path) -> bool:
    """Whether the folder is that of a process on another host."""
    found = _OWNED.fullmatch(folder.name)
    return found is not None and found["host"] != host()


def is_alive(folder: Path, clock: Path) -> bool:
    """Whether a process of another host seems to live, by the file system's time, which a touch of `clock` tells; True
    where that is not known."""
    try:
        os.utime(clock)
        return clock.stat().st_mtime - (_beat(folder) or 0) / 1e9 < LEASE_SECONDS
    except OSError:
        return True


def take(free: Path) -> Path | None:
    """The unfinished folder of a stage as this process's own, new where there was none; None where a process of another
    host has it, or may have it. To be called with the stage's lock."""
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
    if any(one not in others for one in owned(free) if one != mine):  # two hosts made a folder at once
        _give_back(mine, free)
        return None
    return mine


def require_no_other_host(free: Iterable[Path], tell: Callable[[str], None]) -> None:
    """Raise StoreError where a process of another host works on one of these stages. Where one has, or had, one of
    them, that takes until its next sign of life, at most `LEASE_SECONDS`, which is told."""
    seen = {one: _beat(one) for each in free for one in owned(each) if is_elsewhere(one)}
    end = time.monotonic() + LEASE_SECONDS
    if seen:
        who = ", ".join(sorted({_owner(one) for one in seen}))
        tell(f"{who} may be at work in this store; watching for at most {LEASE_SECONDS:g} s whether it is")
    while seen and time.monotonic() < end:
        for folder, beat in seen.items():
            _is_abandoned(folder)  # which begins its time
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
    """The time of the owner's last sign of life in nanoseconds of somebody's clock; None where there is none."""
    try:
        with (folder / ALIVE).open("rb") as file:  # opened, because a network file system may answer `stat` from memory
            return os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def _is_abandoned(folder: Path) -> bool:
    """Whether the owner has given no sign of life for so long as this process has looked."""
    beat, now = _beat(folder), time.monotonic()
    before, since = _watched.setdefault(folder, (beat, now))
    if before != beat:
        _watched[folder] = beat, now
        return False
    return now - since >= LEASE_SECONDS


def _give_back(mine: Path, free: Path) -> None:
    """Make the folder nobody's, for a later attempt; without a record there is nothing to go on with."""
    if (mine / "stage.json").exists():
        with contextlib.suppress(OSError):
            mine.rename(free)
    else:
        shutil.rmtree(mine, ignore_errors=True)


@dataclass
class Claim:
    """The right to work on one stage, held until `finish` or `release`, or until another host takes it over because
    this process gave no sign of life: stopped, or cut off from the store."""

    directory: Path
    """The stage's final directory, which does not exist yet, or was cleaned."""
    partial: Path
    """The unfinished folder, by its owner's name."""
    free: Path
    """The same when nobody has it."""
    record: Mapping[str, Any]
    lock: FileLock
    discarded: Mapping[str, Any] | None = None
    """The record of an interrupted attempt at something else that was thrown away, None when there was none."""
    resumed: bool = False
    """Whether the scratch folder of an earlier attempt was kept."""
    seconds_before: float = 0.0
    """Spent by earlier attempts, as far as they had noted it."""
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
        """Raise StoreError where another host has taken the stage over."""
        if not (self._over.is_set() or (self.partial / "stage.json").exists()):
            raise StoreError(
                f"{self.directory}: another host took this stage over, because this process ({os.getpid()}) gave no"
                f" sign of life for {LEASE_SECONDS:g} s; what it had since is thrown away",
                fix="run the same command again when no other host works in this store, or on all of them with"
                " --executor ray (docs/scaling.md)",
            )

    def note_seconds(self, seconds: float) -> None:
        """Remember the seconds spent so far in all attempts, for when this process dies; as `require_held`."""
        self.require_held()
        write_atomic(self.partial / "seconds", repr(seconds), lasting=False)

    def finish(self, cost: Mapping[str, Any]) -> None:
        """Make the output the stage's directory, in one step, and let go of the stage; as `require_held`."""
        self.require_held()
        try:
            (self.output / "stage.json").write_text(canonical(self.record), encoding="utf-8")
            (self.output / SEALED).write_text(canonical(sealed(cost)), encoding="utf-8")
            seal(self.output)
            if cleaned(self.directory):  # what was left of it is all in the output again
                self.directory.rename(self.partial / "cleaned")
            self.output.rename(self.directory)
        except OSError:
            self.require_held()
            raise
        # Its name is not flushed: a power cut may take it away again, and then the stage is one to go on with.
        shutil.rmtree(self.partial, ignore_errors=True)
        self.release()

    def give_up(self, why: str) -> None:
        """Let go of the stage for good: nothing will come of it."""
        write_atomic(self.partial / GIVEN_UP, f"{why}\n")
        for folder in (self.output, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)

    def forget(self) -> None:
        """Let go of the stage and keep nothing."""
        self._over.set()
        shutil.rmtree(self.partial, ignore_errors=True)

    def release(self) -> None:
        """Let go of the stage and keep what is there for a later attempt."""
        self._over.set()
        _give_back(self.partial, self.free)
        self.lock.release()


def _beat_until(over: threading.Event, alive: Path) -> None:
    """Touch a file until told that it is over, or the file is gone."""
    while not over.wait(BEAT_SECONDS):
        try:
            os.utime(alive)
        except FileNotFoundError:
            return
        except OSError:
            continue  # a fault of the moment; should it last, the stage is lost
