"""A claim under test, and what its rule sees: arms by their role, and their paired differences from result rows.

A difference is only given where nothing is missing: every language of every task, every declared seed, both arms, one
split and signature, no substitution. Otherwise `UndecidedError` says what is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

from viaduct.languages import ENGLISH, LANGUAGES
from viaduct.metrics.bootstrap import Design, Estimate, hierarchical_bootstrap
from viaduct.metrics.outcomes import Run
from viaduct.metrics.significance import equivalence
from viaduct.metrics.summary import counted_metrics
from viaduct.report.number import points
from viaduct.report.table import task_scores
from viaduct.results.record import BASELINE, About, ResultRow
from viaduct.results.xtreme import INTERMEDIATES, TARGETS
from viaduct.tasks.card import Task

NAMED_SUBSTITUTIONS = 3
"""Substitutions that a reason names; the report lists all of them elsewhere."""
ROLES: dict[str, str] = {
    BASELINE: "no intermediate training",
    **{name: f"trained on {name} in English" for name in INTERMEDIATES},
    "all_nine": "trained on all nine intermediate tasks together",
    "replay": "trained on replayed multilingual text only",
    **{f"{name}+replay": f"trained on {name} with multilingual masked LM beside it" for name in INTERMEDIATES},
    **{f"{name}_translated": f"trained on {name}, machine-translated" for name in INTERMEDIATES},
}
"""Role -> what an arm with it does; sections add theirs (`viaduct.report.claims.roles`). Arms' names are free; a report
is told which arm has which role."""

Provenance: TypeAlias = Literal["read", "confirmed", "from memory", "open"]
"""How sure we are that the source says so: read in a public copy; remembered and confirmed by arithmetic or another
copy; remembered only (never to be cited); or nobody's claim."""

Judgement: TypeAlias = Literal["supported", "contradicted", "cannot tell"]


class Finding(NamedTuple):
    """What a run says about a claim."""

    verdict: Judgement
    why: str
    """The numbers behind it, in words."""


class UndecidedError(Exception):
    """What a run would need to decide a claim; `str()` says it in words."""


def decided(why: str, *, supported: bool, contradicted: bool) -> Finding:
    """The finding with these numbers behind it; UndecidedError where it is neither."""
    if not supported and not contradicted:
        raise UndecidedError(why)
    return Finding("supported" if supported else "contradicted", why)


Rule: TypeAlias = Callable[["Evidence"], Finding]
"""Raises UndecidedError where the evidence does not decide."""


@dataclass(frozen=True)
class Claim:
    """One row of the table of claims."""

    id: str
    text: str
    decided_by: str
    rule: Rule
    needs: str = "-"
    """What a run must have before it may say anything but "cannot tell"."""
    kind: Literal["setup", "effect"] = "effect"
    source: str = "arXiv 2005.13013"
    provenance: Provenance = "read"


@dataclass(frozen=True)
class Evidence:
    """What the rules of claims see of a run."""

    about: About
    rows: Sequence[ResultRow]
    """Comparable (`viaduct.report.table.comparable`)."""
    roles: Mapping[str, str]
    """Arm -> role; arms that are not here take no part."""
    cards: Mapping[str, Task]
    choosing: Sequence[ResultRow] = ()
    """Scores of the same arms on dev splits, for choosing an arm per task."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Section -> what it found that is no score (`viaduct.report.section.Content.facts`)."""
    known_roles: Mapping[str, str] = field(default_factory=lambda: ROLES)
    """Role -> what an arm with it does."""

    @cached_property
    def scores(self) -> Mapping[str, Mapping[str, Mapping[int, Mapping[str, float]]]]:
        """Arm -> task -> seed -> language -> score."""
        return task_scores(self.rows, {card.name: counted_metrics(card.metrics) for card in self.cards.values()})

    def arm(self, role: str) -> str | None:
        """The arm with this role, None when there is none."""
        return next((arm for arm, given in self.roles.items() if given == role), None)

    def need(self, role: str) -> str:
        """The arm with this role; UndecidedError when there is none."""
        arm = self.arm(role)
        if arm is None:
            raise UndecidedError(f"no arm is {self.known_roles[role]} (role '{role}')")
        if arm in self.about.seen_arms:
            raise UndecidedError(f"{self.about.encoder} had been trained on {self.about.seen_arms[arm]} before {arm}")
        return arm

    def card(self, name: str) -> Task:
        """The card of this name; UndecidedError when there is none."""
        if name not in self.cards:
            raise UndecidedError(f"there is no card '{name}'")
        return self.cards[name]

    def text_arms(self) -> dict[str, str]:
        """Role -> arm, of those that train on one of the nine intermediate tasks and are first to show it to the
        encoder."""
        arms = {role: arm for role in INTERMEDIATES if (arm := self.arm(role)) is not None}
        return {role: arm for role, arm in arms.items() if arm not in self.about.seen_arms}


