"""A model that gives every row the same answer is named in the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_world
from rich.console import Console
from small_world import recipe

from viaduct import api
from viaduct.results.store import Store
from viaduct.runs import collect
from viaduct.runs.cautions import said_of_one_answer
from viaduct.runs.execute import Options
from viaduct.runs.spec import Target


@pytest.fixture
def run(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a finished run of two arms."""
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)
    options = Options(device="cpu", threads=1, poll_seconds=0.01)
    asked = recipe(targets=(Target(task="fruit"), Target(task="twins")))
    return api.run(asked, data=world, store=tmp_path / "store", options=options, console=Console(quiet=True)).directory


def said(run: Path) -> tuple[str, ...]:
    return said_of_one_answer(Store(run.parent.parent), collect.load_run(run))


def answer_alike(run: Path, arm: str, *, but: int = 0) -> None:
    """Make an arm's model give every row of fruit the same answer, except the last `but` rows of each language."""
    for path in sorted((run.parent.parent).glob(f"*/{arm}/fruit/seed-1/**/predictions/*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        labels = sorted({row["prediction"] for row in rows})
        for number, row in enumerate(rows):
            row["prediction"] = labels[-1] if number >= len(rows) - but and len(labels) > 1 else "a"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_one_answer_to_every_row_is_told_with_arm_task_and_seed(run: Path, world: Path) -> None:
    assert said(run) == ()
    answer_alike(run, "quiz")
    (line,) = said(run)
    assert line.startswith("the same answer to every row: quiz on fruit with seed 1; its training failed")
    assert "none on" not in line
    api.report(run, data=world, console=Console(quiet=True))
    about = json.loads((run / "about.json").read_text(encoding="utf-8"))
    assert line in about["remarks"]


def test_another_answer_to_a_single_row_is_enough(run: Path) -> None:
    answer_alike(run, "quiz", but=1)
    assert said(run) == ()


@pytest.mark.parametrize("damaged", ["{}\n", "[]\n", '{"id": "1", "predic'])
def test_damaged_predictions_are_told_and_missing_ones_are_not(run: Path, damaged: str) -> None:
    answer_alike(run, "quiz")
    folder = next(iter((run.parent.parent).glob("*/quiz/fruit/seed-1/**/predictions")))
    last = sorted(folder.glob("*.jsonl"))[-1]
    last.write_text(damaged, encoding="utf-8")
    (line,) = said(run)
    assert line.startswith("damaged predictions: quiz on fruit with seed 1; whether it gives the same answer")
    for path in folder.glob("*.jsonl"):
        path.unlink()
    assert said(run) == ()
