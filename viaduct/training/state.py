"""The state of a training and the files it writes: checkpoints (model, optimiser and progress, complete or absent, with
checksums; the previous one is kept in case the newest is damaged), and the log of a finished training."""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from viaduct.encode.batch import BatchSize
from viaduct.errors import StoreError
from viaduct.results.checksums import damaged, flush, open_to_others, seal
from viaduct.runs.stage import Spent
from viaduct.tasks.hashes import content_of, file_sha256, state_of

_LOG = logging.getLogger(__name__)


POINTS = 100
"""Number of points on a training's curve, besides those of its evaluations."""


@dataclass
class SincePoint:
    """Sums since the last point of the curve."""

    loss: float = 0.0
    steps: float = 0.0
    """Steps counted by weight (see `TrainingJob.weighed`), so that the mean is one over units."""
    tokens: int = 0
    seconds: float = 0.0
    learning_rate: float = 0.0
    """Learning rate of the last step."""

    def add(self, loss: float, weight: float, tokens: int, seconds: float, learning_rate: float) -> None:
        """Add a step."""
        self.loss += loss
        self.steps += weight
        self.tokens += tokens
        self.seconds += seconds
        self.learning_rate = learning_rate


@dataclass
class TrainingState:
    """Progress of a training: steps done, what it has seen, and the best checkpoint so far."""

    step: int = 0
    precision: str = ""
    """Precision of products: "fp32", "bf16" or "fp16"; a training ends in the one that it started with."""
    scale: float = 2.0**16
    """Factor by which losses are multiplied before their gradients are computed in float16."""
    scaled_at: int = 0
    """The step since which this `scale` is used."""
    made_again: int = 0
    """Number of steps that were not finite in less than float32, and were repeated in float32."""
    tokens: int = 0
    slots: int = 0
    squares: int = 0
    """Sum of squared sequence lengths, for counting attention operations."""
    evaluations: list[dict[str, float]] = field(default_factory=list)
    """One {step, loss, score} per evaluation; loss is the mean training loss since the previous one."""
    best_step: int = 0
    best_sha256: str = ""
    """Digest of the file of the best weights; "" if there is none, or it predates this field."""
    loss_sum: float = 0.0
    """Training loss since the last evaluation."""
    loss_steps: float = 0.0
    """Steps counted by weight, as in `SincePoint`."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """Points {step, loss, learning_rate, tokens} with score at evaluations; loss: the mean since the previous point."""
    speed: list[int] = field(default_factory=list, compare=False)
    """Tokens per second between each point and the previous one."""
    micro_batch_tokens: int | None = field(default=None, compare=False)
    """Set if memory ran out: batches are computed in parts of this many tokens, which fit."""
    since_point: SincePoint = field(default_factory=SincePoint, compare=False)

    def count(self, size: BatchSize, loss: float, weight: float, seconds: float, learning_rate: float) -> None:
        """Add what a step has seen, and its loss."""
        self.tokens += size.tokens
        self.slots += size.slots
        self.squares += size.squares
        self.loss_sum += loss
        self.loss_steps += weight
        self.since_point.add(loss, weight, size.tokens, seconds, learning_rate)

    def is_point(self, steps: int) -> bool:
        """Whether a hundredth of the steps ends with this one."""
        return self.step * POINTS // steps > (self.step - 1) * POINTS // steps

    def new_point(self, steps: int) -> dict[str, float]:
        """Add a point to the curve, after each hundredth of the steps and after evaluations; returns its values for
        trackers, {} if there is no new point."""
        since, last = self.since_point, self.evaluations[-1] if self.evaluations else {}
        is_evaluated = last.get("step") == self.step
        is_due = is_evaluated or self.is_point(steps)
        if not is_due or not since.steps:  # no steps: it was stopped right after the point
            return {}
        told = {"loss": since.loss / since.steps, "learning_rate": since.learning_rate}
        point = {"step": self.step, **{name: float(f"{value:.6g}") for name, value in told.items()}}
        point["tokens"] = self.tokens
        if is_evaluated and "score" in last:
            point["score"] = told["dev_score"] = last["score"]
        self.curve.append(point)
        self.speed.append(round(since.tokens / max(since.seconds, 1e-9)))
        self.since_point = SincePoint()
        return {**told, "tokens_per_second": self.speed[-1]}


def spent(state: TrainingState, flops: float, examples: int) -> Spent:
    """The resources that a training used."""
    padding = 1 - state.tokens / state.slots
    return Spent(state.tokens, padding, flops, examples, state.precision, tuple(state.speed))


def write_log(directory: Path, state: TrainingState, **facts: Any) -> None:
    """Write training.json (what the training saw and how it was chosen) and curve.json (one list per value of the
    points). The same training gives the same bytes."""
    log = {
        "steps": state.step,
        "best_step": state.best_step or state.step,
        "tokens": state.tokens,
        "padding_fraction": 1 - state.tokens / state.slots,
        "precision": state.precision,
        **({"steps_again_in_fp32": state.made_again} if state.made_again else {}),
        "evaluations": state.evaluations,
        **facts,
    }
    (directory / "training.json").write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
    names = ("step", "loss", "learning_rate", "tokens", "score")
    curve = {name: [point.get(name) for point in state.curve] for name in names}
    (directory / "curve.json").write_text(json.dumps(curve) + "\n", encoding="utf-8")


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's tensors by "<parameter>.<name>"."""
    return {
        f"{parameter}.{name}": tensor.contiguous()
        for parameter, values in optimizer.state_dict()["state"].items()
        for name, tensor in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Load the tensors of `flatten_optimizer` back into the optimiser."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        parameter, name = key.split(".", 1)
        state.setdefault(int(parameter), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def save_checkpoint(scratch: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    """Write a complete checkpoint to `scratch`, next to the previous one; delete best weights that neither needs."""
    place = scratch / f"checkpoint-{state.step:08d}"
    unfinished = scratch / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for older in checkpoints(scratch)[:-1]:
        shutil.rmtree(older)
    save_file(_weights(model), unfinished / "model.safetensors")
    save_file(flatten_optimizer(optimizer), unfinished / "optimizer.safetensors")
    (unfinished / "state.json").write_text(json.dumps(asdict(state)), encoding="utf-8")
    if place.exists():
        return
    seal(unfinished)
    os.replace(unfinished, place)  # noqa: PTH105  atomic: a checkpoint is complete or absent
    flush(scratch)
    needed = {_best(scratch, _read_state(one).best_step) for one in checkpoints(scratch)}
    for path in {*scratch.glob("best-*.safetensors")} - needed:
        path.unlink()


def checkpoints(scratch: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(scratch.glob("checkpoint-*"))


def resume(scratch: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
    """The newest checkpoint's state, with model and optimiser set to it; a fresh TrainingState when there is none.

    A damaged checkpoint is removed with a warning, and the previous one is used.
    """
    for place in reversed(checkpoints(scratch)):
        if not damaged(place) and _has_best(scratch, state := _read_state(place)):
            model.load_state_dict({**model.state_dict(), **load_file(place / "model.safetensors")})
            restore_optimizer(optimizer, load_file(place / "optimizer.safetensors"))
            return state
        _LOG.warning("%s is damaged and removed: training resumes from an older one, or starts again", place)
        shutil.rmtree(place)
    return TrainingState()


def _read_state(place: Path) -> TrainingState:
    found = json.loads((place / "state.json").read_text(encoding="utf-8"))
    return TrainingState(**{**found, "since_point": SincePoint(**found.get("since_point", {}))})


def save_best(scratch: Path, model: nn.Module, state: TrainingState) -> None:
    """Keep the current weights as the best so far."""
    scratch.mkdir(parents=True, exist_ok=True)
    unfinished = scratch / "unfinished-best.safetensors"
    save_file(_weights(model), unfinished)
    open_to_others(unfinished)
    flush(unfinished)
    state.best_step, state.best_sha256 = state.step, file_sha256(unfinished)
    os.replace(unfinished, _best(scratch, state.step))  # noqa: PTH105


def load_best(scratch: Path, model: nn.Module, state: TrainingState) -> None:
    """Set the model to the best weights. Raises StoreError if they are damaged."""
    path = _best(scratch, state.best_step)
    if not _has_best(scratch, state):
        raise StoreError(f"{path} is damaged", fix="run again, which resumes from an earlier checkpoint")
    model.load_state_dict({**model.state_dict(), **load_file(path)})


def _best(scratch: Path, step: int) -> Path:
    return scratch / f"best-{step:08d}.safetensors"


def _has_best(scratch: Path, state: TrainingState) -> bool:
    """Whether the best weights, if there are any, are as they were written."""
    found = content_of(state_of(_best(scratch, state.best_step)))
    return not state.best_sha256 or found == state.best_sha256


def _weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Each weight once, by its first name: T5's word embeddings have two."""
    every, once = (dict(model.named_parameters(remove_duplicate=once)).keys() for once in (False, True))
    return {name: one.detach().contiguous() for name, one in model.state_dict().items() if name not in every - once}
