"""The page is one statistic: its table's marks, dots, sentences, heat map and files say what the contrasts say."""

from __future__ import annotations

import csv
import json
import re
from itertools import product
from types import SimpleNamespace

import pytest
from report_page import heat_rows, main_row
from report_records import Outcomes, Run, gains, make_run

from viaduct.report import figure, page
from viaduct.report.contrast import OVERALL
from viaduct.report.contrasts import contrasts
from viaduct.report.drawing import COLOURS
from viaduct.report.number import points

ARMS = ("up", "down", "same", "noisy")
TASKS = ("xnli", "xquad", "tatoeba")
NUMBERS = ("difference", "low", "high", "p", "p_corrected", "p_equivalence")
MARKS = {"higher": "▲", "lower": "▼", "equivalent": "≈"}


def drawn() -> Run:
    """Arms of every kind; all gain ten points in English, and in exact match a little more than in F1."""
    run = make_run(tasks=TASKS, arms=("none", *ARMS), substituted=())
    run = gains(run, up=(0.03, 0.002), down=(-0.03, 0.002), same=(0.0, 0.001), noisy=(0.004, 0.06))
    rows = []
    for row in run.rows:
        more = 0.1 * (row.language == "en") + 0.001 * (row.metric == "exact_match")
        rows.append(row.model_copy(update={"value": row.value + more * (row.arm != "none")}))
    return Run(run.about, tuple(rows), run.costs)


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A run's contrasts, its page, and the dots that were drawn in its figure of differences."""
    run, dots, directory = drawn(), [], tmp_path_factory.mktemp("one-statistic")
    plain = figure.mark

    def noted(axes, at, colour, *, filled):
        dots.append((at[0], colour, filled))
        plain(axes, at, colour, filled=filled)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(figure, "mark", noted)
        patched.setattr(figure, "heat_map", lambda _: None)
        html = page.write(*run, directory, outcomes=Outcomes(run.rows)).read_text(encoding="utf-8")
    signed = {COLOURS["up"], COLOURS["down"]}
    found = contrasts(run.about, run.rows, outcomes=Outcomes(run.rows))
    return SimpleNamespace(found=found, html=html, directory=directory, dots=[d for d in dots if d[1] in signed])


def test_every_kind_of_verdict_is_on_the_page(shown):
    verdicts = {one.verdict for one in shown.found.found}
    assert verdicts == {"higher", "lower", "equivalent", "no measurable difference"}
    assert {shown.found.of(arm).verdict for arm in ARMS} == verdicts


def test_the_main_table_and_its_file_have_the_contrasts(shown):
    lines = {(line["arm"], line["task"]): line for line in read_csv(shown.directory / "main_table.csv")
             if line["headline"] == "True" or line["task"] == "average"}  # fmt: skip
    for arm, (place, task) in product(ARMS, enumerate((*TASKS, OVERALL), 1)):
        one, line = shown.found.of(arm, task), lines[arm, task or "average"]
        score, _, difference = main_row(shown.html, arm)[place].partition(" ± ")
        mark = re.search("[▲▼≈]", difference)
        assert (mark.group() if mark else None) == MARKS.get(one.verdict), (arm, task)
        assert difference.endswith(points(one.mean)) and score
        assert float(line["difference"]) == one.mean and line["verdict"] == one.verdict
        assert (float(line["low"]), float(line["high"])) == one.estimate.interval
    assert all(line["difference"] == line["verdict"] == "" for (arm, _), line in lines.items() if arm == "none")


