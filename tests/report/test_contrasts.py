"""Differences between arms: the right mean by brute force, and what is not claimed."""

from __future__ import annotations

from statistics import fmean

import pytest
from report_page import main_row, outline
from report_records import TASKS, Outcomes, Run, contrasts_of, gains, make_run

from viaduct.errors import UsageError
from viaduct.languages import INDO_EUROPEAN, family_of
from viaduct.report.contrast import IN_ENGLISH, contrast_lines
from viaduct.report.contrasts import OTHER_MEANS, contrasts
from viaduct.report.page import Asked, write
from viaduct.report.words import sentence

SMALL = ("xnli", "xquad", "bucc")
SEEDS = (1, 2, 3)


def mixed(**changes):
    """A run whose arms are higher, lower, equivalent, and too noisy to tell."""
    made = {"tasks": ("xnli", "tatoeba"), "arms": ("none", "up", "down", "same", "noisy")} | changes
    return gains(make_run(**made), up=(0.03, 0.002), down=(-0.03, 0.002), same=(0.0, 0.001), noisy=(0.004, 0.06))


def score(run, arm, seed, task, code):
    """The mean of what counts for the task."""
    counted = ("f1", "exact_match") if task == "xquad" else ("accuracy", "f1")
    place = (arm, seed, task, code)
    return fmean(r.value for r in run.rows if (r.arm, r.seed, r.task, r.language) == place and r.metric in counted)


def test_the_mean_is_that_of_tasks_of_their_languages_without_english():
    run = make_run(tasks=SMALL)
    others = {task: [code for code in TASKS[task][0].split() if code != "en"] for task in SMALL}
    gain = {
        (task, code): fmean(
            score(run, "snli-mnli", seed, task, code) - score(run, "none", seed, task, code) for seed in SEEDS
        )
        for task in SMALL
        for code in (*others[task], "en")
        if task != "bucc" or code != "en"
    }
    found = contrasts_of(run)
    one = found.of("snli-mnli")
    by_task = {task: fmean(gain[task, code] for code in others[task]) for task in SMALL}
    assert one.mean == pytest.approx(fmean(by_task.values()), abs=1e-12)
    assert {task: found.of("snli-mnli", task).mean for task in SMALL} == pytest.approx(by_task, abs=1e-12)
    assert (one.tasks, one.seeds, one.missing) == (SMALL, SEEDS, ())
    english = (gain["xnli", "en"] / 14 + gain["xquad", "en"] / 10) / (1 / 14 + 1 / 10)
    assert one.by_code["en"] == pytest.approx(english), "tasks weigh in it as they do in other languages"
    assert "en" not in one.weights and sum(one.weights.values()) == pytest.approx(1)
    assert sum(weight * one.by_code[code] for code, weight in one.weights.items()) == pytest.approx(one.mean)
    single = found.of("snli-mnli", "xquad").by_code
    assert single == pytest.approx({code: gain["xquad", code] for code in (*others["xquad"], "en")})


def test_english_has_a_contrast_of_its_own():
    run = make_run(tasks=SMALL)
    found = contrasts_of(run)
    one = found.of("snli-mnli", IN_ENGLISH)
    gain = [
        score(run, "snli-mnli", seed, task, "en") - score(run, "none", seed, task, "en")
        for seed in SEEDS
        for task in ("xnli", "xquad")
    ]
    assert one.mean == pytest.approx(fmean(gain), abs=1e-12), "tasks count the same"
    assert (one.tasks, dict(one.weights), one.missing) == (("xnli", "xquad"), {"en": pytest.approx(1)}, ())


