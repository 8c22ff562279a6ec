"""Where one split of one language can be fetched: from its publisher first, else from the Hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from viaduct.errors import StoreError, UsageError, ViaductError
from viaduct.fetching import publishers
from viaduct.fetching.download import Progress, Wanted, download
from viaduct.fetching.hub_files import HubFiles, fetch_files, require_commit
from viaduct.fetching.publishers import PublishedFile
from viaduct.fetching.unpack import put, unpack
from viaduct.results.writing import canonical, write_atomic
from viaduct.tasks.card import Task, patterns
from viaduct.tasks.hashes import file_sha256

Piece = PublishedFile | HubFiles
"""A unit of fetching: one published file, or one pattern of files on the Hub."""

FOLDER = ".fetched"
"""Subfolder of the data folder that holds partial downloads, and a record of each file that has arrived."""


def places(card: Task, split: str, language: str) -> tuple[tuple[Piece, ...], ...]:
    """The places that have these rows, best first, each with the pieces to fetch from it."""
    files = [one.of(split, language) for one in publishers.SOURCES.get(card.name, ())]
    published = tuple(file for file in files if file is not None)
    found: list[tuple[Piece, ...]] = [published] if published else []
    for source in card.sources:
        wanted = patterns(source, language, split)
        if source.hub is None or source.hub.revision is None or wanted is None:
            continue
        require_commit(source.hub.repository, source.hub.revision)
        found.append(
            tuple(HubFiles(source.hub.repository, source.hub.revision, pattern) for pattern in wanted.values())
        )
    return tuple(dict.fromkeys(found))


def fetch_pieces(
    pieces: Collection[Piece], data: Path, mirrors: Collection[str], progress: Progress
) -> dict[Piece, str]:
    """Fetch what is missing; returns piece -> why it could not be fetched, for those that failed.

    A full disk raises StoreError: nothing after it could be fetched either.
    """
    failed: dict[Piece, str] = {}
    for file in (one for one in pieces if isinstance(one, PublishedFile)):
        try:
            fetch_published(file, data, mirrors, progress)
        except StoreError:
            raise
        except ViaductError as error:
            failed[file] = str(error)
    repositories: dict[str, list[HubFiles]] = {}
    for one in pieces:
        if isinstance(one, HubFiles):
            repositories.setdefault(one.repository, []).append(one)
    for repository, wanted in repositories.items():
        try:
            fetch_files(repository, wanted, data)
        except StoreError:
            raise
        except ViaductError as error:
            failed |= {one: str(error) for one in wanted if not one.are_in(data)}
    return failed


def fetch_published(file: PublishedFile, data: Path, mirrors: Collection[str], progress: Progress) -> None:
    """Fetch and unpack one file, unless a record says that this was done and the resulting files are still there.

    A second process waits for the first, then finds it done.
    """
    name = Path(urlsplit(file.address).path).name
    key = f"{hashlib.sha256(file.address.encode()).hexdigest()[:12]}-{name}"
    work = data / FOLDER
    work.mkdir(parents=True, exist_ok=True)
    with FileLock(work / f"{key}.lock"):
        record = work / f"{key}.json"
        if _is_there(record, file, data):
            return
        arrived, place = work / key, data / file.to
        if not file.keep and _is_published(place, file):
            found, sizes = str(file.sha256), {"": place.stat().st_size}
        else:
            found = download(Wanted(mirrored(file.address, mirrors), file.size, file.sha256), arrived, progress)
            if file.keep:
                sizes = unpack(arrived, place, file.keep, work / f"{key}.unpacking")
                arrived.unlink()
            else:
                sizes = {"": arrived.stat().st_size}
                put(arrived, place)
        about = {"address": file.address, "sha256": found, "known_before": file.sha256 is not None, "files": sizes}
        write_atomic(record, canonical(about))


def _is_there(record: Path, file: PublishedFile, data: Path) -> bool:
    if not record.is_file():
        return False
    sizes = json.loads(record.read_text(encoding="utf-8"))["files"]
    paths = {data / file.to / name if name else data / file.to: size for name, size in sizes.items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())


def _is_published(path: Path, file: PublishedFile) -> bool:
    """Whether a file that somebody else put there is the published one."""
    return file.sha256 is not None and path.is_file() and file_sha256(path) == file.sha256


def mirrored(address: str, mirrors: Collection[str]) -> str:
    """The address on a mirror: `BASE` serves every host at BASE/HOST/..., `HOST=BASE` serves one host at BASE/...

    Raises UsageError for a mirror of neither form.
    """
    parts = urlsplit(address)
    for given in mirrors:
        host, equals, base = given.partition("=")
        if not equals:
            host, base = parts.netloc, f"{given.rstrip('/')}/{parts.netloc}"
        if urlsplit(base).scheme not in ("http", "https"):
            raise UsageError(
                f"--mirror {given}: not a base address", fix="--mirror https://mirror.example, or HOST=https://..."
            )
        if host == parts.netloc:
            return base.rstrip("/") + parts.path + (f"?{parts.query}" if parts.query else "")
    return address
