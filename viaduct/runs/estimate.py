"""A rough forecast of what stages cost: tokens from numbers of rows and characters, before anything is tokenised.

Good for ordering stages by size and for telling minutes from days; never reported as a measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from viaduct.runs.census import Census
from viaduct.runs.forecast import Shape, shape_of
from viaduct.runs.grid import Plan
from viaduct.runs.rows import WHOLE, Need, source_of, substitution_for
from viaduct.runs.spec import Recipe, Substitution, Training
from viaduct.runs.stage import (
    CompressWork,
    DistilWork,
    JointWork,
    MeasureWork,
    PredictWork,
    PretrainWork,
    Stage,
    TrainWork,
)
from viaduct.tasks.registry import task as card_of

CHARACTERS_PER_TOKEN = 4.0
"""Of Latin-script text in a large multilingual vocabulary; fewer in Chinese and Japanese."""
CHECKPOINT_COPIES = 5
"""Disk of one running training stage in sizes of the model: weights, best weights, two moments, one to spare."""
MODELS = ("pretrain", "train", "joint", "distil", "compress")
"""Kinds of stages that leave an encoder behind."""
PREDICTED_TOKENS = 8_192
"""Of a batch that is only predicted, about."""
MEASURED_PASSES = 6
"""How often a profile runs its rows: once alone, and in batches of five sizes."""
ROUND_PASSES = 6
"""How often a paired round runs its rows: three times by either model."""
BACKWARD = 2.0
"""Cost of a backward pass in forward passes."""
TOKENS_PER_ROW = {
    "pair": 45,
    "choice": 250,
    "tagged": 30,
    "span": 200,
    "retrieval": 20,
    "mining": 30,
    "text": 30,
    "parallel": 60,
    "captioned": 60,
}
"""Of rows that cannot be read because their files are not there, in XLM-R's vocabulary, about; choices all together."""


@dataclass(frozen=True)
class Estimate:
    """Rough tokens through the encoder, and their weight in forward passes (a trained token counts three times, one
    that is guessed among the whole vocabulary more)."""

    tokens: float
    weight: float
    steps: float = 0.0
    """Batches that go through the encoder, each in its turn."""


def estimates(plan: Plan, census: Census) -> Mapping[str, Estimate]:
    """Stage path -> estimate; where files are not there, from the published numbers of rows and a usual length."""
    shape = shape_of(plan.recipe.encoder, plan.recipe.revision)
    return {stage.path: _scaled(_estimate(stage, plan, census, shape), stage, shape) for stage in plan.stages}


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
    models = sum(1 for stage in plan.stages if stage.path in paths and stage.work.kind in MODELS)
    return models * weights + (CHECKPOINT_COPIES * weights if models else 0)


def _encoder_bytes(recipe: Recipe) -> int | None:
    """In float32, as stages save it; of a folder whose sizes are not told, what its files hold."""
    shape = shape_of(recipe.encoder, recipe.revision)
    if shape is not None:
        return shape.num_bytes
    folder = Path(str(recipe.encoder)).expanduser()
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) or None


def _scaled(whole: Estimate, stage: Stage, shape: Shape | None) -> Estimate:
    """The same with the weight that it has in an encoder whose layers an earlier stage took away."""
    source = stage.inputs.get("encoder")
    while source is not None:
        layers = source.work.distil.layers if isinstance(source.work, DistilWork) else None
        layers = source.work.layers if isinstance(source.work, CompressWork) else layers
        if layers is not None and shape is not None:
            return replace(whole, weight=whole.weight * layers / shape.layers)
        source = source.inputs.get("encoder")
    return whole


def _estimate(stage: Stage, plan: Plan, census: Census, shape: Shape | None) -> Estimate:
    work = stage.work
    needs = plan.needs[stage.path]
    if isinstance(work, PretrainWork):
        rows, tokens = _size(needs, census, (), work.pretrain.training.max_length)
        trained = _trained(tokens, rows, work.pretrain.training)
        weight = trained * (1 + BACKWARD) * _guessing(work.pretrain.mask_fraction, shape)
        return Estimate(trained, weight, trained / work.pretrain.training.batch_tokens)
    if isinstance(work, JointWork):
        return _joint(work, needs, census, shape)
    if isinstance(work, DistilWork):
        return _distil(work, needs, census, shape)
    rows, tokens = _size([need for need in needs if need[1] != "dev"], census, work.substitutions, None)
    if isinstance(work, TrainWork):
        _, tokens = _size(needs[:1], census, work.substitutions, work.training.max_length)
        trained = _trained(tokens, rows, work.training)
        dev_rows, dev_tokens = _size(needs[1:], census, work.substitutions, work.training.max_length)
        if work.training.dev_rows is not None and dev_rows > work.training.dev_rows:
            dev_tokens *= work.training.dev_rows / dev_rows
        dev = dev_tokens * work.training.evaluations
        steps = trained / work.training.batch_tokens + dev / PREDICTED_TOKENS
        return Estimate(trained + dev, trained * (1 + BACKWARD) + dev, steps)
    if isinstance(work, PredictWork):
        read = [need for need in needs if (need[0], need[2]) not in work.calibration]
        _, tokens = _size(read, census, work.substitutions, None)
        return Estimate(tokens, tokens, tokens / PREDICTED_TOKENS)
    if isinstance(work, MeasureWork):
        return _measured(work, rows, tokens)
    return Estimate(0.0, tokens * 0.01)


