"""Finds texts that are nearly the same, by the runs of letters that two of them share.

A text is represented by the set of its runs of `RUN` letters, digits and signs (`viaduct.runs.rows.letters`: case,
blanks and punctuation do not count). Only runs whose hash is divisible by `KEPT` are kept, the same ones in every text,
as in Manber, Finding similar files in a large file system (USENIX 1994). Two texts are nearly the same if the one with
fewer runs shares `SHARE` of them with the other, so a sentence within a paragraph counts too. Runs that occur in more
than `COMMON` of the texts trained on are uninformative and left out; a text with fewer than `FEWEST` runs (some 60
letters) is too short to judge. Nothing is drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np

RUN = 12
KEPT = 4
SHARE = 0.8
FEWEST = 12
COMMON = 100
_TOGETHER = 2_000
"""Number of texts whose runs are processed together."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

Numbers = np.ndarray[Any, np.dtype[np.uint64]]
Indices = np.ndarray[Any, np.dtype[np.int64]]
Marks = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Sketches:
    """Hashes of the runs of texts, each once per text, ordered by text."""

    count: int
    """Number of texts."""
    runs: Numbers
    texts: Indices
    """Index of the text that each run belongs to."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> Sketches:
        """The sketches of texts that consist of letters, digits and signs only."""
        runs, owners, count = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], 0
        left = iter(texts)
        while some := tuple(islice(left, _TOGETHER)):
            found, owner = _kept_runs(some)
            runs.append(found)
            owners.append(owner + count)
            count += len(some)
        return cls(count, np.concatenate(runs), np.concatenate(owners))


def _kept_runs(texts: tuple[str, ...]) -> tuple[Numbers, Indices]:
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    if len(codes) < RUN:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    owners = np.repeat(np.arange(len(texts)), lengths)
    hashes = np.zeros(len(codes) - RUN + 1, np.uint64)
    for at in range(RUN):
        hashes = hashes * _FACTOR + codes[at : at + len(hashes)]
    hashes = (hashes ^ (hashes >> np.uint64(29))) * _FACTOR
    whole = owners[: len(hashes)] == owners[RUN - 1 :]
    kept = whole & ((hashes >> np.uint64(40)) % np.uint64(KEPT) == 0)
    order = np.lexsort((hashes[kept], owners[: len(hashes)][kept]))
    runs, texts_of = hashes[kept][order], owners[: len(hashes)][kept][order]
    first = np.ones(len(runs), bool)
    first[1:] = (runs[1:] != runs[:-1]) | (texts_of[1:] != texts_of[:-1])
    return runs[first], texts_of[first]


class Index:
    """Texts with which others are compared."""

    def __init__(self, texts: Sketches) -> None:
        order = np.argsort(texts.runs, kind="stable")
        runs, owners = texts.runs[order], texts.texts[order]
        _, inverse, counts = np.unique(runs, return_inverse=True, return_counts=True)
        said = counts[inverse] <= COMMON if len(runs) else np.empty(0, bool)
        self._common = np.unique(runs[~said])
        self._runs, self._texts = runs[said], owners[said]
        self._sizes = np.bincount(self._texts, minlength=texts.count)

    def nearly(self, others: Sketches) -> Marks:
        """(others,): whether each is nearly the same as any of the texts here."""
        said = ~np.isin(others.runs, self._common)
        runs, owners = others.runs[said], others.texts[said]
        sizes = np.bincount(owners, minlength=others.count)
        near = np.zeros(others.count, bool)
        for low, high in _slices(owners):
            one, other, shared = self._shared(runs[low:high], owners[low:high])
            least = np.minimum(sizes[one], self._sizes[other])
            near[one[(least >= FEWEST) & (shared >= SHARE * least)]] = True
        return near

    def _shared(self, runs: Numbers, owners: Indices) -> tuple[Indices, Indices, Indices]:
        """(other text, text in this index, number of runs that the two share), for pairs that share any."""
        low, high = (np.searchsorted(self._runs, runs, side) for side in ("left", "right"))
        times = high - low
        places = np.repeat(low - np.cumsum(times) + times, times) + np.arange(times.sum())
        width = max(1, len(self._sizes))
        pairs, shared = np.unique(np.repeat(owners, times) * width + self._texts[places], return_counts=True)
        return pairs // width, pairs % width, shared


def _slices(owners: Indices) -> Iterator[tuple[int, int]]:
    """Ranges of runs; the runs of one text are never split."""
    last = int(owners[-1]) + 1 if len(owners) else 0
    edges = np.searchsorted(owners, np.arange(0, last + _TOGETHER, _TOGETHER))
    yield from ((int(low), int(high)) for low, high in pairwise(edges) if high > low)
