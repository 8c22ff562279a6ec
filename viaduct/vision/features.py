"""Features of pictures, computed once by a frozen tower and memory-mapped afterwards.

A picture is identified by its pixels, so the same one in two datasets or under two names is computed once. Finished
shards survive when a process is killed (see `viaduct.vision.shards`). A different tower, or the same one with different
settings, has a different key and so a different folder.

Shape letters: N pictures asked for, P tokens, D width of the tower.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from viaduct.encode.tokens import Array
from viaduct.errors import DataError, UsageError
from viaduct.runs.stage import Progress
from viaduct.tasks.hashes import stamp
from viaduct.vision.rows import Picture
from viaduct.vision.shards import Shards

if TYPE_CHECKING:  # a process that only reads or stores features starts without torch
    from viaduct.vision.towers import Tower

SHARD_BYTES = 2**28
"""A shard is finished when its tokens reach this size, or after `SHARD_SECONDS`: a kill loses at most one shard."""
SHARD_SECONDS = 300.0
LEAST_CLAIMED = 256
"""A process claims a quarter of the remaining pictures at a time, but at least this many."""
WAIT_SECONDS = 1.0
"""How often a process with nothing left to claim checks whether the others are done."""
NARROWEST = 100
"""Images with a larger aspect ratio count as damaged: scaling their short side could take any amount of memory."""
NAMED = 5
"""Maximum number of damaged images that an error names."""

_Opened = tuple[Picture, Image.Image | DataError | None]
"""(picture, image or error); None: the picture's features are already known."""

Opener = Callable[[Picture], Image.Image]
"""Returns a picture's RGB image; raises DataError if it cannot be read. Called from one thread at a time."""


class Features:
    """The features of some pictures, in the order in which they were given; see `build_features`."""

    def __init__(self, shards: Shards, at: Mapping[str, tuple[int, int]], missing: Mapping[str, str]) -> None:
        self.ids = tuple(at)
        self.missing = dict(missing)
        """Id -> why it has no features; empty unless damaged images were skipped."""
        self.num_tokens, self.width = shards.num_tokens, shards.width
        self._shards = shards
        self._index = {picture: position for position, picture in enumerate(at)}
        self._where = np.array(list(at.values()), dtype=np.int64).reshape(len(at), 2)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, picture: object) -> bool:
        return picture in self._index

    def index(self, ids: Iterable[str]) -> Array:
        """(N,) int64: the positions of these pictures in `ids`. Raises DataError for one that has no features."""
        try:
            return np.fromiter((self._index[picture] for picture in ids), dtype=np.int64)
        except KeyError as error:
            picture = str(error.args[0])
            why = self.missing.get(picture, "it is not among the requested pictures")
            raise DataError(f"the picture '{picture}' has no features: {why}") from error

    def tokens(self, wanted: Sequence[str] | Array) -> Array:
        """tokens_NPD float16 of these ids, or of these positions in `ids`, in this order; repeats are fine."""
        return self._gather(self._shards.tokens, wanted, (self.num_tokens, self.width), np.float16)

    def pooled(self, wanted: Sequence[str] | Array) -> Array:
        """vector_ND float32 of these ids or positions, like `tokens`."""
        return self._gather(self._shards.vectors, wanted, (self.width,), np.float32)

    def _gather(
        self, parts: Mapping[int, Array], wanted: Sequence[str] | Array, shape: tuple[int, ...], dtype: type
    ) -> Array:
        at = wanted if isinstance(wanted, np.ndarray) else self.index(wanted)
        found: Array = np.empty((len(at), *shape), dtype)
        where = self._where[at]
        order = np.lexsort((where[:, 1], where[:, 0]))  # read each shard forwards
        for position, number, row in zip(order.tolist(), *where[order].T.tolist(), strict=True):
            found[position] = parts[number][row]
        return found


def build_features(
    pictures: Sequence[tuple[str, Picture]],
    tower: Tower,
    cache: Path,
    *,
    opener: Opener,
    batch: int,
    progress: Progress,
    skip_damaged: bool,
) -> Features:
    """The features of these pictures (id, where its image is), computed unless they are in `cache`.

    An id may occur twice with the same picture. Several processes may build at the same time: they divide the pictures,
    and none computes what another has finished or is working on (except the same pixels in two files). If some images
    cannot be read, a DataError that counts them and names the first few is raised after all others are computed; with
    `skip_damaged` they are in `missing` instead. Raises UsageError for an id with two pictures. A damaged shard is
    computed again.
    """
    wanted: dict[str, Picture] = {}
    for name, picture in pictures:
        if wanted.setdefault(name, picture) != picture:
            raise UsageError(f"the id '{name}' has two pictures: {wanted[name].path} and {picture.path}")
    shards = Shards(cache / "features" / tower.key, tower.key, tower.tokens, tower.width)
    build = _Build(shards, tower, opener, progress, tuple(dict.fromkeys(wanted.values())))
    build.run(batch)
    while found := build.damaged_shards():
        for number in found:
            shards.forget(number)
        build.run(batch)
    missing = {name: build.damaged[picture] for name, picture in wanted.items() if picture in build.damaged}
    if missing and not skip_damaged:
        raise _unreadable(missing, len(wanted))
    return Features(shards, {name: build.where(one) for name, one in wanted.items() if name not in missing}, missing)


def _unreadable(missing: Mapping[str, str], asked: int) -> DataError:
    named = [f"\n    {name}: {why}" for name, why in list(missing.items())[:NAMED]]
    more = f"\n    and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
    return DataError(
        f"{len(missing):,} of {asked:,} images cannot be read:{''.join(named)}{more}",
        fix="repair or replace the files, or leave the images out (skip_damaged); the others are not recomputed",
    )


