from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import small_world
import torch
from rich.console import Console
from small_world import recipe

from viaduct import api
from viaduct.errors import DataError, DeviceError, StoreError, TransientError, UsageError, device_watched
from viaduct.results.claim import stage_name
from viaduct.results.store import Store
from viaduct.runs import execute, host, planned
from viaduct.runs.execute import Options
from viaduct.runs.spec import Intermediate, Recipe, Target, Training
from viaduct.runs.stage import Context, Spent

QUICK = Options(device="cpu", threads=1, retry_seconds=0.0, poll_seconds=0.01)
SMALL = recipe(targets=(Target(task="fruit"),), seeds=(1,))
PROGRAM = Path(small_world.__file__)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)


plain = pytest.mark.usefixtures("no_report")


def go(asked: Recipe, data: Path, store: Path) -> Path:
    return api.run(asked, data=data, store=store, options=QUICK, console=Console(quiet=True), command="test").report


def finished(store: Path) -> dict[str, bytes]:
    """All files of finished stages except their costs."""
    files = (path for path in (store / "mini").rglob("*") if path.is_file())
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in files
        if path.name != "cost.json" and path.suffix != ".lock" and ".partial" not in str(path)
    }


def replace(monkeypatch: pytest.MonkeyPatch, function: Callable[[Context], Spent]) -> None:
    monkeypatch.setattr(small_world, "run", function)


