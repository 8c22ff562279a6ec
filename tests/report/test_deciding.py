"""The steps in which comparisons are decided, and what a recipe declared of them before its run."""

from __future__ import annotations

from statistics import fmean

import pytest
from report_records import Outcomes, contrasts_of, gains, make_run

from viaduct.report.contrast import IN_ENGLISH
from viaduct.report.contrasts import (
    DECIDING,
    ENGLISH_MEANS,
    MEANS,
    OTHER_ENGLISH,
    OTHER_MEANS,
    OTHER_TASKS,
    Comparing,
    contrasts,
)
from viaduct.report.contrasts import TASKS as BY_TASK
from viaduct.report.table import build_tables
from viaduct.report.words import summary
from viaduct.results.record import declared_seeds

SMALL = ("xnli", "xquad", "bucc")
SEEDS = (1, 2, 3)


def test_comparisons_are_decided_in_steps_each_corrected_for_its_own_number():
    run = make_run(tasks=SMALL, arms=("none", "a", "b", "c", "d"))
    run = gains(run, **dict.fromkeys("bcd", (0.0, 0.01)), a=(0.003, 0.01))
    deciding = (("a", "none"), ("b", "c", "xnli"))
    found = contrasts_of(run, deciding=deciding, compare=(("c", "d"),))
    steps = {}
    for one in found.found:
        steps.setdefault(one.step, []).append(one)
    members = {name: [(one.arm, one.against, one.task) for one in own] for name, own in steps.items()}
    assert members[DECIDING] == [("a", "none", ""), ("b", "c", "xnli")]
    assert members[MEANS] == [(arm, "none", "") for arm in "bcd"]
    assert members[BY_TASK] == [(arm, "none", task) for arm in "abcd" for task in SMALL]
    assert members[OTHER_MEANS] == [("c", "d", ""), ("b", "c", "")]
    assert len(members[OTHER_TASKS]) == 5
    assert members[ENGLISH_MEANS] == [(arm, "none", IN_ENGLISH) for arm in "abcd"] and len(members[OTHER_ENGLISH]) == 2
    for own in steps.values():
        assert {one.decision.comparisons for one in own} == {len(own)}, "nobody found, so nobody's share is left"
        for one in own:
            assert one.decision.p_value == pytest.approx(min(1.0, len(own) * one.estimate.p_value))
    plain = contrasts_of(run)
    assert plain.of("a").decision.p_value > found.of("a").decision.p_value, "deciding comparisons are fewer"
    assert plain.of("a").estimate == found.of("a").estimate
    told = summary(run.about.model_copy(update={"deciding": deciding}), build_tables(run.about, run.rows), found)
    assert [name.partition(" ")[0] for name in told.deciding] == [one[0] for one in deciding]


def test_what_was_declared_and_is_not_run_yet_is_corrected_for():
    """Else a run that is looked at early is "higher" with what it cannot keep when it is whole."""
    run = gains(make_run(tasks=SMALL, arms=("none", "a", "b")), a=(0.003, 0.01), b=(0.0, 0.01))
    run = run._replace(rows=tuple(row for row in run.rows if row.arm != "b"))
    deciding = (("a", "none"), ("b", "none"), ("b", "a", "xnli"))
    (one,) = (found for found in contrasts_of(run, deciding=deciding).found if found.step == DECIDING)
    assert one.decision.comparisons == 3
    assert one.decision.p_value == pytest.approx(min(1.0, 3 * one.estimate.p_value))


def test_an_interval_without_zero_that_decides_nothing_has_the_corrected_p_value_beside_it():
    run = gains(make_run(tasks=SMALL, arms=("none", "a", "b")), a=(0.0025, 0.01), b=(0.0, 0.01))
    about = run.about.model_copy(update={"deciding": (("a", "none"), ("b", "none"), ("b", "a", "xnli"))})
    found = contrasts(about, run.rows, Comparing.of(about), Outcomes(run.rows))
    one = found.of("a")
    assert one.estimate.interval[0] > 0 and one.verdict == "no measurable difference"
    told = summary(about, build_tables(about, run.rows), found).deciding
    assert f"p = {one.decision.p_value:.3f} after correction for 3 comparisons)" in told["a against none"]
    assert "p = " not in told["b against none"], "its interval says so itself"


def test_a_comparison_is_decided_in_the_mean_over_the_tasks_that_it_names():
    run = gains(make_run(tasks=SMALL, arms=("none", "a", "b")), a=(0.004, 0.01), b=(0.0, 0.01))
    found = contrasts_of(run, deciding=(("a", "none", "bucc", "xnli"), ("b", "none", "xquad")))
    one = found.of("a", "bucc, xnli")
    both = [found.of("a", task).mean for task in ("bucc", "xnli")]
    assert (one.mean, one.tasks, one.step) == (pytest.approx(fmean(both)), ("bucc", "xnli"), DECIDING)
    assert [one.decision.comparisons for one in found.found if one.step == DECIDING] == [2, 2]
    assert found.of("a").tasks == SMALL and found.of("a").step == MEANS, "the mean over all is one of the others"
    about = run.about.model_copy(update={"deciding": (("a", "none", "bucc", "xnli"), ("b", "none", "xquad"))})
    told = summary(about, build_tables(about, run.rows), found)
    assert "in the mean over 2 tasks (bucc, xnli)" in told.deciding["a against none on bucc and xnli"]
    assert "bucc, xnli" not in told.verdicts["a"], "no task of that name"


