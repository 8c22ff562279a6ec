"""The contents of a stage's path count as done only if their fingerprint is that stage's."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import small_world
from rich.console import Console
from small_world import recipe
from typer.testing import CliRunner

from viaduct import api, cli, plans
from viaduct.results.claim import stage_name
from viaduct.results.store import Store
from viaduct.runs.execute import Options
from viaduct.runs.spec import Intermediate, Recipe, Target, Training

NONE = (Intermediate(name="none"),)
SHORT = Target(task="fruit", training=Training(epochs=1.0))
TRAIN, PREDICT, SCORE = (f"mini/none/fruit/seed-1/{kind}" for kind in ("train", "predict", "score"))
OTHER = "another experiment's"


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)


def small(name: str, target: Target) -> Recipe:
    return recipe(name=name, targets=(target,), seeds=(1,), intermediates=NONE)


LONG_RUN, SHORT_RUN = small("long", Target(task="fruit")), small("short", SHORT)


def go(asked: Recipe, data: Path, store: Path) -> None:
    options = Options(device="cpu", threads=1, retry_seconds=0.0, poll_seconds=0.01)
    api.run(asked, data=data, store=store, options=options, console=Console(quiet=True), command="test")


def stopped(asked: Recipe, at: str, data: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is interrupted when it begins this stage."""
    original = small_world.run

    def stop(context: object) -> object:
        folder = context.directory.parent  # type: ignore[attr-defined]
        if str(folder.with_name(stage_name(folder.name))).endswith(at):
            raise KeyboardInterrupt
        return original(context)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(small_world, "run", stop)
        with pytest.raises(KeyboardInterrupt):
            go(asked, data, store)


def states(store: Path, name: str) -> dict[str, str]:
    return {one.path: one.state for one in api.status(name, store=store)}


def test_status_of_a_run_whose_stages_another_one_replaced(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    go(SHORT_RUN, world, store)
    shutil.rmtree(store / "mini" / "none")
    stopped(LONG_RUN, PREDICT, world, store, monkeypatch)
    found = states(store, "short")
    assert found == {"mini/pretrain": "done", TRAIN: OTHER, PREDICT: "waiting", SCORE: "waiting"}
    assert states(store, "long")[PREDICT] == "interrupted"
    told = CliRunner().invoke(cli.app, ["status", "short", "--store", str(store)]).output
    assert re.search(f"{TRAIN} +{OTHER} ", told) and "1/4 done" in told
    assert all(one.seconds is None for one in api.status("short", store=store) if one.state != "done")
    go(SHORT_RUN, world, store)
    # stored next to a finished stage; one that was only begun, a moment ago, gives way
    assert states(store, "short") == dict.fromkeys(("mini/pretrain", f"{TRAIN}@epochs-1", PREDICT, SCORE), "done")
    assert states(store, "long")[TRAIN] == "done"


def test_a_stage_that_another_recipe_is_at_is_not_the_runs_own(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    go(SHORT_RUN, world, store)
    shutil.rmtree(store / SCORE)
    claim = Store(store).claim(SCORE, {"fingerprint": "of something else"})
    assert claim is not None and states(store, "short")[SCORE] == OTHER
    claim.release()
    assert states(store, "short")[SCORE] == "waiting", "a run discards what was begun of something else"


def test_a_plan_without_all_data_tells_its_own_stages_from_anothers(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    go(LONG_RUN, world, store)
    (world / "fruit" / "test-de.tsv").unlink()
    found = api.plan(LONG_RUN, data=world, store=store)
    unchecked = "there, not checked"
    assert found.states == {"mini/pretrain": "done", TRAIN: "done", PREDICT: unchecked, SCORE: unchecked}
    text = plans.text(found)
    assert f"and score it: seed 1, {unchecked}" in text
    assert "2 done, 2 to do (of these 2 there, not checked)" in text
    other = api.plan(SHORT_RUN, data=world, store=store)
    # as far as is known here, the predictions are the same; the training before them, stored alongside, is not
    short = f"{TRAIN}@epochs-1"
    assert other.states == {"mini/pretrain": "done", short: "waiting", PREDICT: OTHER, SCORE: unchecked}
    assert f"1 done, 3 to do (of these 1 {unchecked}, 1 {OTHER})" in plans.text(other)


def test_a_plan_without_data_calls_nothing_done(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    go(LONG_RUN, world, store)
    (tmp_path / "empty").mkdir()
    found = api.plan(LONG_RUN, data=tmp_path / "empty", store=store)
    assert "done" not in found.states.values() and found.spent == {}
    assert found.states[TRAIN] == "there, not checked"
    other = api.plan(SHORT_RUN, data=tmp_path / "empty", store=store)
    assert other.states[TRAIN] == OTHER, "its settings are others, whatever the data"


def test_data_that_changed_are_another_experiment_even_where_others_are_missing(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    go(LONG_RUN, world, store)
    (world / "fruit" / "test-de.tsv").unlink()
    train = world / "fruit" / "train-en.tsv"
    train.write_text(train.read_text().replace("second", "third"))
    assert api.plan(LONG_RUN, data=world, store=store).states[TRAIN] == OTHER


def test_an_encoder_that_is_not_known_is_not_checked(world: Path, tmp_path: Path) -> None:
    (world / "fruit" / "test-de.tsv").unlink()
    asked = small("away", Target(task="fruit")).model_copy(update={"encoder": "nobody/nothing"})
    found = api.plan(asked, data=world, store=tmp_path / "store")
    assert all(not one.fingerprint for one in found.identities.values()) and set(found.states.values()) == {"waiting"}
