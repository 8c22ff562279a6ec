"""A claim under test, and what its rule sees: arms by their role, and the report's own contrasts between them.

A rule computes no intervals or p-values of its own: it reads `viaduct.report.contrasts`, with the page's correction.
A contrast is available only if nothing is missing: every language but English of every task, every declared seed,
both arms, official data. Otherwise `UndecidedError` says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

from viaduct.languages import ENGLISH
from viaduct.metrics.difference import FEWEST_SEEDS
from viaduct.metrics.verdict import ALPHA, MARGIN
from viaduct.report.contrast import IN_ENGLISH, OVERALL, Contrast, Contrasts
from viaduct.report.number import interval_words, points
from viaduct.results.record import BASELINE, About, ResultRow
from viaduct.results.xtreme import INTERMEDIATES, TARGETS
from viaduct.tasks.card import Task

NAMED_SUBSTITUTIONS = 3
"""Maximum number of substitutions that a reason names; the report lists all of them elsewhere."""
ROLES: dict[str, str] = {
    BASELINE: "no intermediate training",
    **{name: f"trained on {name} in English" for name in INTERMEDIATES},
    "all_nine": "trained on all nine intermediate tasks together",
    "replay": "trained on replayed multilingual text only",
    **{f"{name}+replay": f"trained on {name} with multilingual masked LM alongside" for name in INTERMEDIATES},
    **{f"{name}_translated": f"trained on {name}, machine-translated" for name in INTERMEDIATES},
}
"""Role -> what an arm with it does; sections add their own (`viaduct.report.claims.roles`). Arms can have any name; the
report is given each arm's role."""

Provenance: TypeAlias = Literal["read", "confirmed", "unverified", "synthesis", "open"]
"""How sure we are that the source says so, see `MARKS`."""
MARKS: dict[Provenance, str] = {
    "read": "read in a public copy",
    "confirmed": "confirmed by arithmetic or another copy",
    "unverified": "unverified",
    "synthesis": "worded more strongly than the source",
    "open": "an open question",
}
"""Provenance -> the words shown next to a verdict."""

Judgement: TypeAlias = Literal[
    "supported", "contradicted", "cannot tell", "as in the source", "not as in the source", "not known"
]
"""The first three are for effects, the others for the set-up, which is a fact about a run and supports nothing."""
Arms: TypeAlias = Mapping[str, str]
"""Role -> the arm that has it."""


class Finding(NamedTuple):
    """What a run says about a claim."""

    verdict: Judgement
    why: str
    """The numbers behind it, in words."""


class UndecidedError(Exception):
    """Raised if a run cannot decide a claim; `str()` says what it would need."""


class UnrelatedError(UndecidedError):
    """Raised if a claim does not apply to this run at all, so that its report does not list it; `str()` says why."""


def decided(why: str, *, supported: bool, contradicted: bool) -> Finding:
    """The finding with these numbers behind it. Raises UndecidedError if neither supported nor contradicted."""
    if not supported and not contradicted:
        raise UndecidedError(why)
    return Finding("supported" if supported else "contradicted", why)


def mostly_higher(evidence: Evidence, found: Collection[Contrast], why: str) -> Finding:
    """Supported if more than half of the differences are higher and none is lower; contradicted if more than half are
    shown to be no gain. Raises UndecidedError otherwise."""
    higher, lower = (sum(one.verdict == verdict for one in found) for verdict in ("higher", "lower"))
    no_gain = sum(map(evidence.no_gain, found))
    return decided(why, supported=2 * higher > len(found) and not lower, contradicted=2 * no_gain > len(found))


def fact(why: str, *, same: bool) -> Finding:
    """The finding for a claim about the set-up."""
    return Finding("as in the source" if same else "not as in the source", why)


Rule: TypeAlias = Callable[["Evidence"], Finding]
"""Raises UndecidedError if the evidence does not decide, UnrelatedError if the claim does not apply to such a run."""


Pairs: TypeAlias = Callable[[Arms], Sequence[tuple[str, str]]]
"""Arms by role -> the comparisons that a claim needs: (arm, against)."""


def no_pairs(arms: Arms) -> Sequence[tuple[str, str]]:
    """For claims that need only each arm against the one without intermediate training."""
    return ()


