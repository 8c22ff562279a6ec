"""Storage of a tower's features: finished shards that are never rewritten, looked up by the content of the picture.

    meta.json                the tower's key, and the shape of its features
    features-00000.npy       tokens_NPD float16
    pooled-00000.npy         vector_ND float32
    pictures-00000.npy       (N, 32) uint8: SHA-256 of each picture's pixels
    shard-00000.json         hashes of the three files above; written last, and without it those files do not count
    places-00000.npy         (M, 2, 32) uint8: hash of a picture's place -> its content, so that a picture whose file
                             has not changed is not opened again
    claim-TOKEN.bin          places of pictures a process works on; it holds claim-TOKEN.lock, which a kill releases
    lock                     held while a shard or a claim is written; the next holder removes unfinished files

Shape letters: N pictures of a shard, P tokens, D width, M places.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from filelock import FileLock, Timeout

from viaduct.encode.tokens import Array
from viaduct.errors import DataError
from viaduct.results.writing import canonical, write_atomic
from viaduct.tasks.hashes import content_of, file_sha256, state_of

SHARD_FORMAT = 1
"""Bump this when the meaning of the files changes."""
FILES = ("features", "pooled", "pictures")
"""Prefixes of the names of a shard's files."""
DIGEST_BYTES = 32


class Shards:
    """The shards of one tower; several processes may read and add at the same time."""

    def __init__(self, root: Path, key: str, num_tokens: int, width: int) -> None:
        self.root, self.num_tokens, self.width = root, num_tokens, width
        self.meta = {"format": SHARD_FORMAT, "key": key, "tokens": num_tokens, "width": width}
        self.rows: dict[bytes, tuple[int, int]] = {}
        """Content of a picture -> (shard, row)."""
        self.places: dict[bytes, bytes] = {}
        """Place of a picture -> its content."""
        self.tokens: dict[int, Array] = {}
        """Shard -> tokens_NPD, memory-mapped."""
        self.vectors: dict[int, Array] = {}
        self._read_places: set[Path] = set()
        meta = root / "meta.json"
        if meta.exists() and (found := _json_object(meta)) != self.meta:
            raise DataError(f"describes other features ({found})", path=meta, fix=f"remove the folder {root}")
        self.refresh()

    def refresh(self) -> None:
        """Load what other processes have finished since; damaged shards are forgotten."""
        for path in sorted(self.root.glob("shard-*.json")):
            if _number(path) not in self.tokens:
                try:
                    self._open(_number(path), int(_json_object(path)["rows"]))
                except (DataError, KeyError, TypeError, ValueError):
                    self.forget(_number(path))
        for path in sorted({*self.root.glob("places-*.npy")} - self._read_places):
            self._read_places.add(path)
            try:
                self.places.update((place.tobytes(), content.tobytes()) for place, content in np.load(path))
            except (OSError, ValueError, TypeError, EOFError):  # damaged: then the pictures are opened again
                continue

    def _open(self, number: int, rows: int) -> None:
        """Open a shard. Raises DataError if a file is missing, cut off or has another shape or dtype."""
        tokens = self._map("features", number, (rows, self.num_tokens, self.width), np.float16)
        vectors = self._map("pooled", number, (rows, self.width), np.float32)
        contents = self._map("pictures", number, (rows, DIGEST_BYTES), np.uint8)
        self.rows.update((content.tobytes(), (number, row)) for row, content in enumerate(np.array(contents)))
        self.tokens[number], self.vectors[number] = tokens, vectors

    def _map(self, what: str, number: int, shape: tuple[int, ...], dtype: type) -> Array:
        path = self._path(what, number)
        try:
            # A plain view: every access to a memmap object costs more than copying a row.
            array: Array = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"damaged: {error}", path=path) from error
        if array.shape != shape or array.dtype != dtype:
            raise DataError(f"holds {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}", path=path)
        return array

    def _path(self, what: str, number: int) -> Path:
        return self.root / f"{what}-{number:05d}.npy"

    def _marker(self, number: int) -> Path:
        return self.root / f"shard-{number:05d}.json"

    @contextmanager
    def locked(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the lock for adding; `waiting` is called every second until another process releases it."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / "lock")
        while not lock.is_locked:
            try:
                lock.acquire(timeout=1.0)
            except Timeout:
                waiting()
        try:
            for left in self.root.glob(".*.tmp"):
                left.unlink()
            if not (self.root / "meta.json").exists():
                write_atomic(self.root / "meta.json", canonical(self.meta))
            self.refresh()
            yield
        finally:
            lock.release()

    @contextmanager
    def claimed(self, wanted: Iterable[bytes], most: int, waiting: Callable[[], None]) -> Iterator[set[bytes]]:
        """Claim the first of the places, at most `most`, that no other process is working on, and keep others off them;
        yields an empty set if others are working on all of them."""
        own = self.root / f"claim-{uuid4().hex}.bin"
        lock = FileLock(own.with_suffix(".lock"))
        with self.locked(waiting):
            claims = self._claims()
            free = [place for place in wanted if place not in claims][:most]
            if free:
                lock.acquire()
                write_atomic(own, b"".join(free), lasting=False)
        try:
            yield set(free)
        finally:
            own.unlink(missing_ok=True)
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)

    def _claims(self) -> set[bytes]:
        """Places that live processes are working on; claims of dead ones are removed. Only inside `locked`."""
        found: set[bytes] = set()
        for held in self.root.glob("claim-*.lock"):  # it exists before the claim, and longer
            claim = held.with_suffix(".bin")
            try:
                with FileLock(held).acquire(timeout=0):
                    claim.unlink(missing_ok=True)
                held.unlink(missing_ok=True)
            except Timeout:
                with suppress(FileNotFoundError):  # released meanwhile
                    places = claim.read_bytes()
                    found.update(places[at : at + DIGEST_BYTES] for at in range(0, len(places), DIGEST_BYTES))
        return found

    def add(self, contents: Sequence[bytes], tokens_NPD: Array, vector_ND: Array) -> None:
        """Write one more shard; only inside `locked`."""
        # A shard that is open here keeps its number, even if another process has removed it.
        taken = {*self.tokens, *(_number(path) for path in self.root.glob("shard-*.json"))}
        number = next(one for one in range(len(taken) + 1) if one not in taken)
        arrays = dict(zip(FILES, (tokens_NPD, vector_ND, _bytes(contents)), strict=True))
        hashes = {what: _save(self._path(what, number), array) for what, array in arrays.items()}
        write_atomic(self._marker(number), canonical({"rows": len(contents), "sha256": hashes}))
        self._open(number, len(contents))

    def remember(self, places: Mapping[bytes, bytes]) -> None:
        """Store places of pictures with their content; only inside `locked`."""
        if places:
            number = 1 + max((_number(path) for path in self.root.glob("places-*.npy")), default=-1)
            _save(self._path("places", number), np.stack([_bytes(places.keys()), _bytes(places.values())], axis=1))
            self.places.update(places)

    def forget(self, number: int) -> None:
        """Remove a shard, so that its pictures are computed again. Processes that have it open can still read it."""
        self._marker(number).unlink(missing_ok=True)
        self.rows = {content: at for content, at in self.rows.items() if at[0] != number}
        self.tokens.pop(number, None)
        self.vectors.pop(number, None)

    def damaged(self, number: int) -> bool:
        """Whether a file of this shard differs from what was written; read once per process while it is unchanged."""
        try:
            expected = _json_object(self._marker(number))["sha256"]
            return any(content_of(state_of(self._path(what, number))) != expected[what] for what in FILES)
        except (DataError, KeyError, TypeError):
            return True


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _json_object(path: Path) -> dict[str, Any]:
    fix = f"remove {path} and start again"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"damaged: {error}", path=path, fix=fix) from error
    if not isinstance(found, dict):
        raise DataError("damaged: not a JSON object", path=path, fix=fix)
    return found


def _bytes(digests: Collection[bytes]) -> Array:
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(digests), DIGEST_BYTES)


def _save(path: Path, array: Array) -> str:
    """Write the array to a file atomically; returns the file's SHA-256."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    digest = file_sha256(temporary)
    temporary.replace(path)
    return digest
