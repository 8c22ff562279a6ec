"""A report says which stages it was made from, and is never mistaken for the report of other stages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import small_world
from rich.console import Console
from small_world import recipe
from typer.testing import CliRunner

from viaduct import api, cli
from viaduct.runs.execute import Options
from viaduct.runs.spec import Intermediate, Recipe, Target

NONE = (Intermediate(name="none"),)


def asked(*tasks: str) -> Recipe:
    targets = tuple(Target(task=task) for task in tasks)
    return recipe(name="mine", targets=targets, seeds=(1,), intermediates=NONE)


def go(one: Recipe, world: Path, store: Path) -> None:
    options = Options(device="cpu", threads=1, poll_seconds=0.01)
    api.run(one, data=world, store=store, options=options, console=Console(quiet=True), command="test")


def said(store: Path) -> str:
    done = CliRunner().invoke(cli.app, ["status", "mine", "--store", str(store)])
    assert done.exit_code == 0
    return next(line for line in done.output.splitlines() if line.startswith("report: "))


def interrupted(one: Recipe, after: int, world: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is interrupted once it has done this many of its stages."""
    original, begun = small_world.run, [0]

    def stop(context: object) -> object:
        begun[0] += 1
        if begun[0] > after:
            raise KeyboardInterrupt
        return original(context)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(small_world, "run", stop)
        with pytest.raises(KeyboardInterrupt):
            go(one, world, store)


def test_a_report_names_what_it_was_made_from(world: Path, tmp_path: Path, no_heat_map_files: None) -> None:
    go(asked("fruit"), world, tmp_path)
    assert said(tmp_path) == "report: up to date, made from 4 stages"
    folder = tmp_path / "runs" / "mine"
    about = json.loads((folder / "report.json").read_text())["about"]
    records = {path: json.loads((tmp_path / path / "stage.json").read_text()) for path in about["made_from"]}
    assert {path: record["fingerprint"] for path, record in records.items()} == about["made_from"]
    assert "4 stages, fingerprint " in (folder / "report.html").read_text(encoding="utf-8")
    shutil.rmtree(tmp_path / "mini/none/fruit/seed-1/score")
    assert said(tmp_path) == "report: stale: 1 of its 4 stages differ from what this run has now"


def test_the_report_of_an_earlier_recipe_of_that_name_is_stale_and_not_opened(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_heat_map_files: None
) -> None:
    go(asked("fruit"), world, tmp_path)
    interrupted(asked("twins", "quiz"), 1, world, tmp_path, monkeypatch)
    assert said(tmp_path).startswith("report: stale: 3 of its 4 stages differ from what this run has now")
    assert set(api.open_run("mine", store=tmp_path).scores["task"]) == {"twins"}
    assert said(tmp_path).startswith("report: up to date")
    go(asked("twins", "quiz"), world, tmp_path)
    assert set(api.open_run("mine", store=tmp_path).scores["task"]) == {"twins", "quiz"}


def test_a_report_from_before_the_rest_was_done_says_so(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_heat_map_files: None
) -> None:
    go(asked("twins"), world, tmp_path)
    interrupted(asked("twins", "fruit"), 1, world, tmp_path, monkeypatch)
    made = said(tmp_path)
    assert "stale: made from 3 stages, and " in made and "have been done since" in made
    (tmp_path / "runs" / "mine" / "report.json").write_text('{"about": {}}')
    assert said(tmp_path) == "report: none that says what it was made from"
