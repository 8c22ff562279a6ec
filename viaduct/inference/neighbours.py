"""Exact nearest neighbours in both directions from one pass over blocks of the similarity matrix.

Each block is multiplied once and read in both directions. Once a row has seen k candidates, a block only matters to it
if the row's largest value there beats its k-th best, so that most rows of most blocks need only one maximum. This
works on any device. On CPUs with fast 8-bit products, these first decide which pairs must be multiplied in float32
(`quantised`); neighbours are the same, and inner products equal up to float32 rounding. Memory holds the vectors, the
candidates in 8 bits if there is room, two running lists of k, and one block, whose size depends on the memory left.

Shape letters: N queries, M candidates, D width, K neighbours, R and C rows and columns of a block.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from viaduct.errors import UsageError
from viaduct.inference.quantised import Pairs, Quantised, Sieve, pairs_left, sieve_bytes, usable
from viaduct.models.linear import product
from viaduct.models.numerics import require_finite
from viaduct.results.checksums import flush, open_to_others

LARGEST_BLOCK = 1024
"""Most rows and columns of a block: 4 MiB of float32, which stay in the processor's caches; larger ones are slower."""

LARGEST_BLOCK_ELSEWHERE = 8192
"""The same for other devices, which a small block does not keep busy."""

SMALLEST_BLOCK = 64

SMALLEST_SIEVED = 512
"""Fewest rows and columns for 8-bit products: in smaller blocks, they save less than it takes to read them."""

COPIES = 6
"""Most block-sized tensors in memory at the same time: the block, its selected rows, those of them with ties, and
these sorted, with indices that take twice the space."""

CPU = torch.device("cpu")

PATIENCE = 3
"""After this many blocks of the same queries with too many pairs left, the rest go straight to float32 products."""


class Neighbours(NamedTuple):
    """The k most similar: values (N, K), descending, and their indices (N, K); among equal values the lower index comes
    first. Both are on the CPU."""

    values_NK: torch.Tensor
    indices_NK: torch.Tensor


@dataclass(frozen=True)
class Search:
    """The memory limit of a search, its device, and how it is saved."""

    memory_bytes: int = 2**62
    device: torch.device = CPU
    path: Path | None = None
    """File in which an unfinished search is saved; a search that finds the file resumes from it."""
    seconds: float = math.inf
    """Approximate interval between saves."""
    progress: Callable[[float, float, str], None] = lambda done, total, note: None
    """Called with (products done, all products, what is compared)."""


def nearest_both_ways(
    query_ND: torch.Tensor, candidate_MD: torch.Tensor, k: int, search: Search | None = None
) -> tuple[Neighbours, Neighbours]:
    """(neighbours of every query among the candidates, neighbours of every candidate among the queries), by inner
    product.

    k is reduced to the number of available neighbours. Vectors are float32 and may be memory-mapped. Neighbours whose
    inner products differ by no more than float32 rounding may swap places. Raises UsageError if the memory limit is too
    low.
    """
    search = search or Search()
    queries, candidates = len(query_ND), len(candidate_MD)
    _keep_freed_memory()
    size, sieve = _plan(query_ND, candidate_MD, k, search)
    candidate_MD = _placed(candidate_MD, search.device)
    forward = _Best(queries, min(k, candidates), search.device)
    backward = _Best(candidates, min(k, queries), search.device)
    first, saved = _resume(search, forward, backward), time.monotonic()
    for row in range(first, queries, size):
        _compare(row, query_ND[row : row + size], candidate_MD, size, sieve, (forward, backward))
        done = min(row + size, queries)
        note = f"comparing {queries:,} x {candidates:,} sentences"
        search.progress(float(done) * candidates, float(queries) * candidates, note)
        if search.path is not None and time.monotonic() - saved >= search.seconds and done < queries:
            _save(search.path, forward, backward, done)
            saved = time.monotonic()
    return forward.result(), backward.result()


