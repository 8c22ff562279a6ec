"""Exact nearest neighbours in both directions from one pass over blocks of the similarity matrix.

Each block is multiplied once and read in both directions. Once a row has met k candidates, a block can only concern it
when the block's largest value beats its k-th best, so that most rows of most blocks are done with one maximum. Memory
is the vectors, two running lists of k, and one block; the block's size follows from what is left of the limit.
Shape letters: N queries, M candidates, D width, K neighbours, R and C rows and columns of a block.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file

from viaduct.errors import UsageError
from viaduct.models.linear import product

LARGEST_BLOCK = 2048
"""Rows and columns at most: 16 MiB of float32, which stays near the processor; larger ones gain nothing."""

SMALLEST_BLOCK = 64

COPIES = 3
"""Block-sized tensors that exist at once, at the most: the block, and its selected rows and columns as they are
sorted."""


class Neighbours(NamedTuple):
    """The k most similar: values (N, K) descending, and their indices (N, K); of equal values the lower index comes
    first."""

    values_NK: torch.Tensor
    indices_NK: torch.Tensor


class Saving(NamedTuple):
    """Where and how often an unfinished search is saved; a search that finds the file goes on from there."""

    path: Path
    seconds: float


def block_size(queries: int, candidates: int, width: int, k: int, memory_bytes: int) -> int:
    """Rows and columns of a block that keep the whole search below `memory_bytes`.

    Raises UsageError, with what is needed, when the vectors alone take more.
    """
    vectors = 4 * (queries + candidates) * width
    lists = 12 * 2 * (queries + candidates) * k  # values and indices, and once more while they are merged
    left = memory_bytes - vectors - lists
    size = int((max(0, left) / (4 * COPIES)) ** 0.5)
    if size < SMALLEST_BLOCK:
        need = vectors + lists + 4 * COPIES * SMALLEST_BLOCK**2
        raise UsageError(
            f"comparing {queries:,} with {candidates:,} vectors of {width:,} dimensions needs"
            f" {need / 1e9:.2f} GB at least; the limit is {memory_bytes / 1e9:.2f} GB",
            fix="allow more memory, or mine in parts",
        )
    return min(LARGEST_BLOCK, size)


def nearest_both_ways(
    query_ND: torch.Tensor,
    candidate_MD: torch.Tensor,
    k: int,
    *,
    memory_bytes: int | None = None,
    saving: Saving | None = None,
    progress: Callable[[float, float], None] | None = None,
) -> tuple[Neighbours, Neighbours]:
    """(neighbours of every query among the candidates, neighbours of every candidate among the queries), by inner
    product.

    k is reduced to the number there is to choose from. `progress` gets (products done, all products). Vectors may be
    memory-mapped; they are float32. Raises UsageError when `memory_bytes` (None: no limit) is too little.
    """
    queries, candidates = len(query_ND), len(candidate_MD)
    size = LARGEST_BLOCK
    if memory_bytes is not None:
        size = block_size(queries, candidates, query_ND.shape[1], k, memory_bytes)
    forward = _Best(queries, min(k, candidates))
    backward = _Best(candidates, min(k, queries))
    at = _resume(saving, forward, backward)
    saved = time.monotonic()
    for row in range(at, queries, size):
        block_RD = query_ND[row : row + size]
        for column in range(0, candidates, size):
            similarity_RC = product(block_RD, candidate_MD[column : column + size], None).float().cpu()
            forward.merge(row, column, similarity_RC)
            backward.merge(column, row, similarity_RC.T)
        done = min(row + size, queries)
        if progress is not None:
            progress(float(done) * candidates, float(queries) * candidates)
        if saving is not None and time.monotonic() - saved >= saving.seconds and done < queries:
            _save(saving, forward, backward, done)
            saved = time.monotonic()
    return forward.result(), backward.result()


class _Best:
    """The running k best of every row."""

    def __init__(self, rows: int, k: int) -> None:
        self.k = k
        self.values = torch.full((rows, k), float("-inf"))
        self.indices = torch.full((rows, k), torch.iinfo(torch.int64).max)

    def merge(self, row: int, column: int, similarity_RC: torch.Tensor) -> None:
        """Take a block whose first row and column are these. For one row, blocks come in the order of their columns,
        so that what is already in the list wins against an equal newcomer."""
        values, indices = self.values[row : row + len(similarity_RC)], self.indices[row : row + len(similarity_RC)]
        better = (similarity_RC.amax(dim=1) > values[:, -1]).nonzero()[:, 0]
        if not len(better):
            return
        chosen = similarity_RC if len(better) == len(similarity_RC) else similarity_RC[better]
        new_values, found = _largest(chosen, self.k)
        both = torch.cat([values[better], new_values], dim=1)
        kept, order = both.sort(dim=1, descending=True, stable=True)
        values[better] = kept[:, : self.k]
        indices[better] = torch.cat([indices[better], found + column], dim=1).gather(1, order[:, : self.k])

    def result(self) -> Neighbours:
        """The k best of all blocks seen."""
        return Neighbours(self.values, self.indices)


def _largest(similarity: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest of every row (or all, if there are fewer), descending, and where they are; of equal ones the first.

    `topk` takes any of equal ones, in any order, so rows in which some of the k + 1 largest are equal are sorted
    instead.
    """
    if similarity.shape[1] <= k:
        ordered = similarity.sort(dim=1, descending=True, stable=True)
        return ordered.values, ordered.indices
    values, found = similarity.topk(k + 1, dim=1)
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1).nonzero()[:, 0]
    if len(tied):
        sorted_ones = similarity[tied].sort(dim=1, descending=True, stable=True)
        found[tied] = sorted_ones.indices[:, : k + 1]
    return values[:, :k], found[:, :k]


def _save(saving: Saving, forward: _Best, backward: _Best, row: int) -> None:
    unfinished = saving.path.with_suffix(".unfinished")
    state = {"row": torch.tensor(row)}
    for name, best in (("forward", forward), ("backward", backward)):
        state |= {f"{name}_values": best.values, f"{name}_indices": best.indices}
    save_file(state, unfinished)
    unfinished.replace(saving.path)


def _resume(saving: Saving | None, forward: _Best, backward: _Best) -> int:
    """The first row that is still to do; the lists are filled with what was found before."""
    if saving is None or not saving.path.is_file():
        return 0
    state = load_file(saving.path)
    for name, best in (("forward", forward), ("backward", backward)):
        best.values, best.indices = state[f"{name}_values"], state[f"{name}_indices"]
    return int(state["row"])
