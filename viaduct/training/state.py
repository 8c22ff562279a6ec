"""Where a training is, and what it leaves of it: checkpoints (model, optimiser and progress, complete or absent), and
the log of a finished one."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from viaduct.runs.stage import Spent


@dataclass
class TrainingState:
    """Where a training is: steps done, what it has seen, and the best checkpoint so far."""

    step: int = 0
    precision: str = ""
    """Of products, "fp32" or "bf16"; a training ends in the one that it began with."""
    tokens: int = 0
    slots: int = 0
    squares: int = 0
    """Sum of squared sequence lengths, for counting attention operations."""
    evaluations: list[dict[str, float]] = field(default_factory=list)
    """One {step, loss, score} per evaluation; loss is the mean training loss since the one before."""
    best_step: int = 0
    loss_sum: float = 0.0
    """Training loss since the last evaluation."""
    loss_steps: int = 0


def spent(state: TrainingState, flops: float, examples: int) -> Spent:
    """What a training used."""
    return Spent(state.tokens, 1 - state.tokens / state.slots, flops, examples, state.precision)


def write_log(directory: Path, state: TrainingState, **facts: Any) -> None:
    """training.json: what the training saw and how it was chosen; the same bytes for the same training."""
    log = {
        "steps": state.step,
        "best_step": state.best_step or state.step,
        "tokens": state.tokens,
        "padding_fraction": 1 - state.tokens / state.slots,
        "precision": state.precision,
        "evaluations": state.evaluations,
        **facts,
    }
    (directory / "training.json").write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's tensors by "<parameter>.<name>"."""
    return {
        f"{parameter}.{name}": tensor.contiguous()
        for parameter, values in optimizer.state_dict()["state"].items()
        for name, tensor in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put tensors of `flatten_optimizer` back."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        parameter, name = key.split(".", 1)
        state.setdefault(int(parameter), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def save_checkpoint(scratch: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    """Leave one complete checkpoint in `scratch`; the one before goes when this one is in place."""
    place = scratch / f"checkpoint-{state.step:08d}"
    unfinished = scratch / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    save_file(_weights(model), unfinished / "model.safetensors")
    save_file(flatten_optimizer(optimizer), unfinished / "optimizer.safetensors")
    (unfinished / "state.json").write_text(json.dumps(asdict(state)), encoding="utf-8")
    if place.exists():
        return
    os.replace(unfinished, place)  # noqa: PTH105  atomic: a checkpoint is complete or absent
    for older in checkpoints(scratch)[:-1]:
        shutil.rmtree(older)


def checkpoints(scratch: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(scratch.glob("checkpoint-*"))


def resume(scratch: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
    """The newest checkpoint's state, with model and optimiser set to it; a fresh TrainingState when there is none."""
    found = checkpoints(scratch)
    if not found:
        return TrainingState()
    model.load_state_dict({**model.state_dict(), **load_file(found[-1] / "model.safetensors")})
    restore_optimizer(optimizer, load_file(found[-1] / "optimizer.safetensors"))
    return TrainingState(**json.loads((found[-1] / "state.json").read_text(encoding="utf-8")))


def save_best(scratch: Path, model: nn.Module, step: int) -> None:
    """Keep these weights as the best so far."""
    scratch.mkdir(parents=True, exist_ok=True)
    unfinished = scratch / "unfinished-best.safetensors"
    save_file(_weights(model), unfinished)
    os.replace(unfinished, scratch / f"best-{step:08d}.safetensors")  # noqa: PTH105


def load_best(scratch: Path, model: nn.Module, step: int) -> None:
    """Set the model to the best weights, kept at this step."""
    model.load_state_dict({**model.state_dict(), **load_file(scratch / f"best-{step:08d}.safetensors")})


def forget_best(scratch: Path, *, keep: tuple[int, ...]) -> None:
    """Remove kept weights other than those of these steps."""
    wanted = {f"best-{step:08d}.safetensors" for step in keep}
    for path in scratch.glob("best-*.safetensors"):
        if path.name not in wanted:
            path.unlink()


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Each once, by its first name: T5's word embeddings have two."""
    every, once = (dict(model.named_parameters(remove_duplicate=once)).keys() for once in (False, True))
    return {name: one.detach().contiguous() for name, one in model.state_dict().items() if name not in every - once}
