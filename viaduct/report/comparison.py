"""Compares arms of two runs the way a report compares the arms of one (`contrasts`).

Arms are paired by the seeds that both have. If they share fewer than three, and these are not all seeds of one side
either, all seeds of both count, unpaired (`metrics.difference.made_pairs`). What cannot be compared is left out, with
a note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from viaduct.errors import DataError, UsageError, unknown
from viaduct.metrics.difference import FEWEST_SEEDS, made_pairs
from viaduct.report import alike
from viaduct.report.contrast import Contrasts
from viaduct.report.contrasts import Comparing, ScoresBySeed, compare
from viaduct.report.examples import OutcomeSource, TaskOutcomes
from viaduct.report.no_result import NoResult
from viaduct.report.number import seed_list
from viaduct.report.table import comparable, counted_by_task, task_scores
from viaduct.results.record import MADE_FROM, About, ResultRow, StageCost

Definitions: TypeAlias = dict[tuple[str, str, str, str], set[str]]
"""(task, language, metric, what) -> its values."""


class Side(NamedTuple):
    """The finished results of one run."""

    name: str
    """Distinguishes it from the other side."""
    about: About
    rows: Sequence[ResultRow]
    costs: Sequence[StageCost]
    outcomes: OutcomeSource


class _Arm(NamedTuple):
    """One arm of one side; if the two sides are not paired, its `seeds` are combined into one value per label."""

    side: Side
    name: str
    scores: Mapping[str, ScoresBySeed]
    """Task -> scores, of the tasks that can be compared."""
    seeds: Sequence[int] = ()
    labels: Sequence[int] = ()

    @property
    def key(self) -> str:
        return f"{self.side.name}/{self.name}"

    def made(self, own: Mapping[int, Any], join: Callable[[Sequence[Any], Any], Any]) -> dict[int, Any]:
        """Label -> language -> the values of all seeds, combined by their weights for the label."""
        weights_MS = made_pairs(len(self.labels), len(self.seeds))
        return {
            label: {code: join([own[seed][code] for seed in self.seeds], weights_S) for code in own[self.seeds[0]]}
            for label, weights_S in zip(self.labels, weights_MS, strict=True)
        }

    def outcomes(self, own: Mapping[int, Any]) -> Mapping[int, Any]:
        """The outcomes of one task, weighted like its scores; unchanged if paired by seed, or if no seed enters; {} if
        those of a seed are missing."""
        if not self.seeds or len(own) == 1:
            return own
        return self.made(own, _joined) if all(own.get(seed) for seed in self.seeds) else {}


def _joined(models: Sequence[Any], weights_S: Any) -> Any:
    return replace(models[0], values={"score": weights_S @ np.stack([one.scores() for one in models])})


def compare_runs(first: Side, second: Side, arms: tuple[str, str] | None = None) -> tuple[Contrasts, tuple[str, ...]]:
    """(the differences, with arms named run/arm; what was left out, and what else a reader must know), for each arm
    that both runs have or, given `arms`, for an arm of the first run and one of the second.

    Raises UsageError for arms that have no scores, for an arm against itself, and if the runs share no arm; DataError
    if nothing can be compared.
    """
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
    members = [arm for pair in pairs for arm in pair]
    found = compare(
        {arm.key: arm.scores for arm in members},
        _comparing(sides, pairs),
        partial(_examples, members),
    )
    unpaired = {
        (one.key, other.key): f"{seed_list(one.seeds)} against {seed_list(other.seeds)}"
        for one, other in pairs
        if one.seeds
    }
    said = (f"{arm} and {against} are not paired: seeds {seeds}" for (arm, against), seeds in unpaired.items())
    notes = tuple(dict.fromkeys((*_notes(sides, rows, left_out), *said)))
    if not found.found:
        have = " and ".join(_tasks(side.name, side.rows) for side in sides)
        why = notes or (f"no task is in both: {have}",)
        raise DataError("\n  ".join(["the two runs have no result that can be compared", *why]))
    told = (replace(one, unpaired=unpaired.get((one.arm, one.against), "")) for one in found.found)
    return replace(found, found=tuple(told)), notes


def _tasks(name: str, rows: Sequence[ResultRow]) -> str:
    return f"{name} has {', '.join(dict.fromkeys(row.task for row in rows))}"


def _asked(first: Side, second: Side, arms: tuple[str, str] | None) -> list[tuple[str, str]]:
    """The pairs of arms to compare: (arm of the first side, arm of the second)."""
    known = [[arm for arm in side.about.arms if any(row.arm == arm for row in side.rows)] for side in (first, second)]
    for side, own in zip((first, second), known, strict=True):
        if not own:
            raise DataError(f"{side.name} has no scores", fix="run it; `viaduct status` says what is done")
    for side, own, name in zip((first, second), known, arms or (), strict=False):
        if name not in own:
            raise unknown(f"arm of {side.name}", name, own)
    asked = [arms] if arms else [(arm, arm) for arm in known[0] if arm in known[1]]
    if not asked:
        lists = ", and ".join(map(", ".join, known))
        raise UsageError(f"the two runs have no arm name in common ({lists})", fix="name two: --arms mnli squad")
    if first is second and any(one == other for one, other in asked):
        raise UsageError(f"{first.name} is compared with itself", fix="name two of its arms: --arms mnli none")
    return asked


def _definitions(side: Side, rows: Sequence[ResultRow]) -> Definitions:
    """What defines the scores of these rows, and which test rows they are computed on."""
    found: Definitions = {}
    for row in rows:
        vectors = row.signature.partition(MADE_FROM)[2]
        own = {
            "split": row.split,
            "stand-in": row.substitution or "none",
            "version of the card": str(row.task_version),
            "metric": row.metric_signature,
            # a layer chosen on dev may differ: it is part of what an arm is, as in a report
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
            found.setdefault(task, f"different {what} in {language}{metric and f', {metric}'}: {sides}")
    return found


def _paired(mine: _Arm, theirs: _Arm) -> tuple[_Arm, _Arm]:
    """The two arms, unchanged if they are paired by seed, else combined so that both have equally many values."""
    tasks = mine.scores.keys() & theirs.scores.keys()
    seeds = [_whole_seeds([arm.scores[task] for task in tasks]) for arm in (mine, theirs)]
    fewest = min(map(len, seeds))
    if not fewest or len({*seeds[0]} & {*seeds[1]}) >= min(FEWEST_SEEDS, fewest):
        return mine, theirs
    arms = [arm._replace(seeds=own, labels=min(seeds, key=len)) for arm, own in zip((mine, theirs), seeds, strict=True)]
    weighed = (
        {task: arm.made(arm.scores[task], lambda x, w: float(w @ np.array(x))) for task in tasks} for arm in arms
    )
    one, other = (arm._replace(scores={**arm.scores, **own}) for arm, own in zip(arms, weighed, strict=True))
    return one, other


def _whole_seeds(tasks: Sequence[ScoresBySeed]) -> list[int]:
    """The seeds that have all of these tasks in every language that any seed has."""
    codes = [{code for own in task.values() for code in own} for task in tasks]
    every = {seed for task in tasks for seed in task}
    return sorted(s for s in every if all(t.get(s, {}).keys() == own for t, own in zip(tasks, codes, strict=True)))


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


def _examples(arms: Sequence[_Arm], task: str) -> TaskOutcomes:
    read = {name: side.outcomes.task(task) for name, side in {arm.side.name: arm.side for arm in arms}.items()}
    return TaskOutcomes({arm.key: arm.outcomes(read[arm.side.name].get(arm.name, {})) for arm in arms})


def _notes(sides: Sequence[Side], rows: Sequence[Sequence[ResultRow]], left_out: Mapping[str, str]) -> Iterator[str]:
    yield from (f"{task} is left out: {why}" for task, why in left_out.items())
    yield from (note for side in sides for note in NoResult.of(side.about).notes)
    mine, theirs = ({"encoder": side.about.encoder, **side.about.settings} for side in sides)
    yield from (f"{what}: {own} against {theirs[what]}" for what, own in mine.items() if theirs.get(what, own) != own)
    for side, own in zip(sides, rows, strict=True):
        stand_ins = (row.substitution for row in own if row.substitution)
        yield from (f"{side.name}: {words}" for words in (*stand_ins, *side.about.leaks))
