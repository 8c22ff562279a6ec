"""The hierarchical bootstrap against the variances of textbooks, and what it says about the levels it resampled."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from viaduct.errors import DataError, UsageError
from viaduct.metrics.bootstrap import (
    EXAMPLE,
    FAMILY,
    LANGUAGE,
    LEVELS,
    MOST_UNITS,
    SEED,
    STAGE,
    Design,
    hierarchical_bootstrap,
)
from viaduct.metrics.outcomes import Examples, Run, language_differences

ONE_EACH = ("de", "ar", "fi", "hi", "tr", "zh")
"""Languages of six families."""


def by_language(table):
    """(seeds, languages) -> outcomes of whole languages."""
    return {Run(seed): dict(zip(ONE_EACH, map(float, row), strict=False)) for seed, row in enumerate(table)}


def by_example(table, languages=ONE_EACH):
    """(seeds, languages, examples) -> outcomes with the ids 0, 1, 2, ..."""
    ids = tuple(map(str, range(table.shape[2])))
    return {
        Run(seed): {code: Examples(ids, values) for code, values in zip(languages, rows, strict=False)}
        for seed, rows in enumerate(table)
    }


def mean_squares(table):
    """Axes -> mean square of a table with one observation per cell, by the definition of the analysis of variance."""
    found = {}
    for size in range(1, table.ndim + 1):
        for axes in itertools.combinations(range(table.ndim), size):
            effect = np.zeros_like(table)
            for keep in itertools.chain.from_iterable(itertools.combinations(axes, k) for k in range(size + 1)):
                others = tuple(axis for axis in range(table.ndim) if axis not in keep)
                effect = effect + (-1) ** (size - len(keep)) * table.mean(axis=others, keepdims=True)
            freedom = np.prod([table.shape[axis] - 1 for axis in axes])
            found[axes] = float((effect**2).sum() / freedom)
    return found


def variance_of_mean(table):
    """Expected mean squares solved for the variance of the grand mean, all factors random (Searle 1971, chapter 9)."""
    return sum((-1) ** (len(axes) + 1) * square for axes, square in mean_squares(table).items()) / table.size


def test_one_level_is_students_t():
    """Nine seeds, one language: the half width is 2.306 standard errors (table of Student's t, 8 df)."""
    values = np.random.default_rng(3).normal(0.7, 0.02, 9)
    found = hierarchical_bootstrap(by_language(values[:, None]), draws=100_000)
    error = values.std(ddof=1) / 3
    assert found.mean == pytest.approx(values.mean())
    assert found.standard_error == pytest.approx(error)
    assert (found.high - found.low) / 2 == pytest.approx(2.306 * error, rel=0.04)
    assert tuple(found.errors) == (SEED,)


def test_three_seeds_are_three_and_not_many():
    """4.303 standard errors at 2 degrees of freedom, where percentiles of plain resampling would give less than 1.4."""
    found = hierarchical_bootstrap(by_language([[0.70], [0.71], [0.73]]), draws=100_000)
    error = np.std([0.70, 0.71, 0.73], ddof=1) / np.sqrt(3)
    assert (found.high - found.low) / 2 == pytest.approx(4.303 * error, rel=0.08)


def test_seeds_and_languages_are_crossed():
    table = np.random.default_rng(5).normal(0, 0.01, (4, 6)) + np.linspace(0, 0.1, 6) + np.array([[0, 1, 3, 2]]).T / 50
    found = hierarchical_bootstrap(by_language(table))
    squares = mean_squares(table)
    assert found.standard_error == pytest.approx(np.sqrt(variance_of_mean(table)))
    assert found.errors[SEED] == pytest.approx(np.sqrt(squares[0,] / table.size))
    assert found.errors[FAMILY] == pytest.approx(np.sqrt(squares[1,] / table.size))
    assert set(found.why_not) == {STAGE, LANGUAGE, EXAMPLE} and set(found.errors) == {SEED, FAMILY}


def test_parallel_examples_are_a_third_crossed_level():
    rng = np.random.default_rng(7)
    table = (
        rng.normal(0, 0.1, (3, 6, 40)) + rng.normal(0, 1, 40) + rng.normal(0, 1, (6, 1)) + rng.normal(0, 1, (3, 1, 1))
    )
    found = hierarchical_bootstrap(by_example(table), design=Design(parallel=True))
    assert found.standard_error == pytest.approx(np.sqrt(variance_of_mean(table)))
    assert tuple(found.errors) == (SEED, FAMILY, EXAMPLE)


def test_stage_and_fine_tuning_seeds_are_crossed_where_each_stage_has_the_same_ones():
    rng = np.random.default_rng(8)
    table = rng.normal(0, 0.2, (3, 3, 6)) + rng.normal(0, 1, (3, 1, 1)) + rng.normal(0, 1, (1, 3, 1))
    runs = {Run(f, s): dict(zip(ONE_EACH, map(float, table[s, f]), strict=True)) for s in range(3) for f in range(3)}
    found = hierarchical_bootstrap(runs)
    assert tuple(found.errors) == (STAGE, SEED, FAMILY)
    assert found.standard_error == pytest.approx(np.sqrt(variance_of_mean(table)))


def test_fine_tuning_seeds_of_their_own_lie_inside_their_stage():
    values = np.random.default_rng(9).normal(0, 1, (3, 4))
    runs = {Run(10 * s + f, s): {"de": float(values[s, f])} for s in range(3) for f in range(4)}
    found = hierarchical_bootstrap(runs)
    assert tuple(found.errors) == (STAGE,)
    assert found.standard_error == pytest.approx(values.mean(axis=1).std(ddof=1) / np.sqrt(3))
    assert found.why_not[SEED] == f"inside its {STAGE}"


def test_examples_that_are_not_parallel_lie_inside_their_language():
    rng = np.random.default_rng(11)
    outcomes = by_example(rng.normal(0, 1, (3, 6, 50)) + rng.normal(0, 0.3, (6, 1)))
    whole = {run: {code: float(one.values.mean()) for code, one in rows.items()} for run, rows in outcomes.items()}
    found = hierarchical_bootstrap(outcomes)
    assert tuple(found.errors) == (SEED, FAMILY)
    assert found.standard_error == pytest.approx(hierarchical_bootstrap(whole).standard_error)
    assert hierarchical_bootstrap(whole).why_not[EXAMPLE] == "the values are of whole languages"


def test_with_fixed_languages_examples_vary_around_their_own_language():
    rng = np.random.default_rng(13)
    table = rng.normal(0, 0.4, (1, 6, 80)) + rng.normal(0, 5, (6, 1))
    found = hierarchical_bootstrap(by_example(table), design=Design(fixed=(LANGUAGE,)))
    assert tuple(found.errors) == (EXAMPLE,)
    stratified = np.sqrt((table[0].var(axis=1, ddof=1) / 80).sum()) / 6
    assert found.standard_error == pytest.approx(stratified, rel=0.02)


def test_families_of_unequal_size_count_by_their_languages():
    """Two Germanic, one each of three others: within sampling error the spread of independent languages is found."""
    codes = ("de", "nl", "fi", "tr", "zh")
    rng = np.random.default_rng(17)
    squares = [
        hierarchical_bootstrap({Run(1): dict(zip(codes, map(float, row), strict=True))}, draws=1_000).standard_error
        ** 2
        for row in rng.normal(0, 1, (2_000, 5))
    ]
    assert np.mean(squares) == pytest.approx(1 / 5, rel=0.06)


def test_ids_that_only_some_languages_have():
    """As in MLQA: languages share some of their examples."""
    rng = np.random.default_rng(19)
    effect = rng.normal(0, 1, 300)
    outcomes = {}
    for seed in range(3):
        rows = {}
        for code in ONE_EACH:
            chosen = np.sort(np.random.default_rng(len(rows)).choice(300, 200, replace=False))
            noise = rng.normal(0, 0.2, 200)
            rows[code] = Examples(tuple(map(str, chosen)), effect[chosen] + noise)
        outcomes[Run(seed)] = rows
    errors = hierarchical_bootstrap(outcomes, design=Design(parallel=True)).errors
    assert errors[EXAMPLE] == pytest.approx(1 / np.sqrt(300), rel=0.25)


def test_very_many_examples_are_grouped_without_bias():
    rng = np.random.default_rng(23)
    table = rng.normal(0, 1, (1, 1, 3 * MOST_UNITS))
    found = hierarchical_bootstrap(by_example(table), draws=1_000)
    assert found.standard_error == pytest.approx(table.std() / np.sqrt(table.size), rel=0.05)


def test_pairing_takes_away_what_both_arms_share():
    rng = np.random.default_rng(29)
    shared = rng.normal(0.6, 0.2, (3, 6, 60))
    arm, baseline = by_example(shared + 0.01 + rng.normal(0, 0.005, shared.shape)), by_example(shared)
    found = hierarchical_bootstrap(arm, baseline, Design(parallel=True))
    assert found.low < 0.01 < found.high and found.p_value < 0.05
    apart = hierarchical_bootstrap(arm, design=Design(parallel=True))
    assert apart.standard_error > 10 * found.standard_error


def test_a_baseline_without_stage_is_the_partner_of_every_stage():
    arm = {Run(f, s): {"de": 0.7 + 0.01 * s, "fr": 0.6} for s in range(3) for f in (1, 2)}
    baseline = {Run(f): {"de": 0.5, "fr": 0.5 + 0.1 * f} for f in (1, 2)}
    assert hierarchical_bootstrap(arm, baseline).mean == pytest.approx((0.21 - 0.05) / 2)
    assert language_differences(arm, baseline) == pytest.approx({"de": 0.21, "fr": -0.05})


def test_weights_make_tasks_count_equally():
    runs = {Run(seed): {"xnli de": 0.1, "xnli fr": 0.3, "bucc de": 0.6 + 0.01 * seed} for seed in (1, 2)}
    families = {name: name.split()[1] for name in runs[Run(1)]}
    weights = {"xnli de": 0.25, "xnli fr": 0.25, "bucc de": 0.5}
    found = hierarchical_bootstrap(runs, design=Design(families=families, weights=weights))
    assert found.mean == pytest.approx((0.2 + 0.615) / 2)


def test_the_order_of_ids_languages_and_runs_does_not_matter_and_draws_are_seeded():
    rng = np.random.default_rng(31)
    arm, baseline = by_example(rng.normal(size=(3, 6, 20))), by_example(rng.normal(size=(3, 6, 20)))
    turned = {
        run: {code: Examples(one.ids[::-1], one.values[::-1]) for code, one in reversed(rows.items())}
        for run, rows in reversed(baseline.items())
    }
    first, second = hierarchical_bootstrap(arm, baseline), hierarchical_bootstrap(arm, turned)
    assert (first.low, first.high) == pytest.approx((second.low, second.high))
    assert hierarchical_bootstrap(arm, baseline, seed=1).low != first.low
    assert len(first.deviations) == 10_000 and {*first.errors, *first.why_not} == set(LEVELS)


@settings(max_examples=25, deadline=None)
@example([[0.0, 0.0, 0.0], [0.0, 0.0, 1.5e-161]], 0.0)
@example([[0.0, 0.0, 0.0], [0.0, 0.0, 1.5e-120]], 0.0)
@given(st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=2, max_size=4), st.floats(-0.5, 0.5))
def test_shifting_and_turning_the_outcomes_shifts_and_turns_the_interval(table, shift):
    plain = hierarchical_bootstrap(by_language(table), draws=1_000)
    moved = hierarchical_bootstrap(by_language(np.array(table) + shift), draws=1_000)
    assert plain.low <= plain.mean + 1e-9 and plain.high >= plain.mean - 1e-9
    assert moved.low == pytest.approx(plain.low + shift, abs=1e-6)
    assert moved.high == pytest.approx(plain.high + shift, abs=1e-6)
    assert 0 < plain.p_value <= 1


