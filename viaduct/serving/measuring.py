"""Which models a recipe measures: those of one target at the first seed, one per arm, in one stage.

One stage, so that all of them are measured on the same machine one after the other. Its path names what is measured:
with another arm, or other settings, it is another stage beside the first one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from viaduct.results.record import BASELINE
from viaduct.results.store import canonical
from viaduct.runs.rows import Need, concerning
from viaduct.runs.spec import Compression, Intermediate, Measure, Recipe, Target
from viaduct.runs.stage import MeasureWork, Runner, Stage
from viaduct.tasks.registry import task as card_of


class Measuring(NamedTuple):
    """What is to be measured, for the plan to make a stage of."""

    folder: str
    """Its path below the encoder's."""
    work: MeasureWork
    inputs: Mapping[str, Stage]
    """Arm -> the stage that trained its model."""
    needs: list[Need]


def runner(arm: Intermediate) -> Runner:
    """What runs this arm's model."""
    how = arm.compression or Compression()
    return Runner(arm=arm.name, engine=how.engine, precision=how.precision)


def measured_target(recipe: Recipe, languages: Mapping[str, tuple[str, ...]]) -> Target | None:
    """The target whose models are measured; None when nothing is.

    `languages`: target -> those that are evaluated; one without any has no models.
    """
    if recipe.measure is None:
        return None
    wanted = recipe.measure.task
    trained = [one for one in recipe.targets if card_of(one.task).trained_on is not None and languages[one.task]]
    return next((target for target in trained if wanted in (None, target.task)), None)


def measuring(
    recipe: Recipe, target: Target, languages: tuple[str, ...], models: Mapping[tuple[str, str], Stage]
) -> Measuring:
    """The stage's parts; `models`: (arm, target) -> the stage that trained it with the first seed."""
    arms = sorted(recipe.intermediates, key=lambda arm: arm.name != BASELINE)  # the baseline first
    inputs = {arm.name: models[arm.name, target.task] for arm in arms}
    substitutions = concerning(recipe.substitutions, target.task, (target.split,))
    work = MeasureWork(
        arms=tuple(runner(arm) for arm in arms),
        task=target.task,
        languages=languages,
        split=target.split,
        max_length=target.training.max_length,
        stride=target.training.stride,
        seed=recipe.seeds[0],
        settings=recipe.measure or Measure(),
        substitutions=substitutions,
    )
    what = work.model_dump(mode="json", exclude={"substitutions"})
    named = canonical([what, {arm: stage.path for arm, stage in inputs.items()}])
    folder = f"measure/{target.task}-{hashlib.sha256(named.encode()).hexdigest()[:8]}"
    return Measuring(folder, work, inputs, [(target.task, target.split, code) for code in languages])
