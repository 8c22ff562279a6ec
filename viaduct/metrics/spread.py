"""The uncertainty of an estimate whose variance is a sum of parts, each estimated from few units.

One part is known from n seeds (n - 1 degrees of freedom), another from thousands of examples, a third from a dozen
language families. Welch's approximation gives such a sum one number of degrees of freedom; with three seeds it errs by
a factor of five in the tails that corrected tests use. Here each variance gets its distribution given its estimate,
under the prior that makes one-sided p-values right to second order (Ghosh and Kim 2001, Behrens-Fisher problem):

    prior of variances u_1..u_K  ~  (u_1 + ... + u_K) / (u_1^2 * ... * u_K^2)

Given the estimates V_k, this is a mixture: with weight V_k / sum(V), part k has its own degrees of freedom f_k and all
others have f + 2 (u = f V / chi-square). A part known exactly (infinite f) stays fixed. The error is normal given the
variances, so a tail is an expectation over chi-squares, computed by the trapezoid rule in log chi-square, which is
exact to six digits down to 1e-8. If seeds are among the parts, the t test over seeds alone has to hold as well: the
mixture alone finds too much when examples add little. Checked by simulation in benchmarks/verdicts.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]

_NEGLIGIBLE = 1e-13
"""Nodes with less weight than this are left out."""
_WIDEST = 1e6
"""The search for the end of an interval stops at this many standard errors."""


class Part(NamedTuple):
    """One source of chance: its share of the variance of the mean, and the degrees of freedom of that estimate."""

    variance: float
    freedom: float
    """`math.inf` if the variance counts as known."""


@dataclass(frozen=True)
class Spread:
    """The distribution of (estimate - truth), symmetric around 0."""

    seeds: Part
    """The part from seeds (or other repetitions); its variance is above 0."""
    others: tuple[Part, ...] = ()

    @property
    def standard_error(self) -> float:
        """The square root of the sum of all variances."""
        return math.sqrt(sum(part.variance for part in (self.seeds, *self.others)))

    def beyond(self, distance: float) -> float:
        """The one-sided p-value: the probability of an error above `distance`."""
        from scipy.special import ndtr, stdtr

        variances, weights = self._mixture
        mixed = float(weights @ ndtr(-distance / np.sqrt(variances)))
        if distance <= 0:
            return mixed
        return max(mixed, float(stdtr(self.seeds.freedom, -distance / math.sqrt(self.seeds.variance))))

    def reach(self, confidence: float = 0.95) -> float:
        """Half the width of the interval around the estimate, which excludes values that the two-sided test rejects."""
        from scipy.optimize import brentq

        tail, unit = (1 - confidence) / 2, self.standard_error
        return float(brentq(lambda distance: self.beyond(distance) - tail, 0.0, _WIDEST * unit, xtol=1e-9 * unit))

    @cached_property
    def _mixture(self) -> tuple[Numbers, Numbers]:
        """(total variances, their probabilities)."""
        parts = [part for part in (self.seeds, *self.others) if part.variance > 0]
        total = sum(part.variance for part in parts)
        found = [_product(parts, own) for own in range(len(parts))]
        variances = np.concatenate([one for one, _ in found])
        shares = [part.variance / total * weights for part, (_, weights) in zip(parts, found, strict=True)]
        return variances, np.concatenate(shares)


def _product(parts: Sequence[Part], own: int) -> tuple[Numbers, Numbers]:
    """Total variances with their probabilities when part `own` keeps its degrees of freedom and the others have two
    more."""
    variances, weights = np.zeros(1), np.ones(1)
    for number, (variance, freedom) in enumerate(parts):
        if math.isinf(freedom):
            variances = variances + variance
            continue
        ratios, shares = _inverse_chi_square(freedom if number == own else freedom + 2)
        scale = 1.0 if number == own else freedom / (freedom + 2)
        variances = (variances[:, None] + variance * scale * ratios).ravel()
        weights = (weights[:, None] * shares).ravel()
    kept = weights > _NEGLIGIBLE
    return variances[kept], weights[kept]


@lru_cache(maxsize=1 << 10)
def _inverse_chi_square(freedom: float) -> tuple[Numbers, Numbers]:
    """Values of freedom / chi-square, evenly spaced in the logarithm, with their probabilities."""
    half = freedom / 2
    # steps of 0.5, or of a standard deviation of log chi-square: the error falls exponentially in 1 / step
    step = min(0.5, 1 / math.sqrt(half))
    wide = 9 / math.sqrt(half)
    low = math.log(freedom) - max(wide, 28 / half)
    high = math.log(freedom + 9 * math.sqrt(2 * freedom) + 60)
    chi_square = np.exp(np.arange(low, high, step))
    logarithms = half * np.log(chi_square) - chi_square / 2
    weights = np.exp(logarithms - logarithms.max())
    kept = weights > 1e-18 * weights.sum()
    return freedom / chi_square[kept], weights[kept] / weights[kept].sum()
