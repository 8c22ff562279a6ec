"""From a recipe to its stages: expansion into a DAG in which equal work is done once.

Two stages with the same work and the same inputs are one stage, wherever in the recipe they come from: arms that begin
alike share their beginning, targets that are trained on the same card with the same settings share the training, and
what does not depend on a seed is done once. Nothing runs here, and nothing is looked up in the store.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from viaduct.errors import DataError, UsageError
from viaduct.paths import RESERVED
from viaduct.runs.census import Census
from viaduct.runs.check import (
    Gap,
    arm_gaps,
    check_arms,
    check_substitutions,
    listed,
    pretrain_needs,
    target_gaps,
    target_languages,
)
from viaduct.runs.rows import Need, concerning
from viaduct.runs.spec import Compression, Intermediate, Pretrain, Recipe, Target
from viaduct.runs.stage import PredictWork, PretrainWork, ScoreWork, Stage, TrainWork, Work
from viaduct.runs.together import joint_work
from viaduct.serving.compression import calibration, check_compressions, compress_work, compression_gaps, distil_work
from viaduct.serving.measuring import measured_target, measuring
from viaduct.tasks.registry import task as card_of


@dataclass(frozen=True)
class Place:
    """Whose work a stage is: "" for an arm or task means that it is not one arm's or one target's alone."""

    arm: str
    task: str
    seed: int


@dataclass(frozen=True)
class Cell:
    """One cell of the result table for one seed: the stage that holds its scores."""

    arm: str
    target: Target
    seed: int
    score: Stage


@dataclass(frozen=True)
class Plan:
    """A recipe expanded: `stages` in an order in which inputs come first."""

    recipe: Recipe
    """Without the arms that are left out."""
    encoder: str
    """Name of the encoder, as in paths and tables."""
    stages: tuple[Stage, ...]
    cells: tuple[Cell, ...]
    places: Mapping[str, Place]
    """Stage path -> whose work it is."""
    needs: Mapping[str, tuple[Need, ...]]
    """Stage path -> the (task, split, language) it reads."""
    absent: Mapping[str, tuple[str, ...]]
    """Target -> languages of its card that are left out because their labelled files are not there."""
    left_out: Mapping[str, tuple[str, ...]]
    """Optional arm -> what it needs and is not there, in words."""
    missing: tuple[Gap, ...]
    """What else is not there: with any of it nothing can run."""
    unshared: int
    """Number of stages there would be if nothing were shared."""


def encoder_name(recipe: Recipe) -> str:
    """The encoder's name in paths and tables: a folder's own name, a Hub name with "--" for "/"."""
    if isinstance(recipe.encoder, Pretrain):
        name = recipe.encoder.name
    elif Path(recipe.encoder).expanduser().is_dir():
        name = Path(recipe.encoder).expanduser().resolve().name
    else:
        name = recipe.encoder.replace("/", "--")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) or name in RESERVED:
        raise UsageError(
            f"the encoder's name '{name}' cannot be a folder's name in the store",
            fix=f"use letters, digits, '.', '_' and '-', and none of: {', '.join(RESERVED)}",
        )
    return name


def expand(recipe: Recipe, data: Path, census: Census | None = None) -> Plan:
    """The recipe's stages, with every name, substitution and file checked.

    Raises UsageError for names and settings that cannot be used, and one DataError that lists every missing file.
    """
    plan = outline(recipe, data, census)
    require_data(plan, data)
    return plan


def outline(recipe: Recipe, data: Path, census: Census | None = None) -> Plan:
    """As `expand`, but what is not there is in the plan's `missing`: a plan to look at, and then not to run."""
    census = census or Census(data)
    check_arms(recipe)
    check_compressions(recipe)
    check_substitutions(recipe)
    gaps = {
        arm.name: arm_gaps(arm, recipe, census) + compression_gaps(arm, recipe, census) for arm in recipe.intermediates
    }
    left_out = {arm.name: listed(gaps[arm.name]) for arm in recipe.intermediates if arm.optional and gaps[arm.name]}
    if len(left_out) == len(recipe.intermediates):
        left_out = {}
    kept = tuple(arm for arm in recipe.intermediates if arm.name not in left_out)
    compare = tuple(pair for pair in recipe.compare if not left_out.keys() & set(pair))
    recipe = recipe.model_copy(update={"intermediates": kept, "compare": compare})
    missing: list[Gap] = []
    languages, absent = target_languages(recipe, census, missing)
    missing += [gap for arm in kept for gap in gaps[arm.name]] + target_gaps(recipe, census)
    builder = _Builder(recipe, encoder_name(recipe), census, missing)
    builder.build(languages)
    return builder.plan(absent, left_out)


