"""The uncertainty of a score due to the choice of test examples, for one model whose training is taken as fixed.

The score is a mean of values by example, or an F1 with each example's influence on it. Its variance gives the number of
right or wrong answers that would be equally uncertain, and Wilson's interval for that number is used (Wilson 1927; an
effective number of examples as in Korn and Graubard 1998, Survey Methodology 24). So plain accuracy gets Wilson's own
interval, and a score of 1 does not get one of width 0. Translations of one example are drawn together, and so are
examples of one group (`drawn.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from viaduct.metrics.drawn import drawn_together, effective
from viaduct.metrics.score import Outcomes

Interval: TypeAlias = tuple[float, float]

_NORMAL = 1.959964
"""The standard normal distribution has 95 % of its mass within plus or minus this value."""
_NOTHING = 1e-12
"""A variance below this means that all examples came out alike."""
CORRELATIONS = ("pearson", "spearman")
"""Metrics from -1 to 1."""
COUNTS = ("correct", "predicted", "gold")
"""The values of a task whose score is an F1 over all examples."""


def by_example(values: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """(N,) values whose mean is the task's score in a language.

    For shares: the mean of the metrics. For counts: F1 with the influence of each example on it,
    F + (2 correct - F (predicted + gold)) / mean(predicted + gold), so that deviations are right to first order; 0 if
    there is neither anything predicted nor any gold.
    """
    if "correct" not in values:
        mean: NDArray[np.float64] = np.mean([value.astype(np.float64) for value in values.values()], axis=0)
        return mean
    correct, predicted, gold = (values[name].astype(np.float64) for name in COUNTS)
    spans = predicted + gold
    if not spans.any():
        return np.zeros(len(spans))
    f1 = 2 * correct.sum() / spans.sum()
    influence: NDArray[np.float64] = f1 + (2 * correct - f1 * spans) / spans.mean()
    return influence


def interval(found: Mapping[str, Outcomes], metric: str | None = None) -> Interval:
    """The 95 % interval for the mean over these languages of the task's score, or of one metric in the outcomes."""
    units = drawn_together(found)
    mean, drawn_U = 0.0, np.zeros(1 + max(int(own.max()) for own in units.values()))
    for code, one in found.items():
        arrays = {name: np.asarray(value) for name, value in one.values.items()}
        values_N = by_example(arrays if metric is None else {metric: arrays[metric]})
        mean += float(values_N.mean()) / len(found)
        shares_N = (values_N - values_N.mean()) / len(values_N) / len(found)
        drawn_U += np.bincount(units[code], shares_N, len(drawn_U))
    variance = float((drawn_U**2).sum()) * _for_few_groups(units)
    if metric in CORRELATIONS:
        low, high = _between(variance / 4, (1 + mean) / 2, len(drawn_U))
        return 2 * low - 1, 2 * high - 1
    return _between(variance, mean, len(drawn_U))


def _for_few_groups(units: Mapping[str, NDArray[np.int32]]) -> float:
    """What the variance is multiplied by because it is estimated from groups (Korn and Graubard 1998); 1 where every
    row is a group of its own, so that plain accuracy gets Wilson's interval."""
    if all(len(np.unique(own)) == len(own) for own in units.values()):
        return 1.0
    from scipy.special import stdtrit  # slow to load

    freedom = max(1.0, effective(units) - 1)  # below 1 only if ids are doubled, as in labels scored with --official
    return float((1 + 1 / freedom) * (stdtrit(freedom, 0.975) / _NORMAL) ** 2)


def _between(variance: float, share: float, count: int) -> Interval:
    """Wilson's interval for a share with this variance, or with `count` examples if the variance says nothing."""
    spread = share * (1 - share)
    return _wilson(share, spread / variance if min(spread, variance) > _NOTHING else count)


def _wilson(share: float, count: float) -> Interval:
    square = _NORMAL**2 / count
    centre = (share + square / 2) / (1 + square)
    reach = _NORMAL / (1 + square) * math.sqrt(max(0.0, share * (1 - share)) / count + square / (4 * count))
    return max(0.0, centre - reach), min(1.0, centre + reach)