def launch(asked: Recipe, data: Path, store: Path, pause: float, folder: Path) -> subprocess.Popen[bytes]:
    path = folder / "recipe.json"
    path.write_text(asked.model_dump_json(), encoding="utf-8")
    command = [sys.executable, str(PROGRAM), str(path), str(data), str(store), str(pause)]
    environment = {**os.environ, "SMALL_WORLD_LOG": str(folder / "log")}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def test_a_run_leaves_rows_costs_and_a_report(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    report = go(recipe(), world, store)
    assert report.is_file() and report.parent == store / "runs" / "small"
    rows = [json.loads(line) for line in (report.parent / "rows.jsonl").read_text().splitlines()]
    cells = {(row["arm"], row["task"], row["seed"], row["language"]) for row in rows}
    assert len(rows) == 2 * len(cells)  # two metrics each
    assert {cell[:3] for cell in cells} == {
        (arm, task, seed) for arm in ("none", "quiz") for task in ("fruit", "berry", "twins") for seed in (1, 2)
    } - {("none", "twins", 2)}
    assert {row["metric"] for row in rows if row["headline"]} == {"accuracy"}
    assert {row["selection"] for row in rows if row["task"] == "twins"} == {"untrained"}
    costs = [json.loads(line) for line in (report.parent / "costs.jsonl").read_text().splitlines()]
    assert len(costs) == len(list((store / "mini").rglob("stage.json")))
    shared = {cost["path"]: (cost["arm"], cost["task"]) for cost in costs}
    assert shared["mini/pretrain"] == ("", "")
    assert shared["mini/none/fruit/seed-1/train"] == ("none", "")
    arms = {cost["path"]: cost["arms"] for cost in costs}
    assert arms["mini/pretrain"] == ["none", "quiz"]
    assert arms["mini/quiz/intermediate-1-quiz/seed-1/train"] == arms["mini/quiz/twins/seed-1/score"] == ["quiz"]
    assert all(cost["machine"] for cost in costs)
    about = json.loads((report.parent / "about.json").read_text())
    assert about["encoder_details"]["width"] == "8"
    assert about["tasks"] == ["fruit", "berry", "twins"]


def test_versions_are_of_all_that_can_change_a_number() -> None:
    found = host.versions()
    assert {"viaduct", "python", "torch", "transformers", "tokenizers", "accelerate", "numpy", "scipy"} <= found.keys()
    for name in ("sacrebleu", "onnxruntime", "openvino"):
        assert (name in found) == (importlib.util.find_spec(name) is not None)


@plain
def test_a_gpu_that_is_lost_ends_the_run_with_one_message_and_the_stage_goes_on_later(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, store = small_world.run, tmp_path / "store"

    def lost(context: Context) -> Spent:
        if context.work.kind == "train":
            (context.scratch / "noted").write_text("half way", encoding="utf-8")
            raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later")
        return run(context)

    replace(monkeypatch, lost)
    said = r"^mini/none/.*train: the GPU stopped working \(CUDA error: unspecified launch failure\)\n.* fix: look at"
    with pytest.raises(DeviceError, match=said):
        go(SMALL, world, store)
    assert [path.read_text() for path in store.rglob("noted")] == ["half way"]
    assert not list(store.rglob("train/stage.json"))
    replace(monkeypatch, run)
    go(SMALL, world, store)
    assert not list(store.rglob("noted"))


@plain
def test_a_stage_whose_code_ends_the_program_is_one_message(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(context: Context) -> Spent:
        sys.exit(0)

    replace(monkeypatch, leave)
    with pytest.raises(UsageError, match=r"^mini/.* ends the program, by sys.exit\(0\)\n.* fix: "):
        go(SMALL, world, tmp_path / "store")


@pytest.mark.parametrize("full", [lambda: torch.empty(2**48), lambda: np.empty(2**48), lambda: [0] * 2**60])
def test_memory_that_runs_out_anywhere_in_a_stage_is_one_message(full: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match=r"^a stage: the memory is full \(.+\)\n.* fix: "), device_watched("a stage"):
        full()


@pytest.mark.parametrize(
    "said", ["CUDA error: device-side assert triggered", "mat1 and mat2 shapes cannot be multiplied"]
)
def test_other_errors_of_torch_are_faults_and_stay_as_they_are(said: str) -> None:
    with pytest.raises(RuntimeError, match=said), device_watched("a stage"):
        raise RuntimeError(said)


@plain
def test_what_is_done_is_not_done_again(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(SMALL, world, tmp_path / "store")
    before = finished(tmp_path / "store")

    def refuse(context: Context) -> Spent:
        raise AssertionError(f"{context.directory} was run again")

    replace(monkeypatch, refuse)
    go(SMALL, world, tmp_path / "store")
    assert finished(tmp_path / "store") == before


@plain
def test_a_longer_recipe_builds_on_a_shorter_one(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(recipe(intermediates=(Intermediate(name="none"),), seeds=(1,)), world, tmp_path / "store")
    original, ran = small_world.run, []

    def note(context: Context) -> Spent:
        folder = context.directory.parent
        ran.append(str(folder.with_name(stage_name(folder.name)).relative_to(tmp_path / "store")))
        return original(context)

    replace(monkeypatch, note)
    go(recipe(intermediates=(Intermediate(name="none"),), seeds=(1, 2)), world, tmp_path / "store")
    assert ran == [
        f"mini/none/{name}" for name in ("fruit/seed-2/train", "fruit/seed-2/predict", "berry/seed-2/predict")
    ]


@plain
def test_another_experiment_in_the_store_stops_the_run_before_it_starts(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    go(recipe(), world, store)
    before = finished(store)
    replace(monkeypatch, lambda context: pytest.fail("something was run"))
    other = recipe(targets=(Target(task="fruit", training=Training(epochs=1.0)), Target(task="twins")))
    with (world / "quiz" / "train-en.tsv").open("a") as file:
        file.write("99\tcontext 9 of train\twhich?\tcontext 9\n")
    for attempt in (lambda: go(other, world, store), lambda: api.plan(other, data=world, store=store)):
        with pytest.raises(StoreError) as error:
            attempt()
        message = str(error.value)
        assert "data.quiz train en: " in message and "work.training" not in message
        assert "mini/quiz/intermediate-1-quiz/seed-1/train" in message and "another --store" in message
    assert finished(store) == before


@plain
def test_transient_faults_are_tried_again_and_others_are_not(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = small_world.run
    faults: list[Exception] = [OSError(errno.ESTALE, "stale handle"), TransientError("a moment, please")]

    def stumble(context: Context) -> Spent:
        if faults:
            (context.directory / "half").write_text("half")
            raise faults.pop()
        return original(context)

    replace(monkeypatch, stumble)
    go(SMALL, world, tmp_path / "store")
    assert not faults and not list((tmp_path / "store").rglob("half"))

    calls: list[str] = []

    def break_down(context: Context) -> Spent:
        calls.append(context.work.kind)
        raise error_to_raise

    replace(monkeypatch, break_down)
    for error_to_raise, raised, times in (  # noqa: B007  `break_down` raises it
        (ValueError("a bug"), ValueError, 1),
        (PermissionError(errno.EACCES, "no"), StoreError, 1),
        (TransientError("still"), TransientError, 3),
    ):
        calls.clear()
        with pytest.raises(raised):
            go(SMALL, world, tmp_path / "other")
        assert len(calls) == times
        assert Store(tmp_path / "other").state("mini/pretrain") == "interrupted"


@plain
def test_a_full_disk_is_said_plainly(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(context: Context) -> Spent:
        raise OSError(errno.ENOSPC, "No space left on device")

    replace(monkeypatch, fill)
    with pytest.raises(StoreError, match="is full"):
        go(SMALL, world, tmp_path / "store")
    monkeypatch.setattr(planned, "free_bytes", lambda store: 1000)
    with pytest.raises(StoreError, match="need about"):
        go(SMALL, world, tmp_path / "store")


@plain
def test_a_stage_gets_only_the_rows_that_its_fingerprint_covers(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def peek(context: Context) -> Spent:
        if context.work.kind == "train":
            context.load("fruit", "test", "en")
        return original(context)

    original = small_world.run
    replace(monkeypatch, peek)
    with pytest.raises(AssertionError, match="not part of its fingerprint"):
        go(SMALL, world, tmp_path / "store")


def test_unknown_devices_are_refused() -> None:
    assert execute.resolve_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="unknown device"):
        execute.resolve_device("gpu")


@plain
def test_partial_runs_can_be_reported_and_looked_at(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = small_world.run

    def stop_at_quiz(context: Context) -> Spent:
        if "quiz" in str(context.directory):
            raise KeyboardInterrupt
        return original(context)

    replace(monkeypatch, stop_at_quiz)
    store = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        go(recipe(), world, store)
    states = {one.path: one.state for one in api.status("small", store=store)}
    assert states["mini/none/twins/score"] == "done"
    assert states["mini/quiz/intermediate-1-quiz/seed-1/train"] == "interrupted"
    assert states["mini/quiz/fruit/seed-1/train"] == "waiting"
    report = api.report(store / "runs" / "small")  # neither data nor recipe file is needed
    rows = [json.loads(line) for line in (report.parent / "rows.jsonl").read_text().splitlines()]
    assert {row["arm"] for row in rows} == {"none"}
    assert set(json.loads((report.parent / "about.json").read_text())["arms"]) == {"none", "quiz"}


@plain
def test_a_stage_that_another_process_has_is_waited_for_while_others_are_done(world: Path, tmp_path: Path) -> None:
    store, asked = tmp_path / "store", recipe(intermediates=(Intermediate(name="none"),), seeds=(1,))
    planned = api.plan(asked, data=world, store=store)
    taken = "mini/none/fruit/seed-1/train"
    identity = planned.identities[taken]
    record = {"fingerprint": identity.fingerprint, "identity": dict(identity.content), "path": taken}
    claim = Store(store).claim(taken, record)
    assert claim is not None
    text = io.StringIO()
    console = Console(file=text, force_terminal=False)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(api.run, asked, data=world, store=store, options=QUICK, console=console)
        try:
            while "waiting for another process" not in text.getvalue():
                assert not future.done(), future.result()
                time.sleep(0.01)
            states = {one.path: one.state for one in api.status("small", store=store)}
        finally:
            claim.release()  # otherwise the pool would wait forever
        future.result(timeout=60)
    assert (states[taken], states["mini/none/twins/score"]) == ("running", "done")
    assert f"which is working on {taken}" in text.getvalue()
    assert {one.state for one in api.status("small", store=store)} == {"done"}


@plain
def test_two_processes_share_a_store_and_the_work(world: Path, tmp_path: Path) -> None:
    asked = recipe(seeds=(1, 2))
    processes = [launch(asked, world, tmp_path / "store", 0.01, tmp_path) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    ran = (tmp_path / "log").read_text().split()
    assert (
        len(ran) // 2 == 1 + 2 + 4 + 8 + 3
    )  # pretraining, quiz, fruit trainings, predictions of fruit+berry, of twins
    go(asked, world, tmp_path / "alone")
    assert finished(tmp_path / "store") == finished(tmp_path / "alone")


@plain
def test_one_command_works_in_several_processes_and_leaves_none(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe(seeds=(1, 2))
    monkeypatch.setenv("SMALL_WORLD_PROCESSES", "3")
    process = launch(asked, world, tmp_path / "store", 0.05, tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()
    ran = (tmp_path / "log").read_text().split()
    workers = set(ran[::2])
    assert len(workers) == 3 and len(ran) // 2 == 18
    assert not [one for one in workers if Path(f"/proc/{one}").exists()]
    go(asked, world, tmp_path / "alone")
    assert finished(tmp_path / "store") == finished(tmp_path / "alone")


@plain
def test_killed_at_any_moment_the_finished_store_is_the_same(world: Path, tmp_path: Path) -> None:
    asked = recipe(seeds=(1,))
    go(asked, world, tmp_path / "alone")
    moments = random.Random(7)
    store, kills = tmp_path / "store", 0
    while True:
        process = launch(asked, world, store, 0.02, tmp_path)
        assert process.stderr is not None
        if kills < 4:
            process.stderr.readline()  # work has begun
            time.sleep(moments.uniform(0.0, 0.4))
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, errors = process.communicate(timeout=60)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors.decode()
    assert kills == 4
    assert finished(store) == finished(tmp_path / "alone")
    assert not list(store.rglob("*.partial"))


@plain
def test_a_stage_goes_on_with_the_threads_it_began_with(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, used = small_world.run, []

    def note(context: Context) -> Spent:
        used.append(context.threads)
        if len(used) == 1:
            raise KeyboardInterrupt
        return original(context)

    def attempt(found: int) -> None:
        monkeypatch.setattr("viaduct.models.threads.fastest", lambda most: min(most, found))
        options = Options(device="cpu", poll_seconds=0.01)
        api.run(SMALL, data=world, store=tmp_path / "store", options=options, console=Console(quiet=True), command="")

    replace(monkeypatch, note)
    monkeypatch.setattr("viaduct.runs.execute.usable_cores", lambda: 8)
    with pytest.raises(KeyboardInterrupt):
        attempt(found=3)
    attempt(found=2)  # as if other programs were running by now
    assert used[:2] == [3, 3] and set(used[2:]) == {2}


@plain
def test_threads_are_measured_within_the_cores_of_one_process_and_never_against_the_option(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, used, asked = small_world.run, set(), []

    def note(context: Context) -> Spent:
        used.add(context.threads)
        return original(context)

    replace(monkeypatch, note)
    monkeypatch.setattr("viaduct.runs.execute.usable_cores", lambda: 8)
    monkeypatch.setattr("viaduct.models.threads.fastest", lambda most: asked.append(most) or most)
    quiet = Console(quiet=True)
    api.run(
        SMALL, data=world, store=tmp_path / "a", options=Options(device="cpu", threads=5), console=quiet, command=""
    )
    assert used == {5} and asked == []
    one_of_two = Options(device="cpu", processes=2, poll_seconds=0.01)
    monkeypatch.setattr("viaduct.runs.processes.beside", lambda count, work: contextlib.nullcontext())
    api.run(SMALL, data=world, store=tmp_path / "b", options=one_of_two, console=quiet, command="")
    assert used == {5, 4} and asked == [4]  # once for all stages


@plain
def test_files_that_change_after_the_plan_are_not_taken_for_those_of_the_fingerprint(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = small_world.run

    def change(context: Context) -> Spent:
        if context.work.kind == "predict":
            for path in (world / "fruit").glob("test-*.tsv"):
                path.write_text(path.read_text(encoding="utf-8").replace("\n", " \n", 1), encoding="utf-8")
        return original(context)

    replace(monkeypatch, change)
    options = Options(device="cpu", threads=1, poll_seconds=0.01)
    with pytest.raises(DataError, match=r"fruit test .* have changed since the run was planned"):
        api.run(SMALL, data=world, store=tmp_path / "store", options=options, console=Console(quiet=True), command="")
