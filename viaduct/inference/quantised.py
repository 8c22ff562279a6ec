"""The pairs of a block that may be among any row's nearest neighbours, found with 8-bit products and a proven bound.

Processors with VNNI multiply 8-bit integers about four times as fast as float32. Every row x is written as
x = m + x' + e: m is a vector shared by its side (the mean, which is a large part of most sentence vectors), x' consists
of integers from -127 to 127 times a scale of the row's own, and e is the rounding error. With the other side's
y = n + y' + f,

    x.y = x'.y' + (x.n - m.n / 2) + (y.m - m.n / 2) + R,    R = e.y' + x'.f + e.f,    |R| <= |e| (|y'| + |f|) + |x'| |f|

by Cauchy-Schwarz. The terms before R, plus the bound on R, are never below the inner product, whatever the data. A pair
for which this upper bound is below what k others reach is not one of the k nearest. For the few remaining pairs the
float32 product is computed, so that the 8-bit values do not affect the result.

Rounding. A float32 inner product is off by at most D u |a| |b|, u = 2^-24, in any order of summation (to first order).
With the size |x| + |m| of a row, the errors of the shifts and of the pair's own product are at most D u size size
together. Computed norms have a relative error of D u / 2, which is at most 3 D u size size in the bound. Subtracting,
scaling and adding up contribute less than 64 u size size. `slack` is the sum of these, plus 64 u for good measure;
`TINY` is added for products that underflow, and `usable` refuses vectors so long or short that more would.

Shape letters: N rows of one side, D width, R and C rows and columns of a block, G groups of M columns, K neighbours,
H groups looked into, P pairs.
"""

from __future__ import annotations

import platform
import warnings
from functools import cache
from typing import NamedTuple

import torch
from torch.nn.functional import pad

from viaduct.models.linear import can_multiply

FEWEST = 1024
"""Fewest rows of a side: with fewer, quantising the other side takes longer than it saves."""

GROUP = 32
"""Number of columns (or rows) of a block whose common maximum is compared first."""

MOST_GROUPS, MOST_PAIRS = 1 / 2, 1 / 32
"""Shares of a block: if more are left, a float32 product of the whole block is faster."""

QUANTISED_ROWS = 256
"""Number of rows quantised at a time."""

LONGEST, SHORTEST, TINY = 1e15, 1e-15, 1e-35


class Pairs(NamedTuple):
    """Pairs of a block, ordered by row and then column, and their float32 inner products."""

    rows_P: torch.Tensor
    columns_P: torch.Tensor
    values_P: torch.Tensor


class Quantised(NamedTuple):
    """Rows of one side, and: x' as integers, their scale, x.n - m.n / 2, |x'|, |e|, and |x| + |m|."""

    vector_ND: torch.Tensor
    whole_ND: torch.Tensor
    scale_N: torch.Tensor
    shift_N: torch.Tensor
    near_N: torch.Tensor
    rest_N: torch.Tensor
    size_N: torch.Tensor

    def part(self, start: int, stop: int) -> Quantised:
        """Some of the rows."""
        return Quantised(*(one[start:stop] for one in self))


class Sieve:
    """The constants of a search: both sides' means, and the candidates as 8-bit numbers."""

    def __init__(self, query_ND: torch.Tensor, candidate_ND: torch.Tensor) -> None:
        self._query_mean_D, self._candidate_mean_D = query_ND.mean(dim=0), candidate_ND.mean(dim=0)
        self.candidates = _quantise(candidate_ND, self._candidate_mean_D, self._query_mean_D)

    def queries(self, query_RD: torch.Tensor) -> Quantised:
        """A block of queries, quantised."""
        return _quantise(query_RD, self._query_mean_D, self._candidate_mean_D)


def sieve_bytes(rows: int, width: int) -> int:
    """Memory for this many quantised rows besides their vectors, plus what quantising them needs temporarily."""
    return rows * (width + 20) + 4 * 4 * QUANTISED_ROWS * width


def usable(query_ND: torch.Tensor, candidate_ND: torch.Tensor) -> bool:
    """Whether this build and processor have exact, fast 8-bit products, and these vectors can and need to be sieved.

    This depends only on build, processor and vectors, never on timing, so that a resumed search continues unchanged.
    """
    return (
        min(len(query_ND), len(candidate_ND)) >= FEWEST
        and can_multiply(query_ND, candidate_ND)
        and query_ND.shape[1] > 1  # with a single dimension `torch._int_mm` is wrong
        and _multiplies_bytes()
        and all(_moderate(side_ND) for side_ND in (query_ND, candidate_ND))
    )


def pairs_left(
    rows: Quantised, columns: Quantised, known_R: torch.Tensor, known_C: torch.Tensor, k: int
) -> tuple[Pairs, Pairs] | None:
    """(the pairs of a block that may be among the k nearest of their row, those that may be among the k nearest of
    their column, with rows and columns swapped). None if so many are left that multiplying the whole block is better.

    `known_R` and `known_C`: the inner product with the k-th neighbour found so far; -inf before there are k.
    """
    upper_RC = _upper(rows, columns)
    height, breadth = upper_RC.shape
    if height % GROUP or breadth % GROUP:
        upper_RC = pad(upper_RC, (0, -breadth % GROUP, 0, -height % GROUP), value=float("-inf"))
    upper_RGM = upper_RC[:height].view(height, -1, GROUP)
    upper_GMC = upper_RC[:, :breadth].view(-1, GROUP, breadth)
    found = []
    for ours, theirs, known, grouped, largest in (
        (rows, columns, known_R, upper_RGM, upper_RGM.amax(dim=2)),
        (columns, rows, known_C, upper_GMC.permute(2, 0, 1), upper_GMC.amax(dim=1).T),
    ):
        reached = known
        if largest.shape[1] >= k and known.min() == float("-inf"):
            reached = torch.maximum(known, _reached(ours, theirs, grouped, largest, k))
        pairs = _above(reached, grouped, largest)
        if pairs is None:
            return None
        found.append(Pairs(*pairs, _products(*pairs, ours.vector_ND, theirs.vector_ND)))
    return found[0], found[1]


