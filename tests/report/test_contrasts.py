"""Differences between arms: the right mean by brute force, the rules of the verdicts, and what may not be claimed."""

from __future__ import annotations

import csv
import random
from statistics import fmean

import pytest
from report_records import TASKS, make_run

from viaduct.errors import UsageError
from viaduct.metrics.significance import holm
from viaduct.report.contrasts import Contrast, contrast_lines, contrasts
from viaduct.report.page import write
from viaduct.report.section import SeenLanguages
from viaduct.report.words import sentence

SMALL = ("xnli", "xquad", "bucc")


def gains(run, **by_arm):
    """The rows with a gain per arm (fraction) that seeds share, and a little noise for each."""
    level = {}
    rows = []
    for row in run.rows:
        key = (row.task, row.metric, row.language)
        level.setdefault(key, 0.4 + random.Random("/".join(key)).random() / 10)
        gain, noise = by_arm.get(row.arm.replace("-", "_"), (0.0, 0.0))
        moved = gain + noise * random.Random(f"{row.arm}{row.seed}{key}").gauss(0, 1)
        rows.append(row.model_copy(update={"value": level[key] + moved}))
    return rows


def overall(found, arm, against="none") -> Contrast:
    return next(one for one in found if (one.arm, one.against, one.task) == (arm, against, ""))


def test_the_mean_is_that_of_tasks_of_their_languages_without_english():
    run = make_run(tasks=SMALL)
    score: dict[tuple[str, int, str, str], list[float]] = {}
    for row in run.rows:
        if row.language != "en" and (row.task != "xquad" or row.metric in ("f1", "exact_match")):
            score.setdefault((row.arm, row.seed, row.task, row.language), []).append(row.value)
    expected = fmean(
        fmean(
            fmean(score["snli-mnli", seed, task, code]) - fmean(score["none", seed, task, code])
            for seed in (1, 2, 3)
            for code in TASKS[task][0].split()
            if code != "en"
        )
        for task in SMALL
    )
    found = overall(contrasts(run.about, run.rows), "snli-mnli")
    assert found.mean == pytest.approx(expected, abs=1e-12)
    assert found.estimate.mean == pytest.approx(expected, abs=1e-12)
    assert found.tasks == SMALL and found.seeds == (1, 2, 3) and "en" not in found.by_code


def test_a_task_alone_is_the_mean_over_its_languages():
    run = make_run(tasks=SMALL)
    values = {(row.arm, row.seed, row.language): row.value for row in run.rows if row.task == "bucc"}
    found = next(one for one in contrasts(run.about, run.rows) if (one.arm, one.task) == ("snli-mnli", "bucc"))
    pairs = [
        (values["snli-mnli", seed, code] - values["none", seed, code])
        for seed in (1, 2, 3)
        for code in ("de", "fr", "ru", "zh")
    ]
    assert found.mean == pytest.approx(fmean(pairs), abs=1e-12)
    assert found.families == {}


def test_families_are_parts_of_the_whole():
    run = make_run(tasks=("bucc",))
    whole = overall(contrasts(run.about, run.rows), "snli-mnli")
    assert {name: group.languages for name, group in whole.families.items()} == {
        "Germanic": ("de",), "Romance": ("fr",), "Slavic": ("ru",), "Sino-Tibetan": ("zh",),
    }  # fmt: skip
    assert fmean(group.mean for group in whole.families.values()) == pytest.approx(whole.mean)
    assert all(group.interval[0] < group.mean < group.interval[1] for group in whole.families.values())


def test_verdicts_follow_the_rules():
    arms = ("none", "up", "down", "same", "noisy")
    run = make_run(tasks=("xnli", "tatoeba"), arms=arms)
    rows = gains(run, up=(0.03, 0.002), down=(-0.03, 0.002), same=(0.0, 0.001), noisy=(0.004, 0.06))
    found = contrasts(run.about, rows)
    verdicts = {arm: overall(found, arm).verdict for arm in arms[1:]}
    assert verdicts == {"up": "higher", "down": "lower", "same": "equivalent", "noisy": "no measurable difference"}
    assert overall(found, "up").stars and not overall(found, "noisy").stars
    two = make_run(tasks=("xnli", "tatoeba"), arms=("none", "noisy"), seeds=(1, 2))
    assert overall(contrasts(two.about, gains(two, noisy=(0.004, 0.06))), "noisy").verdict == "cannot tell"


def test_holm_is_over_arms_for_means_and_over_tasks_for_tasks():
    run = make_run(tasks=SMALL)
    found = contrasts(run.about, run.rows)
    means = {one.arm: one for one in found if not one.task}
    expected = holm({arm: one.estimate.p_value for arm, one in means.items()})
    assert {arm: one.corrected for arm, one in means.items()} == expected
    single = {one.task: one for one in found if one.task and one.arm == "snli-mnli"}
    expected = holm({task: one.estimate.p_value for task, one in single.items()})
    assert {task: one.corrected for task, one in single.items()} == expected


