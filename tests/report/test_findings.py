"""Errors that the page once made, drawn again from worlds whose truth is known: the rates are what they claim to be.

`benchmarks/verdicts.py` does this at full size; here are the smallest worlds that show each.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from report_page import main_row
from report_records import Outcomes, Run, make_run
from scipy.stats import ttest_1samp

from viaduct.metrics.difference import ExampleVariance
from viaduct.report.contrasts import Comparing, compare, contrasts
from viaduct.report.examples import Guess, TaskOutcomes
from viaduct.report.page import write
from viaduct.results.outcomes import LanguageOutcomes

LANGUAGES = ("ar", "de", "el", "es", "hi", "ru", "th", "tr", "vi", "zh")


@pytest.mark.usefixtures("no_heat_map_files")
def test_two_seeds_decide_nothing_in_either_direction(tmp_path):
    run = make_run(tasks=("xnli", "bucc"), arms=("none", "better", "same"), seeds=(1, 2))
    gain = {"none": 0.0, "better": 0.2, "same": 0.0}
    rows = [row.model_copy(update={"value": 0.5 + gain[row.arm] + row.seed / 1e5 * gain[row.arm]}) for row in run.rows]
    run = Run(run.about, tuple(rows), run.costs)
    found = contrasts(run.about, run.rows, outcomes=Outcomes(run.rows))
    assert {one.verdict for one in found.found} == {"no verdict"} and not found.decided
    assert found.of("better").mean == pytest.approx(0.2, abs=1e-3)
    html = write(*run, tmp_path, outcomes=Outcomes(run.rows)).read_text(encoding="utf-8")
    assert "Not answered: no difference between arms can be claimed from 2 seeds." in html
    assert "better +20.0, same 0.0." in html
    assert main_row(html, "better")[-1].endswith("+20.0")
    body = html[html.index("<main>") :]
    assert not any(word in body for word in ("▲", "▼", "≈", "higher", "lower than", "95 % interval", "equivalent"))


def flipped(right, share, rng):
    """Answers of which this share is changed, as many for the better as for the worse in expectation."""
    odds = np.where(right, share / 2 / 0.7, share / 2 / 0.3)
    return right ^ (rng.random(right.shape) < odds)


def differing_at_random(rng, seeds, examples=1190, changed=0.06):
    """(scores, outcomes) of two arms that answer 6 % of the questions differently, half of these in all languages;
    every training run of either changes another 2 %."""
    right = rng.random(examples) < 0.7
    common = flipped(right, changed / 2, rng)
    answers = {
        "none": dict.fromkeys(LANGUAGES, right),
        "arm": {code: flipped(common, changed / 2, rng) for code in LANGUAGES},
    }
    units = np.arange(examples, dtype=np.int32)
    kept: dict = {arm: {seed: {} for seed in range(seeds)} for arm in answers}
    for arm, own in answers.items():
        for seed in range(seeds):
            for code, there in own.items():
                values = {"accuracy": flipped(there, 0.02, rng).astype(np.float32)}
                kept[arm][seed][code] = LanguageOutcomes(values, units, "ids", None, None)
    scores = {
        arm: {"xquad": {seed: {code: float(one.values["accuracy"].mean()) for code, one in by_code.items()}
                        for seed, by_code in own.items()}}
        for arm, own in kept.items()
    }  # fmt: skip
    return scores, TaskOutcomes(kept)


@pytest.mark.parametrize("seeds", [3, 9])
def test_arms_that_differ_in_some_examples_at_random_are_not_found_to_differ(seeds):
    rng, runs = np.random.default_rng(seeds), 150
    alone, together = 0, 0
    for _ in range(runs):
        scores, outcomes = differing_at_random(rng, seeds)
        one = compare(scores, Comparing(("none", "arm"), ("xquad",)), lambda _, own=outcomes: own).of("arm")
        by_seed = [np.mean([scores["arm"]["xquad"][s][c] - scores["none"]["xquad"][s][c] for c in LANGUAGES])
                   for s in range(seeds)]  # fmt: skip
        assert one.mean == pytest.approx(np.mean(by_seed))
        alone += ttest_1samp(by_seed, 0.0).pvalue < 0.05
        together += one.verdict != "no measurable difference" and one.verdict != "equivalent"
    assert alone / runs > 0.2, "seeds alone call the choice of examples an effect"
    assert together / runs < 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


def null_page(rng, *, arms, tasks, seeds, gain=0.0):
    """Contrasts of arms whose true difference from the baseline is `gain` in every task and language."""
    names = ["none", *(f"arm-{number}" for number in range(arms))]
    examples = SimpleNamespace(
        is_grouped=False,
        fewest=1000,
        variance=lambda *_: ExampleVariance(0.001**2, 0.0),
        guess=lambda _: Guess(None, None),
    )
    scores: dict = {}
    for name in names:
        for task in tasks:
            mean = 0.6 + gain * (name != "none") + rng.normal(0.0, 0.001 / np.sqrt(2))  # the choice of examples
            scores.setdefault(name, {})[task] = {
                seed: dict(zip(LANGUAGES, mean + drift + rng.normal(0, 0.003, 10), strict=True))
                for seed, drift in enumerate(rng.normal(0, 0.002, seeds))
            }
    return compare(scores, Comparing(names, tasks), lambda _: examples)


def test_nine_arms_that_do_nothing_are_seldom_called_higher_or_lower():
    rng, runs, tasks = np.random.default_rng(1), 100, ("a", "b", "c", "d")
    means, single, within = 0, 0, 0
    for _ in range(runs):
        found = null_page(rng, arms=9, tasks=tasks, seeds=3).found
        wrong = [one for one in found if one.verdict in ("higher", "lower")]
        means += any(not one.task for one in wrong)
        single += any(one.task for one in wrong)
        pairs: dict = {}
        for one in found:
            if one.task:
                pairs.setdefault(one.arm, []).append(one.estimate.p_value)
        within += any(min(own) * len(own) < 0.05 for own in pairs.values())
    most = 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert means / runs <= most and single / runs <= most
    assert within / runs > 0.2, "corrected within a pair of arms, some arm is called higher in many runs"


def test_arms_that_are_better_by_the_margin_are_seldom_called_equivalent():
    rng, runs, tasks = np.random.default_rng(2), 100, ("a", "b")
    called, uncorrected = 0, 0
    for _ in range(runs):
        found = null_page(rng, arms=9, tasks=tasks, seeds=3, gain=0.005).found
        called += any(one.verdict == "equivalent" for one in found)
        uncorrected += any(max(one.estimate.p_above(-0.005), one.estimate.p_below(0.005)) < 0.05 for one in found)
    assert called / runs <= 2 * 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs), "two steps"
    assert uncorrected / runs > 0.2
