"""Trackers: their names, what a whole run sends to TensorBoard, and what happens when one fails."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import programs
import pytest
import tiny
from accelerate import tracking
from whole_runs import TINY, write_data

from viaduct.errors import UsageError
from viaduct.runs.stage import Stage
from viaduct.training.tracking import TRACKERS, Trackers, chosen
from viaduct.training.train import TrainWork

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="TensorBoard is not installed (viaduct-nlp[track])"
)


def told(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Name -> (step, value) of everything in the event files of a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_the_trackers_are_those_that_accelerate_knows() -> None:
    assert set(TRACKERS) == set(tracking.LOGGER_TYPE_TO_CLASS)


def test_an_unknown_tracker_is_told_before_anything_begins(tmp_path: Path) -> None:
    done = programs.viaduct("run", "demo", "--store", str(tmp_path / "store"), "--track", "tensorbord")
    assert done.status == 2 and "unknown tracker 'tensorbord'. Did you mean 'tensorboard'?" in done.errors
    assert "use one of: aim, clearml" in done.errors and not (tmp_path / "store").exists()


def test_a_tracker_that_is_not_installed_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, package in (("tensorboard", "'viaduct-nlp\\[track]'"), ("comet_ml", "comet_ml")):
        with pytest.raises(UsageError, match=rf"--track {name}: its package is not installed\n.*pip install {package}"):
            chosen([name])
    monkeypatch.undo()
    (tmp_path / "wandb").mkdir()  # W&B leaves one where it was used from another environment
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(UsageError, match="pip install wandb"):
        chosen(["wandb"])


@needs_tensorboard
def test_several_may_be_given_in_one_and_each_counts_once() -> None:
    assert chosen(["tensorboard, tensorboard", "tensorboard"]) == ("tensorboard",) and chosen([]) == ()


@needs_tensorboard
def test_tensorboard_is_told_the_curve_of_every_training_of_a_run_by_two_processes(
    preloaded: Any, tmp_path: Path
) -> None:
    write_data(tmp_path / "data")
    (tmp_path / "tiny.py").write_text(TINY.replace("STEPS", "4").replace("epochs=2.0", "epochs=0.2"), encoding="utf-8")
    command = ["run", tmp_path / "tiny.py", "--device", "cpu", "--threads", "1", "--allow-overlap"]
    command += ["--data", tmp_path / "data", "--store", tmp_path / "store", "--processes", "2"]
    log = tmp_path / "log"
    status = preloaded.viaduct([*command, "--track", "tensorboard"], log).wait(timeout=300)
    assert status == 0, log.read_text(encoding="utf-8")
    store, found = tmp_path / "store", tmp_path / "store" / "runs" / "tiny" / "tracking"
    trained = {path.parent.relative_to(store).as_posix() for path in store.rglob("curve.json")}
    assert {path.name.partition(" (")[2].rstrip(")") for path in found.iterdir()} == {
        path.replace("/", " ") for path in trained
    }
    for path in trained:
        (folder,) = found.glob(f"* ({path.replace('/', ' ')})")
        label = "pretrain mini in de en th" if path == "mini/pretrain" else "train mnli"
        assert folder.name.startswith(f"{label}, seed 1 (")
        curve, values = json.loads((store / path / "curve.json").read_text()), told(folder)
        for name in ("loss", "learning_rate"):
            assert values[name] == [
                (step, pytest.approx(value, rel=1e-4)) for step, value in zip(curve["step"], curve[name], strict=True)
            ]
        scores = [
            (step, pytest.approx(one))
            for step, one in zip(curve["step"], curve["score"], strict=True)
            if one is not None
        ]
        assert values.get("dev_score", []) == scores and bool(scores) == (path != "mini/pretrain")
        speed = json.loads((store / path / "cost.json").read_text())["speed"]
        assert [round(value) for _, value in values["tokens_per_second"]] == speed


class Broken(tracking.GeneralTracker):
    """A tracker whose server is lost after the first values."""

    name = "wandb"
    requires_logging_directory = False
    tracker = None

    def __init__(self, project: str, **named: str) -> None:
        super().__init__()
        self.named, self.values = (project, named), []

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        if self.values:
            raise ConnectionError("no route to host")
        self.values.append((step, values))

    def finish(self) -> None:
        raise ConnectionError("no route to host")


@needs_tensorboard
def test_a_tracker_that_fails_is_warned_of_once_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Broken] = []

    def make(project: str, **named: str) -> Broken:
        made.append(Broken(project, **named))
        return made[-1]

    monkeypatch.setattr(make, "requires_logging_directory", False, raising=False)
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", make)
    monkeypatch.setattr("viaduct.training.tracking.chosen", tuple)  # W&B need not be installed
    trackers = Trackers(["wandb", "tensorboard"], tmp_path, "my run")
    work = TrainWork(task="xnli", training=tiny.training(), seed=1)
    for seed in (1, 2):
        with trackers.stage(
            Stage(f"a/b/seed-{seed}/train", work), seed, _folder(tmp_path / f"scratch-{seed}")
        ) as track:
            for step in (1, 2, 3):
                track(step, {"loss": 1 / step})
    names = [f"train xnli, seed {seed} (a b seed-{seed} train)" for seed in (1, 2)]
    assert [one.named for one in made] == [("my run", {"name": names[0]})] and made[0].values == [(1, {"loss": 1.0})]
    assert [record.getMessage() for record in caplog.records if "--track" in record.getMessage()] == [
        "--track wandb failed, and the run continues without it: no route to host"
    ]
    for name in names:
        assert [step for step, _ in told(tmp_path / "runs" / "my run" / "tracking" / name)["loss"]] == [1, 2, 3]


@needs_tensorboard
def test_a_training_that_goes_on_from_a_checkpoint_tells_no_point_twice(tmp_path: Path) -> None:
    trackers, scratch = Trackers(["tensorboard"], tmp_path, "r"), _folder(tmp_path / "scratch")
    stage = Stage("a/seed-1/train", TrainWork(task="xnli", training=tiny.training(), seed=1))
    for steps in ((1, 2, 3), (2, 3, 4, 5)):  # killed after step 3, with a checkpoint of step 1
        with trackers.stage(stage, 1, scratch) as track:
            for step in steps:
                track(step, {"loss": 1 / step})
    (found,) = (tmp_path / "runs" / "r" / "tracking").iterdir()
    assert [step for step, _ in told(found)["loss"]] == [1, 2, 3, 4, 5]


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
