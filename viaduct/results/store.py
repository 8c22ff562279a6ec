"""The directory where stages leave results: one directory per stage, complete or not there at all.

While stage X is worked on, everything lies in `X.partial/` (`output/`, `scratch/`, the identity and the seconds spent)
and a lock on `X.lock` is held, which the operating system drops when the process dies. A finished output is flushed to
disk and renamed to X in one step, so `X/stage.json` means done. Finished stages are never written again, and have
checksums (`viaduct.results.checksums`). This file does not know what a stage does, nor whether two identities ought to
be the same.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from viaduct.errors import StoreError
from viaduct.results.checksums import CLEANED, LIST, SEALED, cleaned, flush, require_whole, seal, sealed, unsealed
from viaduct.results.working import is_locked
from viaduct.tasks.hashes import state_of

State = Literal["done", "running", "interrupted", "given up", "waiting"]
_GIVEN_UP = "given_up"
"""File that says why nothing will come of an attempt."""


def write_atomic(path: Path, content: str | bytes, *, lasting: bool = True) -> None:
    """Write a file so that a reader sees the old or the new content, never a part; even after a power cut, unless it
    need not be `lasting`, which is quicker."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if lasting:
        flush(path.parent)


def canonical(value: object) -> str:
    """JSON text with sorted keys and one final newline: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


@dataclass
class Claim:
    """The right to work on one stage, held until `finish` or `release`."""

    directory: Path
    """The stage's final directory, which does not exist yet, or was cleaned."""
    partial: Path
    record: Mapping[str, Any]
    lock: FileLock
    discarded: Mapping[str, Any] | None = None
    """The record of an interrupted attempt at something else that was thrown away, None when there was none."""
    resumed: bool = False
    """Whether the scratch folder of an earlier attempt was kept."""
    seconds_before: float = 0.0
    """Spent by earlier attempts, as far as they had noted it."""

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
        self.output.mkdir(parents=True)
        self.scratch.mkdir(exist_ok=True)

    def note_seconds(self, seconds: float) -> None:
        """Remember the seconds spent so far in all attempts, for when this process dies."""
        write_atomic(self.partial / "seconds", repr(seconds), lasting=False)

    def finish(self, cost: Mapping[str, Any]) -> None:
        """Make the output the stage's directory, in one step, and let go of the stage."""
        (self.output / "stage.json").write_text(canonical(self.record), encoding="utf-8")
        (self.output / SEALED).write_text(canonical(sealed(cost)), encoding="utf-8")
        seal(self.output)
        if cleaned(self.directory):  # what was left of it is all in the output again
            shutil.rmtree(self.directory)
        self.output.rename(self.directory)
        flush(self.directory.parent)
        shutil.rmtree(self.partial, ignore_errors=True)
        self.release()

    def give_up(self, why: str) -> None:
        """Let go of the stage for good: nothing will come of it."""
        write_atomic(self.partial / _GIVEN_UP, f"{why}\n")
        for folder in (self.output, self.scratch):
            shutil.rmtree(folder, ignore_errors=True)

    def release(self) -> None:
        """Let go of the stage and keep what is there for a later attempt."""
        self.lock.release()