def _quantise(vector_ND: torch.Tensor, mean_D: torch.Tensor, other_mean_D: torch.Tensor) -> Quantised:
    whole_ND = torch.empty(vector_ND.shape, dtype=torch.int8)
    numbers_5N = torch.empty(5, len(vector_ND))
    half, mean_size = torch.dot(mean_D, other_mean_D) / 2, mean_D.norm()
    for at in range(0, len(vector_ND), QUANTISED_ROWS):
        part_ND = vector_ND[at : at + QUANTISED_ROWS]
        centred_ND = part_ND - mean_D
        scale_N = (centred_ND.abs().amax(dim=1) / 127).clamp_(min=TINY)
        near_ND = (centred_ND / scale_N[:, None]).round_().clamp_(-127, 127)
        whole_ND[at : at + QUANTISED_ROWS] = near_ND
        near_ND.mul_(scale_N[:, None])
        shift_N, size_N = part_ND @ other_mean_D - half, part_ND.norm(dim=1) + mean_size
        numbers = (scale_N, shift_N, near_ND.norm(dim=1), (centred_ND - near_ND).norm(dim=1), size_N)
        torch.stack(numbers, out=numbers_5N[:, at : at + QUANTISED_ROWS])
    return Quantised(vector_ND, whole_ND, *numbers_5N)


def _upper(rows: Quantised, columns: Quantised) -> torch.Tensor:
    """(R, C) upper bounds: no inner product, exact or in float32, is above its bound."""
    slack = (4 * rows.vector_ND.shape[1] + 128) * 2.0**-24
    above_R = rows.shift_N + slack * rows.size_N * columns.size_N.max() + TINY
    upper_RC = torch._int_mm(rows.whole_ND, columns.whole_ND.T).float().mul_(rows.scale_N[:, None])
    torch.addcmul(columns.shift_N, upper_RC, columns.scale_N, out=upper_RC).add_(above_R[:, None])
    upper_RC.addcmul_(rows.rest_N[:, None], columns.near_N + columns.rest_N)
    return upper_RC.addcmul_(rows.near_N[:, None], columns.rest_N)


def _reached(
    rows: Quantised, columns: Quantised, upper_RGM: torch.Tensor, largest_RG: torch.Tensor, k: int
) -> torch.Tensor:
    """(R,) lower bounds on the k-th best inner product in this block, reached by k promising columns from k groups."""
    groups_RK = largest_RG.topk(k, dim=1).indices.sort(dim=1).values
    row_R = torch.arange(len(groups_RK))
    members_RK = upper_RGM[row_R[:, None], groups_RK].argmax(dim=2)
    columns_P = (groups_RK * GROUP + members_RK).flatten()
    values_P = _products(row_R.repeat_interleave(k), columns_P, rows.vector_ND, columns.vector_ND)
    return values_P.view(-1, k).amin(dim=1)


def _above(
    reached_R: torch.Tensor, upper_RGM: torch.Tensor, largest_RG: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Rows and columns of the pairs whose upper bound is not below `reached_R`; None if there are too many."""
    least_R = reached_R.clamp(min=torch.finfo(torch.float32).min)  # the padding's -inf is below
    rows_H, groups_H = (largest_RG >= least_R[:, None]).nonzero().unbind(1)
    if len(rows_H) > MOST_GROUPS * largest_RG.numel():
        return None
    hit_P, member_P = (upper_RGM[rows_H, groups_H] >= least_R[rows_H, None]).nonzero().unbind(1)
    if len(hit_P) > MOST_PAIRS * upper_RGM.numel():
        return None
    return rows_H[hit_P], groups_H[hit_P] * GROUP + member_P


def _products(
    rows_P: torch.Tensor, columns_P: torch.Tensor, row_RD: torch.Tensor, column_CD: torch.Tensor
) -> torch.Tensor:
    """(P,) inner products. Each depends only on the pair's vectors, not on their positions or which one is the row."""
    first_R = torch.searchsorted(rows_P, torch.arange(len(row_RD) + 1))
    shape = (len(row_RD), len(column_CD))
    pattern = torch.sparse_csr_tensor(first_R, columns_P, torch.zeros(len(rows_P)), shape, check_invariants=False)
    products: torch.Tensor = torch.sparse.sampled_addmm(pattern, row_RD, column_CD.T, beta=0.0)
    return products.values()


def _moderate(vector_ND: torch.Tensor) -> bool:
    length_N = vector_ND.norm(dim=1)
    return bool(((length_N == 0) | ((length_N >= SHORTEST) & (length_N <= LONGEST))).all())


@cache
def _multiplies_bytes() -> bool:
    """Whether 8-bit products are exact and fast here. Without VNNI, oneDNN adds two products in 16 bits, which
    overflow: wrong for us, and no faster than float32."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    with warnings.catch_warnings():  # torch warns once per process that its sparse tensors may change
        warnings.simplefilter("ignore")
        _products(torch.tensor([0]), torch.tensor([0]), torch.ones(1, 1), torch.ones(1, 1))
    largest = torch.full((64, 768), 127, dtype=torch.int8)
    return all(bool((torch._int_mm(largest, sign * largest.T) == sign * 127 * 127 * 768).all()) for sign in (1, -1))