class _Build:
    """One run over pictures: opens those not yet known, computes the features of new ones, and stores them."""

    def __init__(
        self, shards: Shards, tower: Tower, opener: Opener, progress: Progress, pictures: Sequence[Picture]
    ) -> None:
        self.shards, self.tower, self.opener, self.progress, self.pictures = shards, tower, opener, progress, pictures
        self.places = _places(pictures)
        self.contents: dict[Picture, bytes] = {}
        """`digest` of the pictures opened in this run."""
        self.damaged: dict[Picture, str] = {}
        self.done, self.total = 0, len(pictures)
        self._row_bytes = 2 * tower.tokens * tower.width

    def run(self, batch: int) -> None:
        """Compute features until every picture has them or is in `damaged`."""
        while todo := [one for one in self.pictures if one not in self.damaged and not self._is_known(one)]:
            self.done = self.total - len(todo)
            share = min(max(LEAST_CLAIMED, len(todo) // 4), SHARD_BYTES // self._row_bytes)
            most = max(1, ceil(share / batch)) * batch  # whole batches: the same for any number of processes
            wanted = dict.fromkeys(self.places[one] for one in todo)
            with self.shards.claimed(wanted, most, self._tell_waiting) as mine:
                own = [one for one in todo if self.places[one] in mine]
                if own:
                    self._compute_shard(self._opened(iter(own), batch))
                else:
                    self._tell_waiting()
                    time.sleep(WAIT_SECONDS)
        self.done = self.total
        self._tell("features")

    def where(self, picture: Picture) -> tuple[int, int]:
        """(shard, row) of a picture that is not damaged."""
        return self.shards.rows[self._content(picture)]

    def damaged_shards(self) -> list[int]:
        """Damaged ones among the shards that hold these pictures."""
        used = {self.where(picture)[0] for picture in self.pictures if picture not in self.damaged}
        return [number for number in sorted(used) if self.shards.damaged(number)]

    def _content(self, picture: Picture) -> bytes:
        """`digest` of the picture; b"" while it is not known."""
        return self.contents.get(picture) or self.shards.places.get(self.places[picture], b"")

    def _is_known(self, picture: Picture) -> bool:
        return self._content(picture) in self.shards.rows

    def _tell(self, what: str) -> None:
        self.progress(self.done, self.total, f"{what}, {self.done:,} of {self.total:,} images")

    def _tell_waiting(self) -> None:
        self._tell("waiting for another process to compute features")

    def _compute_shard(self, opened: Iterator[list[_Opened]]) -> None:
        """Compute and write one shard."""
        started = time.monotonic()
        new: dict[bytes, None] = {}
        computed: list[tuple[Array, Array]] = []
        places: dict[bytes, bytes] = {}
        for group in opened:
            fresh = {content: image for content, image in self._fresh(group, places) if content not in new}
            if fresh:
                computed.append(self.tower.encode(list(fresh.values())))
                new.update(dict.fromkeys(fresh))
            self.done += len(group)
            self._tell("features")
            if len(new) * self._row_bytes >= SHARD_BYTES or time.monotonic() - started >= SHARD_SECONDS:
                break
        with self.shards.locked(self._tell_waiting):
            if new:
                tokens, vectors = zip(*computed, strict=True)
                self.shards.add(list(new), np.concatenate(tokens), np.concatenate(vectors))
            self.shards.remember(places)

    def _fresh(self, group: Iterable[_Opened], places: dict[bytes, bytes]) -> Iterator[tuple[bytes, Image.Image]]:
        """(content, image) of those without features; records damaged ones, and in `places` where the others are."""
        for picture, image in group:
            if isinstance(image, DataError):
                self.damaged[picture] = str(image).partition("\n")[0]
            elif image is not None:
                content = self.contents[picture] = digest(image)
                place = self.places[picture]
                if place and self.shards.places.get(place) != content:
                    places[place] = content
                if content not in self.shards.rows:
                    yield content, image

    def _opened(self, left: Iterator[Picture], batch: int) -> Iterator[list[_Opened]]:
        """Opened pictures in groups of `batch`; the next group is opened while the previous one is computed."""
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self._open, left, batch)
            while group := coming.result():
                coming = ahead.submit(self._open, left, batch)
                yield group

    def _open(self, left: Iterator[Picture], batch: int) -> list[_Opened]:
        """The next pictures with their images; None for those that another process has computed meanwhile."""
        found: list[_Opened] = []
        for picture in islice(left, batch):
            try:
                image = None if self._is_known(picture) else self.opener(picture)
                if image is not None and max(image.size) > NARROWEST * min(image.size):
                    raise DataError(f"{image.width} x {image.height} pixels is too narrow", path=Path(picture.path))
                found.append((picture, image))
            except DataError as error:
                found.append((picture, error))
        return found


def digest(image: Image.Image) -> bytes:
    """SHA-256 of an image's pixels, mode and size."""
    return hashlib.sha256(f"{image.mode} {image.width} {image.height} ".encode() + image.tobytes()).digest()


def _places(pictures: Sequence[Picture]) -> dict[Picture, bytes]:
    """SHA-256 of each picture's place and its file's stamp; b"" if there is no such file."""
    states = {path: _state(Path(path)) for path in {picture.path for picture in pictures}}
    return {
        picture: hashlib.sha256(repr((state, picture.member)).encode()).digest() if state else b""
        for picture in pictures
        for state in (states[picture.path],)
    }


def _state(path: Path) -> str:
    try:
        return f"{path.absolute()} {stamp(path)}"
    except OSError:
        return ""
