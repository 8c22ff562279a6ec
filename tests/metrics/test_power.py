"""The difference reported as detectable is found in four of five experiments, averaged over runs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from viaduct.metrics.power import detectable
from viaduct.metrics.spread import Part, Spread


def drawn(rng, seeds, share):
    """(mean around 0, its estimated spread) of one experiment whose mean has variance 1."""
    own = rng.normal(0, math.sqrt(seeds * (1 - share)), seeds)
    mean = float(own.mean() + rng.normal(0, math.sqrt(share)))
    return mean, Spread(Part(float(own.var(ddof=1)) / seeds, seeds - 1), (Part(share, math.inf),))


@pytest.mark.parametrize("level", [0.05, 0.05 / 9])
@pytest.mark.parametrize("seeds", [3, 5, 9])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_four_of_five(share, seeds, level):
    """Runs print what they would detect; others with that true difference find it. `share`: variance from examples."""
    rng = np.random.default_rng(seeds)
    runs, found = 1200, 0
    for _ in range(runs):
        printed = detectable(drawn(rng, seeds, share)[1], level)
        mean, spread = drawn(rng, seeds, share)
        found += 2 * spread.beyond(abs(mean + printed)) < level and mean + printed > 0
    slack = 3.3 * math.sqrt(0.8 * 0.2 / runs)
    assert 0.75 - slack <= found / runs <= 0.85 + slack


def test_more_seeds_and_fewer_comparisons_detect_less():
    three, nine = (Spread(Part(1.0, freedom)) for freedom in (2, 8))
    assert detectable(nine, 0.05) < detectable(three, 0.05) < detectable(three, 0.05 / 9)
    assert detectable(Spread(Part(4.0, 2)), 0.05) == pytest.approx(2 * detectable(three, 0.05))