def test_families_and_other_groups_are_parts_of_the_whole():
    run = make_run(tasks=SMALL)
    whole = contrasts_of(run).of("snli-mnli")
    assert {code for group in whole.families.values() for code in group.languages} == set(whole.weights)
    assert all(family_of(code) == name for name, group in whole.families.items() for code in group.languages)
    shares = {name: sum(whole.weights[code] for code in group.languages) for name, group in whole.families.items()}
    assert sum(shares[name] * group.mean for name, group in whole.families.items()) == pytest.approx(whole.mean)
    bucc = contrasts_of(run).of("snli-mnli", "bucc")
    groups = bucc.group_means({"de": "with", "fr": "with", "zh": "without", "sw": "without", "en": "with"})
    assert {name: group.languages for name, group in groups.items()} == {"with": ("de", "fr"), "without": ("zh",)}
    assert groups["with"].mean == pytest.approx(fmean(bucc.by_code[code] for code in ("de", "fr")))
    families = [line for line in contrast_lines(contrasts_of(run)) if line["family"] != "all"]
    assert {line["task"] for line in families} == {"all"} and all(line["verdict"] is None for line in families)


def test_verdicts_follow_the_rules():
    found = contrasts_of(mixed())
    verdicts = {arm: found.of(arm).verdict for arm in ("up", "down", "same", "noisy")}
    assert verdicts == {"up": "higher", "down": "lower", "same": "equivalent", "noisy": "no measurable difference"}
    assert found.of("up").decision.stars and not found.of("noisy").decision.stars
    for one in found.found:
        low, high = one.estimate.interval
        assert low < one.mean < high and (low <= 0 <= high) == (one.estimate.p_value >= 0.05)
    assert found.of("noisy").detectable > 0.02, "it excludes little"


def test_a_comparison_leaves_its_share_only_when_more_than_the_margin_is_shown():
    found = contrasts_of(mixed())
    assert {arm: found.of(arm).decision.comparisons for arm in ("up", "down", "same", "noisy")} == {
        "up": 4, "down": 4, "same": 2, "noisy": 2,
    }  # fmt: skip


def test_any_two_arms_can_be_asked_for():
    run = make_run(tasks=SMALL)
    pair = ("caption-contrast", "snli-mnli")
    found = contrasts_of(run, asked=[pair, pair])
    asked = [one for one in found.found if one.against == "snli-mnli"]
    assert [one.task for one in asked] == ["", *SMALL, IN_ENGLISH]
    assert asked[0].mean == pytest.approx(found.of("caption-contrast").mean - found.of("snli-mnli").mean)
    assert asked[0].step == OTHER_MEANS and asked[0].decision.comparisons == 1, "corrected by itself"
    with pytest.raises(UsageError, match="Did you mean 'snli-mnli'"):
        contrasts_of(run, asked=[("caption-contrast", "snli-mnl")])
    without = make_run(tasks=SMALL, arms=("caption-contrast", "snli-mnli"))
    assert {one.against for one in contrasts_of(without, asked=[pair]).found} == {"snli-mnli"}


def test_only_what_both_have_in_full_is_compared_and_said():
    run = make_run(tasks=SMALL, absent=(("snli-mnli", "xquad", "*"), ("snli-mnli", "xnli", "sw")))
    whole = contrasts_of(run).of("snli-mnli")
    assert whole.tasks == ("xnli", "bucc") and "sw" not in whole.by_code and whole.missing == ("xquad", "xnli in sw")
    assert whole.verdict == "higher", "of what both have"
    half = [row for row in run.rows if (row.arm, row.task, row.seed) != ("snli-mnli", "bucc", 2)]
    unequal = contrasts_of(Run(run.about, half, ()))
    whole = unequal.of("snli-mnli")
    assert whole.seeds == (1, 3) and "seed 2" in whole.missing and whole.verdict == "no verdict"
    assert unequal.of("snli-mnli", "xnli").seeds == SEEDS and unequal.of("snli-mnli", "xnli").verdict != "no verdict"
    said = sentence(whole, [one for one in unequal.found if one.arm == "snli-mnli"])
    assert "no verdict: needs at least 3 seeds, has 2." in said and "By task: higher on xnli" in said
    assert said.endswith("Left out, because the two arms do not both have complete results: xquad, seed 2, xnli in sw.")
    none = [row for row in run.rows if row.arm != "snli-mnli"]
    assert {one.arm for one in contrasts_of(Run(run.about, none, ())).found} == {"caption-contrast"}


