"""What outcomes by example say about differences between arms: how much the choice of test examples matters, and which
scores are no better than guessing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from viaduct.metrics.difference import ExampleVariance, TaskDifference, estimate, example_variance
from viaduct.results.outcomes import LanguageOutcomes

CEILING = 0.99
"""Score from which an arm counts as being at the ceiling."""


class Guess(NamedTuple):
    """Scores that need no model: means over languages, None if unknown in any of them."""

    chance: float | None
    majority: float | None


class Examples(Protocol):
    """Outcomes by example of one task."""

    @property
    def fewest(self) -> int | None:
        """Number of examples in the smallest test set, those of one group counted once; None if unknown."""

    @property
    def is_grouped(self) -> bool:
        """Whether any examples of one language are known to be of one group."""

    def variance(
        self, arm: str, against: str | None, seeds: Sequence[int], languages: Sequence[str]
    ) -> ExampleVariance | None:
        """Variance of the difference of two arms (`against` None: of the arm's own score) in the mean over these
        languages; None if any outcomes are missing."""

    def guess(self, languages: Sequence[str]) -> Guess:
        """The scores of guessing."""


class OutcomeSource(Protocol):
    """Where outcomes by example are read from (`viaduct.runs.outcomes.RunOutcomes`)."""

    def task(self, name: str) -> Mapping[str, Mapping[int, Mapping[str, LanguageOutcomes] | None]]:
        """Arm -> seed -> language -> outcomes."""


@dataclass(frozen=True)
class TaskOutcomes:
    """Outcomes by example of one task, held in memory."""

    by_arm: Mapping[str, Mapping[int, Mapping[str, LanguageOutcomes] | None]]
    _scores: dict[int, NDArray[Any]] = field(default_factory=dict)

    @property
    def fewest(self) -> int | None:
        """See `Examples`, as for the methods below."""
        return min((units for units, _ in self._sizes), default=None)

    @property
    def is_grouped(self) -> bool:
        """See `Examples`."""
        return any(units < examples for units, examples in self._sizes)

    def variance(
        self, arm: str, against: str | None, seeds: Sequence[int], languages: Sequence[str]
    ) -> ExampleVariance | None:
        """Estimated from products of different seeds, so None with a single seed."""
        mine = self._chosen(arm, seeds, languages)
        theirs = None if against is None else self._chosen(against, seeds, languages)
        if mine is None or len(seeds) < 2 or (against is not None and theirs is None):
            return None
        differences, told = {}, _most_joined([*mine, *(theirs or ())])
        for place, code in enumerate(languages):
            own = [one[place] for one in mine]
            other = own if theirs is None else [one[place] for one in theirs]
            if len({one.ids for one in (*own, *other)}) > 1:
                return None
            values_SN = np.stack([self._scored(one) for one in own])
            differences[code] = values_SN if theirs is None else values_SN - np.stack([self._scored(o) for o in other])
        units = {code: told[place].units for place, code in enumerate(languages)}
        return example_variance(differences, units)

    def guess(self, languages: Sequence[str]) -> Guess:
        """Means over the languages."""
        kept = [found for own in self.by_arm.values() for found in own.values() if found]
        first = next((found for found in kept if all(code in found for code in languages)), None)
        if first is None:
            return Guess(None, None)
        return Guess(*(_mean([getattr(first[code], name) for code in languages]) for name in ("chance", "majority")))

    @cached_property
    def _sizes(self) -> tuple[tuple[int, int], ...]:
        """(units, examples) of each model in each language; computed once, as every pair of arms asks."""
        kept = [one for own in self.by_arm.values() for found in own.values() for one in (found or {}).values()]
        return tuple((len(np.unique(one.units)), len(one.units)) for one in kept)

    def _chosen(self, arm: str, seeds: Sequence[int], languages: Sequence[str]) -> list[list[LanguageOutcomes]] | None:
        """Outcomes by seed, then by language; an untrained arm that was evaluated once has the same for every seed."""
        kept = self.by_arm.get(arm, {})
        once = next(iter(kept.values())) if len(kept) == 1 else None
        found = [kept.get(seed, once) for seed in seeds]
        if not all(one is not None and all(code in one for code in languages) for one in found):
            return None
        return [[one[code] for code in languages] for one in found if one is not None]

    def _scored(self, one: LanguageOutcomes) -> NDArray[Any]:
        """The scores of these outcomes, cached for the next pair of arms."""
        if id(one) not in self._scores:
            self._scores[id(one)] = one.scores().astype(np.float32)
        return self._scores[id(one)]


def _most_joined(models: Sequence[Sequence[LanguageOutcomes]]) -> Sequence[LanguageOutcomes]:
    """The one of these models, each a list by language, whose units join the most rows: scores made before rows had
    groups count every row as its own."""
    distinct = {tuple(id(one.units) for one in model): model for model in models}
    return min(distinct.values(), key=lambda model: sum(len(np.unique(one.units)) for one in model))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def level(
    scores: Mapping[int, Mapping[str, float]], arm: str, task: str, languages: Sequence[str], examples: Examples
) -> str:
    """ "at chance" if the interval of an arm's score overlaps the range of guessing (chance to majority), "at the
    ceiling" from 99 % up, else "", also if unknown. `scores`: seed -> language -> score."""
    seeds = [seed for seed, own in scores.items() if all(code in own for code in languages)]
    if not seeds or not languages:
        return ""
    values_SL = np.array([[scores[seed][code] for code in languages] for seed in seeds])
    if values_SL.mean() >= CEILING:
        return "at the ceiling"
    known = [value for value in examples.guess(languages) if value is not None]
    variance = examples.variance(arm, None, seeds, languages) if known else None
    if variance is None:
        return ""
    own = TaskDifference(task, tuple(languages), values_SL - max(known), variance)
    found = estimate([own])
    reach = 2 * variance.total**0.5
    low, high = found.interval or (found.mean - reach, found.mean + reach)
    return "at chance" if low <= 0 and high >= min(known) - max(known) else ""