@dataclass(frozen=True)
class Claim:
    """One row of the table of claims."""

    id: str
    """Permanent: never reused for another claim, even after this one is removed."""
    text: str
    decided_by: str
    rule: Rule
    needs: str = "-"
    """What a run must have before the verdict can be anything but "cannot tell"."""
    kind: Literal["setup", "effect"] = "effect"
    source: str = "arXiv 2005.13013"
    provenance: Provenance = "read"
    pairs: Pairs = no_pairs
    """(arm, against) pairs that the report must compare for this claim, besides each arm against the baseline."""

    @property
    def cited(self) -> str | None:
        """The source; None if nobody has verified that it says so, or if the question is open."""
        return None if self.provenance in ("unverified", "open") else self.source

    @property
    def origin(self) -> str:
        """The source and how sure we are that it says so, in words."""
        return f"{self.cited}: {MARKS[self.provenance]}" if self.cited else MARKS[self.provenance]


@dataclass(frozen=True)
class Evidence:
    """What the rules of claims know about a run."""

    about: About
    rows: Sequence[ResultRow]
    """Rows that can be compared (`viaduct.report.table.comparable`)."""
    contrasts: Contrasts
    """All comparisons of the report."""
    roles: Mapping[str, str]
    """Arm -> role; arms without an entry are ignored."""
    cards: Mapping[str, Task]
    facts: Mapping[str, Any]
    """Section -> its findings other than scores (`viaduct.report.section.Content.facts`)."""
    known_roles: Mapping[str, str]
    """Role -> what an arm with it does."""

    @cached_property
    def arms(self) -> Arms:
        """Role -> arm."""
        return {role: arm for arm, role in self.roles.items()}

    def need(self, role: str) -> str:
        """The arm with this role. Raises UnrelatedError if none has it, UndecidedError if the encoder knew its task."""
        if role not in self.arms:
            raise UnrelatedError(f"no arm has the role '{role}' ({self.known_roles[role]})")
        arm = self.arms[role]
        if arm in self.about.seen_arms:
            raise UndecidedError(
                f"{self.about.encoder} had already been trained on {self.about.seen_arms[arm]}, so {arm} is not a first"
                " exposure"
            )
        return arm

    def card(self, name: str) -> Task:
        """The card of this name. Raises UndecidedError if there is none."""
        if name not in self.cards:
            raise UndecidedError(f"there is no card '{name}'")
        return self.cards[name]

    def text_arms(self) -> dict[str, str]:
        """Role -> arm, for arms that train on one of the nine intermediate tasks that the encoder had not been trained
        on before."""
        seen = self.about.seen_arms
        return {role: arm for role in INTERMEDIATES if (arm := self.arms.get(role)) is not None and arm not in seen}

    def contrast(self, arm: str, against: str, task: str = OVERALL, *, seeds: int = FEWEST_SEEDS) -> Contrast:
        """One arm minus another, with a verdict: on one of the nine tasks, in the mean over exactly these nine, or in
        English in the mean over those that have it.

        Raises UndecidedError if anything is missing, or with fewer than `seeds` seeds.
        """
        with_english = tuple(name for name in TARGETS if ENGLISH in self.card(name).languages)
        tasks = {OVERALL: TARGETS, IN_ENGLISH: with_english}.get(task, (task,))
        _require_official(self, tasks, seeds)
        found = self.contrasts.of(arm, task, against)
        if found is None:
            where = f" on {task}" if task else ""
            raise UndecidedError(f"results of {arm} and {against}{where} are not compared")
        _require_whole(self, found, tasks)
        if found.estimate.spread is None:
            raise UndecidedError(f"{arm} minus {against}: {found.estimate.why_not}")
        return found

    def p_more(self, one: Contrast, value: float) -> float:
        """Corrected p-value of "the true difference is above `value`"."""
        return min(1.0, self._tests(one, value) * one.estimate.p_above(value))

    def p_less(self, one: Contrast, value: float) -> float:
        """Corrected p-value of "the true difference is below `value`"."""
        return min(1.0, self._tests(one, value) * one.estimate.p_below(value))

    def no_gain(self, one: Contrast) -> bool:
        """Whether the first of the two is shown to be no better: lower, or higher by less than half a point."""
        small = not one.meaningless and self.p_less(one, MARGIN) < ALPHA
        return one.verdict == "lower" or small

    def _tests(self, one: Contrast, value: float) -> int:
        """The factor for a p-value. A comparison drops out of its step's count once its difference is shown to exceed
        the margin; that says nothing about hypotheses further out, for which no comparison drops out."""
        if abs(value) <= MARGIN:
            return one.decision.comparisons
        return max(other.decision.comparisons for other in self.contrasts.found if other.step == one.step)


