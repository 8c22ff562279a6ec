"""Where a model comes from, read off the records of the stages that made it."""

from __future__ import annotations

import json
from pathlib import Path

from viaduct.inference.origin import origin
from viaduct.runs.spec import Captions, Replay, Training
from viaduct.runs.stage import JointWork, TrainWork


def leave(store: Path, path: str, work: JointWork | TrainWork, inputs: dict[str, str]) -> Path:
    """A finished stage's record."""
    folder = store / path
    folder.mkdir(parents=True)
    identity = {"kind": work.kind, "work": work.model_dump(mode="json"), "inputs": inputs, "encoder": None}
    record = {"path": path, "fingerprint": path, "identity": identity}
    (folder / "stage.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def test_a_model_after_a_joint_stage_has_a_history(tmp_path: Path) -> None:
    joint = JointWork(
        tasks=("mnli",), captions=Captions(card="coco"), replay=Replay(), training=Training(epochs=1.0), seed=2
    )
    stage = "m/caption/intermediate/seed-2/joint"
    leave(tmp_path, stage, joint, {})
    target = TrainWork(task="mnli", training=Training(), seed=2)
    folder = leave(tmp_path, "m/caption/xnli/seed-2/train", target, {"encoder": stage})
    found = origin(folder)
    assert [step.partition(",")[0] for step in found.steps] == [
        "trained on mnli + captions of coco + replayed text",
        "trained on mnli",
    ]
    assert found.task == "mnli" and found.name == "m/caption/xnli/seed-2/train"
