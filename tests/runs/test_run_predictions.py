"""Pages of predictions: of finished models whose predictions and data are there, in the run's own folder alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import small_world
from rich.console import Console
from small_world import recipe

from viaduct import api
from viaduct.metrics.classification import accuracy
from viaduct.report.predictions import MOST, Answer, Example, Predicted, write
from viaduct.results.record import About
from viaduct.results.store import Store
from viaduct.runs import collect
from viaduct.runs.execute import Options
from viaduct.runs.predictions import RunPredictions
from viaduct.runs.spec import Target


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
    assert html.count("<script") == 1 and "seed of each arm: 1 (a), 2 (b)." in html
