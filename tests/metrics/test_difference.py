"""The difference of two arms: means and variances by brute force, cases without a spread, and simulated errors."""

from __future__ import annotations

import math
from itertools import permutations
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from viaduct.languages import INDO_EUROPEAN, family_of
from viaduct.metrics.difference import ExampleVariance, TaskDifference, estimate, example_variance, of_predictions
from viaduct.metrics.spread import Part, Spread

NONE = ExampleVariance(0.0, 0.0)


def task(values_SL, examples=NONE, *, name="xnli", languages=None):
    values = np.asarray(values_SL, float)
    codes = languages or ("de", "zh", "fi", "ar", "hi", "tr")[: values.shape[1]]
    return TaskDifference(name, tuple(codes), values, examples)


def test_one_source_of_chance_is_students_test_over_seeds():
    values = np.array([[0.01, 0.02], [0.03, 0.02], [0.02, 0.05], [0.0, 0.01]])
    found = estimate([task(values)])
    expected = stats.ttest_1samp(values.mean(axis=1), 0)
    low, high = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx(values.mean())
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-5)
    assert found.interval == pytest.approx((low, high), rel=1e-5)
    assert found.p_above(0.0) == pytest.approx(expected.pvalue / 2, rel=1e-5)
    assert found.p_below(0.0) == pytest.approx(1 - expected.pvalue / 2, rel=1e-5)


def test_tasks_count_the_same_and_languages_within_them():
    wide, narrow = task([[0.03] * 6] * 3, name="wide"), task([[0.01], [0.02], [0.03]], name="narrow")
    assert estimate([wide, narrow]).mean == pytest.approx((0.03 + 0.02) / 2)


def test_examples_of_tasks_add_up():
    values = [[0.01], [0.02], [0.03]]
    one = estimate([task(values, ExampleVariance(4e-4, 0.0), name=name) for name in ("a", "b")])
    assert one.spread.others == (Part(2e-4, math.inf),)


def brute_force(differences, units):
    """(total, sum of the languages' own parts) over ordered pairs of seeds, in plain loops."""
    seeds = len(next(iter(differences.values())))
    total, own = 0.0, 0.0
    for first, second in permutations(range(seeds), 2):
        joint = ({}, {})
        for code, values in differences.items():
            size = len(values[0])
            for row in range(size):
                parts = [
                    1 / len(differences) / size * (values[s][row] - sum(values[s]) / size) for s in (first, second)
                ]
                own += parts[0] * parts[1]
                for held, part in zip(joint, parts, strict=True):
                    held[units[code][row]] = held.get(units[code][row], 0.0) + part
        total += sum(joint[0][unit] * joint[1][unit] for unit in joint[0])
    shares = {}
    for found in units.values():
        for unit in found.tolist():
            shares[unit] = shares.get(unit, 0.0) + 1 / len(found)
    equal = sum(shares.values()) ** 2 / sum(share**2 for share in shares.values())
    pairs = seeds * (seeds - 1) * (equal - 1) / equal
    return total / pairs, own / pairs


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_variance_of_examples_by_brute_force_where_half_are_parallel(seeds):
    rng = np.random.default_rng(seeds)
    shared = rng.integers(-1, 2, 30)
    differences = {
        code: np.array([shared + (rng.random(30) < 0.2) for _ in range(seeds)], float) for code in ("de", "zh", "fi")
    }
    units = {"de": np.arange(30), "zh": np.r_[np.arange(15), 30 + np.arange(15)], "fi": np.r_[15 + np.arange(30)]}
    units = {code: own.astype(np.int32) for code, own in units.items()}
    total, own = brute_force(differences, units)
    found = example_variance(differences, units)
    assert found.total == pytest.approx(total) and found.joint == pytest.approx(total - own)
    assert 0 < found.joint < found.total
    apart = {code: (own + 100 * number).astype(np.int32) for number, (code, own) in enumerate(units.items())}
    alone = example_variance(differences, apart)
    assert alone.total == pytest.approx(brute_force(differences, apart)[1])
    assert alone.joint == pytest.approx(0, abs=1e-15)


def test_languages_share_nothing_if_the_rows_of_a_group_are_of_one_language():
    values = np.random.default_rng(2).normal(0, 1, (1, 200)).repeat(5, axis=1).repeat(3, axis=0)
    groups = np.arange(200, dtype=np.int32).repeat(5)
    found = example_variance({"de": values, "fi": values[:, ::-1]}, {"de": groups, "fi": 200 + groups})
    assert found.total > 0 and found.joint == pytest.approx(0, abs=1e-15)
    same = example_variance({"de": values, "fi": values}, {"de": groups, "fi": groups})
    assert same.joint == pytest.approx(same.total / 2, rel=0.01)


