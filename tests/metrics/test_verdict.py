"""Verdicts of one step of comparisons: what each needs, how comparisons leave the correction, and error rates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from viaduct.metrics.difference import Estimate
from viaduct.metrics.spread import Part, Spread
from viaduct.metrics.verdict import ALPHA, MARGIN, decide


def known(mean, error=0.001, freedom=8, *, like_these=None):
    return Estimate(mean, Spread(Part(error**2, freedom)), "", like_these)


def silent(why="needs at least 3 seeds, has 2"):
    return Estimate(0.5, None, why, None)


def verdicts(*step, **options):
    return [one.verdict for one in decide(step, **options)]


def test_each_verdict():
    assert verdicts(known(0.03)) == ["higher"]
    assert verdicts(known(-0.03)) == ["lower"]
    assert verdicts(known(0.0005)) == ["equivalent"]
    assert verdicts(known(0.004, error=0.01)) == ["no measurable difference"]
    assert verdicts(silent()) == ["no verdict"]
    assert verdicts() == []


def test_a_small_difference_that_is_found_is_a_difference():
    assert verdicts(known(0.002, error=0.0001)) == ["higher"], "though within half a point"


def test_where_equivalence_means_nothing_it_is_not_found():
    same = known(0.0005)
    assert verdicts(same, known(0.03), meaningful=[False, True]) == ["no measurable difference", "higher"]


def test_languages_like_these_need_their_own_test():
    doubtful, sure = known(0.03, like_these=0.2), known(0.03, like_these=0.001)
    plain = decide([doubtful, sure])
    assert [one.verdict for one in plain] == ["higher", "higher"]
    assert [one.holds_beyond for one in plain] == [False, True]
    asked = decide([doubtful, sure, known(0.0)], like_these=True)
    assert [one.verdict for one in asked] == ["no measurable difference", "higher", "no measurable difference"]


def test_p_values_are_multiplied_by_what_is_still_open():
    step = [known(0.004), known(0.0), known(0.0)]
    found = decide(step)
    assert [one.comparisons for one in found] == [3, 3, 3]
    assert found[0].p_value == pytest.approx(3 * step[0].p_value)
    assert found[0].p_equivalence == min(1.0, 3 * step[0].p_below(MARGIN))
    assert found[1].p_value == 1.0
    with_silent = decide([*step, silent()])
    assert [one.comparisons for one in with_silent] == [3] * 4, "what has no verdict costs nothing"


def test_declared_comparisons_without_a_result_are_corrected_for():
    doubtful, sure = known(0.01, error=0.003), known(0.03)
    assert 0.01 < doubtful.p_value < 0.025
    assert verdicts(doubtful) == verdicts(doubtful, declared=2) == ["higher"]
    assert verdicts(doubtful, declared=5) == ["no measurable difference"]
    assert verdicts(doubtful, silent(), declared=5) == ["no measurable difference", "no verdict"]
    assert [one.comparisons for one in decide([doubtful, sure], declared=5)] == [4, 5], "those to come never leave"
    assert decide([doubtful, known(0.0)], declared=1) == decide([doubtful, known(0.0)])


def test_a_comparison_leaves_only_by_more_than_the_margin():
    certain = known(0.0049, error=1e-6)
    assert decide([certain])[0].verdict == "higher"
    assert [one.comparisons for one in decide([certain, known(0.0)])] == [2, 2], "found, and within the margin"
    large = known(0.03, error=1e-4)
    assert [one.comparisons for one in decide([large, known(0.0)])] == [2, 1]
    middle = known(0.0079, error=0.001)
    alone = 2 * middle.p_above(MARGIN)
    assert ALPHA / 2 > alone > ALPHA / 3
    assert [one.comparisons for one in decide([large, middle, known(0.0)])] == [3, 2, 1], "one after the other"


def test_stars_follow_the_corrected_p_value():
    found = decide([known(0.03), known(0.0027), known(0.0)])
    assert [one.stars for one in found] == ["***", "", ""]


@pytest.mark.parametrize("arms", [1, 6])
def test_a_step_is_wrong_in_one_of_twenty_runs(arms):
    """The true difference is 0, or the margin, everywhere: any wrong verdict in 1,500 steps with a shared part."""
    rng = np.random.default_rng(7)
    runs, seeds, error = 1500, 5, 0.002
    wrong = {0.0: 0, MARGIN: 0}
    for truth in wrong:
        for _ in range(runs):
            shared = rng.normal(0, error, (seeds, 1))
            values = truth + shared + rng.normal(0, error, (seeds, arms))
            step = [
                Estimate(float(own.mean()), Spread(Part(float(own.var(ddof=1)) / seeds, seeds - 1)), "", None)
                for own in values.T
            ]
            bad = {0.0: ("higher", "lower"), MARGIN: ("equivalent", "lower")}[truth]
            wrong[truth] += any(one.verdict in bad for one in decide(step))
    slack = 3.3 * math.sqrt(0.05 * 0.95 / runs)
    assert all(count / runs <= 0.05 + slack for count in wrong.values()), wrong
    assert wrong[0.0] / runs > 0.02, "not so careful that nothing is ever found"
