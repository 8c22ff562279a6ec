"""Arms of two runs against each other, by the comparisons that a report makes of the arms of one (`contrasts`).

Arms are paired by the seeds that both have. Where fewer than three are in common, and not all of one side's either, all
seeds of both count, without pairs (`metrics.difference.made_pairs`). What cannot be compared is left out, and said.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from viaduct.errors import DataError, UsageError, unknown
from viaduct.metrics.difference import FEWEST_SEEDS, made_pairs
from viaduct.metrics.spread import Numbers
from viaduct.report import alike
from viaduct.report.contrasts import Comparing, Contrasts, ScoresBySeed, compare, contrast_lines
from viaduct.report.examples import OutcomeSource, TaskOutcomes
from viaduct.report.no_result import NoResult
from viaduct.report.number import seed_list
from viaduct.report.table import comparable, counted_by_task, task_scores
from viaduct.results.outcomes import LanguageOutcomes
from viaduct.results.record import MADE_FROM, About, ResultRow, StageCost

Outcomes: TypeAlias = Mapping[int, Mapping[str, LanguageOutcomes] | None]
"""Seed -> language -> outcomes of one arm on one task."""
Definitions: TypeAlias = dict[tuple[str, str, str, str], set[str]]
"""(task, language, metric, what) -> its values."""


class Side(NamedTuple):
    """What is done of one run."""

    name: str
    """Tells it from the other one."""
    about: About
    rows: Sequence[ResultRow]
    costs: Sequence[StageCost]
    outcomes: OutcomeSource


class Comparison(NamedTuple):
    """Two runs compared."""

    differences: Contrasts
    """Arms are called run/arm."""
    unpaired: Mapping[tuple[str, str], str]
    """(arm, against) -> the seeds of both sides, "1 2 3 against 4 5 6", where these are not paired."""
    notes: tuple[str, ...]
    """What was left out, and what else a reader has to know."""

    def lines(self) -> list[dict[str, Any]]:
        """As in a report's `contrasts.csv`, with the seeds of both sides where these are not paired."""
        found = contrast_lines(self.differences)
        return [line | {"seeds": self.unpaired.get((line["arm"], line["against"]), line["seeds"])} for line in found]


class _Arm(NamedTuple):
    """One arm of one side; where the two sides are not paired, with what makes its seeds as many as the other has."""

    side: Side
    name: str
    scores: Mapping[str, ScoresBySeed]
    """Of the tasks that can be compared."""
    seeds: Sequence[int] = ()
    labels: Sequence[int] = ()
    weights_MS: Numbers | None = None

    @property
    def key(self) -> str:
        return f"{self.side.name}/{self.name}"

    def whole_seeds(self, tasks: Collection[str]) -> list[int]:
        """The seeds that have these tasks in all languages that any seed has."""
        codes = {task: {code for own in self.scores[task].values() for code in own} for task in tasks}
        every = {seed for task in tasks for seed in self.scores[task]}
        return sorted(s for s in every if all(self.scores[task].get(s, {}).keys() == codes[task] for task in tasks))

    def weighed(self, tasks: Collection[str], seeds: Sequence[int], labels: Sequence[int]) -> _Arm:
        """The same with as many scores on these tasks as there are labels."""
        weights_MS, scores = made_pairs(len(labels), len(seeds)), dict(self.scores)
        for task in tasks:
            own = self.scores[task]
            codes = tuple(own[seeds[0]])
            made_ML = weights_MS @ np.array([[own[seed][code] for code in codes] for seed in seeds])
            made = (dict(zip(codes, map(float, one), strict=True)) for one in made_ML)
            scores[task] = dict(zip(labels, made, strict=True))
        return _Arm(self.side, self.name, scores, seeds, labels, weights_MS)

    def outcomes(self, own: Outcomes) -> Outcomes:
        """Those of one task, weighed like its scores; of an arm that no seed enters as they are."""
        models = [one for seed in self.seeds if (one := own.get(seed)) is not None]
        if self.weights_MS is None or len(own) == 1 or len(models) < len(self.seeds):
            return own
        codes = [code for code in models[0] if len({one[code].ids if code in one else "" for one in models}) == 1]
        made = {code: self.weights_MS @ np.stack([one[code].scores() for one in models]) for code in codes}
        return {
            label: {code: replace(models[0][code], values={"score": made[code][place]}) for code in codes}
            for place, label in enumerate(self.labels)
        }


def compare_runs(first: Side, second: Side, arms: tuple[str, str] | None = None) -> Comparison:
    """Each arm that both have, or an arm of the first run against one of the second. Raises UsageError for arms that
    are not there, and for an arm against itself; DataError where nothing can be compared."""
    sides, asked = (first, second), _asked(first, second, arms)
    every = tuple(dict.fromkeys(seed for side in sides for seed in side.about.seeds + side.about.further_seeds))
    rows = []
    for side, own in zip(sides, zip(*asked, strict=True), strict=True):
        about = side.about.model_copy(update={"seeds": every, "further_seeds": ()})
        rows.append([row for row in comparable(about, side.rows) if row.arm in own])
    left_out = {} if first is second else _left_out(*map(_definitions, sides, rows))
    rows = [[row for row in own if row.task not in left_out] for own in rows]
    scores = [task_scores(own, counted_by_task(own)) for own in rows]
    pairs = [
        _paired(_Arm(first, one, scores[0].get(one, {})), _Arm(second, other, scores[1].get(other, {})))
        for one, other in asked
    ]
    found = compare(
        {arm.key: arm.scores for pair in pairs for arm in pair},
        _comparing(sides, pairs),
        partial(_examples, {arm.key: arm for pair in pairs for arm in pair}),
    )
    notes = tuple(dict.fromkeys(_notes(sides, rows, left_out)))
    if not found.found:
        raise DataError("\n  ".join(["the two runs have no result that can be compared", *notes]))
    unpaired = {
        (one.key, other.key): f"{seed_list(one.seeds)} against {seed_list(other.seeds)}"
        for one, other in pairs
        if one.seeds
    }
    return Comparison(found, unpaired, notes)


