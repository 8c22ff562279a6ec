"""Exact nearest neighbours in both directions from one pass over blocks of the similarity matrix.

Memory is bounded by the block size, never by the number of pairs. Shape letters: N queries, M candidates, D width, K
neighbours.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

BLOCK = 4096
"""Rows and columns of the similarity matrix that exist at once (64 MiB of float32)."""


class Neighbours(NamedTuple):
    """The k most similar: values (N, K) descending, and their indices (N, K); of equal values the lower index comes
    first."""

    values_NK: torch.Tensor
    indices_NK: torch.Tensor


def nearest_both_ways(query_ND: torch.Tensor, candidate_MD: torch.Tensor, k: int) -> tuple[Neighbours, Neighbours]:
    """(neighbours of every query among the candidates, neighbours of every candidate among the queries), by inner
    product.

    k is reduced to the number there is to choose from.
    """
    forward = _Best(len(query_ND), min(k, len(candidate_MD)))
    backward = _Best(len(candidate_MD), min(k, len(query_ND)))
    for row in range(0, len(query_ND), BLOCK):
        for column in range(0, len(candidate_MD), BLOCK):
            similarity = query_ND[row : row + BLOCK] @ candidate_MD[column : column + BLOCK].T
            forward.merge(row, column, similarity)
            backward.merge(column, row, similarity.T)
    return forward.result(), backward.result()


class _Best:
    """The running k best of every row."""

    def __init__(self, rows: int, k: int) -> None:
        self.k = k
        self.values = torch.full((rows, k), float("-inf"))
        self.indices = torch.full((rows, k), torch.iinfo(torch.int64).max)

    def merge(self, row: int, column: int, similarity: torch.Tensor) -> None:
        """Take a block whose first row and column are these."""
        here = slice(row, row + len(similarity))
        values, found = _largest(similarity.float().cpu(), self.k)
        values = torch.cat([self.values[here], values], dim=1)
        indices = torch.cat([self.indices[here], found + column], dim=1)
        by_index = indices.argsort(dim=1, stable=True)
        by_value = values.gather(1, by_index).argsort(dim=1, descending=True, stable=True)
        order = by_index.gather(1, by_value)[:, : self.k]
        self.values[here], self.indices[here] = values.gather(1, order), indices.gather(1, order)

    def result(self) -> Neighbours:
        """The k best of all blocks seen."""
        return Neighbours(self.values, self.indices)


def _largest(similarity: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest of every row (or all, if there are fewer) and where they are; of equal ones the first are taken.

    `topk` takes any of them, so rows with a tie at the border between taken and left are sorted instead.
    """
    if similarity.shape[1] <= k:
        return similarity, torch.arange(similarity.shape[1]).expand(similarity.shape)
    values, found = similarity.topk(k + 1, dim=1)
    tied = (values[:, k - 1] == values[:, k]).nonzero()[:, 0]
    if len(tied):
        ordered = similarity[tied].sort(dim=1, descending=True, stable=True)
        found[tied] = ordered.indices[:, : k + 1]
    return values[:, :k], found[:, :k]
