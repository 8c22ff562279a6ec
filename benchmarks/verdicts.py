"""Checks whether the report's verdicts have the error rates that it promises, in worlds whose truth is known.

`python benchmarks/verdicts.py` draws 1,000 runs for every scenario of `benchmarks/scenarios` with 3, 5 and 9 seeds and
3 and 9 arms, sends their scores and outcomes through the report's comparisons and claims, and prints a table and, as
its last line, one JSON object. `--quick`: two cells of 60 runs. `--scenario FILE`: one scenario of your own (JSON, in
the form of `verdicts_world.Scenario`; `languages` may be "xtreme"), with its own seeds, arms and runs.

- family_wise_error: share of runs with any wrong "higher" or "lower", in the mean over tasks and in single tasks.
  *These* languages: the sign differs from that of the mean of the drawn effects, or that mean is exactly 0. *Like
  these*: a difference is reported to hold for languages like these, but the scenario's own effect is 0 or has the other
  sign.
- coverage: share of 95 % intervals, for these languages, that contain the mean of the drawn effects.
- power_at_detectable: share of runs that find one arm's difference if it is as large as another run printed as
  detectable, and no other arm has any.
- wrong_equivalent: share of runs with any "equivalent" if all differences are exactly the margin.
- wrong_claims: share of runs in which a claim of the literature is supported or contradicted against the truth.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import verdicts_claims
from verdicts_world import Scenario, World, arm_names, draw, with_size

from viaduct.metrics.verdict import Decision, decide
from viaduct.report import claims
from viaduct.report.contrast import Contrast, Contrasts
from viaduct.report.contrasts import MEANS, TASKS, Comparing, compare

LIBRARY = Path(__file__).parent / "scenarios"
PART = 50
"""Number of runs that are drawn one after another, as one part."""
SEEDS, ARMS, RUNS = (3, 5, 9), (3, 9), 1_000
WRONG, COVERAGE, POWER = 0.06, (0.93, 0.97), (0.75, 0.85)
"""The bars: errors fail if the lower 99 % bound of their rate is above theirs."""
STEPS = {"mean": MEANS, "single": TASKS}


Seen = dict[str, list[bool]]
"""What is counted -> whether it happened, one entry per run (coverage: per interval)."""


def members(found: Contrasts, step: str) -> list[Contrast]:
    """The contrasts of one step."""
    return [one for one in found.found if one.step == STEPS[step]]


def is_wrong(verdict: str, truth: float) -> bool:
    """Whether a verdict of "higher" or "lower" disagrees with the truth."""
    return verdict in ("higher", "lower") and (truth == 0 or (verdict == "higher") != (truth > 0))


def verdicts(world: World, scenario: Scenario) -> Contrasts:
    """The contrasts that a report would decide."""
    names = [task.name for task in scenario.tasks]
    pairs = claims.pairs(verdicts_claims.roles(scenario)) if scenario.roles else ()
    comparing = Comparing(arm_names(scenario.arms), names, pairs)
    return compare(world.scores, comparing, world.examples.__getitem__)


def shifted(step: Sequence[Contrast], truths: Sequence[float], targets: Sequence[float]) -> list[Decision]:
    """The decisions of a step if the true differences were these targets, and everything else as drawn."""
    moved = [
        replace(one.estimate, mean=one.mean - truth + target)
        for one, truth, target in zip(step, truths, targets, strict=True)
    ]
    return decide(moved, meaningful=[not one.meaningless for one in step])


def look(world: World, scenario: Scenario, found: Contrasts, step: str, earlier: dict[str, float]) -> Seen:
    """What one run shows in one step. `earlier`: step -> the detectable difference that the previous run printed."""
    own = members(found, step)
    these, like = (
        [world.truth.over(differences[one.arm], one.task) for one in own]
        for differences in (world.truth.these, world.truth.like_these)
    )
    beyond = [one.verdict if one.decision.holds_beyond else "" for one in own]
    margin = [scenario.margin / 100] * len(own)
    seen: Seen = {
        "these": [any(map(is_wrong, (one.verdict for one in own), these))],
        "like_these": [any(map(is_wrong, beyond, like))],
        "equivalent": [any(one.verdict == "equivalent" for one in shifted(own, these, margin))],
        "coverage": [],
        "power": [],
    }
    for one, truth in list(zip(own, these, strict=True))[: max(scenario.arms, len(scenario.tasks))]:
        if one.estimate.interval is not None:
            seen["coverage"].append(one.estimate.interval[0] <= truth <= one.estimate.interval[1])
    others = [0.0] * (len(own) - 1)
    if step in earlier:
        seen["power"].append(shifted(own, these, [earlier[step], *others])[0].verdict == "higher")
    # what a report would print if no arm had an effect
    printed = replace(own[0], decision=shifted(own, these, [0.0, *others])[0]).detectable
    if printed is not None:
        earlier[step] = printed
    return seen


def measure(scenario: Scenario, part: int = 0) -> dict[str, Seen]:
    """Step -> what its runs show; each part has its own draws."""
    rng = np.random.default_rng([scenario.random, part])
    found: dict[str, Seen] = {step: {} for step in STEPS}
    earlier: dict[str, float] = {}
    for _ in range(scenario.runs):
        world = draw(scenario, rng)
        decided = verdicts(world, scenario)
        for step in STEPS:
            add(found[step], look(world, scenario, decided, step, earlier))
        if scenario.roles:
            add(found["mean"], {"claims": [bool(verdicts_claims.wrong(world, scenario, decided))]})
    return found


def add(total: Seen, seen: Seen) -> None:
    """Append what was seen to the total."""
    for name, values in seen.items():
        total.setdefault(name, []).extend(values)


def rates(found: dict[str, Seen], runs: int, seconds: float) -> dict[str, Any]:
    """The rates of a cell, as printed."""
    share = {step: {name: float(np.mean(v)) if v else None for name, v in seen.items()} for step, seen in found.items()}
    return {
        "family_wise_error": {one: {step: share[step][one] for step in STEPS} for one in ("these", "like_these")},
        "coverage": share["mean"]["coverage"],
        "coverage_single": share["single"]["coverage"],
        "power_at_detectable": share["mean"]["power"],
        "power_single": share["single"]["power"],
        "wrong_equivalent": max(share[step]["equivalent"] or 0.0 for step in STEPS),
        "wrong_claims": share["mean"].get("claims"),
        "runs": runs,
        "seconds": round(seconds, 1),
    }


def misses(found: dict[str, Any]) -> list[str]:
    """The bars that a cell misses."""
    from scipy.stats import beta

    runs = found["runs"]

    def surely_above(rate: float, bar: float) -> bool:
        count = round(rate * runs)
        return count > 0 and float(beta.ppf(0.01, count, runs - count + 1)) > bar

    errors = {f"{q}, {s}": r for q, steps in found["family_wise_error"].items() for s, r in steps.items()}
    errors |= {"equivalent": found["wrong_equivalent"], "claims": found["wrong_claims"] or 0.0}
    lines = [f"{name} {rate:.3f}" for name, rate in errors.items() if surely_above(rate, WRONG)]
    bars = {"coverage": COVERAGE, "coverage_single": COVERAGE, "power_at_detectable": POWER, "power_single": POWER}
    for name, (low, high) in bars.items():
        if found[name] is not None and not low <= found[name] <= high:
            lines.append(f"{name} {found[name]:.3f}")
    return lines


def cells(quick: bool) -> list[Scenario]:
    """The library with every number of seeds and arms; two small ones if `quick`."""
    library = [Scenario.read(path) for path in sorted(LIBRARY.glob("*.json"))]
    if quick:
        return [with_size(one, seeds=3, arms=3, runs=60) for one in library if one.name in ("null", "small_sets")]
    return [with_size(one, seeds=seeds, arms=arms, runs=RUNS) for one in library for seeds in SEEDS for arms in ARMS]


def run(scenario: Scenario, pool: ProcessPoolExecutor | None) -> dict[str, Any]:
    """Run one cell; its runs are drawn in parts, so that the number of processes changes nothing."""
    start = time.perf_counter()
    sizes = [min(PART, scenario.runs - begin) for begin in range(0, scenario.runs, PART)]
    worlds = [scenario.model_copy(update={"runs": size}) for size in sizes]
    found: dict[str, Seen] = {step: {} for step in STEPS}
    for part in (pool.map if pool else map)(measure, worlds, range(len(worlds))):
        for step, seen in part.items():
            add(found[step], seen)
    return rates(found, scenario.runs, time.perf_counter() - start)


def line(scenario: Scenario, found: dict[str, Any]) -> str:
    """A row of the table."""
    shares = [found["family_wise_error"][one][step] for one in ("these", "like_these") for step in STEPS]
    rest = ("coverage", "coverage_single", "power_at_detectable", "power_single", "wrong_equivalent", "wrong_claims")
    shares += [found[name] for name in rest]
    numbers = "".join("     –" if one is None else f" {one:5.3f}" for one in shares)
    missed = "; ".join(misses(found))
    return f"{scenario.name:16} {scenario.seeds:5} {scenario.arms:4}{numbers} {found['seconds']:6.0f} s  {missed}"


HEAD = "scenario         seeds arms these       like these  coverage    power       equivalent claims"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    chosen = [Scenario.read(options.scenario)] if options.scenario else cells(options.quick)
    table = []
    with ProcessPoolExecutor(options.processes) if options.processes > 1 else nullcontext() as pool:
        print(HEAD, flush=True)
        for scenario in chosen:
            found = run(scenario, pool)
            print(line(scenario, found), flush=True)
            table.append({"scenario": scenario.name, "seeds": scenario.seeds, "arms": scenario.arms, **found})
    if options.scenario:
        print(json.dumps(table[0]))
        return
    missed = sum(bool(misses(one)) for one in table)
    print(json.dumps({"cells": table, "runs": sum(one["runs"] for one in table), "cells_beyond_a_bar": missed}))


if __name__ == "__main__":
    main()
