"""From sentence vectors to translations: the nearest sentence for each (retrieval), or the pairs that stand out
(mining).

Mining follows arXiv 1811.01136 and XTREME's third_party/utils_retrieve.py at 838c13b: a pair's margin compares its
cosine with the mean cosine of both sides' k nearest. Shape letters: N sentences, D width, K neighbours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from viaduct.errors import DataError
from viaduct.inference.neighbours import Neighbours, Search, nearest_both_ways
from viaduct.metrics.retrieval import bucc_threshold
from viaduct.metrics.score import Prediction
from viaduct.models.numerics import require_finite
from viaduct.rows import Sentence
from viaduct.runs.parts import Retrieval

MinedPair = tuple[float, str, str]
"""(margin, source id, target id)."""


@dataclass(frozen=True)
class Side:
    """The distinct sentences of one side and their vectors."""

    ids: tuple[str | None, ...]
    """None if several ids have the same text, ignoring white space at its ends: it is ambiguous which one is meant."""
    vectors_ND: torch.Tensor


def distinct(rows: Sequence[Sentence]) -> list[int]:
    """The last position of every distinct text, ordered by first positions (as in the official code)."""
    return list({row.text: at for at, row in enumerate(rows)}.values())


def side_of(rows: Sequence[Sentence], vectors_ND: torch.Tensor) -> Side:
    """One side of a mining task: `vectors_ND` are those of the `distinct` rows."""
    count = Counter(row.text.strip() for row in rows)
    chosen = [rows[at] for at in distinct(rows)]
    return Side(tuple(row.id if count[row.text.strip()] == 1 else None for row in chosen), vectors_ND)


def matches(queries: Sequence[Sentence], candidates: Sequence[Sentence], found: Neighbours) -> list[Prediction]:
    """For every query, the id of the most similar candidate, and the cosine."""
    nearest, cosines = found.indices_NK[:, 0].tolist(), found.values_NK[:, 0].tolist()
    return [
        Prediction(query.id, query.language, candidates[index].id, (value,))
        for query, index, value in zip(queries, nearest, cosines, strict=True)
    ]


def pairs_by_margin(source: Side, target: Side, how: Retrieval, search: Search) -> list[MinedPair]:
    """Candidate pairs, best first; pairs with an ambiguous text compete like others but are dropped at the end.

    "max": the best of both directions, one to one, with margins above 0 (as the official code writes them).
    "intersection": pairs that are each other's best. "forward", "backward": the best of every source, or target.
    Raises NumbersError for a margin that is not finite.
    """
    if not len(source.vectors_ND) or not len(target.vectors_ND):
        return []
    forward, backward = nearest_both_ways(source.vectors_ND, target.vectors_ND, how.neighbours, search)
    mean_forward, mean_backward = forward.values_NK.mean(dim=1), backward.values_NK.mean(dim=1)
    ahead = _best(forward, mean_forward, mean_backward, how.margin, source.ids)
    found = _best(backward, mean_backward, mean_forward, how.margin, target.ids)
    back = [(margin, theirs, ours) for margin, ours, theirs in found]
    if how.candidates == "max":
        pairs = _one_to_one([*ahead, *back])
    elif how.candidates == "intersection":
        mutual = {pair[1:] for pair in back}
        pairs = [pair for pair in ahead if pair[1:] in mutual]
    else:
        pairs = ahead if how.candidates == "forward" else back
    named_pairs = ((margin, source.ids[ours], target.ids[theirs]) for margin, ours, theirs in sorted(pairs, key=_order))
    return [(margin, ours, theirs) for margin, ours, theirs in named_pairs if ours is not None and theirs is not None]


def _best(
    found: Neighbours, own_mean_N: torch.Tensor, other_mean_M: torch.Tensor, margin: str, ids: Sequence[str | None]
) -> list[tuple[float, int, int]]:
    """(margin, row, its best neighbour) for every row."""
    mean_NK = (own_mean_N[:, None] + other_mean_M[found.indices_NK]) / 2
    if margin == "ratio":
        margin_NK = found.values_NK / mean_NK
    else:
        margin_NK = found.values_NK - mean_NK if margin == "distance" else found.values_NK
    require_finite(margin_NK, f"{margin} margin", lambda at: f"sentence '{ids[at] or at}'")
    best = margin_NK.max(dim=1)
    chosen_N = found.indices_NK.gather(1, best.indices[:, None])[:, 0]
    return list(zip(best.values.tolist(), range(len(chosen_N)), chosen_N.tolist(), strict=True))


def _one_to_one(pairs: Sequence[tuple[float, int, int]]) -> list[tuple[float, int, int]]:
    """Pairs chosen greedily by margin, with every row of either side at most once."""
    taken_source: set[int] = set()
    taken_target: set[int] = set()
    kept = []
    for margin, ours, theirs in sorted(pairs, key=_order):
        if margin > 0 and ours not in taken_source and theirs not in taken_target:
            taken_source.add(ours)
            taken_target.add(theirs)
            kept.append((margin, ours, theirs))
    return kept


def _order(pair: tuple[float, int, int]) -> tuple[float, int, int]:
    return -pair[0], pair[1], pair[2]


def tune(rows: Sequence[Sentence], candidates: Sequence[MinedPair]) -> tuple[float, float]:
    """(best threshold on these dev rows, its F1). Raises DataError if they have no gold pairs."""
    gold = {(row.id, match) for row in rows if row.side == "source" for match in row.match or ()}
    if not gold:
        raise DataError("the dev split has no gold pairs to tune the mining threshold on")
    best = bucc_threshold(candidates, gold)
    return float(best.threshold), float(best.f1)


def translations(rows: Sequence[Sentence], pairs: Sequence[MinedPair], threshold: float) -> list[Prediction]:
    """For every source sentence, the id of its mined translation; None if no pair reaches the threshold.

    With candidates of the backward direction a sentence may have several translations: then a list of ids.
    """
    chosen: dict[str, list[tuple[str, float]]] = {}
    for margin, source, target in pairs:
        if margin >= threshold:
            chosen.setdefault(source, []).append((target, margin))
    predictions = []
    for row in rows:
        if row.side == "source":
            targets, margins = zip(*chosen[row.id], strict=True) if row.id in chosen else ((), None)
            prediction = list(targets) if len(targets) > 1 else targets[0] if targets else None
            predictions.append(Prediction(row.id, row.language, prediction, margins))
    return predictions