def _keep_freed_memory() -> None:
    """Make glibc keep freed blocks. It returns them to the system, and pays for every page when it gets them again,
    until a block of nearly 32 MiB has been allocated and freed. A search could take twice as long because of that."""
    torch.empty(31 * 2**20, dtype=torch.uint8)


def _placed(candidate_MD: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The candidates, moved to a GPU if they take at most half of its free memory, since every block of queries needs
    them. Otherwise they stay where they are, to be sent block by block."""
    if device.type != "cuda" or 2 * 4 * candidate_MD.numel() > torch.cuda.mem_get_info(device)[0]:
        return candidate_MD
    return candidate_MD.to(device)


def _plan(query_ND: torch.Tensor, candidate_MD: torch.Tensor, k: int, search: Search) -> tuple[int, Sieve | None]:
    """The size of blocks, and a sieve if it can be used and there is room for it."""
    queries, candidates, width = len(query_ND), len(candidate_MD), query_ND.shape[1]
    sizes, on_cpu = (queries, candidates, width, k, search.memory_bytes), search.device.type == "cpu"
    sieved = block_size(*sizes, sieved=True) if on_cpu else 0
    if sieved and usable(query_ND, candidate_MD):
        return sieved, Sieve(query_ND, candidate_MD)
    plain = block_size(*sizes, largest=LARGEST_BLOCK if on_cpu else LARGEST_BLOCK_ELSEWHERE)
    if not plain:
        need = _vectors_and_lists(queries, candidates, width, k) + 4 * COPIES * SMALLEST_BLOCK**2
        raise UsageError(
            f"comparing {queries:,} with {candidates:,} vectors of {width:,} dimensions needs"
            f" at least {need / 1e9:.2f} GB; the limit is {search.memory_bytes / 1e9:.2f} GB",
            fix="allow more memory, or mine in parts",
        )
    return plain, None


def block_size(
    queries: int, candidates: int, width: int, k: int, memory_bytes: int, *, sieved: bool = False, largest: int = 0
) -> int:
    """Rows and columns of a block, at most `largest` (0: `LARGEST_BLOCK`), that keep the whole search (with `sieved`,
    the one with 8-bit products) below `memory_bytes`; 0 if there is no room for a block of useful size."""
    largest = largest or LARGEST_BLOCK
    left = memory_bytes - _vectors_and_lists(queries, candidates, width, k)
    if sieved:
        left -= sieve_bytes(candidates + largest, width)
    size = min(largest, int((max(0, left) / (4 * COPIES)) ** 0.5))
    return size if size >= min(SMALLEST_SIEVED if sieved else SMALLEST_BLOCK, largest) else 0


def _vectors_and_lists(queries: int, candidates: int, width: int, k: int) -> int:
    # Values and indices, twice because of merging.
    return (queries + candidates) * (4 * width + 12 * 2 * k)


def _compare(
    row: int,
    block_RD: torch.Tensor,
    candidate_MD: torch.Tensor,
    size: int,
    sieve: Sieve | None,
    best: tuple[_Best, _Best],
) -> None:
    """Compare a block of queries, whose first one is number `row`, with every candidate."""
    forward, backward = best
    rows: Quantised | None = None if sieve is None else sieve.queries(block_RD)
    block_RD = block_RD.to(forward.device)
    in_vain = 0
    for column in range(0, len(candidate_MD), size):
        block_CD = candidate_MD[column : column + size].to(forward.device)
        found = None
        if sieve is not None and rows is not None and in_vain < PATIENCE:
            columns = sieve.candidates.part(column, column + size)
            known = forward.known(row, len(block_RD)), backward.known(column, len(block_CD))
            found = pairs_left(rows, columns, *known, max(forward.k, backward.k))
            in_vain += found is None
        if found is None:
            similarity_RC = product(block_RD, block_CD, None).float()
            forward.merge(row, column, similarity_RC)
            backward.merge(column, row, similarity_RC.T)
        else:
            forward.merge_pairs(row, column, found[0])
            backward.merge_pairs(column, row, found[1])


class _Best:
    """The k best values of every row so far."""

    def __init__(self, rows: int, k: int, device: torch.device) -> None:
        self.k, self.device = k, device
        self.values = torch.full((rows, k), float("-inf"), device=device)
        self.indices = torch.full((rows, k), torch.iinfo(torch.int64).max, device=device)

    def known(self, row: int, count: int) -> torch.Tensor:
        """(count,): the k-th best value of these rows; -inf before there are k."""
        return self.values[row : row + count, -1]

    def merge(self, row: int, column: int, similarity_RC: torch.Tensor) -> None:
        """Merge a block with this first row and column. For each row, blocks come in the order of their columns, so
        that values already in the list win against equal new ones."""
        better = (similarity_RC.amax(dim=1) > self.known(row, len(similarity_RC))).nonzero()[:, 0]
        if len(better):
            chosen = similarity_RC if len(better) == len(similarity_RC) else similarity_RC[better]
            values, found = _largest(chosen, self.k)
            self._take(better + row, values, found + column)

    def merge_pairs(self, row: int, column: int, pairs: Pairs) -> None:
        """Merge some pairs of a block; no other pair of the block may be good enough to enter a list."""
        better = pairs.values_P > self.values[pairs.rows_P + row, -1]
        rows, at_P, count = torch.unique_consecutive(pairs.rows_P[better], return_inverse=True, return_counts=True)
        if not len(rows):
            return
        rank_P = torch.arange(len(at_P)) - (count.cumsum(dim=0) - count)[at_P]
        values = torch.full((len(rows), int(count.max())), float("-inf"))
        found = torch.zeros(values.shape, dtype=torch.int64)
        values[at_P, rank_P] = pairs.values_P[better]
        found[at_P, rank_P] = pairs.columns_P[better]
        self._take(rows + row, values, found + column)

    def _take(self, rows: torch.Tensor, values: torch.Tensor, found: torch.Tensor) -> None:
        """Merge new values into the lists of these rows. Of equal ones the first wins; -inf padding is never taken."""
        both = torch.cat([self.values[rows], values], dim=1)
        kept, order = both.sort(dim=1, descending=True, stable=True)
        self.values[rows] = kept[:, : self.k]
        self.indices[rows] = torch.cat([self.indices[rows], found], dim=1).gather(1, order[:, : self.k])

    def result(self) -> Neighbours:
        """The k best over all blocks. Raises NumbersError for a row without k: its similarities are not numbers."""
        require_finite(self.values, "similarity", lambda at: f"vector {at:,}")
        return Neighbours(self.values.cpu(), self.indices.cpu())


def _largest(similarity: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(values, indices) of every row's k largest (or all, if fewer), descending; among equal ones the first come first.

    `topk` picks among equal values in any order, so rows in which some of the k + 1 largest are equal are sorted
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


def _save(path: Path, forward: _Best, backward: _Best, row: int) -> None:
    unfinished = path.with_suffix(".unfinished")
    state = {"row": torch.tensor(row)}
    for name, best in (("forward", forward), ("backward", backward)):
        state |= {f"{name}_values": best.values, f"{name}_indices": best.indices}
    save_file(state, unfinished, metadata={"sha256": _digest(state)})
    open_to_others(unfinished)
    flush(unfinished)
    unfinished.replace(path)


def _digest(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of the values; that of the file is not known before it is written."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(state[name].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _resume(search: Search, forward: _Best, backward: _Best) -> int:
    """The first row still to do; fills the lists with what was found before. A damaged file is treated as missing."""
    if search.path is None or not search.path.is_file():
        return 0
    try:
        state = load_file(search.path, device=str(search.device))
        with safe_open(search.path, "pt") as file:
            whole = (file.metadata() or {}).get("sha256") == _digest(state)
    except SafetensorError:
        whole = False
    if not whole:
        return 0
    for name, best in (("forward", forward), ("backward", backward)):
        best.values, best.indices = state[f"{name}_values"], state[f"{name}_indices"]
    return int(state["row"])
