"""Pairs that mining finds among rows with given vectors."""

from __future__ import annotations

import torch

from viaduct.inference.mine import MinedPair, distinct, pairs_by_margin, side_of
from viaduct.inference.neighbours import Search
from viaduct.rows import Sentence
from viaduct.runs.spec import Retrieval

SEARCH = Search(10**9)


def mined(rows: list[Sentence], vectors_ND: torch.Tensor, how: Retrieval | None = None) -> list[MinedPair]:
    """The candidate pairs of these rows; repeated texts keep the vector of their last line."""
    sides = []
    for name in ("source", "target"):
        positions = [at for at, row in enumerate(rows) if row.side == name]
        mine_rows = [rows[at] for at in positions]
        sides.append(side_of(mine_rows, vectors_ND[positions][distinct(mine_rows)]))
    return pairs_by_margin(*sides, how or Retrieval(), SEARCH)
