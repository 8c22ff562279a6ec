"""A plan under construction: stages are added one by one, and reused where equal work is requested.

The core's plan adds the stages of pretraining, intermediate tasks and targets; rooms add theirs through the hooks of
their recipe fields (`viaduct.runs.field`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from viaduct.runs.census import Census
from viaduct.runs.parts import ArmParts, RecipeParts, TargetParts, Training
from viaduct.runs.rows import Need, concerning
from viaduct.runs.stage import Stage, Work, is_seeded, kind_of


def lineage(arm: ArmParts, recipe: RecipeParts) -> tuple[ArmParts, ...]:
    """The arms whose stages precede an arm's targets, in the order in which they are trained: the arm itself last."""
    earlier = [one for one in recipe.intermediates if one.name == arm.after]
    return (*(one for first in earlier for one in lineage(first, recipe)), arm)


def trained_tasks(arm: ArmParts, recipe: RecipeParts) -> tuple[str, ...]:
    """The intermediate tasks that the arms of a lineage are trained on, each once."""
    return tuple(dict.fromkeys(name for one in lineage(arm, recipe) for name in one.tasks))


@dataclass
class GrowingPlan:
    """Collects stages; returns the existing one for equal work on equal inputs."""

    recipe: RecipeParts
    encoder: str
    """The encoder's name in paths."""
    census: Census
    languages: Mapping[str, tuple[str, ...]]
    """Target -> languages to predict."""
    stages: dict[str, Stage] = field(default_factory=dict)
    needs: dict[str, tuple[Need, ...]] = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)
    users: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """Stage path -> (arm, target) pairs that use it."""
    models: dict[tuple[str, str], Stage] = field(default_factory=dict)
    """(arm, target) -> the stage that trained its model, for targets that are trained, with the first seed."""
    setting: str = ""
    """The setting being planned, of those that the recipe varies."""
    asked: int = 0
    """Number of stages there would be if none were shared."""
    _plain: dict[str, str] = field(default_factory=dict)
    """Stage path -> the path without the setting in it."""
    _given: set[tuple[str, str]] = field(default_factory=set)
    """(setting, path without the setting) of the stages that each setting has."""
    _known: dict[tuple[Work, tuple[tuple[str, str], ...]], Stage] = field(default_factory=dict)

    def add(self, work: Work, inputs: Mapping[str, Stage], paths: Sequence[str], seed: int) -> Stage:
        """The stage for this work on these inputs, new or already known; `paths` are tried in order for a new one.

        The recipe's substitutions for the data that the stage reads are added to its work.
        """
        self.asked += 1
        kind = kind_of(work.kind)
        needs = tuple(dict.fromkeys(kind.needs(work, self.census)))
        if "substitutions" in type(work).model_fields:
            work = work.model_copy(update={"substitutions": concerning(self.recipe.substitutions, needs)})
        key = (work, tuple((role, stage.path) for role, stage in sorted(inputs.items())))
        if key not in self._known:
            plain = next(path for path in paths if (self.setting, path) not in self._given)
            path = f"{plain}@{self.setting}" if plain in self.stages else plain  # an earlier setting has it
            self._plain[path] = plain
            ready = isinstance(self.recipe.encoder, str) and "encoder" not in inputs and kind.starts_from_encoder
            stage = Stage(
                path,
                work,
                dict(inputs),
                encoder=str(self.recipe.encoder) if ready else None,
                revision=self.recipe.revision if ready else None,
            )
            self._known[key] = self.stages[path] = stage
            self.needs[path] = needs
            self.seeds[path] = seed
        self._given.add((self.setting, self._plain[self._known[key].path]))
        return self._known[key]


@dataclass
class Chain:
    """The stages of one arm, target and seed, in the order in which they are added."""

    plan: GrowingPlan
    arm: ArmParts
    target: TargetParts
    seed: int
    encoder: Stage | None = None
    """The stage whose encoder the next stage starts from; None: the recipe's ready-made encoder."""
    stages: list[Stage] = field(default_factory=list)

    @property
    def recipe(self) -> RecipeParts:
        """The recipe being planned."""
        return self.plan.recipe

    @property
    def census(self) -> Census:
        """Row counts of the available data."""
        return self.plan.census

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages in which the target is predicted."""
        return self.plan.languages[self.target.task]

    @property
    def training(self) -> Training:
        """The target's training settings, with the arm's extra steps."""
        found, more = self.target.training, self.arm.longer_targets
        return found.model_copy(update={"max_steps": (found.max_steps or 0) + more}) if more else found

    def add(self, work: Work, *folders: str, inputs: Mapping[str, Stage] | None = None) -> Stage:
        """Add a stage that starts from the chain's encoder, unless other `inputs` are given; if it leaves an encoder,
        the chain continues with that one.

        `folders`: the stage's folder below the arm's, "" for the arm's own; the later ones are used if another stage
        has the first.
        """
        kind = kind_of(work.kind)
        if inputs is None:
            inputs = {} if self.encoder is None else {"encoder": self.encoder}
        seeded = kind.seeded or any(map(is_seeded, inputs.values()))
        seed = f"seed-{self.seed}" if seeded else ""
        parts = [(self.plan.encoder, self.arm.name, folder, seed, kind.name) for folder in folders]
        paths = ["/".join(part for part in one if part) for one in parts]
        stage = self.plan.add(work, inputs, paths, self.seed)
        self.stages.append(stage)
        if kind.leaves_encoder:
            self.encoder = stage
        return stage
