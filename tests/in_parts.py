"""Checks for every training whose batches are computed in parts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tiny
from torch import nn

from viaduct.memory import Fitting
from viaduct.runs.stage import Context
from viaduct.training import job, loop

PART = 24
"""Tokens per part, far fewer than per batch."""


def without_dropout(encoder: Path) -> Path:
    """Change the encoder's folder so that it is trained without dropout; returns the folder."""
    path = encoder / "config.json"
    path.write_text(re.sub(r'("\w+_dropout\w*": )[\d.]+', r"\g<1>0.0", path.read_text()))
    return encoder


def losses(made: Context) -> list[tuple[int, float, float | None]]:
    """(step, loss, dev score) of every point of the curve, without rounding."""
    told: list[tuple[int, float, float | None]] = []

    def track(step: int, values: Mapping[str, float]) -> None:
        told.append((step, values["loss"], values.get("dev_score")))

    tiny.run(replace(made, track=track))
    return told


def _doubled(head: nn.Module, origin: str) -> tuple[nn.Module, str]:
    return head.double(), origin


@contextmanager
def in_float64(*modules: ModuleType) -> Iterator[None]:
    """Trainings of these modules use float64 encoders, heads and gradients; curves still round losses to float32.

    Adam turns the last bits of small gradients into full-length steps: in float32, two orders of the same sum differ by
    more than 1e-6 after tens of steps at high learning rates."""
    build = loop.build_optimizer
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            load: Any = vars(module)["load_encoder"]
            patch.setattr(module, "load_encoder", lambda *given, load=load: load(*given).double())
            if load_head := vars(module).get("load_language_head"):
                patch.setattr(module, "load_language_head", lambda *given, load=load_head: _doubled(*load(*given)))
        patch.setattr(loop, "build_optimizer", lambda model, training: build(model.double(), training))
        yield


def assert_parts_have_the_same_losses(make: Callable[[str], Context]) -> None:
    """`make` maps a name to the context of a training without dropout."""
    counts: list[int] = []
    of_part: Any = job.of_part

    def counted(*given: Any) -> Any:
        counts.append(given[-1])
        return of_part(*given)

    whole = losses(make("whole"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "of_part", counted)
        parts = losses(replace(make("parts"), fitting=Fitting(micro_batch_tokens=PART)))
    assert max(counts) > 2
    assert [one[0] for one in parts] == [one[0] for one in whole]
    assert [one[1] for one in parts] == pytest.approx([one[1] for one in whole], rel=1e-6)
    assert [one[2] for one in parts] == [one[2] for one in whole]
