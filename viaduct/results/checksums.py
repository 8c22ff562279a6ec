"""Checksums of finished folders: a list as `sha256sum -c` reads it, written last and checked when the files are read.

A hash is computed once per process and file stamp (`viaduct.tasks.hashes`). A folder without a list predates checksums:
nothing can be said about it, and it is accepted as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from viaduct.errors import StoreError
from viaduct.tasks.hashes import content_of, file_sha256, state_of

LIST = "SHA256SUMS"
CLEANED = "cleaned"
"""File with the names of files that were deliberately removed to make room."""
SEALED = "cost.json"
"""File of a finished stage that differs every time it is computed: not in the list, but with its checksum inside."""
_LINE = re.compile(r"[0-9a-f]{64}  [^\0]+")
_SEAL = "sha256"
"""Field of a JSON object with the checksum of the other fields."""


_ANEW = "remove the whole folder (rm -r '{}') and run again, which recomputes it"


@cache
def mode_mask() -> int:
    """The umask of this process: the permission bits that it removes."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def open_to_others(path: Path) -> None:
    """Give a file or folder the permissions that the umask allows; some libraries create theirs for the owner only."""
    path.chmod((0o777 if path.is_dir() else 0o666) & ~mode_mask())


def flush(path: Path) -> None:
    """Make sure that a file, or the names in a directory, are on disk and not only in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal(folder: Path) -> None:
    """List the checksums of all files that are the same every time they are computed, and flush everything to disk: if
    the folder is renamed after that, it is complete even after a power failure."""
    paths = sorted(folder.rglob("*"))
    for path in (folder, *paths):
        open_to_others(path)
    files = [path for path in paths if path.is_file() and path not in (folder / LIST, folder / SEALED)]
    lines = [f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / LIST).write_text("".join(lines), encoding="utf-8")
    for path in (*paths, folder / LIST, folder):
        flush(path)


def cleaned(folder: Path) -> frozenset[str]:
    """Names of the files of a finished folder that were removed to make room; empty if none were."""
    try:
        return frozenset((folder / CLEANED).read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        return frozenset()


def damaged(folder: Path, *names: str) -> list[str]:
    """The files (with these names, or all if none are given) that are missing, except those removed to make room, that
    are not what was written, or that are not in the list; the list itself if it is not a valid one."""
    try:
        lines = (folder / LIST).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    if not lines or not all(map(_LINE.fullmatch, lines)):
        return [LIST]
    found = {line[66:]: line[:64] for line in lines}
    removed = cleaned(folder)
    there = [name for name in names or _files(folder) if name not in found and (folder / name).is_file()]
    others = [
        name
        for name, digest in found.items()
        if name not in removed and (not names or name in names) and content_of(state_of(folder / name)) != digest
    ]
    return others + there


def _files(folder: Path) -> list[str]:
    """Names of the files that the list of a finished folder must contain."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return sorted(name for name in names if name not in (LIST, CLEANED, SEALED) and not name.startswith("."))


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object with an additional field, its checksum."""
    return {**content, _SEAL: _digest(content)}


def unsealed(path: Path, fix: str = "") -> dict[str, Any]:
    """The object that was sealed; one from before there were checksums as it is. Raises StoreError if the file is
    missing, damaged or not a JSON object; `fix`: what to do, if that is not to run the folder's stage again."""
    fix = fix or _ANEW.format(path.parent)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        seal = found.pop(_SEAL, None)
    except FileNotFoundError as error:
        raise StoreError(f"{path} is gone", fix=fix) from error
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise StoreError(f"{path} is damaged: {error}", fix=fix) from error
    if seal is not None and seal != _digest(found):
        raise StoreError(f"{path} is damaged: its content does not match its checksum", fix=fix)
    return dict(found)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Verified(NamedTuple):
    """The result of checking all checksums below a folder."""

    whole: int
    """Number of folders in which all files are what was written."""
    unlisted: tuple[Path, ...]
    """Finished stages without checksums, from before there were any."""
    damaged: tuple[Path, ...]
    """Damaged files."""


def verify(root: Path) -> Verified:
    """Check everything below a folder that has checksums: finished stages, checkpoints, tokenised rows."""
    found = {path.parent: damaged(path.parent) for path in sorted(root.rglob(LIST))}
    stages = {path.parent for path in root.rglob("stage.json") if ".partial/" not in path.as_posix()}
    alone = [path for path in sorted({*root.rglob("run.json"), *(one / SEALED for one in stages)}) if _is_broken(path)]
    alone += [folder / "stage.json" for folder in sorted(stages) if _was_moved(folder)]
    return Verified(
        sum(not names and not {folder / SEALED, folder / "stage.json"} & {*alone} for folder, names in found.items()),
        tuple(sorted(stages - found.keys())),
        (*(folder / name for folder, names in found.items() for name in names), *alone),
    )


def _was_moved(folder: Path) -> bool:
    """Whether a stage's record, if it can be read, names another path."""
    try:
        told = json.loads((folder / "stage.json").read_text(encoding="utf-8"))["path"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    return not folder.resolve().as_posix().endswith(f"/{told}")


def _is_broken(path: Path) -> bool:
    try:
        unsealed(path)
    except StoreError:
        return True
    return False


def require_whole(folder: Path, *names: str) -> None:
    """Raise StoreError if one of these files (of all, if none is named) is damaged or was removed."""
    if removed := cleaned(folder) & set(names) if names else cleaned(folder):
        raise StoreError(
            f"{folder / min(removed)} was removed to make room (--keep, viaduct clean)",
            fix=_ANEW.format(folder),
        )
    if found := damaged(folder, *names):
        what = f"is damaged: its SHA-256 is not the one in {LIST}, or this list is cut off"
        if found[0] == LIST:
            what = "is damaged: it is not a list of checksums, or is empty"
        elif not (folder / found[0]).exists():
            what = "is gone"
        raise StoreError(f"{folder / found[0]} {what}", fix=_ANEW.format(folder))