@pytest.mark.parametrize("sizes", [[20] * 6, [5] * 20, [1, 2, 3, 5, 8, 13, 21, 34] * 3])
def test_few_groups_are_enough_for_a_test_that_is_wrong_one_time_in_twenty(sizes):
    rng, runs, wrong = np.random.default_rng(len(sizes)), 1000, 0
    groups = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    for _ in range(runs):
        values = (rng.normal(0, 0.5, len(sizes))[groups] + rng.normal(0, 1, len(groups)))[None]
        found = example_variance({"de": values}, {"de": groups})
        p_value = of_predictions([task([[values.mean()]], found)]).p_value
        wrong += p_value < 0.05
    assert 0.02 < wrong / runs < 0.07


def test_what_examples_add_is_unbiased_by_the_noise_of_seeds():
    """Every example has a difference that all seeds share, and noise that is drawn for each seed."""
    rng = np.random.default_rng(3)
    size, found = 400, []
    units = {"de": np.arange(size, dtype=np.int32)}
    for _ in range(400):
        shared = rng.normal(0, 0.1, size)
        values = {"de": shared + rng.normal(0, 0.5, (3, size))}
        found.append(example_variance(values, units).total)
    # an estimate below 0 counts as 0, so noise alone would be seen in the mean
    expected = 0.1**2 / size
    error = np.std(found) / 20
    assert expected - 4 * error < np.mean(found) < expected + 4 * error + 0.1 * expected


def test_examples_that_only_seeds_differ_by_add_nothing():
    rng = np.random.default_rng(4)
    values = {"de": rng.normal(0, 1, (40, 500))}
    found = example_variance(values, {"de": np.arange(500, dtype=np.int32)})
    assert found.total < 0.1 / 500


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (task([[0.01], [0.02]]), "needs at least 3 seeds, has 2"),
        (task([[0.01]]), "needs at least 3 seeds, has 1"),
        (task([[0.01]] * 5), "the difference is the same for all seeds"),
        (task([[0.01], [0.02], [0.03]], None), "no outcomes by example for xnli"),
    ],
)
def test_what_gives_no_spread_says_why(found, why):
    one = estimate([found])
    assert (one.spread, one.interval, one.p_value, one.like_these) == (None,) * 4
    assert one.why_not == why and one.mean == pytest.approx(found.values_SL.mean())
    assert one.p_above(-1.0) == one.p_below(1.0) == 1.0, "nothing is shown"


def test_means_that_coincide_though_seeds_differ_in_their_examples_are_no_certainty():
    values = np.zeros((3, 40))
    values[0, :2] = values[1, 2:4] = values[2, 4:6] = 1
    found = example_variance({"de": values}, {"de": np.arange(40, dtype=np.int32)})
    one = estimate([task([[0.05]] * 3, found)])
    assert one.spread is not None and one.spread.seeds.variance == pytest.approx(found.noise / 3)
    assert found.noise == pytest.approx((values[0] - 0.05) @ (values[0] - 0.05) / 40**2, rel=0.1)


def test_few_examples_that_differ_say_little_of_how_much_examples_matter():
    rng = np.random.default_rng(6)
    for changed, size in ((9, 300), (30, 1000), (400, 3000)):
        values = np.zeros(size)
        values[:changed] = rng.choice((-1.0, 1.0), changed)
        units = {"de": np.arange(size, dtype=np.int32)}
        found = example_variance({"de": np.tile(values, (3, 1))}, units)
        expected = 2 * changed / (1 - changed / size)
        assert found.freedom == (math.inf if expected > 300 else pytest.approx(expected, rel=0.25))


def test_an_interval_excludes_0_just_where_the_test_finds_a_difference():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(60):
        values = rng.normal(0.01, 0.01, (4, 3))
        one = estimate([task(values, ExampleVariance(float(rng.choice([0.0, 1e-5, 1e-4])), 0.0))])
        low, high = one.interval
        assert (low > 0 or high < 0) == (one.p_value < 0.05)
        found.append(one.p_value < 0.05)
    assert 5 < sum(found) < 55


