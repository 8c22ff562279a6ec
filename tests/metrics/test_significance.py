"""Sign flips, Holm, equivalence and the smallest visible effect, against enumeration and tables."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viaduct.errors import DataError, UsageError
from viaduct.languages import XTREME, family_of
from viaduct.metrics.bootstrap import hierarchical_bootstrap
from viaduct.metrics.outcomes import Run
from viaduct.metrics.significance import equivalence, holm, minimal_detectable_effect, sign_flip

VALUES = st.lists(st.integers(-20, 20), min_size=1, max_size=7)


def enumerated(sums):
    """Two-sided p-value by trying every combination of signs."""
    totals = [abs(sum(sign * one for sign, one in zip(signs, sums, strict=True))) for signs in _signs(len(sums))]
    return sum(total >= abs(sum(sums)) for total in totals) / len(totals)


def _signs(count):
    return itertools.product((1, -1), repeat=count)


@settings(max_examples=60)
@given(VALUES)
def test_sign_flips_are_counted_exactly(values):
    differences = {XTREME[place]: value / 8 for place, value in enumerate(values)}
    assert sign_flip(differences) == sign_flip(differences, seed=1) == pytest.approx(enumerated(values))
    assert sign_flip(differences) >= min(1, 2 / 2 ** sum(value != 0 for value in values))


def test_a_family_has_one_sign():
    differences = {"de": 0.03, "nl": 0.01, "fr": 0.02, "es": -0.01, "zh": 0.04, "fi": 0.02}
    found = sign_flip(differences, {code: family_of(code) for code in differences})
    assert found == pytest.approx(enumerated([4, 1, 4, 2]))
    assert found > sign_flip(differences)
    assert sign_flip(differences, dict.fromkeys(differences, "one")) == 1.0


def test_many_languages_are_sampled_with_a_seed_and_agree_with_the_exact_count():
    rng = np.random.default_rng(1)
    twenty = {code: float(value) for code, value in zip(XTREME, rng.normal(0.2, 1, 20), strict=False)}
    exact = sign_flip(twenty)
    assert sign_flip(twenty, seed=1) == exact, "counted, not drawn"
    one_more = {**twenty, XTREME[20]: 1e-12}
    sampled = sign_flip(one_more)
    assert sign_flip(one_more, seed=1) != sampled, "drawn"
    assert sampled == pytest.approx(exact, abs=4 * math.sqrt(0.25 / 100_000))
    assert sign_flip(one_more) == sampled
    assert sign_flip(dict.fromkeys(XTREME, 1.0), draws=1_000) >= 1 / 1_001


def test_sign_flips_of_nothing_or_no_numbers_are_refused():
    with pytest.raises(DataError, match="no language"):
        sign_flip({})
    with pytest.raises(DataError, match="not a number"):
        sign_flip({"de": math.nan})
    assert sign_flip({"de": 0.0, "fr": 0.0}) == 1.0


def test_holm_on_the_example_worked_by_hand():
    """0.01 x 4, 0.02 x 3, 0.03 x 2 (equal to the one before), 0.2."""
    assert holm({"d": 0.2, "a": 0.01, "c": 0.03, "b": 0.02}) == pytest.approx(
        {"d": 0.2, "a": 0.04, "c": 0.06, "b": 0.06}
    )
    assert holm({}) == {}
    with pytest.raises(DataError, match=r"of x is 1\.5"):
        holm({"x": 1.5})


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
def test_holm_rejects_what_the_step_down_rule_rejects(p_values):
    corrected = holm(p_values)
    rejected: set[str] = set()
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        if (len(p_values) - place) * p_values[name] >= 0.05:
            break
        rejected.add(name)
    assert {name for name, value in corrected.items() if value < 0.05} == rejected
    assert all(p_values[name] <= value <= min(1.0, len(p_values) * p_values[name]) for name, value in corrected.items())


def estimate(values):
    return hierarchical_bootstrap({Run(seed): {"de": value} for seed, value in enumerate(values)}, draws=50_000)


def test_equivalence_is_the_90_percent_interval_inside_the_margin():
    """Five seeds: 2.132 standard errors to either side (table of Student's t, 4 df)."""
    small = [0.001, -0.001, 0.000, 0.002, -0.001]
    found = equivalence(estimate(small))
    assert found.equivalent and found.p_value < 0.05
    error = np.std(small, ddof=1) / math.sqrt(5)
    assert found.high - found.low == pytest.approx(2 * 2.132 * error, rel=0.05)
    wide = equivalence(estimate([0.02, -0.02, 0.01, -0.01, 0.001]))
    assert not wide.equivalent
    assert not equivalence(estimate([0.010, 0.011, 0.012]), margin=0.005).equivalent
    assert equivalence(estimate([0.0100, 0.0101, 0.0102]), margin=0.02).equivalent
    with pytest.raises(UsageError, match="not above 0"):
        equivalence(estimate(small), margin=0.0)


def test_the_smallest_visible_effect():
    assert minimal_detectable_effect(0.01, 4) == pytest.approx(0.014)
    assert minimal_detectable_effect(0.0, 3) == 0.0
    with pytest.raises(UsageError):
        minimal_detectable_effect(0.01, 0)


def test_an_effect_of_that_size_is_found_four_times_in_five():
    """With many units; with three it takes twice the effect, as the function's documentation says."""
    rng = np.random.default_rng(2)
    for units, times in ((60, 2.8), (9, 3.2), (3, 5.7)):
        means = rng.normal(times / math.sqrt(units), 1, (20_000, units))
        scores = means.mean(axis=1) / (means.std(axis=1, ddof=1) / math.sqrt(units))
        limit = {60: 2.001, 9: 2.306, 3: 4.303}[units]
        assert np.mean(np.abs(scores) > limit) == pytest.approx(0.80, abs=0.02)
