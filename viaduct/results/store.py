"""The directory where stages leave results: one directory per stage, either complete or absent.

While stage X is being worked on, everything is in its unfinished folder (`output/`, `scratch/`, the identity and the
seconds spent), which belongs to its owner (`viaduct.results.claim`). A finished output is flushed to disk and renamed
to X in one step, so `X/stage.json` means done. Finished stages are never rewritten, and have checksums
(`viaduct.results.checksums`). This module knows neither what a stage does nor whether two identities should be the
same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from viaduct.errors import StoreError
from viaduct.results.checksums import CLEANED, LIST, SEALED, cleaned, require_whole, unsealed
from viaduct.results.claim import (
    ALIVE,
    GIVEN_UP,
    Claim,
    is_alive,
    is_elsewhere,
    owned,
    require_no_other_host,
    take,
    unfinished,
)
from viaduct.results.working import is_locked
from viaduct.results.writing import canonical, write_atomic
from viaduct.tasks.hashes import state_of

State = Literal["done", "running", "interrupted", "given up", "waiting"]


class Store:
    """Stage directories below one root; several processes may use it at the same time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def directory(self, path: str) -> Path:
        """The directory of a stage, whether it exists or not."""
        return _places(self.root, path)[0]

    def record(self, path: str) -> dict[str, Any] | None:
        """The record (`stage.json`) of a finished stage; None if it is not finished.

        Raises StoreError if the directory exists without a readable record of this stage: something else created it, or
        it is damaged, or belongs to another stage.
        """
        directory, *files = _places(self.root, path)
        if not directory.exists():
            return None
        found = _finished(directory, tuple(map(state_of, files)))
        if found.get("path", path) != path:
            raise StoreError(
                f"{directory} holds the stage {found['path']}: its folder was moved",
                fix="move it back to where its name says, or remove it and run again",
            )
        return found

    def has(self, path: str, fingerprint: str) -> bool:
        """Whether the stage at this path is finished, with this fingerprint. Raises StoreError as `record` does."""
        found = self.record(path)
        return found is not None and found["fingerprint"] == fingerprint

    def inputs(self, path: str) -> dict[str, str]:
        """Role -> fingerprint, of the stages that a finished stage started from; {} if it is not finished."""
        found: dict[str, str] = (self.record(path) or {}).get("identity", {}).get("inputs", {})
        return found

    def cost(self, path: str) -> dict[str, Any]:
        """The `cost.json` of a finished stage. Raises StoreError if it is missing or damaged."""
        found = unsealed(self.directory(path) / SEALED)
        if not isinstance(found.get("seconds"), int | float):
            directory = self.directory(path)
            raise StoreError(f"{directory / SEALED} is damaged: no seconds", fix=f"remove {directory} and run again")
        return found

    def text(self, path: str, name: str) -> str | None:
        """The content of a text file that a finished stage left; None if it left none."""
        file = self.file(path, name)
        return file.read_text(encoding="utf-8") if file.is_file() else None

    def file(self, path: str, name: str) -> Path:
        """The path of a file that a finished stage left. Raises StoreError if it is damaged."""
        require_whole(self.directory(path), name)
        return self.directory(path) / name

    def unfinished(self, path: str) -> dict[str, Any] | None:
        """The record of an attempt at an unfinished stage; None if there is none."""
        return _read_record(unfinished(self._free(path)))

    def state(self, path: str) -> State:
        """Whether the stage is done, running in a live process, interrupted, given up, or not started."""
        if self.record(path) is not None:
            return "done"
        if is_locked(self._lock_file(path)):
            return "running"
        folder = unfinished(self._free(path))
        if not (folder / "stage.json").exists():
            return "waiting"
        if is_elsewhere(folder) and is_alive(folder, self._lock_file(path)):
            return "running"
        return "given up" if (folder / GIVEN_UP).exists() else "interrupted"

    def seconds(self, path: str) -> float:
        """Seconds recorded so far by attempts at an unfinished stage; 0.0 if none."""
        return _read_seconds(unfinished(self._free(path)))

    def require_no_other_host(self, paths: Iterable[str], tell: Callable[[str], None]) -> None:
        """Raise StoreError if another host works on one of these stages (`claim.require_no_other_host`)."""
        require_no_other_host(map(self._free, paths), tell)

    def claim(self, path: str, record: Mapping[str, Any]) -> Claim | None:
        """The right to work on a stage; None if another process has it, may have it (on another host), or has just
        finished it.

        Checkpoints of an interrupted attempt are kept if its record equals `record`, and discarded otherwise.
        """
        directory, free = self.directory(path), self._free(path)
        directory.parent.mkdir(parents=True, exist_ok=True)
        lock = self._lock(path)
        if lock is None:
            return None
        with ExitStack() as unless_claimed:
            unless_claimed.callback(lock.release)
            if self.record(path) is not None:
                self._sweep(path)
                return None
            if (partial := take(free)) is None:
                return None
            claim = Claim(directory, partial, free, record, lock)
            unless_claimed.callback(claim.release)
            try:
                _begin(claim)
            except FileNotFoundError:
                if partial.exists():
                    raise
                return None  # this process was suspended here until another host took it over
            unless_claimed.pop_all()
        return claim

    def sweep(self, path: str) -> None:
        """Remove what a process that died right after finishing this stage left next to it."""
        left = [*owned(self._free(path)), *filter(Path.exists, [self._free(path)])]
        if not left or self.record(path) is None:
            return
        lock = self._lock(path)
        if lock is not None:
            self._sweep(path)
            lock.release()

    def _sweep(self, path: str) -> None:
        for left in (*owned(self._free(path)), self._free(path)):
            shutil.rmtree(left, ignore_errors=True)

    def clean(self, path: str) -> int:
        """Remove all files of a finished stage except its top-level JSON files, which say what it did and found;
        returns the bytes freed.

        The names of the files are recorded first, so that the stage counts as cleaned even if killed in between."""
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
        """The stage's lock, held; None if another process has it."""
        lock = FileLock(self._lock_file(path))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def _free(self, path: str) -> Path:
        """The stage's unfinished folder when nobody owns it."""
        return self.root / f"{path}.partial"

    def _lock_file(self, path: str) -> Path:
        return self.root / f"{path}.lock"


