"""Tests of differences between arms: sign flips over languages, Holm's correction, equivalence, and what can be seen
at all.

The interval that goes with them is `viaduct.metrics.bootstrap.hierarchical_bootstrap`. All values are fractions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from viaduct.errors import DataError, UsageError
from viaduct.metrics.bootstrap import Estimate

ALPHA = 0.05
"""The level of all tests."""

MARGIN = 0.005
"""Half a point: a smaller difference is called none."""

MOST_EXACT = 20
"""Signs of which all combinations are counted, about a million; of more, a sample."""
_AT_ONCE = 1_000_000


class Equivalence(NamedTuple):
    """Two one-sided tests of a difference smaller than a margin in either direction."""

    p_value: float
    """The larger of the two."""
    equivalent: bool
    """Whether it is below 0.05: the 90 % interval then lies inside the margin."""
    low: float
    """Of the 90 % interval."""
    high: float


def sign_flip(
    differences: Mapping[str, float],
    groups: Mapping[str, str] | None = None,
    *,
    draws: int = 100_000,
    seed: int = 0,
) -> float:
    """The two-sided p-value for a mean of zero of these differences (language -> mean over seeds), by flipping signs.

    `groups`: language -> family; languages of a family get one sign, because they are not independent. All combinations
    are counted up to 20 signs, beyond that `draws` seeded ones (the observed one counts too, so p is never 0). With n
    signs no p-value is below 2 / 2 ** n: with five, nothing reaches 0.05. A difference of exactly 0 has no sign.

    The test takes languages as a sample and the trained models as they are: a difference that all seeds share by chance
    looks like an effect to it. So it accompanies the interval, which knows seeds, and never replaces it. Raises
    DataError for no differences and for values that are not numbers.
    """
    if not differences:
        raise DataError("no language has a difference to test")
    values = np.array(list(differences.values()), dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError("a difference is not a number")
    members = [code if groups is None else groups[code] for code in differences]
    names = sorted(set(members))
    sums = np.bincount([names.index(name) for name in members], values)
    sums = sums[sums != 0]
    # sums in another order may differ in the last bits
    reach = abs(math.fsum(sums)) - 1e-9 * float(np.abs(sums).sum())
    return _exact(sums, reach) if len(sums) <= MOST_EXACT else _sampled(sums, reach, draws, seed)


def _exact(sums: NDArray[np.float64], reach: float) -> float:
    """Share of all combinations of signs whose total is as far from zero as `reach`."""
    totals = np.zeros(1)
    for number, one in enumerate(sums):
        # a combination and its opposite are equally far, so the first sign stays
        totals = totals + one if number == 0 else np.concatenate([totals + one, totals - one])
    return float(np.mean(np.abs(totals) >= reach))


def _sampled(sums: NDArray[np.float64], reach: float, draws: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    count = 1
    step = max(1, _AT_ONCE // len(sums))
    for start in range(0, draws, step):
        signs = rng.integers(0, 2, size=(min(step, draws - start), len(sums)), dtype=np.int8) * 2 - 1
        count += int(np.count_nonzero(np.abs(signs @ sums) >= reach))
    return count / (draws + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Name -> p-value corrected for the number of tests; below 0.05 for any true null with probability 0.05 at most.

    Holm 1979: the smallest is multiplied by the number of tests, the next by one less, and none is below an earlier
    one. Ties get the same value; {} gives {}. Raises DataError for what is no probability.
    """
    for name, value in p_values.items():
        if not 0 <= value <= 1:
            raise DataError(f"the p-value of {name} is {value}, not between 0 and 1")
    corrected: dict[str, float] = {}
    highest = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[name]))
        corrected[name] = highest
    return {name: corrected[name] for name in p_values}


def equivalence(estimate: Estimate, *, margin: float = MARGIN) -> Equivalence:
    """Whether a difference is shown to be smaller than `margin` in size (two one-sided tests, Schuirmann 1987).

    "Not equivalent" is no proof of a difference: with few seeds neither may be shown. Raises UsageError for a margin
    that is not above 0.
    """
    if not margin > 0:
        raise UsageError(f"the margin is {margin}, not above 0", fix="give the largest difference that does not matter")
    p_value = max(estimate.p_above(-margin), estimate.p_below(margin))
    low, high = estimate.interval(0.9)
    return Equivalence(p_value, p_value < ALPHA, low, high)


def minimal_detectable_effect(standard_deviation: float, units: int) -> float:
    """2.8 sd / sqrt(n): the true difference that n units find in four of five experiments (two-sided test at 5 %).

    2.8 = 1.96 + 0.84, the normal quantiles of 97.5 % and 80 %; `standard_deviation` is that of the paired differences
    between units (seeds). It is a lower bound where there are few: Student's t asks for 5.7 sd / sqrt(n) with 3 seeds
    and for 3.2 with 9. A smaller difference may well be there and not be seen, so "no measurable difference" says no
    more than that it is probably below this. Raises UsageError for no units or a negative deviation.
    """
    if units < 1 or not standard_deviation >= 0:
        raise UsageError(f"a standard deviation of {standard_deviation} over {units} units is none")
    return 2.8 * standard_deviation / math.sqrt(units)
