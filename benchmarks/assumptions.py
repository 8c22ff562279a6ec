"""What verdicts are worth where an assumption of theirs fails: the table of docs/statistics.md.

`python benchmarks/assumptions.py [RUNS]` draws worlds in which nothing differs (`verdicts_world`), breaks one
assumption in each, sends them through the report's comparisons, and prints for one arm against the baseline the share
of runs that are "higher" or "lower", and of 95 % intervals that contain 0. Its last line is one JSON object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from verdicts import is_wrong
from verdicts_world import Deviations, Scenario, ScenarioTask, World, arm_names, draw

from viaduct.metrics.interval import interval
from viaduct.metrics.score import Outcomes
from viaduct.report.contrasts import Comparing, compare
from viaduct.report.examples import TaskOutcomes
from viaduct.results.outcomes import LanguageOutcomes
from viaduct.results.record import BASELINE

Broken: TypeAlias = Callable[[World, np.random.Generator], World]

RUNS = 1_000
SEEDS_MATTER = Deviations(seed=1.0, cell=0.5)
ROWS_MATTER = Deviations(seed=0.1, cell=0.1)
FAILING_GROUPS = ((30, 20), (60, 5))
"""(groups, rows of each) of test sets in which few groups fail as a whole."""
FAILING, LOSS = 1 / 8, 0.1
"""The share of trainings that fail, and what they lose: ten standard deviations of the others."""
RETRIEVAL = ScenarioTask(name="tatoeba", languages="xtreme", examples=120)
INFERENCE = ScenarioTask(name="xnli", languages="xtreme", examples=294, parallel=True)


def intact(world: World, _: np.random.Generator) -> World:
    return world


def copied(world: World, _: np.random.Generator) -> World:
    """The last seed of the arm is the one before it, under another number."""
    scores, outcomes = dict(world.scores), _outcomes(world)
    for name in (name for name in scores if name != BASELINE):
        for own in (*scores[name].values(), *(by_arm[name] for by_arm in outcomes.values())):
            own[max(own)] = own[max(own) - 1]
    return replace(world, scores=scores, examples={task: TaskOutcomes(own) for task, own in outcomes.items()})


def repeated(share: float, times: int = 2, *, known: bool = False) -> Broken:
    """This share of the rows is in each test set so many times: in other words, so that no group joins them, or, if
    `known`, as rows of one group that are all right or all wrong."""

    def again(world: World, rng: np.random.Generator) -> World:
        def copies(one: LanguageOutcomes, code: str, chosen: dict[str, Any]) -> LanguageOutcomes:
            size = len(one.units)
            rows = chosen.setdefault(code, np.tile(np.flatnonzero(rng.random(size) < share), times - 1))
            values = {name: np.concatenate([found, found[rows]]) for name, found in one.values.items()}
            units = one.units[rows] + (0 if known else size)
            return replace(one, values=values, units=np.concatenate([one.units, units]))

        made: dict[str, dict[str, Any]] = {}
        scores: dict[str, dict[str, Any]] = {name: {} for name in world.scores}
        for task, by_arm in _outcomes(world).items():
            chosen: dict[str, Any] = {}
            for name, by_seed in by_arm.items():
                own = {seed: {c: copies(one, c, chosen) for c, one in found.items()} for seed, found in by_seed.items()}
                made.setdefault(task, {})[name] = own
                scores[name][task] = {
                    seed: {code: float(one.scores().mean()) for code, one in found.items()}
                    for seed, found in own.items()
                }
        return replace(world, scores=scores, examples={task: TaskOutcomes(own) for task, own in made.items()})

    return again


def failing(world: World, rng: np.random.Generator) -> World:
    """Some trainings fail, equally often in all arms that are trained. The mean over many trainings does not change,
    and neither do deviations of single rows from it, so that outcomes stay as they are."""

    def shifted(name: str, task: str, by_seed: Mapping[int, Mapping[str, float]]) -> dict[int, dict[str, float]]:
        if name == BASELINE and task == RETRIEVAL.name:
            return {seed: dict(own) for seed, own in by_seed.items()}
        lost = {seed: LOSS * (float(rng.random() < FAILING) - FAILING) for seed in by_seed}
        return {seed: {code: value - lost[seed] for code, value in own.items()} for seed, own in by_seed.items()}

    scores = {
        name: {task: shifted(name, task, own) for task, own in tasks.items()} for name, tasks in world.scores.items()
    }
    return replace(world, scores=scores)


def _outcomes(world: World) -> dict[str, dict[str, dict[int, Mapping[str, LanguageOutcomes]]]]:
    return {
        task: {name: {seed: one or {} for seed, one in own.items()} for name, own in found.by_arm.items()}
        for task, found in world.examples.items()
    }


CELLS: tuple[tuple[str, ScenarioTask, Deviations, tuple[int, ...], Broken], ...] = (
    ("nothing fails, untrained baseline", RETRIEVAL, SEEDS_MATTER, (3, 9), intact),
    ("nothing fails, rows matter", RETRIEVAL, ROWS_MATTER, (3, 9), intact),
    ("nothing fails, the same rows in all languages", INFERENCE, SEEDS_MATTER, (3, 9), intact),
    ("one training in eight fails, untrained baseline", RETRIEVAL, SEEDS_MATTER, (3, 9), failing),
    ("one training in eight fails in both arms", INFERENCE, SEEDS_MATTER, (3, 9), failing),
    ("one seed is a copy", RETRIEVAL, SEEDS_MATTER, (3, 9), copied),
    (
        "20 known groups of 20 rows",
        INFERENCE.model_copy(update={"examples": 20}),
        ROWS_MATTER,
        (3, 9),
        repeated(1.0, 20, known=True),
    ),
    (
        "100 known groups of 5 rows",
        INFERENCE.model_copy(update={"examples": 100}),
        ROWS_MATTER,
        (3, 9),
        repeated(1.0, 5, known=True),
    ),
    ("every row twice, rows matter", RETRIEVAL, ROWS_MATTER, (3, 9), repeated(1.0)),
    ("one row in ten twice, rows matter", RETRIEVAL, ROWS_MATTER, (3, 9), repeated(0.1)),
)


def measure(task: ScenarioTask, sd: Deviations, seeds: int, broken: Broken, runs: int) -> tuple[float, float]:
    """(share of wrong verdicts, coverage)."""
    scenario = Scenario(tasks=(task,), seeds=seeds, arms=1, sd=sd, changed_examples=0.1)
    rng = np.random.default_rng(seeds)
    wrong, covered = [], []
    for _ in range(runs):
        world = broken(draw(scenario, rng), rng)
        (one, *_rest) = compare(world.scores, Comparing(arm_names(1), [task.name]), world.examples.__getitem__).found
        low, high = one.estimate.interval or (0.0, 0.0)
        wrong.append(is_wrong(one.verdict, 0.0))
        covered.append(low <= 0 <= high)
    return float(np.mean(wrong)), float(np.mean(covered))


def peeked(runs: int) -> float:
    """The share of runs that are wrong at least once for someone who looks after every seed, from the third to the
    ninth; reports prevent this for deciding comparisons."""
    rng, wrong = np.random.default_rng(9), 0
    for _ in range(runs):
        world = draw(Scenario(tasks=(RETRIEVAL,), seeds=9, arms=1, sd=SEEDS_MATTER, changed_examples=0.1), rng)
        wrong += any(_looks_wrong(world, last) for last in range(3, 10))
    return wrong / runs


def _looks_wrong(world: World, last: int) -> bool:
    """Whether the first `last` seeds look as if the arms differed."""
    scores = {
        name: {task: dict(list(own.items())[:last]) for task, own in tasks.items()}
        for name, tasks in world.scores.items()
    }
    (one, *_rest) = compare(scores, Comparing(arm_names(1), [RETRIEVAL.name]), world.examples.__getitem__).found
    return is_wrong(one.verdict, 0.0)


def covered_where_groups_fail(count: int, size: int, runs: int) -> float:
    """How often a single score's interval holds the truth if 5 % of the groups fail as a whole, and 5 % of the rest."""
    rng, ids = np.random.default_rng(count), [str(number) for number in range(count * size)]
    groups, hits = [f"group {number // size}" for number in range(count * size)], 0
    for _ in range(runs):
        right = np.repeat(rng.random(count) < 0.95, size) & (rng.random(count * size) < 0.95)
        low, high = interval({"de": Outcomes(ids, {"accuracy": right.tolist()}, groups=groups)})
        hits += low <= 0.95**2 <= high
    return hits / runs


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    found = []
    print(f"{'world':50} seeds wrong coverage")
    for name, task, sd, sizes, broken in CELLS:
        for seeds in sizes:
            wrong, coverage = measure(task, sd, seeds, broken, runs)
            print(f"{name:50} {seeds:5} {wrong:5.3f} {coverage:8.3f}", flush=True)
            found.append({"world": name, "seeds": seeds, "wrong": wrong, "coverage": coverage})
    looked = peeked(runs)
    print(f"{'looked at after every seed from 3 to 9':50} {9:5} {looked:5.3f}")
    single = {f"{count} x {size}": covered_where_groups_fail(count, size, runs) for count, size in FAILING_GROUPS}
    for shape, coverage in single.items():
        print(f"{f'one score, {shape} rows, 5 % of the groups fail':50} {'':5} {'':5} {coverage:8.3f}")
    print(json.dumps({"runs": runs, "cells": found, "peeked": looked, "single": single}))


if __name__ == "__main__":
    main()
