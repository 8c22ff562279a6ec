"""The difference of two arms, as reports, exports and claims read it; `viaduct.report.contrasts` computes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from viaduct.languages import family_of
from viaduct.metrics import power
from viaduct.metrics.difference import Estimate
from viaduct.metrics.verdict import ALPHA, Decision, Verdict
from viaduct.report.examples import Guess
from viaduct.report.number import seed_list
from viaduct.results.record import BASELINE

OVERALL, IN_ENGLISH = "", "English"
"""Used in place of a task: the mean over tasks, and the mean over tasks in English, of interest besides transfer."""


class GroupDifference(NamedTuple):
    """A difference in some of the languages, about which nothing is claimed."""

    mean: float
    languages: tuple[str, ...]


@dataclass(frozen=True)
class Contrast:
    """One arm minus another, as fractions."""

    arm: str
    against: str
    task: str
    """Name of a task; `OVERALL` or `IN_ENGLISH` for these means, "panx, xnli" for the mean over these two."""
    tasks: tuple[str, ...]
    """The tasks that the mean is over: those that both arms have."""
    seeds: tuple[int, ...]
    """The seeds for which both arms have all of these results."""
    estimate: Estimate
    weights: Mapping[str, float]
    """Language -> its weight in the mean; English has none, except in the means in English."""
    by_code: Mapping[str, float]
    """Language -> mean difference over seeds and tasks, English included where the tasks have it."""
    missing: tuple[str, ...]
    """What is left out because the two do not both have it in full: tasks, seeds, languages."""
    meaningless: str
    """Why "equivalent" would mean nothing, in words; "" if it would mean something."""
    unlike: tuple[str, ...] = ()
    """How the conditions under which the two were computed differ, in words."""
    unpaired: str = ""
    """The seeds of both, in words, if the two are not paired; else ""."""
    step: str = ""
    decision: Decision = field(default_factory=lambda: Decision("no verdict", 1, None, None, None))

    @property
    def is_of_task(self) -> bool:
        """Whether this is the difference on a single task, in the languages other than English."""
        return self.tasks == (self.task,)

    @property
    def is_of_several(self) -> bool:
        """Whether this is the difference in the mean over some tasks that were named before the run."""
        return self.task not in (OVERALL, IN_ENGLISH) and not self.is_of_task

    @property
    def seed_words(self) -> str:
        """The seeds that count, in words."""
        return self.unpaired or seed_list(self.seeds)

    @property
    def mean(self) -> float:
        """The mean difference."""
        return self.estimate.mean

    @property
    def verdict(self) -> Verdict:
        """The verdict by the rules of `viaduct.metrics.verdict`."""
        return self.decision.verdict

    @cached_property
    def detectable(self) -> float | None:
        """The true difference that four out of five such experiments would find; None without a verdict, and if the
        verdict is for languages like these."""
        spread = self.estimate.spread
        if spread is None or self.decision.like_these:
            return None
        return power.detectable(spread, ALPHA / self.decision.comparisons)

    def group_means(self, group_of: Mapping[str, str]) -> dict[str, GroupDifference]:
        """Group -> the difference in its languages, weighted as in the mean; languages without a group are left out."""
        found = {}
        for group in dict.fromkeys(group_of.values()):
            own = {code: weight for code, weight in self.weights.items() if group_of.get(code) == group}
            if own:
                mean = sum(weight * self.by_code[code] for code, weight in own.items()) / sum(own.values())
                found[group] = GroupDifference(mean, tuple(own))
        return found

    @property
    def families(self) -> dict[str, GroupDifference]:
        """Language family -> the difference in its languages."""
        return self.group_means({code: family_of(code) for code in self.weights})


@dataclass(frozen=True)
class Contrasts:
    """All comparisons of a run."""

    found: tuple[Contrast, ...] = ()
    levels: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(arm, task) -> "at chance", "at the ceiling" or ""."""
    guesses: Mapping[str, Guess] = field(default_factory=dict)
    """Task -> the scores of guessing, over the languages of the task's column."""
    grouped: tuple[str, ...] = ()
    """The tasks with examples of one group that are known to be, and so are drawn together."""

    def of(self, arm: str, task: str = OVERALL, against: str = BASELINE) -> Contrast | None:
        """One comparison; None if it was not made."""
        return next((one for one in self.found if (one.arm, one.against, one.task) == (arm, against, task)), None)

    def with_baseline(self, task: str | None = None) -> list[Contrast]:
        """The comparisons of arms with the baseline: those of one task or mean, or all."""
        return [one for one in self.found if one.against == BASELINE and task in (None, one.task)]

    @property
    def decided(self) -> bool:
        """Whether there is any verdict."""
        return any(one.estimate.spread is not None for one in self.found)


def contrast_lines(found: Contrasts) -> list[dict[str, Any]]:
    """One line per contrast and, for the means over tasks, one per language family, as fractions."""
    listed = []
    for one in found.found:
        low, high = one.estimate.interval or (None, None)
        common = {"arm": one.arm, "against": one.against, "task": one.task or "all", "seeds": one.seed_words}
        whole = {
            **common,
            "family": "all",
            "languages": len(one.weights),
            "difference": one.mean,
            "low": low,
            "high": high,
            "standard_error": one.estimate.spread and one.estimate.spread.standard_error,
            "p": one.estimate.p_value,
            "step": one.step,
            "comparisons": one.decision.comparisons,
            "p_corrected": one.decision.p_value,
            "p_equivalence": one.decision.p_equivalence,
            "p_languages_like_these": one.decision.p_like_these,
            "detectable": one.detectable,
            "verdict": one.verdict,
            "why_no_verdict": one.estimate.why_not or None,
            "left_out": "; ".join(one.missing) or None,
        }
        listed.append(whole)
        for name, group in one.families.items() if one.task == OVERALL else ():
            numbers = {"difference": group.mean, "languages": len(group.languages)}
            listed.append({**dict.fromkeys(whole), **common, "family": name, **numbers})
    return listed
