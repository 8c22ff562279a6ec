"""Errors of a mean whose variance has several parts: exact where the answer is known, close where simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from viaduct.metrics.spread import Part, Spread


@pytest.mark.parametrize("freedom", [1, 2, 4, 8, 19, 500])
def test_one_part_is_students_t(freedom):
    one = Spread(Part(0.04, freedom))
    for distance in (0.01, 0.2, 0.7, 3.0):
        assert one.beyond(distance) == pytest.approx(stats.t.sf(distance / 0.2, freedom), rel=1e-5, abs=1e-12)
    for confidence in (0.8, 0.95, 0.999):
        expected = 0.2 * stats.t.ppf(0.5 + confidence / 2, freedom)
        assert one.reach(confidence) == pytest.approx(expected, rel=1e-5)


def test_a_part_that_is_known_adds_a_normal_error():
    mixed = Spread(Part(1e-6, 2), (Part(0.04, math.inf),))
    assert mixed.standard_error == pytest.approx(0.2, rel=1e-4)
    assert mixed.beyond(0.4) == pytest.approx(stats.norm.sf(2), rel=0.01)


def test_where_seeds_are_few_the_test_over_seeds_holds_too():
    """Variance from examples never makes an error less probable than it is by seeds alone."""
    alone = Spread(Part(0.04, 2))
    for share in (0.0, 0.01, 0.1, 1.0):
        both = Spread(Part(0.04, 2), (Part(share * 0.04, math.inf),))
        for distance in (0.1, 0.5, 1.0, 2.0):
            assert both.beyond(distance) >= alone.beyond(distance) * (1 - 1e-6)


def test_tails_of_a_sum_against_draws():
    """Simulates the module's mixture: with weight V_k / sum(V), part k keeps its degrees of freedom, others add 2."""
    seeds, families = Part(0.02, 2), Part(0.03, 6)
    rng = np.random.default_rng(1)
    draws, found = 400_000, []
    for own, share in ((0, 0.4), (1, 0.6)):
        freedoms = [part.freedom + 2 * (number != own) for number, part in enumerate((seeds, families))]
        total = sum(
            part.variance * part.freedom / rng.chisquare(freedom, draws)
            for part, freedom in zip((seeds, families), freedoms, strict=True)
        )
        found.append(share * stats.norm.sf(0.5 / np.sqrt(total)).mean())
    spread = Spread(seeds, (families,))
    assert spread.beyond(0.5) == pytest.approx(max(sum(found), stats.t.sf(0.5 / 0.02**0.5, 2)), rel=0.01)


def test_an_error_on_the_other_side_is_the_rest():
    one = Spread(Part(0.04, 2), (Part(0.01, math.inf),))
    assert one.beyond(0.0) == pytest.approx(0.5)
    assert one.beyond(-0.3) > 0.5
    assert one.beyond(-50.0) == pytest.approx(1.0, abs=1e-4)


def test_an_interval_reaches_as_far_as_the_test_rejects():
    one = Spread(Part(0.01, 4), (Part(0.02, math.inf), Part(0.005, 7)))
    for confidence in (0.9, 0.95, 0.99):
        assert 2 * one.beyond(one.reach(confidence)) == pytest.approx(1 - confidence, rel=1e-6)