class Store:
    """Stage directories below one root; several processes may use it at the same time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def directory(self, path: str) -> Path:
        """The directory of a stage, whether it exists or not."""
        return self.root / path

    def record(self, path: str) -> dict[str, Any] | None:
        """The record (`stage.json`) of a finished stage, None when it is not finished.

        Raises StoreError when the directory is there without a record that can be read: something else made it, or it
        is damaged, or another stage's.
        """
        directory = self.directory(path)
        if not directory.exists():
            return None
        found = _finished(directory, (state_of(directory / "stage.json"), state_of(directory / LIST)))
        if found.get("path", path) != path:
            raise StoreError(
                f"{directory} holds the stage {found['path']}: its folder was moved",
                fix="move it back to where its name says, or remove it and run again",
            )
        return found

    def cost(self, path: str) -> dict[str, Any]:
        """The `cost.json` of a finished stage. Raises StoreError where it is gone or damaged."""
        found = unsealed(self.directory(path) / SEALED)
        if not isinstance(found.get("seconds"), int | float):
            directory = self.directory(path)
            raise StoreError(f"{directory / SEALED} is damaged: no seconds", fix=f"remove {directory} and run again")
        return found

    def text(self, path: str, name: str) -> str | None:
        """What a finished stage left in a text file; None where it left none."""
        file = self.file(path, name)
        return file.read_text(encoding="utf-8") if file.is_file() else None

    def file(self, path: str, name: str) -> Path:
        """A file that a finished stage left. Raises StoreError where it is damaged."""
        require_whole(self.directory(path), name)
        return self.directory(path) / name

    def unfinished(self, path: str) -> dict[str, Any] | None:
        """The record of an attempt at an unfinished stage, None when there is none."""
        return _read_record(self._partial(path))

    def state(self, path: str) -> State:
        """Whether the stage is done, running in a live process, interrupted, given up, or not begun."""
        if self.record(path) is not None:
            return "done"
        if is_locked(self._lock_file(path)):
            return "running"
        if not (self._partial(path) / "stage.json").exists():
            return "waiting"
        return "given up" if (self._partial(path) / _GIVEN_UP).exists() else "interrupted"

    def seconds(self, path: str) -> float:
        """Seconds noted so far by attempts at an unfinished stage; 0.0 when none."""
        return _read_seconds(self._partial(path))

    def claim(self, path: str, record: Mapping[str, Any]) -> Claim | None:
        """The right to work on a stage; None when another process has it or has just finished it.

        Checkpoints of an interrupted attempt are kept when its record equals `record`, and thrown away otherwise.
        """
        directory, partial = self.directory(path), self._partial(path)
        directory.parent.mkdir(parents=True, exist_ok=True)
        lock = self._lock(path)
        if lock is None:
            return None
        with ExitStack() as unless_claimed:
            unless_claimed.callback(lock.release)
            if self.record(path) is not None:
                shutil.rmtree(partial, ignore_errors=True)
                return None
            claim = Claim(directory, partial, record, lock)
            earlier = _read_record(partial)
            if earlier == record:
                claim.resumed, claim.seconds_before = True, _read_seconds(partial)
            else:
                claim.discarded = earlier
                shutil.rmtree(partial, ignore_errors=True)
                # On the disk long before the first checkpoint, which is all that it is for.
                write_atomic(partial / "stage.json", canonical(record), lasting=False)
            claim.empty_output()
            unless_claimed.pop_all()
        return claim

    def sweep(self, path: str) -> None:
        """Remove what a process that died right after finishing this stage left beside it."""
        partial = self._partial(path)
        if not partial.exists() or self.record(path) is None:
            return
        lock = self._lock(path)
        if lock is not None:
            shutil.rmtree(partial, ignore_errors=True)
            lock.release()

    def clean(self, path: str) -> int:
        """Remove all files of a finished stage but the JSON at its top, which says what it did and found; bytes.

        What is to go is written down first: after a kill in between, the stage is a cleaned one all the same."""
        directory = self.directory(path)
        kept = {"stage.json", LIST, CLEANED}
        files = [one for one in directory.rglob("*") if one.is_file() and one.name not in kept]
        files = [one for one in files if one.suffix != ".json" or one.parent != directory]
        if not files:
            return 0
        names = cleaned(directory) | {one.relative_to(directory).as_posix() for one in files}
        write_atomic(directory / CLEANED, "".join(f"{name}\n" for name in sorted(names)))
        freed = sum(one.stat().st_size for one in files)
        for one in files:
            one.unlink(missing_ok=True)
        for folder in sorted((one for one in directory.rglob("*") if one.is_dir()), reverse=True):
            folder.rmdir()
        return freed

    def _lock(self, path: str) -> FileLock | None:
        """The stage's lock, held; None where another process has it."""
        lock = FileLock(self._lock_file(path))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def _partial(self, path: str) -> Path:
        return self.root / f"{path}.partial"

    def _lock_file(self, path: str) -> Path:
        return self.root / f"{path}.lock"


@lru_cache(maxsize=2**14)  # a run of many stages asks for each of them again and again
def _finished(directory: Path, _stamps: tuple[object, ...]) -> dict[str, Any]:
    """The record in a finished stage's directory, for as long as it and the checksums are not changed."""
    try:
        found = json.loads((directory / "stage.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"{directory} is there, but it is not a finished stage (it has no stage.json)",
            fix=f"remove {directory}, or use another --store",
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{directory / 'stage.json'} is damaged: {error}", fix=f"remove {directory}") from error
    require_whole(directory, "stage.json")
    if not _is_record(found):
        raise StoreError(f"{directory / 'stage.json'} is no record of a stage", fix=f"remove {directory}")
    return dict(found)


def _is_record(found: object) -> bool:
    """Whether it has what every record of a stage has."""
    identity = found.get("identity", {}) if isinstance(found, dict) else None
    inputs = identity.get("inputs", {}) if isinstance(identity, dict) else None
    return isinstance(found, dict) and isinstance(found.get("fingerprint"), str) and isinstance(inputs, dict)


def _read_record(partial: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((partial / "stage.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _read_seconds(partial: Path) -> float:
    try:
        return float((partial / "seconds").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return 0.0
