"""Prediction pages: for finished models whose predictions and data are available, only in the run's own folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import small_world
from report_records import make_run
from rich.console import Console
from small_world import recipe

from viaduct import api
from viaduct.metrics.classification import accuracy
from viaduct.metrics.score import Outcomes, Prediction
from viaduct.report.predictions import MOST, Answer, Example, Predicted, write
from viaduct.results.record import About
from viaduct.results.store import Store
from viaduct.rows import Row
from viaduct.runs import collect
from viaduct.runs.execute import Options
from viaduct.runs.predictions import RunPredictions, _answer, _scores, _shares
from viaduct.runs.spec import Target
from viaduct.tasks.kind import row_kinds
from viaduct.texts.rows import Labelled, Rated


@pytest.fixture
def run(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a finished run, in which fruit is scored row by row and twins as a whole."""
    cards = [replace(one, metric=accuracy, metrics=("accuracy",)) for one in small_world.CARDS if one.name == "fruit"]
    small_world.add_cards(monkeypatch.setattr, cards)
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)
    asked = recipe(targets=(Target(task="fruit"), Target(task="twins")))
    options = Options(device="cpu", threads=1, poll_seconds=0.01)
    return api.run(asked, data=world, store=tmp_path / "store", options=options, console=Console(quiet=True)).directory


def of(run: Path, data: Path | None) -> RunPredictions:
    return RunPredictions(Store(run.parent.parent), collect.load_run(run), data)


def test_gold_predictions_and_input_of_every_language(run: Path, world: Path) -> None:
    found = {(one.task, one.language): one for one in of(run, world)}
    assert {task for task, _ in found} == {"fruit", "twins"}
    fruit = found["fruit", "en"]
    assert fruit.seeds == {"none": 1, "quiz": 1} and len(fruit.examples) == 40
    for one in fruit.examples:
        assert one.texts and one.gold and one.answers.keys() == {"none", "quiz"}
        assert all(answer.score == float(answer.words == one.gold) for answer in one.answers.values())
    answers = [answer for one in found["twins", "de"].examples for answer in one.answers.values()]
    assert answers and not any(re.fullmatch(r"[st]\d+", answer.words) or answer.score is not None for answer in answers)
    assert list(of(run, None)) == [], "without the data there is nothing"


def test_data_that_are_not_those_of_the_run_are_told(run: Path, world: Path) -> None:
    for path in (world / "fruit").rglob("test*"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[: len(lines) // 2]), encoding="utf-8")
    made = of(run, world)
    assert {one.task for one in made} == {"twins"}
    assert made.problems and made.problems[0].startswith("fruit ")


def test_a_long_page_keeps_the_rows_on_which_arms_differ(tmp_path: Path) -> None:
    nothing = dict.fromkeys(("substitutions", "data", "arms", "tasks", "seeds"), ())
    about = About(
        recipe="r", hypothesis="h", command="c", encoder="e", encoder_details={}, miniature=False, settings={},
        versions={}, created="now", **nothing,
    )  # fmt: skip
    rows = tuple(
        Example(str(at), ("<script>", "text"), "x", {"a": Answer("x", 1.0), "b": Answer("y", float(at < MOST))})
        for at in range(MOST + 9)
    )
    assert write(about, [Predicted("t", "de", "test", {"a": 1, "b": 2}, rows)], tmp_path) == {("t", "de")}
    html = (tmp_path / "t" / "de.html").read_text(encoding="utf-8")
    assert html.count('<th scope="row">') == MOST and html.index(f'"row">{MOST}<') < html.index('"row">0<')
    assert f"{MOST} of {MOST + 9} rows: those on which the arms differ most" in html
    assert html.count("<script") == 1 and "seed per arm: 1 (a), 2 (b)." in html


LABELS = [Labelled(str(at), "de", f"text {at}", "ab"[at % 3 == 0]) for at in range(9)]
NUMBERS = [Rated(str(at), "de", f"text {at}", None, float(at)) for at in range(9)]


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy"])
def test_a_label_is_right_or_wrong_whatever_the_metric_makes_of_it(metric: str) -> None:
    answers = shown("classification", metric, LABELS, {row.id: "a" for row in LABELS})
    assert answers == [Answer("a", float(row.label == "a")) for row in LABELS]


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_a_number_has_its_distance_and_no_share(metric: str, tmp_path: Path) -> None:
    off = [0.25, -0.25, 0, 2, 0, -3, 0, 0, 0]
    given = {row.id: row.value + wrong for row, wrong in zip(NUMBERS, off, strict=True)}
    answers = shown("regression", metric, NUMBERS, given)
    assert [(one.score, one.distance) for one in answers] == [(None, abs(wrong)) for wrong in off]
    exact = shown("regression", metric, NUMBERS, {row.id: row.value for row in NUMBERS})
    rows = tuple(
        Example(row.id, ("text",), str(row.value), {"a": answer, "b": other})
        for row, answer, other in zip(NUMBERS, answers, exact, strict=True)
    )
    about = make_run().about.model_copy(update={"limit": 9})
    write(about, [Predicted("stars", "de", "test", {"a": 1, "b": 1}, rows)], tmp_path)
    html = (tmp_path / "stars" / "de.html").read_text(encoding="utf-8")
    assert re.findall(r'<th scope="row">(\d)<', html)[:4] == ["5", "3", "0", "1"], "the farthest apart first"
    assert "<b>3</b>" in html and "its distance from the gold number" in html and "✓" not in html and "✗" not in html
    assert "A quick look, no result: at most 9 rows were read per language and split" in html


@pytest.mark.parametrize(("values", "influences"), [([0.2, 0.8], True), ([-0.5, 0.5], False)])
def test_parts_of_a_score_are_no_shares(values: list[float], influences: bool) -> None:
    assert _shares(Outcomes(["x", "y"], {"own": values}, influences=influences)) == {"x": None, "y": None}
    assert _shares(Outcomes(["x", "y"], {"own": [0.2, 0.8]})) == {"x": 0.2, "y": 0.8}


def shown(kind: str, metric: str, rows: Sequence[Row], given: Mapping[str, object]) -> list[Answer]:
    """The answers on a page for rows of this kind."""
    known = row_kinds()[kind]
    card = replace(small_world.CARDS[0], kind=kind, metric=known.metrics[metric][0], metrics=known.metrics[metric][1])
    predictions = {id: Prediction(id, "de", one) for id, one in given.items()}
    scores, asked = _scores(card, rows, predictions), known.predicted("own", "de", (), rows)
    return [_answer(asked, row, given[row.id], scores[row.id]) for row in rows]
