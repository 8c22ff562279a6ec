"""Macro-F1 of labels, and the correlation of predicted with gold numbers: Pearson's r, and Spearman's, on ranks.

None of them is a mean over rows. The outcomes by example are each row's contribution to the score, to first order (its
influence): their mean is the score, and they vary as the score does with the rows that are sampled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viaduct.metrics.classification import accuracy
from viaduct.metrics.score import (
    ByExample,
    Outcomes,
    Predictions,
    Score,
    Scored,
    labelled,
    not_a_prediction,
    require_known_ids,
    rows_of,
)
from viaduct.rows import Row
from viaduct.texts.rows import Rated


def _correlated(rows: Sequence[Row], predictions: Predictions, first: str) -> Scored:
    from scipy.stats import rankdata

    gold = {row.id: row.value for row in labelled(rows_of(rows, Rated, first), first).values()}
    require_known_ids(gold, predictions)
    given = {row_id: predictions[row_id].prediction for row_id in gold if row_id in predictions}
    for row_id, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise not_a_prediction(row_id, value, "a number")
    usual = sum(given.values()) / len(given) if given else 0.0
    sides = [
        np.array(list(gold.values()), np.float64),
        np.array([given.get(row_id, usual) for row_id in gold], np.float64),
    ]
    parts = {"pearson": _parts(*sides), "spearman": _parts(*map(rankdata, sides))}
    missing = len(gold) - len(given)
    scores = {
        name: Score(name, float(own.mean()), len(gold), missing, f"{name}|no prediction: the mean of those given|v1")
        for name, own in parts.items()
    }
    order = (first, *(name for name in scores if name != first))
    outcomes = Outcomes(tuple(gold), {first: parts[first].tolist()}, influences=True)
    return Scored(tuple(scores[name] for name in order), outcomes)


def _parts(gold: NDArray[Any], given: NDArray[Any]) -> NDArray[Any]:
    """(N,) each row's contribution to r: their mean is r, and to first order they vary as r does with the rows that are
    sampled (the influence of a row on r is z1 z2 - r (z1^2 + z2^2) / 2). All 0 if one side is constant."""
    if len(gold) < 2 or not gold.std() or not given.std():
        return np.zeros(len(gold))
    one, two = ((side - side.mean()) / side.std() for side in (gold, given))
    r = (one * two).mean()
    parts: NDArray[Any] = one * two - r * (one**2 + two**2) / 2 + r
    return parts


@ByExample
def spearman(rows: Sequence[Row], predictions: Predictions) -> Scored:
    """Correlations of the predicted numbers with the gold ones, -1 to 1: "spearman", the headline, and "pearson". Ties
    get their mean rank. As scipy's `spearmanr` and `pearsonr`, but 0 if one side is constant, which says nothing about
    the other.

    A missing prediction is replaced by the mean of the given ones, so that it carries no information. Raises DataError
    for no rows, rows without gold numbers, unknown ids, and predictions that are not finite numbers.
    """
    return _correlated(rows, predictions, "spearman")


@ByExample
def pearson(rows: Sequence[Row], predictions: Predictions) -> Scored:
    """Like `spearman`, with "pearson" as the headline."""
    return _correlated(rows, predictions, "pearson")


@ByExample
def macro_f1(rows: Sequence[Row], predictions: Predictions) -> Scored:
    """The mean of F1 over all labels that occur in gold or predictions, as "macro_f1", and `accuracy`.

    As scikit-learn's `f1_score(average="macro")`; a missing prediction misses the gold label and predicts no other.
    Raises as `accuracy` does.
    """
    (share,), _ = accuracy.examine(rows, predictions)
    gold = {row.id: str(row.gold) for row in rows}
    given = {row_id: str(predictions[row_id].prediction) for row_id in gold if row_id in predictions}
    right = Counter(label for row_id, label in given.items() if gold[row_id] == label)
    both = Counter(gold.values()) + Counter(given.values())
    f1 = {label: 2 * right[label] / both[label] for label in both}
    parts = []
    for row_id, label in gold.items():
        part = 0.0
        for one in filter(None, (label, given.get(row_id))):
            part += ((one == label == given.get(row_id)) - f1[one]) * len(gold) / both[one]
        parts.append((sum(f1.values()) + part) / len(f1))
    score = Score(
        "macro_f1", sum(f1.values()) / len(f1), share.n, share.n_missing, "macro-F1|labels of gold or predictions|v1"
    )
    return Scored((score, share), Outcomes(tuple(gold), {"macro_f1": parts}, influences=True))