def test_one_seed_claims_nothing():
    run = make_run(tasks=SMALL, seeds=(1,))
    found = contrasts(run.about, run.rows)
    assert {one.verdict for one in found} == {"no claim"}
    assert all(one.estimate is None and one.stars == "" for one in found)
    words = sentence(overall(found, "snli-mnli"), [one for one in found if one.task])
    assert words.endswith("one seed, so no claim.") and "higher" not in words


def test_only_what_both_have_in_full_is_compared_and_said():
    run = make_run(tasks=SMALL, absent=(("snli-mnli", "xquad", "*"), ("snli-mnli", "xnli", "sw")))
    whole = overall(contrasts(run.about, run.rows), "snli-mnli")
    assert whole.tasks == ("xnli", "bucc") and "sw" not in whole.by_code and whole.missing == ("xquad",)
    half = [row for row in run.rows if (row.arm, row.task, row.seed) != ("snli-mnli", "bucc", 2)]
    whole = overall(contrasts(run.about, half), "snli-mnli")
    assert whole.seeds == (1, 3) and "seed 2" in whole.missing
    assert "Left out, because only one of the two has it in full: xquad, seed 2." in sentence(whole, ())
    none = [row for row in run.rows if row.arm != "snli-mnli"]
    assert {one.arm for one in contrasts(run.about, none)} == {"caption-contrast"}


def test_arms_that_no_seed_enters_are_paired_with_every_seed():
    run = make_run(tasks=("tatoeba",))
    rows = [row for row in run.rows if row.arm != "none" or row.seed == 1]
    assert overall(contrasts(run.about, rows), "snli-mnli").seeds == (1, 2, 3)


def test_any_two_arms_can_be_asked_for():
    run = make_run(tasks=SMALL)
    pair = ("caption-contrast", "snli-mnli")
    found = contrasts(run.about, run.rows, [pair, pair])
    asked = [one for one in found if one.against == "snli-mnli"]
    assert [one.task for one in asked] == ["", *SMALL]
    difference = overall(found, "caption-contrast").mean - overall(found, "snli-mnli").mean
    assert asked[0].mean == pytest.approx(difference)
    assert asked[0].corrected == asked[0].estimate.p_value, "corrected by itself"
    with pytest.raises(UsageError, match="Did you mean 'snli-mnli'"):
        contrasts(run.about, run.rows, [("caption-contrast", "snli-mnl")])
    without = make_run(tasks=SMALL, arms=("caption-contrast", "snli-mnli"))
    assert {one.against for one in contrasts(without.about, without.rows, [pair])} == {"snli-mnli"}


def test_the_page_has_sentences_figures_and_the_file(tmp_path):
    run = make_run(tasks=SMALL)
    html = write(*run, tmp_path, compare=[("caption-contrast", "snli-mnli")]).read_text(encoding="utf-8")
    assert '<h2 id="tested">' in html and '<a href="#tested">' in html
    assert "<b>caption-contrast</b> against none: higher in the mean over 3 tasks (+" in html
    assert "<b>caption-contrast</b> against snli-mnli: " in html
    assert (tmp_path / "transfer_matrix.svg").is_file() and (tmp_path / "transfer_by_family.svg").is_file()
    with (tmp_path / "contrasts.csv").open(encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    found = contrasts(run.about, run.rows, [("caption-contrast", "snli-mnli")])
    assert len(written) == len(contrast_lines(found))
    first = next(line for line in written if (line["arm"], line["task"], line["family"]) == ("snli-mnli", "all", "all"))
    assert float(first["difference"]) == overall(found, "snli-mnli").mean and first["verdict"] == "higher"
    families = {line["family"] for line in written if line["task"] == "all"} - {"all"}
    assert families == set(overall(found, "snli-mnli").families)


def test_with_one_seed_the_page_shows_differences_without_intervals(tmp_path):
    run = make_run(tasks=SMALL, seeds=(1,))
    html = write(*run, tmp_path).read_text(encoding="utf-8")
    section = html[html.index('<h2 id="tested">') : html.index('<h2 id="languages">')]
    assert "nothing is claimed" in section and "95 % interval" not in section and "after Holm" not in section


def test_languages_with_and_without_captions_are_told_apart():
    run = make_run(tasks=("xnli",))
    level = {row.language: 0.3 if row.language in ("de", "fr", "zh") else 0.1 for row in run.rows}
    rows = [
        row.model_copy(update={"value": 0.4 + level[row.language] * (row.arm == "snli-mnli") + row.seed / 1e4})
        for row in run.rows
    ]
    seen = SeenLanguages("captions", {"snli-mnli": ("de", "fr", "zh")})
    found = overall(contrasts(run.about, rows, seen=seen), "snli-mnli")
    assert set(found.seen) == {"with captions", "without captions"}
    assert found.seen["with captions"].mean == pytest.approx(0.3)
    assert found.seen["without captions"].mean == pytest.approx(0.1)
    assert sorted(found.seen["with captions"].languages) == ["de", "fr", "zh"]
    assert overall(contrasts(run.about, rows), "snli-mnli").seen == {}
    csv_lines = [line["family"] for line in contrast_lines([found])]
    assert "with captions" in csv_lines and "without captions" in csv_lines