def test_a_language_that_one_seed_lacks_takes_the_seed_away():
    run = make_run(tasks=("xnli",), arms=("none", "snli-mnli"))
    rows = [row for row in run.rows if (row.arm, row.seed, row.language) != ("snli-mnli", 3, "sw")]
    whole = contrasts_of(Run(run.about, rows, ())).of("snli-mnli")
    assert (whole.seeds, whole.missing, whole.verdict) == ((1, 2), ("seed 3",), "no verdict")


def test_arms_that_no_seed_enters_are_paired_with_every_seed():
    run = make_run(tasks=("tatoeba",))
    rows = [row for row in run.rows if row.arm != "none" or row.seed == 1]
    found = contrasts_of(Run(run.about, rows, ())).of("snli-mnli")
    assert found.seeds == SEEDS and found.verdict == "higher"


class Without(Outcomes):
    """An older store: one arm has none for a task."""

    def task(self, name):
        return {arm: own for arm, own in super().task(name).items() if (arm, name) != ("snli-mnli", "xquad")}


def collapsed(run):
    """All seeds of all arms gave the same."""
    first = {(row.arm, row.task, row.metric, row.language): row.value for row in run.rows if row.seed == 1}
    rows = [row.model_copy(update={"value": first[row.arm, row.task, row.metric, row.language]}) for row in run.rows]
    return Run(run.about, tuple(rows), run.costs)


@pytest.mark.parametrize(
    ("run", "source", "why"),
    [
        (make_run(tasks=SMALL, seeds=(1,)), Outcomes, "needs at least 3 seeds, has 1"),
        (make_run(tasks=SMALL, seeds=(1, 2)), Outcomes, "needs at least 3 seeds, has 2"),
        (collapsed(make_run(tasks=SMALL)), Outcomes, "the difference is the same for all seeds"),
        (make_run(tasks=SMALL), None, "no outcomes by example for xnli, xquad, bucc"),
        (make_run(tasks=SMALL), Without, "no outcomes by example for xquad"),
    ],
    ids=["one seed", "two seeds", "collapsed", "no outcomes", "a task without outcomes"],
)
@pytest.mark.usefixtures("no_heat_map_files")
def test_what_cannot_be_judged_has_its_number_and_the_reason_in_words(run, source, why, tmp_path):
    outcomes = source and source(run.rows)
    whole = contrasts(run.about, run.rows, outcomes=outcomes).of("snli-mnli")
    assert whole.verdict == "no verdict" and whole.estimate.why_not == why and whole.detectable is None
    assert whole.estimate.interval is None and whole.estimate.p_value is None and whole.decision.stars == ""
    html = write(*run, tmp_path, outcomes=outcomes).read_text(encoding="utf-8")
    outline(html)
    shown = f"+{100 * whole.mean:.1f}"
    assert f"<b>snli-mnli</b> against none: {shown} points in the mean over 3 tasks, no verdict: {why}." in html
    assert main_row(html, "snli-mnli")[-1].endswith(shown) and "▲" not in main_row(html, "snli-mnli")[-1]
    section = html[html.index('<h2 id="tested">') : html.index('<h2 id="languages">')]
    assert ("nothing is claimed" in section and "95 % interval" not in section) == (source is not Without)
    assert ("▲" in main_row(html, "snli-mnli")[1]) == (source is Without), "the other tasks are judged"


def test_at_chance_and_at_the_ceiling_nothing_is_equivalent():
    run = make_run(tasks=("xnli",), arms=("none", "same"))
    for level, said in ((0.2, "at chance"), (0.995, "at the ceiling")):
        rows = [row.model_copy(update={"value": level + row.seed / 1e4 * (row.arm == "same")}) for row in run.rows]
        found = contrasts_of(Run(run.about, rows, ()))
        one = found.of("same")
        assert found.levels == {("none", "xnli"): said, ("same", "xnli"): said}
        assert one.decision.p_equivalence < 0.05 and one.verdict == "no measurable difference"
        assert one.meaningless == f"same is {said} on xnli"
        assert f"it could not be called equivalent: same is {said} on xnli" in sentence(one, ())
    rows = [row.model_copy(update={"value": 0.6 + row.seed / 1e4 * (row.arm == "same")}) for row in run.rows]
    assert contrasts_of(Run(run.about, rows, ())).of("same").verdict == "equivalent"
    run = make_run(tasks=("xnli", "tatoeba"), arms=("none", "same"))
    lows = {"xnli": 0.2, "tatoeba": 0.6}
    rows = [row.model_copy(update={"value": lows[row.task] + row.seed / 1e4 * (row.arm == "same")}) for row in run.rows]
    assert contrasts_of(Run(run.about, rows, ())).of("same").verdict == "no measurable difference", (
        "one of the tasks is enough"
    )