class World(NamedTuple):
    """Standard deviations of a difference, in points; the true mean is 0."""

    seed: float = 0.5
    family: float = 0.0
    cell: float = 0.4
    example: float = 0.0
    """Standard deviation of the mean over all examples."""


FAMILIES = {code: family_of(code) for code in ("de", "nl", "fr", "hi", "ru", "zh", "fi", "ar", "tr", "ja")}


def experiment(rng, world, seeds, codes):
    """One run's estimate; the variance from examples is known, as in a large test set."""
    families = {name: rng.normal(0, world.family) for name in dict.fromkeys(FAMILIES.values())}
    values = np.array([families[FAMILIES[code]] for code in codes]) + rng.normal(0, world.cell, (seeds, len(codes)))
    values += rng.normal(0, world.seed, (seeds, 1)) + rng.normal(0, world.example)
    return estimate([task(values / 100, ExampleVariance((world.example / 100) ** 2, 0.0), languages=codes)])


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("example", [0.0, 0.1, 0.4, 2.0])
def test_intervals_for_these_languages_hold_the_truth_in_19_of_20(seeds, example):
    rng = np.random.default_rng(seeds)
    runs = 500
    found = [experiment(rng, World(example=example), seeds, ("de", "zh")) for _ in range(runs)]
    held = sum(one.interval[0] <= 0 <= one.interval[1] for one in found) / runs
    assert abs(held - 0.95) < 0.02 + 3.3 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize("family", [0.0, 0.3, 2.0])
def test_findings_for_languages_like_these_are_wrong_in_one_of_twenty_at_most(family):
    rng = np.random.default_rng(6)
    runs = 500
    found = [experiment(rng, World(family=family), 5, tuple(FAMILIES)) for _ in range(runs)]
    wrong = sum(one.like_these < 0.05 for one in found) / runs
    assert wrong <= 0.05 + 3.3 * math.sqrt(0.05 * 0.95 / runs)
    if family == 2.0:
        these = sum(one.p_value < 0.05 for one in found) / runs
        assert these > 0.3, "for these languages the effects are there"


def test_languages_like_these_need_families_and_both_groups():
    values = np.random.default_rng(8).normal(0.02, 0.001, (4, 4))
    for languages in (("de", "nl", "sv", "da"), ("de", "fr", "ru", "hi"), ("zh", "fi", "ar", "tr")):
        assert estimate([task(values, languages=languages)]).like_these is None, languages
    one = estimate([task(values, languages=("de", "fr", "zh", "fi"))])
    assert one.like_these is not None and one.like_these >= one.p_value


def test_an_effect_that_only_one_group_of_languages_has_does_not_hold_for_others():
    rng = np.random.default_rng(9)
    codes = ("de", "fr", "ru", "hi", "zh", "fi")
    values = np.array([0.04, 0.04, 0.04, 0.04, 0.0, 0.0]) + rng.normal(0, 0.001, (5, 6))
    found = estimate([task(values, languages=codes)])
    assert found.p_value < 0.001 and found.like_these > 0.05


def test_spreads_are_those_of_their_parts():
    found = estimate([task([[0.01], [0.02], [0.06]], ExampleVariance(1e-4, 0.0))])
    assert found.spread == Spread(Part(pytest.approx(7e-4 / 3), 2), (Part(1e-4, math.inf),))


def test_what_indo_european_languages_have_in_common_is_seldom_taken_for_languages_like_these():
    rng, runs = np.random.default_rng(4), 300
    codes = ("bg", "de", "el", "es", "fr", "hi", "ru", "ur", "ar", "sw", "th", "tr", "vi", "zh")
    kin = np.array([family_of(code) in INDO_EUROPEAN for code in codes], dtype=int)
    like, these, by_families = 0, 0, 0
    for _ in range(runs):
        common = rng.normal(0, 0.01, 2)[kin]  # no difference in the mean over such groups
        values_SL = common + rng.normal(0, 0.002, (5, 1)) + rng.normal(0, 0.004, (5, len(codes)))
        found = estimate([TaskDifference("xnli", codes, values_SL, ExampleVariance(1e-7, 1e-7))])
        like += found.like_these < 0.05
        these += found.p_value < 0.05
        means = [
            values_SL[:, [family_of(code) == name for code in codes]].mean() for name in set(map(family_of, codes))
        ]
        by_families += stats.ttest_1samp(means, 0).pvalue < 0.05
    assert like / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert these / runs > 0.5, "in these languages there is a difference"
    assert by_families / runs > 0.2, "families as units take what they share for many findings"
