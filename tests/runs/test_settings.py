"""Several settings of one recipe in one store: stages are shared where equal, stored side by side where not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import small_world
from rich.console import Console
from small_world import recipe

from viaduct import api
from viaduct.errors import StoreError
from viaduct.results.store import Store
from viaduct.runs import execute
from viaduct.runs.display import Display
from viaduct.runs.execute import Options
from viaduct.runs.planned import warnings
from viaduct.runs.spec import Intermediate, Recipe, Target, Training
from viaduct.runs.stage import StageKind, kind_of

QUICK = Options(device="cpu", threads=1, retry_seconds=0.0, poll_seconds=0.01)
FRUIT = "mini/none/fruit/seed-1"


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)


def asked(**training: object) -> Recipe:
    target = Target(task="fruit", training=Training(**training))
    return recipe(intermediates=(Intermediate(name="none"),), targets=(target,), seeds=(1,))


def go(one: Recipe, data: Path, store: Path) -> Path:
    return api.run(one, data=data, store=store, options=QUICK, console=Console(quiet=True), command="test").directory


def stages(store: Path) -> dict[str, bytes]:
    """Path -> the record of the stage stored there, with its costs, which show when it was made."""
    found = (path.parent for path in store.rglob("stage.json") if ".partial" not in str(path))
    return {
        str(path.relative_to(store)): (path / "stage.json").read_bytes() + (path / "cost.json").read_bytes()
        for path in found
    }


def test_settings_share_what_they_share_and_each_has_its_page(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = go(asked(), world, store)
    before = stages(store)
    second = go(asked(learning_rate=3e-5), world, store)
    after = stages(store)
    assert before.items() < after.items(), "what was there stays as it is"
    named = {f"{FRUIT}/{kind}@learning_rate-3e-05" for kind in ("train", "predict", "score")}
    assert after.keys() - before.keys() == named, "pretraining is shared"
    assert first == store / "runs" / "small" and second.parent == first.parent
    assert second.name.startswith("small@") and len(second.name) == len("small@12345678")
    for run in (first, second):
        rows = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
        fingerprints = {json.loads(one)["fingerprint"] for one in _scores(store, run)}
        assert rows and {row["fingerprint"] for row in rows} == fingerprints
        assert all(one.state == "done" for one in api.status(run.name, store=store))
    assert [go(asked(), world, store), go(asked(learning_rate=3e-5), world, store)] == [first, second]
    assert stages(store) == after, "all was done"
    assert "3 stages are stored next to" in "".join(
        warnings(api.plan(asked(learning_rate=3e-5), data=world, store=store))
    )


def _scores(store: Path, run: Path) -> list[str]:
    """The records of the score stages that a run names."""
    paths = [one["path"] for one in json.loads((run / "run.json").read_text())["stages"] if one["kind"] == "score"]
    return [(store / path / "stage.json").read_text() for path in paths]


def test_more_than_one_field_is_named_by_the_fingerprint(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for one in (asked(), asked(learning_rate=3e-5, epochs=1.0), asked(learning_rate=3e-5, epochs=2.0)):
        go(one, world, store)
    found = [path for path in stages(store) if "/train" in path]
    assert len(found) == 3
    fingerprints = {path: json.loads((store / path / "stage.json").read_text())["fingerprint"] for path in found}
    assert all(path in (f"{FRUIT}/train", f"{FRUIT}/train@{one[:8]}") for path, one in fingerprints.items())


def test_a_setting_of_the_same_name_as_another_is_told_from_it(world: Path, tmp_path: Path) -> None:
    """3e-5 twice: differing from the first run in that field only, and then also in the evaluated split."""
    store = tmp_path / "store"
    go(asked(), world, store)
    first = go(asked(learning_rate=3e-5), world, store)
    changed = Target(task="fruit", training=Training(learning_rate=3e-5), split="dev")
    go(asked().model_copy(update={"targets": (changed,)}), world, store)
    found = sorted(path for path in stages(store) if "/predict" in path)
    assert len(found) == 3 and found[0] == f"{FRUIT}/predict"
    assert sum("train@" in path for path in stages(store)) == 1, "the training is shared"
    assert all(one.state == "done" for one in api.status(first, store=None))


@pytest.mark.parametrize("change", ["code", "data", "encoder"])
def test_what_is_no_setting_is_refused(
    change: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    go(asked(), world, store)
    before = stages(store)
    if change == "code":
        monkeypatch.setattr(type(kind_of("train")), "version", 99)
    elif change == "data":
        with (world / "fruit" / "train-en.tsv").open("a") as file:
            file.write("99\tone\tmore\tyes\n")
    else:
        monkeypatch.setattr(StageKind, "identity", lambda _self, _work: {"read": "in another way"})
    with pytest.raises(StoreError, match="holds the results of another experiment"):
        go(asked(), world, store)
    assert stages(store) == before


def test_further_seeds_and_parts_of_a_run_stay_on_its_page(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    both = asked().model_copy(update={"seeds": (1, 2)})
    other = asked().model_copy(update={"seeds": (2,), "targets": (Target(task="berry"),)})
    assert {go(one, world, store).name for one in (asked(), both, other)} == {"small"}
    assert not any("@" in path for path in stages(store))


@pytest.mark.parametrize(("seconds", "kept"), [(4_000.0, True), (10.0, False)])
def test_an_interrupted_attempt_gives_way_only_when_little_is_lost(
    seconds: float, kept: bool, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, original = tmp_path / "store", small_world.run

    def stop(context: object) -> object:
        if "/train." in str(context.directory):  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return original(context)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(small_world, "run", stop)
        with pytest.raises(KeyboardInterrupt):
            go(asked(), world, store)
    (store / f"{FRUIT}/train.partial/seconds").write_text(str(seconds))
    go(asked(learning_rate=3e-5), world, store)
    assert (f"{FRUIT}/train@learning_rate-3e-05" in stages(store)) is kept
    assert (store / f"{FRUIT}/train.partial").exists() is kept
    assert (Store(store).state(f"{FRUIT}/train") == "interrupted") is kept


def test_settings_that_are_run_at_the_same_time_all_get_done(world: Path, tmp_path: Path) -> None:
    """All processes plan before any of them has begun; where one has taken a place, another gives way."""
    store, running = tmp_path / "store", []
    for number, rate in enumerate((2e-5, 3e-5, 4e-5)):
        file = tmp_path / f"{number}.json"
        file.write_text(asked(learning_rate=rate).model_dump_json())
        command = [sys.executable, small_world.__file__, str(file), str(world), str(store), "0.05"]
        running.append(subprocess.Popen(command, stderr=subprocess.PIPE, env=dict(os.environ)))
    for process in running:
        assert process.wait(timeout=300) == 0, process.stderr and process.stderr.read().decode()
    found = [path for path in stages(store) if "/train" in path]
    assert len(found) == 3 and f"{FRUIT}/train" in found
    runs = [json.loads(path.read_text()) for path in (store / "runs").glob("*/run.json")]
    rates = {run["recipe"]["targets"][0]["training"]["learning_rate"] for run in runs}
    assert len(runs) == 3 and rates == {2e-5, 3e-5, 4e-5}


def test_a_place_that_is_taken_between_plan_and_start_is_given_up(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example, when a process waits for libraries to load while another one runs."""
    store, plan = tmp_path / "store", api.plan

    def slowly(one: Recipe, **places: Path) -> api.Planned:
        planned = plan(one, **places)
        monkeypatch.setattr(api, "plan", plan)
        go(asked(), world, store)
        return planned

    monkeypatch.setattr(api, "plan", slowly)
    run = go(asked(learning_rate=3e-5), world, store)
    assert f"{FRUIT}/train@learning_rate-3e-05" in stages(store)
    assert run.name.startswith("small@") and (store / "runs" / "small" / "run.json").is_file()


def test_nothing_goes_on_with_what_another_setting_left(world: Path, tmp_path: Path) -> None:
    """Stages wait if another setting has taken the place of one of their inputs since the plan was made."""
    planned = api.plan(asked(learning_rate=3e-5), data=world, store=tmp_path / "store")
    go(asked(), world, tmp_path / "store")
    worker = execute.Worker(planned, QUICK, Display())
    others = {stage.path for stage in planned.plan.stages if worker.is_displaced(stage)}
    after = [stage for stage in planned.plan.stages if {one.path for one in stage.inputs.values()} & others]
    assert others and after and not any(map(worker.is_ready, after))
