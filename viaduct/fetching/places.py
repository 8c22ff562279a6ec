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

Piece = PublishedFile | HubFiles
"""What is fetched at once."""

FOLDER = ".fetched"
"""In the data folder: what is on its way, and a record of each file that has arrived."""


def places(card: Task, split: str, language: str) -> tuple[tuple[Piece, ...], ...]:
    """The places that have these rows, the best first, each with what has to be fetched there."""
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
    """Fetch what is not there; piece -> why it could not be had, for those of which that is so.

    A full disk is raised: nothing after it could be had either.
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
    """Fetch and unpack one file, unless a record says that it was, and what came of it is still there.

    A second process waits for the first and finds it done.
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
    """Whether a file that somebody else put there is what was published."""
    if file.sha256 is None or not path.is_file():
        return False
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256


def mirrored(address: str, mirrors: Collection[str]) -> str:
    """The address where the mirror has it: `BASE` has every host at BASE/HOST/..., `HOST=BASE` one host at BASE/...

    Raises UsageError for what is neither.
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
