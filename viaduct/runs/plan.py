"""Expands a recipe into its stages: a DAG in which equal work is done once.

Two stages with the same work and the same inputs are one stage, wherever in the recipe they come from: arms that start
with the same steps share them, targets trained on the same card with the same settings share the training, and what
does not depend on a seed is done once. Nothing runs here, and nothing is looked up in the store.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import compress

from viaduct.errors import UsageError
from viaduct.results.record import declared_seeds
from viaduct.runs.census import Census
from viaduct.runs.chain import Chain, GrowingPlan, lineage
from viaduct.runs.encoder import encoder_name
from viaduct.runs.field import added_values, fields, is_joint, make_work, set_fields
from viaduct.runs.gaps import (
    Gap,
    listed,
    model_gaps,
    pretrain_gaps,
    pretrain_needs,
    target_gaps,
    target_languages,
    task_gaps,
    there,
)
from viaduct.runs.parts import ArmParts, Mixture, Pretrain, RecipeParts, Retrieval, TargetParts
from viaduct.runs.rows import Need
from viaduct.runs.sentence_encoder import chosen_in, vectors_of
from viaduct.runs.stage import Stage, kind_of
from viaduct.runs.validate import validate
from viaduct.runs.variation import variants


@dataclass(frozen=True)
class Place:
    """The arm, task and seed that a stage belongs to; "" as arm or task: it does not belong to a single one."""

    arm: str
    task: str
    seed: int


@dataclass(frozen=True)
class Cell:
    """One cell of the result table for one seed: the stage that holds its scores."""

    arm: str
    target: TargetParts
    seed: int
    score: Stage
    setting: str = ""
    """Name of the setting, if the recipe varies any."""
    dev: Stage | None = None
    """The training whose dev score decides which setting is chosen."""


@dataclass(frozen=True)
class Plan:
    """An expanded recipe; `stages` are ordered so that inputs come first."""

    recipe: RecipeParts
    """The recipe, without the arms that are left out."""
    encoder: str
    """Name of the encoder in paths and tables."""
    stages: tuple[Stage, ...]
    cells: tuple[Cell, ...]
    places: Mapping[str, Place]
    """Stage path -> the arm, task and seed that it belongs to."""
    needs: Mapping[str, tuple[Need, ...]]
    """Stage path -> the (task, split, language) tuples that it reads."""
    absent: Mapping[str, tuple[str, ...]]
    """Target -> languages of its card that are left out because their labelled files are missing."""
    left_out: Mapping[str, tuple[str, ...]]
    """Optional arm that is left out -> the missing things that it needs, in words."""
    missing: tuple[Gap, ...]
    """Everything else that is missing; if there is anything, nothing can run."""
    unshared: int
    """Number of stages there would be if nothing were shared."""

    def in_turn(self, waiting: Container[str]) -> list[Stage]:
        """The stages with these paths in the order in which they are run: first what deciding comparisons still need,
        in their order and seed by seed, so that a run stopped early has decided something; then the others as listed.
        """
        last = len(self.recipe.deciding), 0
        turns: dict[str, tuple[int, int]] = {}
        for at, (arm, against, *tasks) in enumerate(self.recipe.deciding):
            for cell in self.cells:
                decides = cell.arm in (arm, against) and (not tasks or cell.target.task in tasks)
                if decides and cell.score.path in waiting:
                    _give(turns, cell.score, (at, cell.seed))
        left = [stage for stage in self.stages if stage.path in waiting]
        return sorted(left, key=lambda stage: turns.get(stage.path, last))


def _give(turns: dict[str, tuple[int, int]], stage: Stage, turn: tuple[int, int]) -> None:
    """Give this turn to a stage and everything it is made from, unless they already have an earlier one."""
    waiting = [stage]
    while waiting:
        one = waiting.pop()
        if one.path not in turns or turn < turns[one.path]:
            turns[one.path] = turn
            waiting += one.inputs.values()


def outline(recipe: RecipeParts, census: Census) -> Plan:
    """The recipe's stages, with every name, substitution and file checked. A plan with anything in `missing` is only
    for display; it cannot be run.

    Raises UsageError for names and settings that cannot be used.
    """
    validate(recipe, census)
    gaps: dict[str | None, list[Gap]] = {}
    for arm in recipe.intermediates:
        gaps[arm.name] = gaps.get(arm.after, []) + _arm_gaps(arm, recipe, census)
    left_out = {arm.name: listed(gaps[arm.name]) for arm in recipe.intermediates if arm.optional and gaps[arm.name]}
    if len(left_out) == len(recipe.intermediates):
        left_out = {}
    kept = tuple(arm for arm in recipe.intermediates if arm.name not in left_out)
    compare = tuple(pair for pair in recipe.compare if not left_out.keys() & set(pair))
    there = [not left_out.keys() & set(one[:2]) for one in recipe.deciding]
    deciding, expected = tuple(compress(recipe.deciding, there)), tuple(compress(recipe.expected, there))
    changes = {"intermediates": kept, "compare": compare, "deciding": deciding, "expected": expected}
    recipe = recipe.model_copy(update=changes)
    missing: list[Gap] = []
    languages, absent = target_languages(recipe, census, missing)
    missing += [gap for arm in kept for gap in gaps[arm.name]] + target_gaps(recipe, census)
    for field in set_fields("recipe", recipe):
        missing += field.gaps(recipe, recipe, census)
    for target in recipe.targets:
        missing += [gap for field in set_fields("target", target) for gap in field.gaps(recipe, target, census)]
    if isinstance(recipe.encoder, Pretrain):
        missing += pretrain_gaps(recipe.encoder, census)
    builder = _Builder(GrowingPlan(recipe, encoder_name(recipe), census, languages), missing)
    settings = variants(recipe)
    for name, one in settings.items():
        if one is not recipe:
            validate(one, census)
        builder.build(name, one)
    builder.finish(recipe)
    return builder.plan(absent, left_out)


def _arm_gaps(arm: ArmParts, recipe: RecipeParts, census: Census) -> list[Gap]:
    gaps = [gap for field in set_fields("arm", arm) for gap in field.gaps(recipe, arm, census)]
    for one in (arm, *(other for other in recipe.intermediates if other.name == arm.parent)):
        gaps += [] if one.encoder is None else model_gaps("the encoder", one.encoder, one.revision, "revision")
    return task_gaps(arm, recipe, census) + gaps


class _Builder:
    """Adds all stages of a recipe, in chains: one chain per arm, target and seed."""

    def __init__(self, growing: GrowingPlan, missing: list[Gap]) -> None:
        self.growing = growing
        self.recipe, self.census = growing.recipe, growing.census
        self.missing = missing
        self.cells: list[Cell] = []
        self.scored: dict[tuple[str, str], set[str]] = {}
        """(arm, task) -> paths of its score stages."""
        self.shared_by_arms: set[str] = set()
        """Paths of the stages that come before any arm's own work."""
        self.shared_by_targets: set[str] = set()
        """Paths of the stages that come before any target's own work."""

    def build(self, setting: str, recipe: RecipeParts) -> None:
        """Add the stages of the recipe in one of its settings."""
        self.recipe = self.growing.recipe = recipe
        self.growing.setting = setting
        for arm in recipe.intermediates:
            for target in recipe.targets:
                scored = self.scored.setdefault((arm.name, target.task), set())
                seeds = declared_seeds(recipe, arm.name, target.task)
                for seed in seeds if self.growing.languages[target.task] else ():
                    chain = Chain(self.growing, arm, target, seed)
                    score = self._chain(chain)
                    if score.path not in scored:
                        scored.add(score.path)
                        self.cells.append(Cell(arm.name, target, seed, score, setting, _scored_on_dev(chain)))

    def finish(self, recipe: RecipeParts) -> None:
        """Add the stages that come after all results. Raises UsageError if dev scores cannot choose among settings."""
        self.recipe = self.growing.recipe = recipe
        self.growing.setting = ""
        for field in fields():
            field.finish(self.growing)
        for arm, task in self.scored if recipe.vary else ():
            cells = [cell for cell in self.cells if (cell.arm, cell.target.task) == (arm, task)]
            chosen_by = {(cell.seed, cell.dev.path) for cell in cells if cell.dev is not None}
            read = (self.growing.needs[cell.dev.path] for cell in cells if cell.dev is not None)
            scored = {frozenset(need for need in needs if need[1] == "dev") for needs in read}
            if len({cell.setting for cell in cells}) > 1 and (len(chosen_by) < len(cells) or len(scored) > 1):
                what = f"vary: nothing chooses among the settings of {arm} on {task}"
                why = "they are not trained separately, with scores on the same English dev rows"
                fix = "vary what trains this arm or target, and leave out targets that nothing is trained for"
                raise UsageError(f"{what}: {why}", fix=fix)

    def _chain(self, chain: Chain) -> Stage:
        """The stage that scores the target, after all that come before it."""
        arm, target = chain.arm, chain.target
        self._pretrain(chain)
        for one in lineage(arm, self.recipe):
            chain.arm = one
            self._adopt(chain, one)
            self._intermediate(chain)
        for field in set_fields("arm", arm):
            field.after_intermediate(chain)
        self.shared_by_targets.update(stage.path for stage in chain.stages)
        if self.census.task(target.task).trained_on is not None:
            model = _first(field.train_target(chain) for field in fields("arm", "target")) or self._train(chain)
            self.growing.models.setdefault((arm.name, target.task), model)
        score = self._score(chain)
        for stage in chain.stages:
            self.growing.users.setdefault(stage.path, set()).add((arm.name, target.task))
        return score

    def _pretrain(self, chain: Chain) -> None:
        pretrain = self.recipe.encoder
        if not isinstance(pretrain, Pretrain):
            return
        languages = dict.fromkeys(code for _, _, code in pretrain_needs(pretrain, pretrain.text, self.census))
        work = make_work("pretrain", pretrain=pretrain, languages=tuple(languages))
        stage = self.growing.add(work, {}, (f"{self.growing.encoder}/pretrain",), pretrain.seed)
        self.shared_by_arms.add(stage.path)
        chain.stages.append(stage)
        chain.encoder = stage

    def _adopt(self, chain: Chain, arm: ArmParts) -> None:
        """Continue the chain with an arm's own encoder, if it has one, after adopting that of the arm's parent."""
        if arm.encoder is None:
            return
        for parent in self.recipe.intermediates:
            if parent.name == arm.parent:
                self._adopt(chain, parent)
        work = make_work("adopt", encoder=arm.encoder, revision=arm.revision, compared=arm.parent is not None)
        inputs = {} if chain.encoder is None else {"encoder": chain.encoder}
        chain.encoder = self.growing.add(work, inputs, (f"{self.growing.encoder}/{arm.name}/adopt",), chain.seed)
        chain.stages.append(chain.encoder)

    def _intermediate(self, chain: Chain) -> None:
        """Add the training of the chain's arm: everything in one stage, or one task after the other."""
        arm = chain.arm
        for number, name in enumerate(() if is_joint(arm) else arm.tasks, start=1):
            work = make_work("train", task=name, training=arm.training, seed=chain.seed)
            chain.add(work, f"intermediate-{number}-{name}")
        if not is_joint(arm):
            return
        replayed: tuple[str, ...] = ()
        if arm.replay is not None:
            replayed, _ = there(arm.replay.text, arm.replay.languages, ("train",), self.recipe, self.census)
        work = make_work(
            "joint",
            tasks=arm.tasks,
            languages=arm.languages,
            mixture=arm.together or Mixture(),
            replay=arm.replay,
            replay_languages=replayed,
            retention=arm.retention,
            training=arm.training,
            seed=chain.seed,
            **added_values("joint", chain),
        )
        chain.add(work, "intermediate")

    def _train(self, chain: Chain) -> Stage:
        on = self.census.task(chain.target.task).trained_on
        added = added_values("train", chain)
        work = make_work("train", task=on, training=chain.training, seed=chain.seed, **added)
        return chain.add(work, f"{on}", f"{on}-for-{chain.target.task}")

    def _score(self, chain: Chain) -> Stage:
        target = chain.target
        predicted = _first(field.predict_target(chain) for field in fields("arm", "target")) or self._predict(chain)
        work = make_work("score", task=target.task, languages=chain.languages, split=target.split)
        return chain.add(work, target.task, inputs={"predictions": predicted})

    def _predict(self, chain: Chain) -> Stage:
        target = chain.target
        work = make_work(
            "predict",
            task=target.task,
            languages=chain.languages,
            split=target.split,
            max_length=target.training.max_length,
            stride=target.training.stride,
            products=target.products,
            **added_values("predict", chain),
        )
        if self.census.task(target.task).row_kind.is_searched:
            trained = any(kind_of(stage.work.kind).leaves_encoder for stage in chain.stages)
            replaced = any(field.predictor is not None and field.is_at_work(work) for field in fields())
            how, makers = vectors_of(target, self.recipe, self.census, trained=trained, replaced=replaced)
            made = {"retrieval": how, "makers": makers, "chosen_in": self._chosen_in(chain, how)}
            work = work.model_copy(update=made)
        return chain.add(work, target.task)

    def _chosen_in(self, chain: Chain, how: Retrieval) -> tuple[str, ...]:
        """Languages of the parallel text on which one of several layers is chosen; () if none is, or if the target has
        its own split for that."""
        target = chain.target
        if not how.is_chosen or self.census.task(target.task).row_kind.tuned_on:
            return ()
        there = chosen_in(target, self.census)
        found = tuple(code for code in chain.languages if code in there)
        if not found:
            why = f"no files in a language of {target.task}, to choose a layer on"
            self.missing.append(Gap(f"{how.choose_on} train", "", why))
        return found

    def plan(self, absent: Mapping[str, tuple[str, ...]], left_out: Mapping[str, tuple[str, ...]]) -> Plan:
        """The finished plan."""
        growing = self.growing
        return Plan(
            recipe=self.recipe,
            encoder=growing.encoder,
            stages=tuple(growing.stages.values()),
            cells=tuple(self.cells),
            places={path: self._place(path) for path in growing.stages},
            needs=growing.needs,
            absent=absent,
            left_out=left_out,
            missing=tuple(self.missing),
            unshared=growing.asked,
        )

    def _place(self, path: str) -> Place:
        users = self.growing.users[path]
        arms = {arm for arm, _ in users} if path not in self.shared_by_arms else set[str]()
        tasks = {task for _, task in users} if path not in self.shared_by_targets else set[str]()
        arm, task = (one.pop() if len(one) == 1 else "" for one in (arms, tasks))
        return Place(arm, task, self.growing.seeds[path])


def _scored_on_dev(chain: Chain) -> Stage | None:
    """The last training of a chain that has scores on English dev."""
    trained = (stage for stage in reversed(chain.stages) if kind_of(stage.work.kind).is_scored_on_dev(stage.work))
    return next(trained, None)


def _first(made: Iterable[Stage | None]) -> Stage | None:
    """The stage of the first field that makes one."""
    return next((stage for stage in made if stage is not None), None)
