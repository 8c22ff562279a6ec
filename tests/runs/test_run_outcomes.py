"""Score stages store the outcome of each example; older ones get theirs from their predictions, once."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import small_world
from rich.console import Console
from small_world import recipe

from viaduct import api
from viaduct.errors import StoreError
from viaduct.metrics.classification import accuracy
from viaduct.results.checksums import LIST
from viaduct.results.outcomes import FILE
from viaduct.results.store import Store
from viaduct.runs import collect
from viaduct.runs.execute import Options
from viaduct.runs.outcomes import RunOutcomes
from viaduct.runs.spec import Target

ASKED = recipe(targets=(Target(task="fruit"), Target(task="twins")))


@pytest.fixture
def run(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a finished run, in which fruit has per-example outcomes and twins has none."""
    cards = [replace(one, metric=accuracy, metrics=("accuracy",)) for one in small_world.CARDS if one.kind == "pair"]
    small_world.add_cards(monkeypatch.setattr, cards)
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)
    options = Options(device="cpu", threads=1, poll_seconds=0.01)
    return api.run(ASKED, data=world, store=tmp_path / "store", options=options, console=Console(quiet=True)).directory


def outcomes_of(run: Path) -> RunOutcomes:
    return RunOutcomes(Store(run.parent.parent), collect.load_run(run))


def reported(run: Path, data: Path | None) -> str:
    text = io.StringIO()
    api.report(run, data=data, console=Console(file=text, width=500))
    return text.getvalue()


def older(run: Path) -> list[Path]:
    """Removes the outcomes, which stores of older versions lack; returns the stages that had them."""
    store = run.parent.parent
    there = sorted(path for path in store.rglob(FILE))
    for path in there:
        path.unlink()
        sums = path.with_name(LIST)
        sums.write_text("".join(line for line in sums.read_text().splitlines(True) if FILE not in line))
    return [path.parent for path in there]


def test_a_run_is_read_task_by_task_and_its_outcomes_make_its_scores(run: Path) -> None:
    found = outcomes_of(run)
    assert found.tasks == ("fruit", "twins")
    fruit = found.task("fruit")
    assert {arm: list(seeds) for arm, seeds in fruit.items()} == {"none": [1, 2], "quiz": [1, 2]}
    rows = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
    values = {(row["arm"], row["seed"], row["language"]): row["value"] for row in rows if row["task"] == "fruit"}
    assert len(values) == 12
    for (arm, seed, language), value in values.items():
        by_language = fruit[arm][seed]
        assert by_language is not None
        one = by_language[language]
        assert one.scores().mean() == pytest.approx(value, abs=1e-12)
        assert (one.chance, one.majority) == (0.5, 26 / 40)
        assert one.ids == by_language["en"].ids and one.units is by_language["en"].units
    assert found.task("twins") == {"none": {1: None}, "quiz": {1: None, 2: None}}
    assert found.task("nothing") == {}
    assert reported(run, None) == ""


def test_an_older_store_gets_its_outcomes_once_and_finished_stages_stay_as_they_are(run: Path, world: Path) -> None:
    before = outcomes_of(run).task("fruit")
    stages = older(run)
    assert outcomes_of(run).task("fruit") == {"none": {1: None, 2: None}, "quiz": {1: None, 2: None}}
    assert "4 finished scores without outcomes by example: name the data sets with --data" in reported(run, None)
    assert "outcomes by example made from predictions: 4 finished scores, " in reported(run, world)
    assert reported(run, None) == ""
    for arm, seeds in outcomes_of(run).task("fruit").items():
        for seed, made in seeds.items():
            earlier = before[arm][seed]
            assert made is not None and earlier is not None
            assert all((made[code].scores() == one.scores()).all() for code, one in earlier.items())
    assert len(stages) == 4 and not any((folder / FILE).exists() for folder in stages)


def test_a_run_that_goes_on_makes_what_older_stages_lack(run: Path, world: Path) -> None:
    older(run)
    text = io.StringIO()
    api.run(ASKED, data=world, store=run.parent.parent, console=Console(file=text, width=500))
    assert "made from predictions: 4 finished scores" in text.getvalue()


def test_outcomes_that_were_there_and_are_gone_are_damage(run: Path, world: Path) -> None:
    path = sorted(run.parent.parent.rglob(FILE))[0]
    path.unlink()
    with pytest.raises(StoreError, match=r"outcomes.npz is gone(.|\n)*remove the whole folder"):
        reported(run, world)


def test_what_cannot_be_made_is_named_and_nothing_is_made_up(run: Path, world: Path) -> None:
    store = Store(run.parent.parent)
    folders = older(run)
    german = store.directory("mini/none/fruit/seed-1/predict") / "predictions" / "de.jsonl"
    german.rename(german.with_suffix(".away"))
    said = reported(run, world)
    assert "made from predictions: 3 finished scores" in said
    assert "cannot be made: 1 finished score, the first is mini/none/fruit/seed-1/score: " in said
    assert "de.jsonl is gone" in said
    german.with_suffix(".away").rename(german)
    gold = world / "fruit" / "test-sw.tsv"
    gold.write_text(gold.read_text().replace("\tyes", "\tno"), encoding="utf-8")
    for path in (store.root / "cache" / "outcomes").rglob(FILE):
        path.unlink()
    assert "do not give the scores that it recorded" in reported(run, world)
    assert not list(store.root.rglob(FILE)) and len(folders) == 4