def test_nothing_is_decided_on_fewer_tasks_than_were_named():
    run = gains(make_run(tasks=SMALL, arms=("none", "a"), absent=(("a", "xnli", "*"),)), a=(0.1, 0.001))
    one = contrasts_of(run, deciding=(("a", "none", "bucc", "xnli"),)).of("a", "bucc, xnli")
    assert one.mean > 0.05 and one.verdict == "no verdict"
    assert one.estimate.why_not == "declared to include xnli, on which the two have no result in common"


def test_further_seeds_count_in_what_they_decide_and_nowhere_else():
    run = gains(make_run(tasks=SMALL, arms=("none", "a", "b"), seeds=range(1, 7)), a=(0.003, 0.01), b=(0.0, 0.01))
    deciding = (("a", "none", "bucc", "xnli"),)
    about = run.about.model_copy(update={"seeds": SEEDS, "further_seeds": (4, 5, 6), "deciding": deciding})
    rows = [row for row in run.rows if row.seed in declared_seeds(about, row.arm, row.task)]
    assert {(row.arm, row.task) for row in rows if row.seed > 3} == {
        (a, t) for a in ("none", "a") for t in deciding[0][2:]
    }
    found = contrasts(about, rows, Comparing.of(about), Outcomes(rows))
    assert found.of("a", "bucc, xnli").seeds == (1, 2, 3, 4, 5, 6)
    assert (found.of("a").seeds, found.of("a").missing) == (SEEDS, ())
    three = contrasts(run.about.model_copy(update={"seeds": SEEDS}), [row for row in rows if row.seed < 4])
    assert found.of("b").mean == three.of("b").mean and found.of("b").seeds == SEEDS
    tables, fewer = build_tables(about, rows), build_tables(about, [row for row in rows if row.seed < 4])
    assert tables.averages == fewer.averages, "no seed that has some tasks only"
    assert not any(cell.missing for cell in tables.averages)


def test_nothing_is_decided_before_the_last_declared_seed():
    """Whoever reads the page after every seed finds a difference that is not there in one run out of nine."""
    run = gains(make_run(tasks=SMALL, arms=("none", "a", "b"), seeds=range(1, 10)), a=(0.1, 0.001), b=(0.1, 0.001))
    deciding = (("a", "none", "bucc", "xnli"), ("b", "none"))
    about = run.about.model_copy(update={"seeds": SEEDS, "further_seeds": tuple(range(4, 10)), "deciding": deciding})
    for last in (3, 8):
        rows = [row for row in run.rows if row.seed <= last]
        found = contrasts(about, rows, Comparing.of(about), Outcomes(rows))
        for one in (found.of("a", "bucc, xnli"), found.of("b")):
            assert one.verdict == "no verdict" and one.estimate.interval is None
            assert one.estimate.why_not == f"declared with 9 seeds, has {last}"
        assert found.of("a", "xnli").verdict == "higher", "does not decide"
    whole = contrasts(about, run.rows, Comparing.of(about), Outcomes(run.rows))
    assert whole.of("a", "bucc, xnli").verdict == whole.of("b").verdict == "higher"


def test_a_mean_over_all_tasks_says_what_was_declared_of_these_tasks():
    """With results on the declared tasks alone it is the same difference, and may not be called higher before it."""
    run = gains(make_run(tasks=("xnli", "bucc"), arms=("none", "a"), seeds=range(1, 5)), a=(0.1, 0.001))
    deciding = (("a", "none", "bucc", "xnli"),)
    about = run.about.model_copy(update={"seeds": SEEDS, "further_seeds": (4,), "deciding": deciding})
    for rows in (run.rows, [row for row in run.rows if row.seed < 4]):
        found = contrasts(about, rows, Comparing.of(about), Outcomes(rows))
        whole, declared = found.of("a"), found.of("a", "bucc, xnli")
        assert whole.decision == declared.decision and whole.step == declared.step == DECIDING
        assert whole.estimate == declared.estimate
    assert declared.verdict == "no verdict"


def test_with_many_arms_what_decides_has_a_line_of_its_own():
    run = gains(make_run(tasks=("xnli",), arms=("none", *"abcde")), a=(0.05, 0.002))
    about = run.about.model_copy(update={"deciding": (("a", "none"),)})
    found = contrasts(about, run.rows, Comparing.of(about), Outcomes(run.rows))
    told = summary(about, build_tables(about, run.rows), found)
    assert told.deciding["a against none"].startswith("higher on xnli alone (+5.0 points, 95 % interval")


def test_a_mean_over_one_task_says_what_was_declared_of_that_task():
    """It was corrected for itself alone, and called higher what does not decide so."""
    run = gains(make_run(tasks=("xnli",), arms=("none", *"abc")), a=(0.05, 0.01), b=(0.05, 0.04), c=(0.05, 0.04))
    pairs = (("a", "b"), ("a", "c"), ("b", "c"), ("a", "none"))
    found = contrasts_of(run, deciding=tuple((*pair, "xnli") for pair in pairs))
    for arm, against in pairs:
        whole, declared = found.of(arm, against=against), found.of(arm, "xnli", against)
        assert whole.tasks == ("xnli",) and whole.decision == declared.decision
        assert declared.decision.comparisons >= 1 and whole.step == declared.step == DECIDING
