"""The Measure stage and the recipe field `measure`: what every arm's model costs at inference.

One stage measures the models of one target at the first seed, so that all of them run on the same machine one after the
other. It writes `inference.json` (see `serving.records.MeasuredArms`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel

from viaduct.errors import UsageError, unknown
from viaduct.results.record import BASELINE
from viaduct.results.writing import canonical
from viaduct.runs.bounds import Count, later
from viaduct.runs.census import Census
from viaduct.runs.chain import GrowingPlan
from viaduct.runs.field import RecipeField
from viaduct.runs.parts import RecipeParts, Spec, Substitution, TargetParts
from viaduct.runs.rows import Need
from viaduct.runs.sizes import Estimate, Sizes
from viaduct.runs.stage import Stage, StageKind, Work
from viaduct.serving.compression import COMPRESSION, ON_GPUS, Compression

PROFILE_PASSES = 6
"""How often a profile runs its rows: once one at a time, and once in batches of each of five sizes."""
ROUND_PASSES = 6
"""How often a paired round runs its rows: three times with each model."""


PROCESS_SECONDS = 4.0
"""Approximate time to start a process that loads torch."""


class Measure(Spec):
    """How the cost at inference of the arms' models is measured: all models of one target at the first seed, each
    compared with the first arm's."""

    task: str | None = None
    """Target whose models are measured; None: the first one that is trained."""
    rows: Count = 200
    """Rows of the target, spread over its languages, on which latency, throughput and memory are measured."""
    rounds: Count = 20
    """Paired rounds; in each, two models take turns on the same rows. With fewer than 20 the report says nothing about
    speed."""
    round_rows: Count = 16
    """How many of the `rows` a round uses; each model runs each of them three times per round."""
    threads: Count = 1
    device: Literal["cpu", "cuda"] = later("cpu")
    """Where to measure: the CPU (whatever trained the models) or a GPU, which the run must use (`--device cuda`)."""


class ArmEngine(Spec):
    """The engine and precision that run one arm's model."""

    arm: str
    engine: str = "torch"
    precision: str = "fp32"


class MeasureWork(Work):
    """Measure what the arms' models of one target cost at inference, each compared with the first arm's."""

    kind: Literal["measure", "measure_search"] = "measure"
    arms: tuple[ArmEngine, ...]
    task: str
    languages: tuple[str, ...]
    split: str
    max_length: int
    stride: int
    seed: int
    """Seed of the models."""
    settings: Measure
    substitutions: tuple[Substitution, ...] = ()


class MeasureKind(StageKind[MeasureWork]):
    """The kind of Measure stages. Its inputs are the stages that trained the models, by arm."""

    name = "measure"
    work = MeasureWork
    version = 1
    function = "viaduct.serving.measurement:run"

    def needs(self, work: MeasureWork, census: Census) -> list[Need]:
        """The target's rows."""
        return [(work.task, work.split, code) for code in work.languages]

    def label(self, work: MeasureWork) -> str:
        """The number of arms, the target and the device."""
        threads = f"{work.settings.threads} thread{'s' * (work.settings.threads > 1)}"
        where = f"the CPU with {threads}" if work.settings.device == "cpu" else "a GPU"
        return f"measure the cost of inference of {len(work.arms)} arms on {work.task}, on {where}"

    def forecast(self, work: MeasureWork, sizes: Sizes) -> Estimate:
        """The cost of each arm's model on the sample, and of two models on part of it in every round."""
        asked = work.settings
        rows, tokens = sizes.of(sizes.needs)
        examples = len(work.arms) * (PROFILE_PASSES * asked.rows + ROUND_PASSES * asked.rounds * asked.round_rows)
        measured = examples * tokens / max(rows, 1)
        processes = 2 * len(work.arms)  # a profile, and a comparison with the first
        return Estimate(measured, measured, examples, PROCESS_SECONDS * processes)

    def on_cpu(self, work: MeasureWork) -> bool:
        """True unless a GPU is to be measured."""
        return work.settings.device == "cpu"

    def threads(self, work: MeasureWork) -> int:
        """The number of threads to measure with."""
        return work.settings.threads


MEASURING = MeasureKind()


