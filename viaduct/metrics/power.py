"""The difference that an experiment like this one would have found, so that "none found" says how much it excludes.

It is a multiple of a run's own standard error, chosen so that the power *averaged over runs* is 80 %: with few seeds
the error is itself random, large in one run and small in another, and a fixed multiple of it has a power of .62 to .73.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from viaduct.metrics.spread import Part, Spread

POWER = 0.8
_DRAWS = 24
"""Number of equally probable values of the variance over seeds."""


def detectable(spread: Spread, level: float) -> float:
    """The true difference, a fraction, that a two-sided test at `level` finds in four of five such experiments.

    The larger of two, as two tests must hold: from seeds alone, and from seeds with examples. The power is then .77
    to .82 when the examples' share of the variance is anything from none to nearly all (tests/metrics/test_power.py).
    """
    known = sum(part.variance for part in spread.others)
    share = round(known / spread.standard_error**2, 2)
    alone = math.sqrt(spread.seeds.variance) * _multiple(spread.seeds.freedom, 0.0, level)
    return max(alone, spread.standard_error * _multiple(spread.seeds.freedom, share, level))


@lru_cache(maxsize=1 << 12)
def _multiple(freedom: float, share: float, level: float) -> float:
    """The number of standard errors, if `share` of the variance is from examples and known, the rest from seeds."""
    from scipy.optimize import brentq
    from scipy.special import chdtri, ndtr

    seeds, known = max(1e-6, 1 - share), share
    probabilities = (np.arange(_DRAWS) + 0.5) / _DRAWS
    drawn = np.asarray(seeds * chdtri(freedom, 1 - probabilities) / freedom, np.float64)
    critical = np.array([Spread(Part(one, freedom), (Part(known, math.inf),)).reach(1 - level) for one in drawn])
    errors = np.sqrt(drawn + known)
    total = math.sqrt(seeds + known)

    def power(multiple: float) -> float:
        return float(ndtr((multiple * errors[:, None] - critical) / total).mean())

    return float(brentq(lambda multiple: power(multiple) - POWER, 0.1, 1e5, xtol=1e-4))
