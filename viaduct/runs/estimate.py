"""A rough forecast of what stages cost: tokens from numbers of rows and characters, before anything is tokenised.

Good for ordering stages by size and for telling minutes from days; never reported as a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from viaduct.runs.census import Census
from viaduct.runs.grid import Plan
from viaduct.runs.rows import WHOLE, Need, source_of, substitution_for
from viaduct.runs.spec import Pretrain, Recipe, Substitution, Training
from viaduct.runs.stage import JointWork, PredictWork, PretrainWork, Stage, TrainWork

CHARACTERS_PER_TOKEN = 4.0
"""Of Latin-script text in a large multilingual vocabulary; fewer in Chinese and Japanese."""
CHECKPOINT_COPIES = 5
"""Disk of one running training stage in sizes of the model: weights, best weights, two moments, one to spare."""
MODELS = ("pretrain", "train", "joint")
"""Kinds of stages that leave an encoder behind."""
BACKWARD = 2.0
"""Cost of a backward pass in forward passes."""


@dataclass(frozen=True)
class Estimate:
    """Rough tokens through the encoder, and their weight in forward passes (a trained token counts three times)."""

    tokens: float
    weight: float


def estimates(plan: Plan, census: Census) -> Mapping[str, Estimate]:
    """Stage path -> estimate."""
    return {stage.path: _estimate(stage, plan, census) for stage in plan.stages}


def pace(plan: Plan, estimates: Mapping[str, Estimate], seconds: Mapping[str, float]) -> float | None:
    """Seconds per unit of weight in the finished stages that use the encoder (path -> `seconds`); None without any."""
    paths = [stage.path for stage in plan.stages if stage.path in seconds and stage.work.kind != "score"]
    weight = sum(estimates[path].weight for path in paths)
    return sum(seconds[path] for path in paths) / weight if weight else None


def disk_need(plan: Plan, waiting: Iterable[str]) -> int | None:
    """Bytes on disk that the stages in `waiting` need, about; None when the encoder's size is unknown."""
    weights = _encoder_bytes(plan.recipe)
    if weights is None:
        return None
    paths = set(waiting)
    models = sum(
        1 for stage in plan.stages if stage.path in paths and stage.work.kind in ("pretrain", "train", "joint")
    )
    return models * weights + (CHECKPOINT_COPIES * weights if models else 0)


def _encoder_bytes(recipe: Recipe) -> int | None:
    if isinstance(recipe.encoder, Pretrain):
        shape = recipe.encoder.architecture
        layer = 4 * shape.hidden**2 + 2 * shape.hidden * shape.feed_forward
        return 4 * ((shape.vocabulary + shape.max_length) * shape.hidden + shape.layers * layer)
    folder = Path(recipe.encoder).expanduser()
    sizes = [path.stat().st_size for path in folder.glob("*.safetensors")] if folder.is_dir() else []
    return sum(sizes) or None


def _estimate(stage: Stage, plan: Plan, census: Census) -> Estimate:
    work = stage.work
    needs = plan.needs[stage.path]
    if isinstance(work, PretrainWork):
        rows, tokens = _size(needs, census, (), work.pretrain.training.max_length)
        trained = _trained(tokens, rows, work.pretrain.training)
        return Estimate(trained, trained * (1 + BACKWARD))
    rows, tokens = _size([need for need in needs if need[1] != "dev"], census, work.substitutions, None)
    if isinstance(work, JointWork):
        trained = _trained(tokens, rows, work.training)
        if work.replay is not None:
            trained += trained / work.training.batch_tokens * work.replay.batch_tokens
        return Estimate(trained, trained * (1 + BACKWARD))
    if isinstance(work, TrainWork):
        _, tokens = _size(needs[:1], census, work.substitutions, work.training.max_length)
        trained = _trained(tokens, rows, work.training)
        dev_rows, dev_tokens = _size(needs[1:], census, work.substitutions, work.training.max_length)
        if work.training.dev_rows is not None and dev_rows > work.training.dev_rows:
            dev_tokens *= work.training.dev_rows / dev_rows
        dev = dev_tokens * work.training.evaluations
        return Estimate(trained + dev, trained * (1 + BACKWARD) + dev)
    if isinstance(work, PredictWork):
        _, tokens = _size(needs, census, work.substitutions, None)
        return Estimate(tokens, tokens)
    return Estimate(0.0, tokens * 0.01)


def _size(
    needs: Iterable[Need],
    census: Census,
    substitutions: tuple[Substitution, ...],
    cap: int | None,
) -> tuple[int, float]:
    rows, tokens = 0, 0.0
    for task, split, language in needs:
        count = census.count(*source_of(task, split, substitutions), language)
        substitution = substitution_for(task, split, substitutions)
        low, high = WHOLE if substitution is None else substitution.part
        found = count.characters / CHARACTERS_PER_TOKEN
        rows += round(count.found * (high - low))
        tokens += (high - low) * (found if cap is None else min(found, float(cap * count.found)))
    return rows, tokens


def _trained(tokens: float, rows: int, training: Training) -> float:
    share = 1.0 if training.train_rows is None or rows == 0 else min(1.0, training.train_rows / rows)
    wanted = tokens * share * training.epochs
    return wanted if training.max_steps is None else min(wanted, float(training.max_steps * training.batch_tokens))