def require_real(evidence: Evidence) -> None:
    """Return when the data are not generated; UndecidedError otherwise."""
    if evidence.about.miniature:
        raise UndecidedError("the data are generated: a demonstration is no evidence")


ArmByTask: TypeAlias = Mapping[str, str]
"""Task -> the arm whose score counts."""


def everywhere(arm: str, tasks: Sequence[str] = TARGETS) -> ArmByTask:
    """The same arm for all of these tasks."""
    return dict.fromkeys(tasks, arm)


def arm_difference(
    evidence: Evidence, pairs: Sequence[tuple[ArmByTask, ArmByTask]], *, seeds: int = 3, english: bool = True
) -> Estimate:
    """First minus second, in the mean over pairs, their tasks, and each task's languages (without English unless
    `english`), with the interval of `hierarchical_bootstrap`: seeds and language families vary, tasks are fixed.

    Both sides of a pair have the same tasks. UndecidedError when anything is missing, or with fewer than `seeds` seeds.
    """
    _require_official(evidence, {task for arms, _ in pairs for task in arms}, seeds)
    weights: dict[str, float] = {}
    families: dict[str, str] = {}
    sides: list[dict[Run, dict[str, float]]] = [{Run(seed): {} for seed in evidence.about.seeds} for _ in range(2)]
    for number, pair in enumerate(pairs):
        for task in pair[0]:
            codes = [code for code in evidence.card(task).languages if english or code != ENGLISH]
            units = {code: f"{number} {task} {code}" for code in codes}
            weights |= dict.fromkeys(units.values(), 1 / (len(pairs) * len(pair[0]) * len(codes)))
            families |= {unit: LANGUAGES[code].family for code, unit in units.items()}
            for side, arms in zip(sides, pair, strict=True):
                for run, values in side.items():
                    found = _scores(evidence, arms[task], task, run.seed, codes)
                    values.update({unit: found[code] for code, unit in units.items()})
    return hierarchical_bootstrap(sides[0], sides[1], Design(families=families, weights=weights))


def _require_official(evidence: Evidence, tasks: Collection[str], seeds: int) -> None:
    """Return where official data of these tasks, and so many seeds, are behind the scores; UndecidedError otherwise."""
    about = evidence.about
    require_real(evidence)
    if about.substitutions:
        named = [f"{one.task} {one.split}" for one in about.substitutions]
        more = f" and {len(named) - NAMED_SUBSTITUTIONS} more splits" if len(named) > NAMED_SUBSTITUTIONS else ""
        raise UndecidedError(f"other data stand in for {', '.join(named[:NAMED_SUBSTITUTIONS])}{more}")
    if len(about.seeds) < seeds:
        raise UndecidedError(f"{len(about.seeds)} of at least {seeds} seeds")
    replaced = next((row.task for row in evidence.rows if row.task in tasks and row.substitution), None)
    if replaced:
        raise UndecidedError(f"another split stands in for that of {replaced}")
    chosen = next((row.task for row in evidence.rows if row.task in tasks and row.chosen_on_scored), None)
    if chosen:
        raise UndecidedError(f"a checkpoint, layer or threshold of {chosen} was chosen on rows that are scored")
    seen = next((f"{about.seen_tasks[task]} before {task}" for task in tasks if task in about.seen_tasks), None)
    if seen:
        raise UndecidedError(f"{about.encoder} had been trained on {seen}")
    if about.leaks:
        raise UndecidedError("rows that were trained on are evaluated")


def _scores(evidence: Evidence, arm: str, task: str, seed: int, codes: Sequence[str]) -> Mapping[str, float]:
    """Language -> score."""
    by_seed = evidence.scores.get(arm, {}).get(task, {})
    if not by_seed:
        raise UndecidedError(f"{arm} has no result on {task}")
    found = by_seed.get(seed, {})
    lacking = [code for code in codes if code not in found]
    if lacking:
        raise UndecidedError(f"{arm} has no result on {task} in {', '.join(lacking)}, seed {seed}")
    return found


def no_gain(found: Estimate) -> bool:
    """Whether the difference is below zero, or shown to be of no size that matters."""
    return found.high < 0 or equivalence(found).equivalent


def with_interval(estimate: Estimate) -> str:
    """The estimate in words: "+3.2 points (95 % interval +1.0 to +5.4)"."""
    return f"{points(estimate.mean)} points (95 % interval {points(estimate.low)} to {points(estimate.high)})"


def basis(evidence: Evidence, tasks: Sequence[str] = TARGETS) -> str:
    """What the numbers are of: encoder, seeds and splits, in words."""
    splits: dict[str, list[str]] = {}
    for task in tasks:
        for split in sorted({row.split for row in evidence.rows if row.task == task}):
            splits.setdefault(split, []).append(task)
    where = "; ".join(f"{split} of {', '.join(names)}" for split, names in splits.items())
    return f"{evidence.about.encoder}, {len(evidence.about.seeds)} seeds, {where}"