def test_outcomes_without_any_variation_have_an_interval_of_one_point():
    found = hierarchical_bootstrap(by_language([[0.5, 0.5], [0.5, 0.5]]))
    assert (found.low, found.mean, found.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("arm", "baseline", "message"),
    [
        ({}, None, "no run"),
        ({Run(1): {}}, None, "give examples in every"),
        ({Run(1): {"de": 0.5}}, None, "nothing to resample"),
        ({Run(1): {"de": 0.5, "fr": 0.4}}, {Run(2): {"de": 0.5, "fr": 0.4}}, "no partner"),
        ({Run(1): {"de": 0.5}}, {Run(1): {"de": 0.4}, Run(2): {"de": 0.4}}, "no partner of the baseline's"),
        ({Run(1): {"de": 0.5, "fr": 0.4}}, {Run(1): {"de": 0.5}}, "'fr' is not in all runs"),
        ({Run(1): {"de": float("nan"), "fr": 0.4}}, None, "not a number"),
        ({Run(1): {"de": 0.5}, Run(1, 2): {"de": 0.5}}, None, "no stage seed"),
        ({Run(1): {"de": 0.5}, Run(2): {"de": Examples(("a",), np.ones(1))}}, None, "in all runs, or in none"),
        (
            {Run(1): {"de": Examples(("a",), np.ones(1))}, Run(2): {"de": Examples(("b",), np.ones(1))}},
            None,
            "'a' is not in all runs",
        ),
    ],
)
def test_what_cannot_be_paired_is_refused(arm, baseline, message):
    with pytest.raises(DataError, match=message):
        hierarchical_bootstrap(arm, baseline)


def test_examples_need_an_outcome_each_and_ids_once():
    with pytest.raises(DataError, match="one outcome per id"):
        Examples(("a", "b"), np.ones(3))
    with pytest.raises(DataError, match="twice"):
        Examples(("a", "a"), np.ones(2))


def test_levels_and_weights_are_checked():
    outcomes = by_language([[0.5, 0.6], [0.4, 0.7]])
    with pytest.raises(UsageError, match="Did you mean 'language'"):
        hierarchical_bootstrap(outcomes, design=Design(fixed=("languages",)))
    with pytest.raises(UsageError, match="'ar' has no weight"):
        hierarchical_bootstrap(outcomes, design=Design(weights={"de": 1.0}))
    with pytest.raises(UsageError, match="'ar' has no family"):
        hierarchical_bootstrap(outcomes, design=Design(families={"de": "x"}))
    with pytest.raises(UsageError, match="too few"):
        hierarchical_bootstrap(outcomes, draws=10)