class MeasureSearchKind(MeasureKind):
    """The kind for recipes that train no target. An arm without an input uses the recipe's own encoder."""

    name = "measure_search"
    starts_from_encoder = True


MEASURING_SEARCH = MeasureSearchKind()


class MeasureField(RecipeField[Measure]):
    """How the cost at inference of the arms' models is measured; None: not at all. If no target is trained, encoders
    are measured on the first target."""

    name = "measure"
    owner = "recipe"
    model = Measure
    default = Measure()

    def check(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> None:
        """Raise UsageError for a task that no target trains, and for an arm whose engine does not run on a GPU
        when one is to be measured."""
        asked = self.of(recipe)
        names = [target.task for target in recipe.targets if census.task(target.task).trained_on is not None]
        if asked is not None and asked.task is not None and asked.task not in names:
            raise unknown("trained target in `measure`:", asked.task, names)
        for arm in recipe.intermediates if asked is not None and asked.device == "cuda" else ():
            how = COMPRESSION.of(arm) or Compression()
            if how.precision not in ON_GPUS.get(how.engine, ()):
                what = f"measure.device is cuda, but the arm '{arm.name}' runs with {how.engine} in {how.precision}"
                raise UsageError(f"{what}, on CPUs only", fix="measure on the CPU, or leave the arm out")

    def finish(self, plan: GrowingPlan) -> None:
        """Add the stage last, so that it runs on an idle machine if this process is the only one.

        Its path identifies what is measured: with another arm or other settings it is a separate stage.
        """
        recipe, settings = plan.recipe, self.of(plan.recipe)
        target = None if settings is None else self._target(plan, settings)
        if settings is None or target is None:
            return
        models = _models(plan, target.task)
        measured = [arm for arm in recipe.intermediates if arm.name in models]
        arms = sorted(measured, key=lambda arm: arm.name != BASELINE)  # the baseline first
        inputs = {arm.name: model for arm in arms if (model := models[arm.name]) is not None}
        how = {arm.name: COMPRESSION.of(arm) or Compression() for arm in arms}
        work = MeasureWork(
            kind="measure" if plan.models else "measure_search",
            arms=tuple(ArmEngine(arm=arm, engine=one.engine, precision=one.precision) for arm, one in how.items()),
            task=target.task,
            languages=plan.languages[target.task],
            split=target.split,
            max_length=target.training.max_length,
            stride=target.training.stride,
            seed=recipe.seeds[0],
            settings=settings,
        )
        stage = plan.add(work, inputs, (f"{plan.encoder}/measure/{_folder(work, inputs)}",), recipe.seeds[0])
        plan.users[stage.path] = {(arm.name, target.task) for arm in arms}

    @staticmethod
    def _target(plan: GrowingPlan, settings: Measure) -> TargetParts | None:
        """The target whose models are measured, if any; a target without languages has no models."""
        trained = [target for target in plan.recipe.targets if any(task == target.task for _, task in plan.models)]
        searched = [target for target in plan.recipe.targets if plan.languages[target.task] and not plan.models]
        return next((target for target in trained or searched if settings.task in (None, target.task)), None)


def _models(plan: GrowingPlan, task: str) -> dict[str, Stage | None]:
    """Arm -> the stage whose model alone predicts the task (None: the recipe's own encoder). Arms that a room predicts
    in another way, which costs more, are left out. For targets that are not trained, the model of the first seed."""
    found: dict[str, Stage | None] = {}
    for path, users in plan.users.items():
        stage = plan.stages[path]
        for arm in (arm for arm, target in users if target == task and stage.work.kind == "predict"):
            found.setdefault(arm, plan.models.get((arm, task), stage.inputs.get("encoder")))
    return found


def _folder(work: MeasureWork, inputs: Mapping[str, Stage]) -> str:
    what = work.model_dump(mode="json", exclude={"substitutions"})
    if work.settings.device == "cpu":
        del what["settings"]["device"]  # keeps the paths from before there was a choice
    named = canonical([what, {arm: stage.path for arm, stage in inputs.items()}])
    return f"{work.task}-{hashlib.sha256(named.encode()).hexdigest()[:8]}"


MEASURE = MeasureField()
