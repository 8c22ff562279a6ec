"""Trainings of a few steps of a tiny network, for tests of the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.runs.spec import Training
from viaduct.training.job import TrainingJob

STEPS = 12


class StoppedError(Exception):
    """Stand-in for a process that dies."""


def network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(24, 8), nn.Dropout(0.4), nn.Linear(8, 1))


def batch_at(step: int) -> Batch:
    ids_BL = torch.from_numpy(np.random.default_rng(step).integers(0, 20, (4, 3)))
    return Batch(ids_BL, None, None, np.arange(4), 12)


def loss_of(model: nn.Module, batch: Batch) -> torch.Tensor:
    return (model(batch.ids_BL)[:, 0] - batch.ids_BL.sum(dim=1) / 20).pow(2).mean()


def job(scratch: Path, **changes: Any) -> TrainingJob:
    made = TrainingJob(
        model=network(),
        steps=STEPS,
        batch_at=batch_at,
        loss=loss_of,
        evaluate=None,
        training=Training(learning_rate=0.05, weight_decay=0.1, evaluations=4, clip_norm=0.5),
        seed=3,
        device=torch.device("cpu"),
        scratch=scratch,
        checkpoint_seconds=0.0,
        progress=lambda *_: None,
    )
    return replace(made, **changes)


def stop_after(step: int) -> Callable[[float, float, str], None]:
    def progress(done: float, _total: float, _note: str) -> None:
        if done >= step:
            raise StoppedError

    return progress


def scripted(scores: Mapping[int, float], **changes: Any) -> dict[str, Any]:
    """Changes to a job that make the dev score after step n scores[n]."""
    seen = [0]

    def follow(step: int) -> Batch:
        seen[0] = step + 1
        return batch_at(step)

    return {"batch_at": follow, "evaluate": lambda _: scores[seen[0]], **changes}


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)
