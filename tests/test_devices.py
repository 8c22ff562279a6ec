"""Everything computed on a device is computed on the requested one, as shown with a simulated device."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import joint_stages
import numpy as np
import pytest
import tiny
import torch
from rich.console import Console
from safetensors.torch import load_file
from simulated_device import CUDA, Simulated, simulated
from torch import nn
from whole_runs import EVERY_KIND, KINDS

from viaduct import api
from viaduct.miniature.world import write as miniature
from viaduct.runs.execute import Options
from viaduct.runs.spec import Retention, Training
from viaduct.runs.stage import Context
from viaduct.training.train import TrainWork


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulated]:
    with simulated(monkeypatch) as mode:
        yield mode


WRONG: dict[str, Callable[[torch.Tensor], object]] = {
    "a tensor that was made on the CPU": lambda there: there + torch.arange(3),
    "a mask on the CPU": lambda there: there.masked_fill(torch.tensor([True, False, True]), 0.0),
    "an array": lambda there: there.numpy(),
    "an array, by NumPy": lambda there: np.asarray(there),
    "a number that is there, into the CPU's tensor": lambda there: torch.zeros(3).add_(there.sum()),
    "the CPU's tensor by an index that is there": lambda there: torch.zeros(3)[there.argsort()],
    "a layer that was left behind": lambda there: nn.Linear(3, 2)(there),
    "a copy of a layer's weight": lambda there: torch.nn.functional.linear(there, torch.ones(2, 3)),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.usefixtures("device")
def test_the_simulated_device_refuses_what_a_real_one_refuses(wrong: Callable[[torch.Tensor], object]) -> None:
    with pytest.raises((RuntimeError, TypeError), match=r"same device|on the CPU|convert cuda|indices should be"):
        wrong(torch.ones(3, device="cuda"))


WAITS: dict[str, Callable[[torch.Tensor], object]] = {
    "item": lambda there: there.sum().item(),
    "a condition": lambda there: bool(there.sum() > 0),
    "a list": lambda there: there.tolist(),
    "a mask": lambda there: there[there > 0],
    "a copy back": lambda there: there.cpu(),
    "a copy of memory that is not pinned": lambda there: torch.ones(3).to(there.device, non_blocking=True),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_the_simulated_device_notes_what_a_real_one_is_waited_for(
    wait: Callable[[torch.Tensor], object], device: Simulated
) -> None:
    there = torch.arange(3.0).pin_memory().to("cuda", non_blocking=True)
    there = (there * 2 + torch.tensor(1.0)).reshape(3)[torch.arange(3, device="cuda")]
    assert device.waits == [] and there.device == CUDA and there.is_cuda
    wait(there)
    assert len(device.waits) == 1


def test_the_simulated_device_follows_modules_gradients_and_optimisers(device: Simulated) -> None:
    layer = nn.Linear(3, 2).to("cuda")
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    layer(torch.ones(4, 3, device="cuda")).sum().backward()
    gradient, state = layer.weight.grad, optimizer.state
    optimizer.step()
    assert gradient is not None and gradient.device == CUDA
    assert all(tensor.device == CUDA for one in state.values() for tensor in one.values())
    assert layer.cpu().weight.device.type == "cpu" and device.waits


def training(kind: str, folder: Path, encoder: Path, **changes: object) -> Context:
    """A short training of this kind of row, on the device."""
    card = tiny.CARDS[kind]
    made = Training(learning_rate=1e-3, max_steps=6, batch_tokens=60, max_length=64, evaluations=1, dev_rows=4)
    changes = {"stride": 8, **changes}
    work = TrainWork(task=card.name, training=made.model_copy(update=changes), seed=1)
    rows = tiny.rows(kind, 16)
    parts = {(card.name, split, "en"): rows for split in ("train", "dev")}
    return replace(tiny.context(work, folder, parts, encoder=encoder), device="cuda")


@pytest.mark.parametrize("kind", list(tiny.CARDS))
def test_a_training_on_a_device_is_that_on_the_cpu_and_waits_for_no_step(
    kind: str, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viaduct.models.linear._AVAILABLE", False)  # used only on the CPU, and rounds differently
    monkeypatch.setattr("viaduct.models.dropout._applies", lambda _: False)
    plain = replace(training(kind, tmp_path / "plain", tiny_encoder), device="cpu")
    tiny.run(plain)
    monkeypatch.setattr("viaduct.training.state.POINTS", 1)
    waits: list[int] = []
    with simulated(monkeypatch) as device:
        made = training(kind, tmp_path / "there", tiny_encoder)
        tiny.run(replace(made, progress=lambda *_: waits.append(len(device.waits))))
    assert device.calls > 100
    logs = [json.loads((one.directory / "training.json").read_text()) for one in (plain, made)]
    losses = [log["evaluations"][-1]["loss"] for log in logs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert max(abs(one - other) for one, other in zip(*map(weights, (plain, made)), strict=True)) < 1e-5
    steps = [later - before for before, later in pairwise(waits[1:-1])]
    assert len(steps) == 4 and set(steps) == {0}, device.waits[waits[1] : waits[-2]]


def weights(context: Context) -> list[float]:
    files = sorted(context.directory.rglob("*.safetensors"))
    assert len(files) == 2  # the encoder and the head
    return torch.cat([tensor.flatten() for file in files for tensor in load_file(file).values()]).tolist()


def test_a_joint_stage_with_replayed_text_waits_for_no_step(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viaduct.training.state.POINTS", 1)
    training = joint_stages.TRAINING.model_copy(update={"evaluations": 1})
    make = joint_stages.contexts(tmp_path, tiny_tokenizer)
    asked = make(
        "joint", tasks=joint_stages.BOTH, training=training, retention=Retention(kl=0.1), **joint_stages.REPLAYED
    )
    waits: list[int] = []
    with simulated(monkeypatch) as device:
        tiny.run(replace(asked, device="cuda", progress=lambda *_: waits.append(len(device.waits))))
    inside = waits[2:-2]  # without the notes on reading, on losses before and on losses after
    steps = [later - before for before, later in pairwise(inside)]
    assert len(steps) == 4 and set(steps) == {0}, device.waits[inside[0] : inside[-1]]


def test_a_layer_that_stays_on_the_cpu_stops_a_training(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viaduct.heads.pair.moved", lambda tensor, _: tensor)
    with simulated(monkeypatch), pytest.raises(RuntimeError, match="same device"):
        tiny.run(training("pair", tmp_path, tiny_encoder))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_every_kind_of_stage_stays_on_its_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    miniature(tmp_path / "data", seed=1, scale=0.02)
    (tmp_path / "every_kind.py").write_text(
        EVERY_KIND.replace("STEPS", "2").replace("written=4", "written=1"), encoding="utf-8"
    )
    options = Options(device="cuda", threads=1)
    with simulated(monkeypatch) as device:
        api.run(
            tmp_path / "every_kind.py",
            data=tmp_path / "data",
            store=tmp_path / "store",
            options=options,
            console=Console(quiet=True),
            allow_overlap=True,
        )
    costs = [json.loads(path.read_text()) for path in (tmp_path / "store").rglob("cost.json")]
    devices = {kind: {cost["device"] for cost in costs if cost["stage"] == kind} for kind in KINDS}
    on_cpu = {"score", "compress", "measure"}
    assert {kind for kind, found in devices.items() if "cuda" in found} == KINDS - on_cpu and device.calls > 20_000
    assert {cost["machine"] for cost in costs if cost["device"] == "cuda"} == {"a simulated device"}