def test_english_has_its_own_chance_and_ceiling():
    run = make_run(tasks=("xnli",), arms=("none", "same"))

    def found(english, others):
        values = {True: english, False: others}
        rows = [
            row.model_copy(update={"value": values[row.language == "en"] + row.seed / 1e4 * (row.arm == "same")})
            for row in run.rows
        ]
        return contrasts_of(Run(run.about, rows, ()))

    assert found(0.995, 0.7).of("same", IN_ENGLISH).meaningless == "same is at the ceiling on xnli"
    assert not found(0.995, 0.7).of("same").meaningless
    assert found(0.8, 0.25).of("same").meaningless == "same is at chance on xnli"
    assert not found(0.8, 0.25).of("same", IN_ENGLISH).meaningless
    assert not found(0.05, 0.05).levels["same", "xnli"], "far below chance is not at chance"


def test_english_alone_is_reported(tmp_path):
    run = gains(make_run(tasks=("xnli",), arms=("none", "up")), up=(0.05, 0.002))
    rows = tuple(row for row in run.rows if row.language == "en")
    html = write(run.about, rows, (), tmp_path, outcomes=Outcomes(rows)).read_text(encoding="utf-8")
    assert "<b>up</b>: higher on xnli alone in English" in html
    assert "<b>up</b> against none: higher on xnli alone in English" in html


def test_languages_that_only_one_arm_has_are_named():
    run = mixed()
    rows = [row for row in run.rows if not (row.arm == "up" and row.language in ("sw", "th"))]
    one = contrasts_of(Run(run.about, rows, ())).of("up")
    assert one.missing == ("xnli in sw, th", "tatoeba in sw, th")
    assert "the two arms do not both have complete results: xnli in sw, th" in sentence(one, ())


def test_where_languages_cannot_say_there_is_no_verdict_for_languages_like_these():
    run = mixed(tasks=("xnli",))
    few = [row for row in run.rows if row.language in ("en", "de", "fr")]
    one = contrasts_of(Run(run.about, few, ()), question="languages like these").of("up")
    assert (one.verdict, one.estimate.spread) == ("no verdict", None)
    assert one.estimate.why_not.startswith("too few language families")
    assert contrasts_of(Run(run.about, few, ())).of("up").verdict == "higher"


def test_an_arm_is_not_compared_with_itself():
    with pytest.raises(UsageError, match="'up' is compared with itself"):
        contrasts_of(mixed(), asked=[("up", "up")])


def test_a_margin_finer_than_one_test_row_makes_nothing_equivalent():
    run = make_run(tasks=("xnli", "tatoeba"), arms=("none", "same"))
    rows = [row.model_copy(update={"value": 0.6 + row.seed / 1e4 * (row.arm == "same")}) for row in run.rows]
    verdicts = {}
    for examples in (99, 101, 199, 201):
        found = contrasts_of(Run(run.about, rows, ()), outcomes=Outcomes(rows, examples))
        verdicts[examples] = [found.of("same", task).verdict for task in ("", "xnli")]
    none, same = "no measurable difference", "equivalent"
    assert verdicts == {99: [none, none], 101: [same, none], 199: [same, none], 201: [same, same]}
    said = sentence(contrasts_of(Run(run.about, rows, ()), outcomes=Outcomes(rows, 99)).of("same"), ())
    assert "it could not be called equivalent: the test sets are too small for a margin of half a point" in said