def _measured(work: MeasureWork, rows: int, tokens: float) -> Estimate:
    """Each arm's model on the sample, and two models on a part of it in every round."""
    asked = work.settings
    examples = len(work.arms) * (MEASURED_PASSES * asked.rows + ROUND_PASSES * asked.rounds * asked.round_rows)
    measured = examples * tokens / max(rows, 1)
    return Estimate(measured, measured, examples)


def _joint(work: JointWork, needs: Iterable[Need], census: Census, shape: Shape | None) -> Estimate:
    """Of the members' tokens as much as the mixture draws; text is replayed beside every step."""
    training, cap = work.training, work.mixture.cap
    members = [*work.tasks, *((work.captions.card,) if work.captions is not None else ())]
    tokens = 0.0
    for name in members:
        own = [need for need in needs if need[:2] == (name, "train")]
        rows, size = _size(own, census, work.substitutions, training.max_length)
        used = rows if training.train_rows is None or name not in work.tasks else min(rows, training.train_rows)
        drawn = used if cap is None or len(members) == 1 else min(used, cap)
        tokens += size * drawn / max(rows, 1)
    most = float("inf") if training.max_steps is None else float(training.max_steps)
    steps = min(most, tokens * training.epochs / training.batch_tokens) if members else most
    trained = min(steps * training.batch_tokens, tokens * training.epochs)
    replayed = 0.0 if work.replay is None else steps * work.replay.batch_tokens
    guessed = replayed * (1.0 if work.replay is None else _guessing(work.replay.mask_fraction, shape))
    return Estimate(trained + replayed, (trained + guessed) * (1 + BACKWARD), steps)


def _distil(work: DistilWork, needs: Iterable[Need], census: Census, shape: Shape | None) -> Estimate:
    """A forward pass of the teacher for every one of the student's, forward and backward."""
    distil = work.distil
    tokens = 0.0
    for need in needs:
        rows, size = _size([need], census, work.substitutions, None)
        tokens += size * min(1.0, distil.lines / max(rows, 1))
    trained = _trained(tokens, 0, distil.training)
    share = 1.0 if shape is None else distil.layers / shape.layers
    guesses = (_guessing(distil.mask_fraction, shape) - 1) if distil.logits else 0.0
    weight = trained * (1 + guesses + (share + guesses) * (1 + BACKWARD))
    return Estimate(trained, weight, trained / distil.training.batch_tokens)


def _guessing(mask_fraction: float, shape: Shape | None) -> float:
    """What masked LM costs for each token, in passes without its vocabulary."""
    return 1.0 if shape is None else 1.0 + mask_fraction * shape.guess_flops / shape.token_flops


def _size(
    needs: Iterable[Need],
    census: Census,
    substitutions: tuple[Substitution, ...],
    cap: int | None,
) -> tuple[int, float]:
    rows, tokens = 0, 0.0
    for task, split, language in needs:
        count, found = _counted(census, *source_of(task, split, substitutions), language)
        substitution = substitution_for(task, split, substitutions)
        low, high = WHOLE if substitution is None else substitution.part
        rows += round(count * (high - low))
        tokens += (high - low) * (found if cap is None else min(found, float(cap * count)))
    return rows, tokens


def _counted(census: Census, task: str, split: str, language: str) -> tuple[int, float]:
    """(rows, tokens): from the files, or where they are not there from the card (none when it states no number)."""
    if census.problem(task, split, language, labelled=False) is None:
        count = census.count(task, split, language)
        return count.found, count.characters / CHARACTERS_PER_TOKEN
    published = card_of(task).expected.get((language, split), 0)
    return published, float(published * TOKENS_PER_ROW[card_of(task).kind])


def _trained(tokens: float, rows: int, training: Training) -> float:
    share = 1.0 if training.train_rows is None or rows == 0 else min(1.0, training.train_rows / rows)
    wanted = tokens * share * training.epochs
    return wanted if training.max_steps is None else min(wanted, float(training.max_steps * training.batch_tokens))
