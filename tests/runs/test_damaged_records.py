"""A run's own record is verified: editing it, or a stage's record, never silently moves or loses a score."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_world
from rich.console import Console

from viaduct import api
from viaduct.errors import StoreError
from viaduct.results.checksums import sealed
from viaduct.results.writing import canonical
from viaduct.runs.execute import Options
from viaduct.runs.spec import Target

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def run(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)
    made = small_world.recipe(targets=(Target(task="fruit"), Target(task="twins")), seeds=(1,))
    options, quiet = Options(device="cpu", threads=1, poll_seconds=0.01), Console(quiet=True)
    return api.run(made, data=world, store=tmp_path / "store", options=options, console=quiet, command="x").directory


def edit(path: Path, change: Change, *, seal: bool) -> None:
    content = json.loads(path.read_text())
    if seal:
        del content["sha256"]
    change(content)
    path.write_text(canonical(sealed(content) if seal else content))


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["cells"][0].update(score=record["cells"][-1]["score"]),
        lambda record: record["cells"][0].update(seed=3),
        lambda record: record["cells"].pop(0),
        lambda record: record["stages"][-1].update(fingerprint="0" * 64),
        lambda record: record["stages"].pop(),
    ],
)
def test_an_edited_record_of_a_run_is_refused(run: Path, change: Change) -> None:
    store = run.parent.parent
    assert api.verify(store).damaged == ()
    edit(run / "run.json", change, seal=False)
    assert api.verify(store).damaged == (run / "run.json",)
    for read in (api.report, api.status, api.open_run):
        with pytest.raises(StoreError, match=r"run.json is damaged(.|\n)*start the run again"):
            read("small", store=store)  # type: ignore[operator]


def test_a_cell_that_names_another_tasks_scores_is_refused(run: Path) -> None:
    def exchange(record: dict[str, Any]) -> None:
        first, last = record["cells"][0], record["cells"][-1]
        assert first["task"] != last["task"]
        first["score"], last["score"] = last["score"], first["score"]

    edit(run / "run.json", exchange, seal=True)
    with pytest.raises(StoreError, match="holds no scores of fruit, but the run says that it does"):
        api.report(run)


def test_stages_that_are_another_experiments_are_told(run: Path) -> None:
    edit(run / "run.json", lambda record: record["stages"][-1].update(fingerprint="0" * 64), seal=True)
    said = io.StringIO()
    api.report(run, console=Console(file=said, width=500))
    assert "1 stage of this run belongs to another experiment in the store, left out here: mini/" in said.getvalue()
    assert "belongs to another experiment" in (run / "about.json").read_text()


def test_a_run_in_the_folder_of_another_is_refused(run: Path) -> None:
    run.rename(run.with_name("other"))
    with pytest.raises(StoreError, match="belongs to a run of the recipe small"):
        api.status("other", store=run.parent.parent)


def test_costs_that_are_gone_or_damaged_are_one_message(run: Path) -> None:
    cost = sorted(run.parent.parent.rglob("score/cost.json"))[0]
    for text, words in (
        (None, "is gone"),
        ("", "is damaged"),
        ("{}", "is damaged"),
        ('{"seconds": 1}', "is not a record"),
    ):
        cost.unlink() if text is None else cost.write_text(text)
        with pytest.raises(StoreError, match=rf"cost.json {words}"):
            api.report(run)
