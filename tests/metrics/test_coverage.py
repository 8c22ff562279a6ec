"""Simulated experiments with a known truth: how often intervals contain it, and how often tests see what is not there.

A rate must lie within 3.3 standard deviations of simulation (one in a thousand by chance) of its nominal value;
intervals may be wider than nominal where levels have no variation of their own, never narrower.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest

from viaduct.languages import XTREME, language
from viaduct.metrics.bootstrap import LANGUAGE, Design, hierarchical_bootstrap
from viaduct.metrics.outcomes import Examples, Run
from viaduct.metrics.significance import equivalence, holm, sign_flip
from viaduct.tasks.pawsx import CARD as PAWSX_CARD
from viaduct.tasks.xnli import CARD as XNLI_CARD

XNLI = [code for code in XTREME if code in XNLI_CARD.languages]
PAWSX = list(PAWSX_CARD.languages)


class Spread(NamedTuple):
    """Standard deviations of a true difference, in points; every effect is normal."""

    stage: float = 0.0
    seed: float = 0.0
    family: float = 0.0
    language: float = 0.0
    cell: float = 0.0
    """Of one language in one run."""
    example: float = 0.0
    """Of the difference of one example, in all runs and languages."""


SEEDS = Spread(stage=0.4, seed=0.3, cell=0.2)
LANGUAGES = Spread(family=0.5, language=0.7, cell=0.3)
MIXED = Spread(stage=0.2, seed=0.3, family=0.4, language=0.6, cell=0.7)
CELLS = Spread(cell=1.0)
EXAMPLES = Spread(seed=0.3, family=0.3, language=0.4, cell=0.5, example=15.0)


def slack(rate, repeats):
    return 3.3 * math.sqrt(rate * (1 - rate) / repeats)


def experiment(rng, spread, codes, stages, seeds):
    """Differences in fractions, (stages, seeds, languages), around a true mean of 0."""
    families = [language(code).family for code in codes]
    names = sorted(set(families))
    shape = (stages, seeds, len(codes))
    table = rng.normal(0, spread.cell, shape) + rng.normal(0, spread.language, len(codes))
    table += rng.normal(0, spread.family, len(names))[[names.index(family) for family in families]]
    table += rng.normal(0, spread.seed, (1, seeds, 1))
    if stages > 1:
        table += rng.normal(0, spread.stage, (stages, 1, 1))
    return table / 100


def outcomes(table, codes):
    stages, seeds, _ = table.shape
    return {
        Run(f, s if stages > 1 else None): dict(zip(codes, map(float, table[s, f]), strict=True))
        for s in range(stages)
        for f in range(seeds)
    }


def covered(rng, spread, codes, stages, seeds, repeats):
    """Share of 95 % intervals that contain the truth."""
    hits = 0
    for _ in range(repeats):
        found = hierarchical_bootstrap(outcomes(experiment(rng, spread, codes, stages, seeds), codes), draws=1_000)
        hits += found.low <= 0 <= found.high
    return hits / repeats


@pytest.mark.parametrize("spread", [SEEDS, LANGUAGES, MIXED], ids=["seeds", "languages", "mixed"])
@pytest.mark.parametrize(("codes", "stages", "seeds"), [(XNLI, 1, 3), (PAWSX, 3, 3)], ids=["3 seeds", "3 x 3 seeds"])
def test_intervals_contain_the_truth_as_often_as_they_say(spread, codes, stages, seeds):
    repeats = 400
    rate = covered(np.random.default_rng(1), spread, codes, stages, seeds, repeats)
    assert 0.95 - slack(0.95, repeats) <= rate <= 0.95 + slack(0.95, repeats)


def test_intervals_are_wide_rather_than_narrow_where_only_single_cells_vary():
    rate = covered(np.random.default_rng(2), CELLS, XNLI, 1, 3, 400)
    assert 0.95 <= rate < 1


@pytest.mark.slow
@pytest.mark.parametrize("spread", [SEEDS, LANGUAGES, MIXED, CELLS], ids=["seeds", "languages", "mixed", "cells"])
@pytest.mark.parametrize("codes", [PAWSX, XNLI, list(XTREME)], ids=["7 languages", "15", "40"])
@pytest.mark.parametrize(("stages", "seeds"), [(1, 3), (1, 9), (3, 3)], ids=["3 seeds", "9 seeds", "3 x 3 seeds"])
def test_coverage_in_many_settings(spread, codes, stages, seeds):
    """Within one and a half points of 95 % beyond simulation error: the corrections are approximations."""
    repeats = 2_000
    rate = covered(np.random.default_rng(3), spread, codes, stages, seeds, repeats)
    assert rate >= 0.935 - slack(0.95, repeats)
    assert rate <= (0.965 + slack(0.95, repeats) if spread is not CELLS else 0.995)


def examples(rng, spread, codes, seeds, count, parallel):
    """Differences of single examples, -1, 0 or 1, whose means are those of an experiment; (outcomes, true means)."""
    table = experiment(rng, spread, codes, 1, seeds)[0]
    shared = rng.normal(0, spread.example / 100, (1 if parallel else len(codes), count))
    ids = tuple(map(str, range(count)))
    found = {}
    for number in range(seeds):
        rows = {}
        for place, code in enumerate(codes):
            mean = np.clip(table[number, place] + shared[0 if parallel else place], -0.9, 0.9)
            draw = rng.random(count)
            noise = 0.05  # examples that go either way
            up, down = noise + np.maximum(mean, 0), noise + np.maximum(-mean, 0)
            rows[code] = Examples(ids, np.where(draw < up, 1.0, np.where(draw < up + down, -1.0, 0.0)))
        found[Run(number)] = rows
    return found


def covered_by_examples(rng, codes, seeds, count, parallel, repeats, fixed=()):
    spread = EXAMPLES if not fixed else EXAMPLES._replace(family=0.0, language=0.0)
    hits = 0
    for _ in range(repeats):
        data = examples(rng, spread, codes, seeds, count, parallel)
        found = hierarchical_bootstrap(data, design=Design(parallel=parallel, fixed=fixed), draws=1_000)
        hits += found.low <= 0 <= found.high
    return hits / repeats


@pytest.mark.parametrize("parallel", [True, False], ids=["parallel", "not parallel"])
def test_coverage_with_examples(parallel):
    repeats = 200
    rate = covered_by_examples(np.random.default_rng(4), PAWSX, 3, 200, parallel, repeats)
    assert rate >= 0.95 - slack(0.95, repeats)


@pytest.mark.slow
@pytest.mark.parametrize("count", [200, 2_000])
@pytest.mark.parametrize("fixed", [(), (LANGUAGE,)], ids=["languages drawn", "languages fixed"])
@pytest.mark.parametrize("parallel", [True, False], ids=["parallel", "not parallel"])
@pytest.mark.parametrize("seeds", [3, 9])
def test_coverage_with_examples_in_many_settings(count, fixed, parallel, seeds):
    repeats = 500
    rate = covered_by_examples(np.random.default_rng(5), PAWSX, seeds, count, parallel, repeats, fixed)
    assert 0.935 - slack(0.95, repeats) <= rate <= 0.995


def false_positives(rng, codes, spread, repeats, by_family):
    hits = 0
    for _ in range(repeats):
        table = experiment(rng, spread, codes, 1, 3)[0].mean(axis=0)
        differences = dict(zip(codes, map(float, table), strict=True))
        groups = {code: language(code).family for code in differences} if by_family else None
        hits += sign_flip(differences, groups, draws=2_000) < 0.05
    return hits / repeats


@pytest.mark.parametrize("codes", [XNLI, list(XTREME)], ids=["15 languages", "40 languages"])
def test_sign_flips_see_nothing_where_nothing_is(codes):
    repeats = 300
    limit = 0.05 + slack(0.05, repeats)
    assert false_positives(np.random.default_rng(6), codes, Spread(language=1, cell=1), repeats, False) <= limit
    assert false_positives(np.random.default_rng(7), codes, Spread(family=1, cell=1), repeats, True) <= limit


@pytest.mark.slow
def test_sign_flips_by_family_are_needed_where_families_share_their_effect():
    """And neither kind knows of seeds: a chance effect that all languages share looks like a difference."""
    repeats = 3_000
    families = Spread(family=1, language=0.3, cell=0.3)
    codes = list(XTREME)
    plain = false_positives(np.random.default_rng(8), codes, families, repeats, False)
    clustered = false_positives(np.random.default_rng(8), codes, families, repeats, True)
    assert clustered <= 0.05 + slack(0.05, repeats) < plain
    assert false_positives(np.random.default_rng(9), codes, SEEDS, repeats, True) > 0.5


def family_wise(rng, tests, repeats):
    """Share of experiments in which Holm finds any of these differences, none of which is there."""
    hits = 0
    for _ in range(repeats):
        p_values = {
            str(number): hierarchical_bootstrap(
                outcomes(experiment(rng, MIXED, PAWSX, 1, 3), PAWSX), draws=4_000
            ).p_value
            for number in range(tests)
        }
        hits += any(value < 0.05 for value in holm(p_values).values())
    return hits / repeats


def test_holm_keeps_the_family_wise_error():
    repeats = 200
    assert family_wise(np.random.default_rng(10), 5, repeats) <= 0.05 + slack(0.05, repeats)


@pytest.mark.slow
def test_holm_keeps_the_family_wise_error_for_nine_tests():
    repeats = 2_000
    assert family_wise(np.random.default_rng(11), 9, repeats) <= 0.06 + slack(0.05, repeats)


def called_equivalent(rng, truth, repeats, seeds):
    hits = 0
    small = Spread(seed=0.15, family=0.1, language=0.1, cell=0.2)
    for _ in range(repeats):
        table = experiment(rng, small, PAWSX, 1, seeds) + truth
        hits += equivalence(hierarchical_bootstrap(outcomes(table, PAWSX), draws=1_000)).equivalent
    return hits / repeats


@pytest.mark.parametrize("truth", [0.005, -0.005])
def test_a_difference_of_the_margin_is_seldom_called_equivalent(truth):
    repeats = 300
    assert called_equivalent(np.random.default_rng(12), truth, repeats, 3) <= 0.05 + slack(0.05, repeats)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 9])
def test_equivalence_has_its_size_and_some_power(seeds):
    repeats = 2_000
    rng = np.random.default_rng(13)
    assert called_equivalent(rng, 0.005, repeats, seeds) <= 0.06 + slack(0.05, repeats)
    assert called_equivalent(rng, 0.0, repeats, seeds) > 0.5
