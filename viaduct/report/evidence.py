"""A claim under test, and what its rule sees: arms by their role, and their paired differences from result rows.

A difference is only given where nothing is missing: every language of every task, every declared seed, both arms, one
split and signature, no substitution. Otherwise `UndecidedError` says what is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

from viaduct.languages import ENGLISH, LANGUAGES
from viaduct.metrics.bootstrap import Design, Estimate, hierarchical_bootstrap
from viaduct.metrics.outcomes import Run
from viaduct.metrics.summary import counted_metrics
from viaduct.report.number import points
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
    rows: tuple[ResultRow, ...]
    roles: Mapping[str, str]
    """Arm -> role; arms that are not here take no part."""
    cards: Mapping[str, Task]
    choosing: tuple[ResultRow, ...] = ()
    """Scores of the same arms on dev splits, for choosing an arm per task."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Section -> what it found that is no score (`viaduct.report.section.Content.facts`)."""
    known_roles: Mapping[str, str] = field(default_factory=lambda: ROLES)
    """Role -> what an arm with it does."""

    @cached_property
    def _by_cell(self) -> Mapping[tuple[str, str], list[ResultRow]]:
        found: dict[tuple[str, str], list[ResultRow]] = {}
        for row in self.rows:
            found.setdefault((row.arm, row.task), []).append(row)
        return found

    def of_task(self, task: str, arm: str | None = None) -> list[ResultRow]:
        """The rows of a task, of all arms or of one."""
        cells = [rows for key, rows in self._by_cell.items() if key == (arm or key[0], task)]
        return [row for rows in cells for row in rows]

    def arm(self, role: str) -> str | None:
        """The arm with this role, None when there is none."""
        return next((arm for arm, given in self.roles.items() if given == role), None)

    def need(self, role: str) -> str:
        """The arm with this role; UndecidedError when there is none."""
        arm = self.arm(role)
        if arm is None:
            raise UndecidedError(f"no arm is {self.known_roles[role]} (role '{role}')")
        return arm

    def card(self, name: str) -> Task:
        """The card of this name; UndecidedError when there is none."""
        if name not in self.cards:
            raise UndecidedError(f"there is no card '{name}'")
        return self.cards[name]

    def text_arms(self) -> dict[str, str]:
        """Role -> arm, of those that train on one of the nine intermediate tasks."""
        return {role: arm for role in INTERMEDIATES if (arm := self.arm(role)) is not None}


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
    _require_evidence(evidence, seeds)
    weights: dict[str, float] = {}
    families: dict[str, str] = {}
    first: dict[Run, dict[str, float]] = {Run(seed): {} for seed in evidence.about.seeds}
    second: dict[Run, dict[str, float]] = {Run(seed): {} for seed in evidence.about.seeds}
    for number, (arms, others) in enumerate(pairs):
        for task in arms:
            codes = [code for code in evidence.card(task).languages if english or code != ENGLISH]
            _require_one_definition(evidence, task)
            for code in codes:
                unit = f"{number} {task} {code}"
                weights[unit] = 1 / (len(pairs) * len(arms) * len(codes))
                families[unit] = LANGUAGES[code].family
            for side, name in ((first, arms[task]), (second, others[task])):
                for seed, values in _values(evidence, name, task, codes).items():
                    side[Run(seed)].update({f"{number} {task} {code}": value for code, value in values.items()})
    return hierarchical_bootstrap(first, second, Design(families=families, weights=weights))


def with_interval(estimate: Estimate) -> str:
    """The estimate in words: "+3.2 points (95 % interval +1.0 to +5.4)"."""
    return f"{points(estimate.mean)} points (95 % interval {points(estimate.low)} to {points(estimate.high)})"


def basis(evidence: Evidence, tasks: Sequence[str] = TARGETS) -> str:
    """What the numbers are of: encoder, seeds and splits, in words."""
    splits: dict[str, list[str]] = {}
    for task in tasks:
        for split in sorted({row.split for row in evidence.of_task(task)}):
            splits.setdefault(split, []).append(task)
    where = "; ".join(f"{split} of {', '.join(names)}" for split, names in splits.items())
    return f"{evidence.about.encoder}, {len(evidence.about.seeds)} seeds, {where}"


def _require_evidence(evidence: Evidence, seeds: int) -> None:
    about = evidence.about
    require_real(evidence)
    if about.substitutions:
        named = [f"{one.task} {one.split}" for one in about.substitutions]
        more = f" and {len(named) - NAMED_SUBSTITUTIONS} more splits" if len(named) > NAMED_SUBSTITUTIONS else ""
        raise UndecidedError(f"other data stand in for {', '.join(named[:NAMED_SUBSTITUTIONS])}{more}")
    if len(about.seeds) < seeds:
        raise UndecidedError(f"{len(about.seeds)} of at least {seeds} seeds")


def _require_one_definition(evidence: Evidence, task: str) -> None:
    metrics = counted_metrics(evidence.card(task).metrics)
    for metric in metrics:
        members = [row for row in evidence.of_task(task) if row.metric == metric]
        if len({(row.split, row.task_version, row.signature) for row in members}) > 1:
            raise UndecidedError(f"the results of {task} are not of one split and definition")
        if any(row.substitution for row in members):
            raise UndecidedError(f"another split stands in for that of {task}")


def _values(evidence: Evidence, arm: str, task: str, codes: Sequence[str]) -> dict[int, dict[str, float]]:
    """Seed -> language -> score, for every declared seed."""
    metrics = counted_metrics(evidence.card(task).metrics)
    found: dict[tuple[int, str], dict[str, float]] = {}
    untrained = False
    for row in evidence.of_task(task, arm):
        if row.metric in metrics and row.language in codes:
            found.setdefault((row.seed, row.language), {})[row.metric] = row.value
            untrained = row.selection == "untrained"
    given = sorted({seed for seed, _ in found})
    if not given:
        raise UndecidedError(f"{arm} has no result on {task}")
    values: dict[int, dict[str, float]] = {}
    for seed in evidence.about.seeds:
        # where nothing is trained there is one result, and every seed would give the same
        source = given[0] if untrained and evidence.roles.get(arm) == BASELINE and len(given) == 1 else seed
        lacking = [code for code in codes if found.get((source, code), {}).keys() != set(metrics)]
        if lacking:
            raise UndecidedError(f"{arm} has no result on {task} in {', '.join(lacking)}, seed {seed}")
        values[seed] = {code: sum(found[source, code].values()) / len(metrics) for code in codes}
    return values
