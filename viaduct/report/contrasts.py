"""Differences between arms: over tasks and for each task, in the languages other than English.

A task's score in a language is the one that counts in averages: (F1 + exact match) / 2 for question answering, else
the headline metric. The mean over tasks averages each task's mean over its languages. Estimates and verdicts are
defined in `viaduct.metrics.difference` and `viaduct.metrics.verdict`; whatever a report says about differences comes
from them.

Comparisons are decided in steps. In each step, the probability of any wrong verdict is at most 5 %. The steps are: the
comparisons that the recipe declared as deciding; all other arms against the baseline in the mean over tasks; by task;
in English, in the mean over the tasks that have it; then the same three for other pairs of arms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from viaduct.errors import UsageError, unknown
from viaduct.languages import ENGLISH
from viaduct.metrics.difference import Estimate, ExampleVariance, TaskDifference, estimate
from viaduct.metrics.verdict import MARGIN, decide
from viaduct.report.contrast import IN_ENGLISH, OVERALL, Contrast, Contrasts
from viaduct.report.examples import Examples, Guess, OutcomeSource, TaskOutcomes, level
from viaduct.report.table import comparable, counted_by_task, task_scores
from viaduct.results.record import BASELINE, About, ResultRow

STEPS = DECIDING, MEANS, TASKS, ENGLISH_MEANS, OTHER_MEANS, OTHER_TASKS, OTHER_ENGLISH = (
    "deciding",
    "arms, mean over tasks",
    "arms, by task",
    "arms, English",
    "other pairs, mean over tasks",
    "other pairs, by task",
    "other pairs, English",
)
"""The steps in which comparisons are decided."""

ScoresBySeed: TypeAlias = Mapping[int, Mapping[str, float]]
"""Seed -> language -> score of one arm on one task."""
Unlike: TypeAlias = Callable[[str, str, Sequence[str]], Sequence[str]]
"""(arm, against, tasks) -> how the conditions they were computed under differ, in words; () if nothing matters."""


def _alike(arm: str, against: str, tasks: Sequence[str]) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Comparing:
    """What is compared, and by which rules."""

    arms: Sequence[str]
    tasks: Sequence[str]
    pairs: Sequence[tuple[str, str]] = ()
    """(arm, against), besides each arm against the baseline."""
    deciding: Sequence[tuple[str, ...]] = ()
    """(arm, against): in the mean over all tasks; (arm, against, task, ...): in the mean over these tasks."""
    deciding_seeds: Sequence[int] = ()
    """The seeds that were declared for these; there is no verdict before all of them."""
    like_these: bool = False
    """Whether verdicts are about languages like these, instead of these languages."""
    unlike: Unlike = _alike

    @classmethod
    def of(cls, about: About, asked: Sequence[tuple[str, str]] = (), unlike: Unlike = _alike) -> Comparing:
        """The comparisons of a run. Raises UsageError for unknown arms and for an arm against itself."""
        for name in (name for pair in asked for name in pair):
            if name not in about.arms:
                raise unknown("arm", name, about.arms)
        for arm, against in asked:
            if arm == against:
                raise UsageError(f"'{arm}' is compared with itself", fix="name two arms")
        pairs = (*about.compare, *asked, *((one[0], one[1]) for one in about.deciding))
        like_these = about.question == "languages like these"
        seeds = (*about.seeds, *about.further_seeds)
        return cls(about.arms, about.tasks, pairs, about.deciding, seeds, like_these, unlike)

    @property
    def all_pairs(self) -> tuple[tuple[str, str], ...]:
        """All pairs to compare, those against the baseline first."""
        plain = [(arm, BASELINE) for arm in self.arms if arm != BASELINE and BASELINE in self.arms]
        return tuple(dict.fromkeys((*plain, *self.pairs)))

    def over_several(self, pair: tuple[str, str]) -> tuple[tuple[str, ...], ...]:
        """Each group of several tasks over whose mean this pair is decided."""
        return tuple(one[2:] for one in self.deciding if one[:2] == pair and len(one) > 3)

    def step(self, one: Contrast) -> str:
        """The step in which this contrast is decided."""
        if any((one.arm, one.against, one.task) == (*own[:2], _name(own[2:])) for own in self.deciding):
            return DECIDING
        plain = one.against == BASELINE
        means, tasks, english = (MEANS, TASKS, ENGLISH_MEANS) if plain else (OTHER_MEANS, OTHER_TASKS, OTHER_ENGLISH)
        return {OVERALL: means, IN_ENGLISH: english}.get(one.task, tasks)


def contrasts(
    about: About,
    rows: Sequence[ResultRow],
    comparing: Comparing | None = None,
    outcomes: OutcomeSource | None = None,
) -> Contrasts:
    """Each arm against the baseline, and the other requested pairs: the mean over tasks, then every task.

    Arms without a result in common are left out. Without `outcomes` there are numbers but no verdicts. Raises the same
    errors as `viaduct.report.table.comparable`.
    """
    found = comparable(about, rows)
    counted = counted_by_task(found)
    scores = task_scores(found, counted)

    def examples(task: str) -> Examples:
        return TaskOutcomes({} if outcomes is None else outcomes.task(task))

    return compare(scores, comparing or Comparing.of(about), examples)


def compare(
    scores: Mapping[str, Mapping[str, ScoresBySeed]],
    comparing: Comparing,
    examples: Callable[[str], Examples],
) -> Contrasts:
    """The comparisons of these scores (arm -> task -> seed -> language -> score). The examples of only one task at a
    time are held in memory."""
    parts: dict[tuple[str, str], dict[str, _Part]] = {pair: {} for pair in comparing.all_pairs}
    in_english: dict[tuple[str, str], dict[str, _Part]] = {pair: {} for pair in parts}
    levels: dict[tuple[str, str], str] = {}
    english_levels: dict[tuple[str, str], str] = {}
    guesses: dict[str, Guess] = {}
    grouped: list[str] = []
    for task in comparing.tasks:
        own = examples(task)
        arms = [arm for arm in comparing.arms if task in scores.get(arm, {})]
        codes = sorted({code for arm in arms for by_code in scores[arm][task].values() for code in by_code})
        others = [code for code in codes if code != ENGLISH]
        levels |= {(arm, task): level(scores[arm][task], arm, task, others, own) for arm in arms}
        if ENGLISH in codes:
            english_levels |= {(arm, task): level(scores[arm][task], arm, task, [ENGLISH], own) for arm in arms}
        if codes:
            guesses[task] = own.guess(codes)
        if own.is_grouped:
            grouped.append(task)
        for pair, found in parts.items():
            sides = [scores.get(arm, {}).get(task, {}) for arm in pair]
            if any(sides):
                found[task], in_english[pair][task] = _Part.both(pair, task, sides, own)
    listed = [
        one
        for pair in parts
        for one in _of_pair(pair, parts[pair], in_english[pair], (levels, english_levels), comparing.over_several(pair))
    ]
    return Contrasts(tuple(_decided(listed, comparing)), levels, guesses, tuple(grouped))


@dataclass(frozen=True)
class _Part:
    """Two arms on one task."""

    task: str
    seeds: tuple[int, ...]
    """The seeds that either arm has."""
    differences: Mapping[int, Mapping[str, float]]
    """Seed -> language (English too) -> difference, for seeds in which both have all of their common languages."""
    languages: tuple[str, ...]
    """The languages that count."""
    odd: tuple[str, ...]
    """The languages that would count, but that only one of the two has."""
    examples: ExampleVariance | None
    fewest: int | None

    @classmethod
    def both(
        cls, pair: tuple[str, str], task: str, sides: Sequence[ScoresBySeed], examples: Examples
    ) -> tuple[_Part, _Part]:
        """Two parts: (the one in the languages other than English, the one in English)."""
        mine, theirs = sides
        known = {code for own in theirs.values() for code in own}
        codes = tuple(dict.fromkeys(code for own in mine.values() for code in own if code in known))
        needed = set(codes)
        whole = [seed for seed in sorted(mine) if seed in theirs and all(needed <= side[seed].keys() for side in sides)]
        found = {seed: {code: mine[seed][code] - theirs[seed][code] for code in codes} for seed in whole if codes}
        seeds = tuple(sorted({*mine, *theirs}))
        alone = sorted({code for side in sides for own in side.values() for code in own} - needed)

        def part(english: bool) -> _Part:
            counted, odd = (tuple(code for code in own if (code == ENGLISH) == english) for own in (codes, alone))
            variance = examples.variance(*pair, tuple(found), counted) if counted and len(found) > 1 else None
            return cls(task, seeds, found, counted if found else (), odd, variance, examples.fewest)

        return part(english=False), part(english=True)

    @property
    def alone(self) -> set[int]:
        """Seeds that only one of the two has in full."""
        return {seed for seed in self.seeds if seed not in self.differences}

    def of_seeds(self, seeds: Sequence[int]) -> TaskDifference:
        """The differences of these seeds, as `viaduct.metrics.difference` takes them."""
        values_SL = np.array([[self.differences[seed][code] for code in self.languages] for seed in seeds])
        return TaskDifference(self.task, self.languages, values_SL, self.examples)


def _of_pair(
    pair: tuple[str, str],
    parts: Mapping[str, _Part],
    in_english: Mapping[str, _Part],
    levels: Sequence[Mapping[tuple[str, str], str]],
    several: Sequence[tuple[str, ...]],
) -> Iterator[Contrast]:
    """The contrasts of a pair over all tasks, over the deciding ones, by task and in English, without verdicts yet;
    none if the two arms have nothing in common."""
    shared, english = ({task: part for task, part in own.items() if part.languages} for own in (parts, in_english))
    groups: list[tuple[str, Sequence[str], dict[str, _Part]]] = [
        (OVERALL, tuple(parts), shared),
        *((_name(tasks), tasks, {task: shared[task] for task in tasks if task in shared}) for tasks in several),
        *((task, (task,), {task: part}) for task, part in shared.items()),
        (IN_ENGLISH, (), english),
    ]
    for task, wanted, members in groups:
        own = list(members.values())
        every = sorted({seed for part in own for seed in part.seeds})
        seeds = tuple(seed for seed in every if all(seed in part.differences for part in own))
        if not members or not seeds:
            continue
        missing = (
            *(name for name in wanted if name not in members),
            *(f"seed {seed}" for seed in every if any(seed in part.alone for part in own)),
            *(f"{part.task} in {', '.join(part.odd)}" for part in own if part.odd),
        )
        yield Contrast(
            *pair,
            task,
            tuple(members),
            seeds,
            estimate([part.of_seeds(seeds) for part in own]),
            *_by_language(own, seeds),
            missing=missing,
            meaningless=_meaningless(pair, own, levels[task == IN_ENGLISH]),
        )


def _name(tasks: Sequence[str]) -> str:
    """Name of the mean over these tasks, used in place of a task."""
    return ", ".join(tasks)


def _by_language(parts: Sequence[_Part], seeds: Sequence[int]) -> tuple[dict[str, float], dict[str, float]]:
    """(language -> weight, language -> mean difference over seeds and tasks, weighted as in the mean)."""
    weights: dict[str, float] = {}
    sums: dict[str, float] = {}
    shares: dict[str, float] = {}
    for part in parts:
        share = 1 / (len(parts) * len(part.languages))
        weights |= {code: weights.get(code, 0.0) + share for code in part.languages}
        for code in part.differences[seeds[0]]:
            mean = sum(part.differences[seed][code] for seed in seeds) / len(seeds)
            sums[code] = sums.get(code, 0.0) + share * mean
            shares[code] = shares.get(code, 0.0) + share
    return weights, {code: value / shares[code] for code, value in sums.items()}


def _meaningless(pair: tuple[str, str], parts: Sequence[_Part], levels: Mapping[tuple[str, str], str]) -> str:
    """Why "equivalent" would mean nothing here: at chance and at the ceiling all arms are equal, and a margin below one
    test row cannot be resolved. "" if it would mean something."""
    for part in parts:
        for arm in pair:
            if at := levels.get((arm, part.task)):
                return f"{arm} is {at} on {part.task}"
    if any(part.fewest is not None and 1 / part.fewest / len(parts) > MARGIN for part in parts):
        return "the test sets are too small for a margin of half a point"
    return ""


def _decided(listed: Sequence[Contrast], comparing: Comparing) -> list[Contrast]:
    """Each contrast with its verdict; those of one step are decided together."""
    steps: dict[str, list[int]] = {name: [] for name in STEPS}
    marked = [_marked(one, comparing) for one in listed]
    for number, one in enumerate(marked):
        steps[comparing.step(one)].append(number)
    for name, members in steps.items():
        step = [marked[number] for number in members]
        meaningful = [not one.meaningless for one in step]
        decisions = decide(
            [one.estimate for one in step],
            meaningful=meaningful,
            like_these=comparing.like_these,
            declared=len(comparing.deciding) if name == DECIDING else 0,
        )
        for number, decision in zip(members, decisions, strict=True):
            marked[number] = replace(marked[number], step=name, decision=decision)
    own = {_over(one): one for one in marked if one.step == DECIDING and one.task != OVERALL}
    return [_as_declared(one, own.get(_over(one))) for one in marked]


def _over(one: Contrast) -> tuple[str, str, frozenset[str]]:
    return one.arm, one.against, frozenset(one.tasks)


def _as_declared(one: Contrast, declared: Contrast | None) -> Contrast:
    """A mean over just the tasks of a deciding comparison takes the verdict of that comparison."""
    if declared is None or one.task != OVERALL:
        return one
    return replace(one, step=declared.step, decision=declared.decision, estimate=declared.estimate)


def _marked(one: Contrast, comparing: Comparing) -> Contrast:
    """The contrast; its spread, and so its verdict, is removed if the two were computed differently, if they lack a
    declared task or seed, or if nothing can be said about the languages that verdicts are for."""
    differs = tuple(comparing.unlike(one.arm, one.against, one.tasks))
    decides, declared = comparing.step(one) == DECIDING, comparing.deciding_seeds
    lacking = [name for name in one.missing if name in comparing.tasks] if decides else []
    if differs:
        why = f"computed differently: {'; '.join(differs)}"
    elif lacking and one.task != OVERALL:
        why = f"declared to include {', '.join(lacking)}, on which the two have no result in common"
    elif decides and one.estimate.spread is not None and not {*declared} <= {*one.seeds}:
        why = f"declared with {len(declared)} seeds, has {len({*declared} & {*one.seeds})}"
    elif comparing.like_these and one.estimate.spread is not None and one.estimate.like_these is None:
        why = "too few language families, or only one group of them, for languages like these"
    else:
        return one
    return replace(one, unlike=differs, estimate=Estimate(one.estimate.mean, None, why, None))