def require_real(evidence: Evidence) -> None:
    """Raise UndecidedError if the data are generated or only a few rows."""
    if evidence.about.miniature:
        raise UndecidedError("the data are generated: a demonstration is not evidence")
    if evidence.about.limit is not None:
        raise UndecidedError(f"a quick look at {evidence.about.limit:,} rows per language is not a result")


def _require_official(evidence: Evidence, tasks: Sequence[str], seeds: int) -> None:
    """Raise UndecidedError unless official data of these tasks, and at least `seeds` seeds, are behind the scores, and
    neither the tasks nor the scored rows were trained on or chosen on before."""
    about = evidence.about
    require_real(evidence)
    if about.substitutions:
        named = [f"{one.task} {one.split}" for one in about.substitutions]
        more = f" and {len(named) - NAMED_SUBSTITUTIONS} more splits" if len(named) > NAMED_SUBSTITUTIONS else ""
        raise UndecidedError(f"other data stand in for {', '.join(named[:NAMED_SUBSTITUTIONS])}{more}")
    if len(about.seeds) < seeds:
        raise UndecidedError(f"needs at least {seeds} seeds, has {len(about.seeds)}")
    replaced = next((row.task for row in evidence.rows if row.task in tasks and row.substitution), None)
    if replaced:
        raise UndecidedError(f"another split stands in for the official one of {replaced}")
    chosen = next((row.task for row in evidence.rows if row.task in tasks and row.chosen_on_scored), None)
    if chosen:
        raise UndecidedError(f"a checkpoint, layer or threshold of {chosen} was chosen on rows that are scored")
    seen = next(
        (f"{about.seen_tasks[task]}, so {task} is not a first exposure" for task in tasks if task in about.seen_tasks),
        None,
    )
    if seen:
        raise UndecidedError(f"{about.encoder} had already been trained on {seen}")
    if about.leaks:
        raise UndecidedError("some evaluated rows were also trained on")


def _require_whole(evidence: Evidence, one: Contrast, tasks: Sequence[str]) -> None:
    """Raise UndecidedError unless the contrast is over exactly these tasks, in all languages of their cards and for all
    declared seeds."""
    both = f"{one.arm} and {one.against} have no results in common"
    lacking = [task for task in tasks if task not in one.tasks]
    if lacking:
        raise UndecidedError(f"{both} on {', '.join(lacking)}")
    others = [task for task in one.tasks if task not in tasks]
    if others:
        raise UndecidedError(f"the mean also covers tasks that the claim does not: {', '.join(others)}")
    for task in tasks:
        own = evidence.contrasts.of(one.arm, task, one.against)
        codes = [code for code in evidence.card(task).languages if (code == ENGLISH) == (one.task == IN_ENGLISH)]
        absent = [code for code in codes if own is None or code not in own.by_code]
        if absent:
            raise UndecidedError(f"{both} on {task} in {', '.join(absent)}")
    gone = [f"seed {seed}" for seed in evidence.about.seeds if seed not in one.seeds]
    if gone:
        raise UndecidedError(f"{one.arm} or {one.against} has no complete result for {', '.join(gone)}")


def with_interval(one: Contrast) -> str:
    """The difference in words: "+3.2 points (95 % interval +1.0 to +5.4)"."""
    between = one.estimate.interval
    return f"{points(one.mean)} points{f' ({interval_words(between)})' if between else ''}"


def with_intervals(found: Iterable[Contrast]) -> str:
    """The differences in words, each with its arms: "a minus b: +3.2 points (95 % interval +1.0 to +5.4); ..."."""
    return "; ".join(f"{one.arm} minus {one.against}: {with_interval(one)}" for one in found)


def basis(evidence: Evidence, tasks: Sequence[str] = TARGETS) -> str:
    """What the numbers are based on: encoder, seeds and splits, in words."""
    splits: dict[str, list[str]] = {}
    for task in tasks:
        for split in sorted({row.split for row in evidence.rows if row.task == task}):
            splits.setdefault(split, []).append(task)
    where = "; ".join(f"{split} of {', '.join(names)}" for split, names in splits.items())
    return f"{evidence.about.encoder}, {len(evidence.about.seeds)} seeds, {where}"