def test_the_file_of_contrasts_and_the_json_have_them(shown):
    lines = [line for line in read_csv(shown.directory / "contrasts.csv") if line["family"] == "all"]
    tables = json.loads((shown.directory / "report.json").read_text(encoding="utf-8"))["tables"]
    held = [line for line in tables["contrasts"] if line["family"] == "all"]
    assert len(lines) == len(held) == len(shown.found.found)
    for one, line, same in zip(shown.found.found, lines, held, strict=True):
        assert (line["arm"], line["against"], line["task"]) == (one.arm, one.against, one.task or "all")
        assert (line["verdict"], line["step"]) == (one.verdict, one.step)
        numbers = [float(line[name]) for name in NUMBERS]
        decision, estimate = one.decision, one.estimate
        expected = [one.mean, *estimate.interval, estimate.p_value, decision.p_value, decision.p_equivalence]
        assert numbers == expected == [same[name] for name in NUMBERS]
        assert (one.verdict in ("higher", "lower")) == (float(line["p"]) * int(line["comparisons"]) < 0.05)


def test_a_dot_is_filled_where_the_verdict_is_higher_or_lower(shown):
    listed = [shown.found.of(arm, task) for arm in ARMS for task in (OVERALL, *TASKS)]
    assert [(value, filled) for value, _, filled in shown.dots] == [
        (one.mean, one.verdict in ("higher", "lower")) for one in listed
    ]


def test_sentences_say_the_verdicts_with_their_intervals(shown):
    said = dict(re.findall(r"<li><b>([a-z-]+)</b>: (.*)</li>", shown.html))
    tested = dict(re.findall(r"<li><b>([a-z-]+)</b> against none: (.*)</li>", shown.html))
    assert set(said) == set(tested) == set(ARMS)
    for arm in ARMS:
        one, words = shown.found.of(arm), tested[arm]
        low, high = one.estimate.interval
        interval = f"({points(one.mean)} points, 95 % interval {points(low)} to {points(high)}"
        assert words.startswith(one.verdict) and f"{interval}, " in words
        assert said[arm].startswith(one.verdict) and f"{interval})." in said[arm]
        for task in TASKS:
            single = shown.found.of(arm, task)
            before = words[: words.index(f"{task} ({points(single.mean)})")]
            last = max(("higher on", "lower on", "equivalent within", "no measurable difference on"), key=before.rfind)
            assert last.startswith(single.verdict), (arm, task)
            named = f"{task} ({points(single.mean)})" in said[arm]
            assert named == (single.verdict != "no measurable difference"), (arm, task)


def test_the_heat_map_has_the_intervals_and_stars_where_there_is_a_verdict(shown):
    rows = heat_rows(shown.html, "Differences from none by intermediate and task, in points")
    for arm, (place, task) in product(ARMS, enumerate((OVERALL, *TASKS))):
        one = shown.found.of(arm, task)
        low, high = one.estimate.interval
        assert rows[arm][place] == f"{points(one.mean)}{one.decision.stars}{points(low)} to {points(high)}"
        assert bool(one.decision.stars) == (one.verdict in ("higher", "lower"))


def test_what_only_english_gains_is_marked_nowhere(shown):
    """English gains ten points in every arm: once the table's triangles counted it, and the tests below did not."""
    assert shown.found.of("same").by_code["en"] == pytest.approx(0.1, abs=0.003)
    assert not re.search("[▲▼]", " ".join(main_row(shown.html, "same")))
    assert "equivalent" in {shown.found.of("same", task).verdict for task in TASKS}


def test_differences_of_nothing_stand_on_a_scale_of_different_numbers():
    run = make_run(tasks=TASKS, arms=("none", "same"), substituted=())
    same = {(row.task, row.language, row.metric, row.seed): row.value for row in run.rows if row.arm == "none"}
    rows = [row.model_copy(update={"value": same[row.task, row.language, row.metric, row.seed]}) for row in run.rows]
    found = contrasts(run.about, rows, outcomes=Outcomes(rows))
    drawing = figure.difference_plot(found, TASKS)
    assert drawing is not None and {one.mean for one in found.found} == {0.0}
    ticks = re.findall(r"<text[^>]*>([+−-]?[0-9.]+)</text>", drawing.svg)
    assert len(ticks) >= 3 and len(set(ticks)) == len(ticks), ticks