def _asked(first: Side, second: Side, arms: tuple[str, str] | None) -> list[tuple[str, str]]:
    """The arms of both sides that are compared."""
    known = [[arm for arm in side.about.arms if any(row.arm == arm for row in side.rows)] for side in (first, second)]
    for side, own, name in zip((first, second), known, arms or (), strict=False):
        if name not in own:
            raise unknown(f"arm of {side.name}", name, own)
    asked = [arms] if arms else [(arm, arm) for arm in known[0] if arm in known[1]]
    if not asked:
        lists = ", and ".join(", ".join(own) or "none" for own in known)
        raise UsageError(f"the two runs have no arm of the same name ({lists})", fix="name two: --arms mnli squad")
    if first is second and any(one == other for one, other in asked):
        raise UsageError(f"{first.name} is compared with itself", fix="name two of its arms: --arms mnli none")
    return asked


def _definitions(side: Side, rows: Sequence[ResultRow]) -> Definitions:
    """What the scores of these rows are, and of which test rows."""
    found: Definitions = {}
    for row in rows:
        vectors = row.signature.partition(MADE_FROM)[2]
        own = {
            "split": row.split,
            "stand-in": row.substitution or "none",
            "version of the card": str(row.task_version),
            "metric": row.metric_signature,
            # a layer that was chosen on dev is part of what an arm is, as in a report
            "vectors": re.sub(r"\d+", "", vectors) if "the best of" in vectors else vectors,
            "number of rows": f"{row.n:,}",
        }
        for what, value in own.items():
            found.setdefault((row.task, row.language, row.metric, what), set()).add(value)
    arms = {row.arm for row in rows}
    for task in dict.fromkeys(row.task for row in rows):
        models = [one for arm, own in side.outcomes.task(task).items() if arm in arms for one in own.values() if one]
        for code, one in ((code, one) for model in models for code, one in model.items()):
            found.setdefault((task, code, "", "ids of the rows"), set()).add(one.ids)
    return found


def _left_out(mine: Definitions, theirs: Definitions) -> dict[str, str]:
    """Task -> why its scores cannot be compared, in words."""
    found: dict[str, str] = {}
    for key, own in mine.items():
        if own != theirs.get(key, own):
            task, language, metric, what = key
            sides = " against ".join(" and ".join(sorted(value[:80] for value in one)) for one in (own, theirs[key]))
            found.setdefault(task, f"other {what} in {language}{metric and f', {metric}'}: {sides}")
    return found


def _paired(mine: _Arm, theirs: _Arm) -> tuple[_Arm, _Arm]:
    """The two as they are where they are paired by their seeds, else with seeds made as many as the other's."""
    tasks = mine.scores.keys() & theirs.scores.keys()
    seeds = [arm.whole_seeds(tasks) for arm in (mine, theirs)]
    fewest = min(map(len, seeds))
    if not fewest or len({*seeds[0]} & {*seeds[1]}) >= min(FEWEST_SEEDS, fewest):
        return mine, theirs
    labels = min(seeds, key=len)
    return mine.weighed(tasks, seeds[0], labels), theirs.weighed(tasks, seeds[1], labels)


def _comparing(sides: Sequence[Side], pairs: Sequence[tuple[_Arm, _Arm]]) -> Comparing:
    conditions = {f"{side.name}/{arm}": one for side in sides for arm, one in alike.conditions(side.costs).items()}
    may_differ = all(side.about.compare_unlike for side in sides)
    return Comparing(
        [arm.key for pair in pairs for arm in pair],
        tuple(dict.fromkeys(task for side in sides for task in side.about.tasks)),
        [(one.key, other.key) for one, other in pairs],
        like_these=all(side.about.question == "languages like these" for side in sides),
        unlike=partial(alike.differing, {} if may_differ else conditions),
    )


def _examples(arms: Mapping[str, _Arm], task: str) -> TaskOutcomes:
    read = {side.name: side.outcomes.task(task) for side in {arm.side.name: arm.side for arm in arms.values()}.values()}
    found = {key: read[arm.side.name].get(arm.name) for key, arm in arms.items()}
    return TaskOutcomes({key: arms[key].outcomes(own) for key, own in found.items() if own is not None})


def _notes(sides: Sequence[Side], rows: Sequence[Sequence[ResultRow]], left_out: Mapping[str, str]) -> Iterator[str]:
    yield from (f"{task} is left out: {why}" for task, why in left_out.items())
    yield from (note for side in sides for note in NoResult.of(side.about).notes)
    encoders = [side.about.encoder for side in sides]
    if encoders[0] != encoders[1]:
        yield f"encoder: {encoders[0]} against {encoders[1]}"
    mine, theirs = (side.about.settings for side in sides)
    yield from (
        f"{what}: {mine[what]} against {theirs[what]}" for what in mine if theirs.get(what, mine[what]) != mine[what]
    )
    for side, own in zip(sides, rows, strict=True):
        stand_ins = (row.substitution for row in own if row.substitution)
        yield from (f"{side.name}: {words}" for words in (*stand_ins, *side.about.leaks))
