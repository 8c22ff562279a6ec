"""Which difference an experiment like this one would have found: so that "none found" tells how much it excludes.

A multiple of a run's own standard error, chosen so that the power *in the mean over runs* is 80 %: with few seeds the
error is itself drawn, large in one run and small in another, and a fixed multiple of it finds .62 to .73.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from viaduct.metrics.spread import Part, Spread

POWER = 0.8
_DRAWS = 24
"""Equally probable values of a variance over seeds."""


def detectable(spread: Spread, level: float) -> float:
    """The true difference that a two-sided test at `level` finds in four of five such experiments, a fraction.

    The larger of two, as two tests must hold: from seeds alone, and from seeds with examples. The power is then .77
    to .82 for shares of examples from none to nearly all (tests/metrics/test_power.py).
    """
    known = sum(part.variance for part in spread.others)
    share = round(known / spread.standard_error**2, 2)
    alone = math.sqrt(spread.seeds.variance) * _multiple(spread.seeds.freedom, 0.0, level)
    return max(alone, spread.standard_error * _multiple(spread.seeds.freedom, share, level))


@lru_cache(maxsize=1 << 12)
def _multiple(freedom: float, share: float, level: float) -> float:
    """How many standard errors, where `share` of the variance is of examples and known, the rest of seeds."""
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