def test_what_was_computed_differently_is_marked_and_has_no_verdict():
    words = ("bf16 against fp32 in training",)
    found = contrasts_of(mixed(), unlike=lambda arm, against, tasks: words if (arm, tasks) == ("up", ("xnli",)) else ())
    one = found.of("up", "xnli")
    assert (
        one.unlike == words and one.verdict == "no verdict" and one.mean == contrasts_of(mixed()).of("up", "xnli").mean
    )
    assert one.estimate.why_not == "computed differently: bf16 against fp32 in training"
    assert found.of("up").verdict == found.of("up", "tatoeba").verdict == "higher"
    assert (
        found.of("down", "xnli").decision.comparisons
        == 7
        < contrasts_of(mixed()).of("down", "xnli").decision.comparisons
    )


@pytest.mark.usefixtures("no_heat_map_files")
def test_the_page_marks_what_is_not_alike_unless_the_recipe_allows_it(tmp_path):
    run = mixed(arms=("none", "up"))
    costs = [c.model_copy(update={"device": "cuda"} if c.arm == "up" and c.task == "xnli" else {}) for c in run.costs]
    pages = {}
    for allowed in (False, True):
        about = run.about.model_copy(update={"compare_unlike": allowed})
        path = write(about, run.rows, costs, tmp_path, outcomes=Outcomes(run.rows))
        pages[allowed] = path.read_text(encoding="utf-8")
    cells = {allowed: main_row(html, "up") for allowed, html in pages.items()}
    assert "▲" not in cells[False][1] and cells[False][1].endswith("computed differently³")
    assert "▲" in cells[True][1] and "computed differently" not in cells[True][1] and "▲" in cells[True][-1]
    assert "<b>up</b> and none were computed differently, so nothing is claimed: cuda against cpu in" in pages[False]


def uneven(run):
    """Gains in Indo-European languages, none in others."""
    rows = []
    for row in run.rows:
        gain = 0.04 * (family_of(row.language) in INDO_EUROPEAN) + row.seed / 1e4
        rows.append(row.model_copy(update={"value": 0.5 + gain * (row.arm == "up")}))
    return Run(run.about, tuple(rows), run.costs)


def test_a_recipe_may_ask_for_languages_like_these():
    run = make_run(tasks=("pawsx", "xnli"), arms=("none", "up"))
    even, question = gains(run, up=(0.03, 0.001)), "languages like these"
    assert contrasts_of(even, question=question).of("up").verdict == contrasts_of(even).of("up").verdict == "higher"
    assert contrasts_of(even).of("up").decision.holds_beyond
    these, like_these = contrasts_of(uneven(run)).of("up"), contrasts_of(uneven(run), question=question).of("up")
    assert (these.verdict, like_these.verdict) == ("higher", "no measurable difference")
    assert these.decision.stars and not like_these.decision.stars, "stars are of the question that is asked"
    assert these.estimate.interval == like_these.estimate.interval and not these.decision.holds_beyond
    assert sentence(these, ()).endswith("; not shown for languages like these.")
    assert "for languages like these" in sentence(like_these, ()) and "would be found" not in sentence(like_these, ())
    same = gains(run, up=(0.0, 0.001))
    assert contrasts_of(same).of("up").verdict == "equivalent"
    assert contrasts_of(same, question=question).of("up").verdict == "no measurable difference"
    few = gains(make_run(tasks=("bucc",), arms=("none", "up")), up=(0.03, 0.001))
    few = Run(few.about, [row for row in few.rows if row.language in ("de", "fr")], ())
    assert (contrasts_of(few).of("up").verdict, contrasts_of(few).of("up").estimate.like_these) == ("higher", None)
    assert contrasts_of(few, question=question).of("up").verdict == "no verdict"


@pytest.mark.usefixtures("no_heat_map_files")
def test_the_page_has_the_pairs_that_are_asked_for(tmp_path):
    run = make_run(tasks=SMALL)
    asked = Asked(compare=[("caption-contrast", "snli-mnli")])
    html = write(*run, tmp_path, outcomes=Outcomes(run.rows), asked=asked).read_text(encoding="utf-8")
    assert '<summary><h2 id="tested">' in html
    assert "<b>caption-contrast</b> against none: higher in the mean over 3 tasks (+" in html
    assert "<b>caption-contrast</b> against snli-mnli: higher in the mean over 3 tasks (+" in html
