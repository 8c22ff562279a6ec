"""Unpacks archives so that nothing is written outside the folder and no partial file is left in it."""

from __future__ import annotations

import fnmatch
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from viaduct.errors import DataError

Members = Mapping[str, Callable[[], IO[bytes] | None]]
"""Name -> function that opens the member; it returns None if the member is not a regular file."""

COMPARED_BYTES = 1 << 20


def unpack(archive: Path, folder: Path, keep: Sequence[str], work: Path) -> dict[str, int]:
    """Unpack the members whose names match one of the patterns `keep` below `folder`; returns name -> bytes.

    They are written to the folder `work` first and moved when all are complete, so that an interruption leaves nothing
    partial. An existing file is kept if it is identical, replaced if it is the beginning of the member (an earlier
    unpacking that was interrupted), and otherwise an error. Raises DataError for that, for a damaged archive, and for
    one with a name that points outside the folder, of which nothing is unpacked.
    """
    shutil.rmtree(work, ignore_errors=True)
    try:
        with _members(archive) as members:
            names = [name for name in members if any(fnmatch.fnmatchcase(name, one) for one in keep)]
            if not names:
                raise DataError(
                    f"the archive has no {', '.join(keep)}",
                    path=archive,
                    fix="update viaduct: the publisher changed the archive",
                )
            sizes = {name: _write(members, name, work / name, archive) for name in names}
        for name in names:
            put(work / name, folder / name)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # from the disk, not from a decompressor
            raise
        raise DataError(f"the archive is damaged: {error}", path=archive, fix="fetch it again") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return sizes


@contextmanager
def _members(archive: Path) -> Iterator[Members]:
    """The members by name; folders are left out."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            named = [one for one in packed.infolist() if not one.is_dir()]
            yield {_inside(one.filename, archive): partial(packed.open, one) for one in named}
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tape:
            listed = [one for one in tape.getmembers() if not one.isdir()]
            yield {_inside(one.name, archive): partial(_plain, tape, one) for one in listed}
            while tape.fileobj is not None and tape.fileobj.read(COMPARED_BYTES):
                pass  # read on to the checksum, which is at the end
    else:
        raise DataError("is not a zip or tar archive", path=archive, fix="fetch it again")


def _plain(tape: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes] | None:
    return tape.extractfile(member) if member.isreg() else None


def _inside(name: str, archive: Path) -> str:
    """The name without a leading "./". Raises DataError if it points outside the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1]):
        message = f"the archive names a file outside of the folder: '{name}'"
        raise DataError(message, path=archive, fix="do not trust it: nothing of it was unpacked")
    return str(path)


def _write(members: Members, name: str, path: Path, archive: Path) -> int:
    source = members[name]()
    if source is None:
        raise DataError(f"'{name}' is a link or a device, not a file", path=archive, fix="do not trust the archive")
    path.parent.mkdir(parents=True, exist_ok=True)
    with source, path.open("wb") as file:
        shutil.copyfileobj(source, file, COMPARED_BYTES)
        return file.tell()


def put(new: Path, place: Path) -> None:
    """Move a file into place. Raises DataError if a different one is there, see `unpack`."""
    if place.exists() and not _begins_with(new, place):
        message = "is not the file that was published"
        raise DataError(message, path=place, fix="move it away and fetch again, or keep it and do not fetch")
    place.parent.mkdir(parents=True, exist_ok=True)
    new.replace(place)


def _begins_with(whole: Path, beginning: Path) -> bool:
    """Whether the second file is the beginning of the first, or all of it."""
    if beginning.stat().st_size > whole.stat().st_size:
        return False
    with whole.open("rb") as first, beginning.open("rb") as second:
        while read := second.read(COMPARED_BYTES):
            if first.read(len(read)) != read:
                return False
    return True
