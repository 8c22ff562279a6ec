"""What a plan's stages would take: their tokens and steps, operations from the encoder's shape, hours from a table of
devices, room on the disk.

For ordering stages by size and telling hours from weeks before anything runs; never reported as a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from viaduct.runs.census import Census
from viaduct.runs.encoder import Shape, shape_of
from viaduct.runs.parts import RecipeParts
from viaduct.runs.plan import Plan
from viaduct.runs.sizes import Estimate, Sizes
from viaduct.runs.stage import Stage, kind_of

CHECKPOINT_COPIES = 5
"""Disk of one running training stage in sizes of the model: weights, best weights, two moments, one to spare."""


class Device(NamedTuple):
    """What is assumed of one device."""

    name: str
    flops: float
    """Operations per second of long matrix products."""
    step: float
    """Seconds that every step takes besides: an accelerator that is given 32 short rows at a time mostly waits."""
    basis: str

    def seconds(self, flops: float, steps: float) -> float:
        """What so many operations in so many steps take."""
        return flops / self.flops + steps * self.step


DEVICES = (
    Device("one CPU core", 1.0e11, 0.0, "100 GFLOP/s in float32: measured, 4 layers of 256 on an AVX-512 server core"),
    Device("one A100", 0.4 * 312e12, 0.02, "40 % of 312 TFLOP/s in bfloat16, and 20 ms a step: assumed, at best"),
    Device("one H100", 0.4 * 989e12, 0.02, "40 % of 989 TFLOP/s in bfloat16, and 20 ms a step: assumed, at best"),
)


def estimates(plan: Plan, census: Census) -> Mapping[str, Estimate]:
    """Stage path -> estimate."""
    shape = shape_of(plan.recipe.encoder, plan.recipe.revision)
    return {stage.path: _estimate(stage, plan, census, shape) for stage in plan.stages}


def _estimate(stage: Stage, plan: Plan, census: Census, shape: Shape | None) -> Estimate:
    """Of one stage, with the weight that it has in an encoder whose layers an earlier stage took away."""
    sizes = Sizes(plan.needs[stage.path], stage.work.declared, census, shape)
    whole = kind_of(stage.work.kind).forecast(stage.work, sizes)
    source = stage.inputs.get("encoder")
    while source is not None:
        layers = kind_of(source.work.kind).layers_left(source.work)
        if layers is not None and shape is not None:
            return replace(whole, weight=whole.weight * layers / shape.layers)
        source = source.inputs.get("encoder")
    return whole


def pace(estimates: Mapping[str, Estimate], seconds: Mapping[str, float]) -> float | None:
    """Seconds per unit of weight in the finished stages that use the encoder (path -> `seconds`); None without any."""
    paths = [path for path in seconds if estimates[path].tokens]
    weight = sum(estimates[path].weight for path in paths)
    return sum(seconds[path] for path in paths) / weight if weight else None


def disk_need(plan: Plan, waiting: Iterable[str]) -> int | None:
    """Bytes on disk that the stages in `waiting` need, about; None when the encoder's size is unknown."""
    weights = _encoder_bytes(plan.recipe)
    if weights is None:
        return None
    paths = set(waiting)
    models = sum(1 for stage in plan.stages if stage.path in paths and kind_of(stage.work.kind).leaves_encoder)
    return models * weights + (CHECKPOINT_COPIES * weights if models else 0)


def _encoder_bytes(recipe: RecipeParts) -> int | None:
    """In float32, as stages save it; of a folder whose sizes are not told, what its files hold."""
    shape = shape_of(recipe.encoder, recipe.revision)
    if shape is not None:
        return shape.num_bytes
    folder = Path(str(recipe.encoder)).expanduser()
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) or None