@lru_cache(maxsize=2**16)  # each is requested dozens of times, and joining paths is slow
def _places(root: Path, path: str) -> tuple[Path, Path, Path]:
    """A stage's directory, its record and its list of checksums."""
    directory = root / path
    return directory, directory / "stage.json", directory / LIST


@lru_cache(maxsize=2**14)  # a run of many stages asks for each of them again and again
def _finished(directory: Path, _stamps: tuple[object, ...]) -> dict[str, Any]:
    """The record in a finished stage's directory, cached while it and the checksums stay unchanged."""
    try:
        found = json.loads((directory / "stage.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"{directory} exists, but is not a finished stage (it has no stage.json)",
            fix=f"remove {directory}, or use another --store",
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{directory / 'stage.json'} is damaged: {error}", fix=f"remove {directory}") from error
    require_whole(directory, "stage.json")
    if not _is_record(found):
        raise StoreError(f"{directory / 'stage.json'} is not a record of a stage", fix=f"remove {directory}")
    return dict(found)


def _is_record(found: object) -> bool:
    """Whether it has what every record of a stage has."""
    identity = found.get("identity", {}) if isinstance(found, dict) else None
    inputs = identity.get("inputs", {}) if isinstance(identity, dict) else None
    return isinstance(found, dict) and isinstance(found.get("fingerprint"), str) and isinstance(inputs, dict)


def _begin(claim: Claim) -> None:
    """Keep what an interrupted attempt at the same work has left, and discard anything else."""
    earlier, partial = _read_record(claim.partial), claim.partial
    if earlier == claim.record:
        claim.resumed, claim.seconds_before = True, _read_seconds(partial)
    else:
        claim.discarded = earlier
        for left in partial.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name != ALIVE:
                left.unlink()
        # Not flushed: it is on disk long before the first checkpoint, its only use. A lost folder is not recreated.
        write_atomic(partial / "stage.json", canonical(claim.record), lasting=False, make_folder=False)
    claim.empty_output()


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