def require_data(plan: Plan, data: Path) -> None:
    """Nothing. Raises DataError that lists all that is missing, if anything is."""
    if plan.missing:
        lines = "".join(f"\n  - {line}" for line in listed(plan.missing))
        raise DataError(
            f"recipe {plan.recipe.name} needs data that is not there:{lines}",
            path=data,
            fix="point --data at the folder that holds it, declare substitutions in the recipe, set `optional` of an"
            ' arm, or set `languages` of a target to "available"',
        )


@dataclass
class _Builder:
    """Collects stages, giving back the one that is already there for equal work on equal inputs."""

    recipe: Recipe
    encoder: str
    census: Census
    missing: list[Gap]
    stages: dict[str, Stage] = field(default_factory=dict)
    known: dict[tuple[Work, tuple[tuple[str, str], ...]], Stage] = field(default_factory=dict)
    needs: dict[str, tuple[Need, ...]] = field(default_factory=dict)
    users: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """Stage path -> (arm, target) pairs that use it."""
    general: set[str] = field(default_factory=set)
    """Paths of the stages that come before any target's own work."""
    seeds: dict[str, int] = field(default_factory=dict)
    models: dict[tuple[str, str], Stage] = field(default_factory=dict)
    """(arm, target) -> the stage that trained its model, for targets that are trained, with the first seed."""
    cells: list[Cell] = field(default_factory=list)
    asked: int = 0

    def build(self, languages: Mapping[str, tuple[str, ...]]) -> None:
        for arm in self.recipe.intermediates:
            for target in self.recipe.targets:
                if languages[target.task]:
                    self._chain(arm, target, languages[target.task])
        measured = measured_target(self.recipe, languages)
        if measured is not None:
            self._measure(measured, languages[measured.task])

    def _chain(self, arm: Intermediate, target: Target, languages: tuple[str, ...]) -> None:
        done: set[str] = set()
        for seed in self.recipe.seeds:
            stages: list[Stage] = []
            encoder = self._pretrained(stages)
            if arm.joint:
                encoder = self._joint(arm, seed, encoder, stages)
            else:
                for number, name in enumerate(arm.tasks, start=1):
                    folder = f"{self.encoder}/{arm.name}/intermediate-{number}-{name}"
                    encoder = self._train(name, arm.training, seed, encoder, (folder,), stages)
            if arm.compression is not None:
                encoder = self._compressed(arm.name, arm.compression, seed, encoder, stages)
            self.general.update(stage.path for stage in stages)
            on = card_of(target.task).trained_on
            if on is not None:
                root = f"{self.encoder}/{arm.name}"
                encoder = self._train(
                    on, target.training, seed, encoder, (f"{root}/{on}", f"{root}/{on}-for-{target.task}"), stages
                )
                self.models.setdefault((arm.name, target.task), encoder)
            score = self._evaluate(arm, target, languages, seed, encoder, stages)
            for stage in stages:
                self.users.setdefault(stage.path, set()).add((arm.name, target.task))
            if score.path not in done:
                done.add(score.path)
                self.cells.append(Cell(arm.name, target, seed, score))

    def _measure(self, target: Target, languages: tuple[str, ...]) -> None:
        """What all arms' models cost at inference, last: on an idle machine, if this process is the only one."""
        found = measuring(self.recipe, target, languages, self.models)
        paths = (f"{self.encoder}/{found.folder}",)
        stage = self._add(paths, found.work, found.inputs, found.needs, self.recipe.seeds[0], [])
        self.users[stage.path] = {(arm, target.task) for arm in found.inputs}

    def _pretrained(self, stages: list[Stage]) -> Stage | None:
        if not isinstance(self.recipe.encoder, Pretrain):
            return None
        pretrain = self.recipe.encoder
        needs = pretrain_needs(pretrain, self.census, self.missing)
        cards = set(pretrain.text)
        codes = tuple(dict.fromkeys(code for name, _, code in needs if name in cards))
        work = PretrainWork(pretrain=pretrain, languages=codes)
        return self._add((f"{self.encoder}/pretrain",), work, {}, needs, pretrain.seed, stages)

    def _train(
        self,
        name: str,
        training: object,
        seed: int,
        encoder: Stage | None,
        folders: tuple[str, ...],
        stages: list[Stage],
    ) -> Stage:
        work = TrainWork.model_validate(
            {
                "task": name,
                "training": training,
                "seed": seed,
                "substitutions": concerning(self.recipe.substitutions, name, ("train", "dev")),
            }
        )
        needs = [(name, "train", "en"), (name, "dev", "en")]
        paths = tuple(f"{folder}/seed-{seed}/train" for folder in folders)
        return self._add(paths, work, _inputs("encoder", encoder), needs, seed, stages)

    def _joint(self, arm: Intermediate, seed: int, encoder: Stage | None, stages: list[Stage]) -> Stage:
        """Everything that the arm trains on, in one stage."""
        work, needs = joint_work(arm, seed, self.recipe, self.census)
        paths = (f"{self.encoder}/{arm.name}/intermediate/seed-{seed}/joint",)
        return self._add(paths, work, _inputs("encoder", encoder), needs, seed, stages)

    def _compressed(
        self, arm: str, compression: Compression, seed: int, encoder: Stage | None, stages: list[Stage]
    ) -> Stage | None:
        """The encoder that targets begin with: another one where layers or pieces are fewer."""
        root = f"{self.encoder}/{arm}"
        if compression.distil is not None:
            distil, needs = distil_work(compression.distil, seed, self.recipe, self.census)
            paths = (f"{root}/distil/seed-{seed}/distil",)
            encoder = self._add(paths, distil, _inputs("encoder", encoder), needs, seed, stages)
        if compression.layers is not None or compression.vocabulary is not None:
            compress, needs = compress_work(compression, self.recipe, self.census)
            paths = (f"{root}/seed-{seed}/compress" if _is_seeded(encoder) else f"{root}/compress",)
            encoder = self._add(paths, compress, _inputs("encoder", encoder), needs, seed, stages)
        return encoder

    def _evaluate(
        self,
        arm: Intermediate,
        target: Target,
        languages: tuple[str, ...],
        seed: int,
        encoder: Stage | None,
        stages: list[Stage],
    ) -> Stage:
        root = f"{self.encoder}/{arm.name}/{target.task}"
        folder = f"{root}/seed-{seed}" if _is_seeded(encoder) else root
        kind = card_of(target.task).kind
        tuned = ("dev",) if kind == "mining" else ()
        chosen_on = self._chosen_on(target, languages) if kind == "retrieval" else []
        substitutions = concerning(self.recipe.substitutions, target.task, (target.split, *tuned))
        how = arm.compression or Compression()
        calibrated_on = calibration(arm.compression, languages, self.recipe, self.census)
        predict = PredictWork(
            task=target.task,
            languages=languages,
            split=target.split,
            max_length=target.training.max_length,
            stride=target.training.stride,
            retrieval=target.retrieval if kind in ("retrieval", "mining") else None,
            chosen_in=tuple(code for _, _, code in chosen_on),
            engine=how.engine,
            precision=how.precision,
            calibration=calibrated_on,
            substitutions=substitutions,
        )
        needs = [(target.task, split, code) for split in (target.split, *tuned) for code in languages]
        needs += chosen_on + [(name, "train", code) for name, code in calibrated_on]
        predicted = self._add((f"{folder}/predict",), predict, _inputs("encoder", encoder), needs, seed, stages)
        score = ScoreWork(
            task=target.task,
            languages=languages,
            split=target.split,
            substitutions=concerning(self.recipe.substitutions, target.task, (target.split,)),
        )
        gold = [(target.task, target.split, code) for code in languages]
        return self._add((f"{folder}/score",), score, {"predictions": predicted}, gold, seed, stages)

    def _chosen_on(self, target: Target, languages: tuple[str, ...]) -> list[Need]:
        """The parallel text on which one of several layers is chosen."""
        how = target.retrieval
        if how.layers is None or len(how.layers) == 1:
            return []
        card = card_of(how.choose_on)
        if card.kind != "parallel":
            raise UsageError(
                f"target {target.task}: choose_on names {card.name}, which is of kind '{card.kind}'",
                fix="name a card of kind parallel",
            )
        found = [
            code
            for code in languages
            if code in card.languages and self.census.problem(card.name, "train", code, labelled=False) is None
        ]
        if not found:
            why = f"no files in a language of {target.task}, to choose a layer on"
            self.missing.append(Gap(f"{card.name} train", "", why))
        return [(card.name, "train", code) for code in found]

    def _add(
        self,
        paths: tuple[str, ...],
        work: Work,
        inputs: Mapping[str, Stage],
        needs: list[Need],
        seed: int,
        stages: list[Stage],
    ) -> Stage:
        """The stage for this work on these inputs, new or already known; `paths` are tried in order for a new one."""
        self.asked += 1
        key = (work, tuple((role, stage.path) for role, stage in sorted(inputs.items())))
        if key not in self.known:
            ready = (
                isinstance(self.recipe.encoder, str)
                and "encoder" not in inputs
                and work.kind in ("train", "joint", "distil", "compress", "predict")
            )
            path = next(path for path in paths if path not in self.stages)
            stage = Stage(
                path,
                work,
                dict(inputs),
                encoder=str(self.recipe.encoder) if ready else None,
                revision=self.recipe.revision if ready else None,
            )
            self.known[key] = self.stages[path] = stage
            self.needs[path] = tuple(dict.fromkeys(needs))
            self.seeds[path] = seed
        stages.append(self.known[key])
        return self.known[key]

    def plan(self, absent: Mapping[str, tuple[str, ...]], left_out: Mapping[str, tuple[str, ...]]) -> Plan:
        """The finished plan."""
        return Plan(
            recipe=self.recipe,
            encoder=self.encoder,
            stages=tuple(self.stages.values()),
            cells=tuple(self.cells),
            places={path: self._place(path) for path in self.stages},
            needs=self.needs,
            absent=absent,
            left_out=left_out,
            missing=tuple(self.missing),
            unshared=self.asked,
        )

    def _place(self, path: str) -> Place:
        arms = sorted({arm for arm, _ in self.users[path]})
        tasks = sorted({task for _, task in self.users[path]})
        if self.stages[path].work.kind == "pretrain":
            arms = []
        if path in self.general:
            tasks = []
        return Place(arms[0] if len(arms) == 1 else "", tasks[0] if len(tasks) == 1 else "", self.seeds[path])


def _is_seeded(stage: Stage | None) -> bool:
    """Whether a stage, or one before it, depends on the run's seed."""
    if stage is None:
        return False
    return stage.work.kind in ("train", "joint", "distil") or any(map(_is_seeded, stage.inputs.values()))


def _inputs(role: str, stage: Stage | None) -> dict[str, Stage]:
    return {} if stage is None else {role: stage}
