"""Training throughput of a mixture of tasks: one joint stage over four made-up tasks, against a Train stage for each,
on exactly the same batches.

`python benchmarks/mixture.py` prints a table for every shape and, as its last line, one JSON object with the ratios and
the raw samples. See docs/benchmarks.md for what is compared and how to read it. Weights and rows are synthetic, and
kept in a temporary folder while it runs (1.3 GB at 12x768).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, replace
from statistics import median
from typing import Any

from fresh_process import answer as fresh
from fresh_process import note
from mixture_worker import ALL, MEMBERS, UNION, Measurement, Request, Step, answer
from training_rows import SHAPES

BAR = 1.05
"""Maximum time of the mixture, relative to that of the single stages."""
SINGLE, HELD = "single_task", "single_task_union"
"""Divisors of the mixture's time: the time of the members' own stages, without and with all members' embedding rows."""
BATCH_TOKENS = {"12x768": 2048, "6x384": 2048, "2x32": 400}
QUICK_TOKENS = {"12x768": 1184, "6x384": 2048, "2x32": 400}
STEPS = {"12x768": 16, "6x384": 32, "2x32": 12}
QUICK_STEPS = {"12x768": 12, "6x384": 16, "2x32": 12}
"""Steps of the mixture; each member has about a quarter of them."""
QUICK_LIMIT = 300.0
"""Seconds after which a quick run starts no further repetition."""


def main() -> None:
    options = _options()
    started = time.monotonic()
    report: dict[str, Any] = {name: {} for name in ("ratios", "cpu_ratios", "spread", "cpu_spread", "bars", "samples")}
    report |= {name: {} for name in ("cpu_samples", "steps", "tokens", "peak_mib", "embedding_rows", "member_ratios")}
    report |= _answer({"threads": options.threads}, options)
    for shape in options.shapes:
        with tempfile.TemporaryDirectory(prefix="viaduct-mixture-") as folder:
            _answer({"shape": shape, "folder": folder, "seed": options.seed}, options)
            _add(report, shape, _repetitions(shape, folder, options, started))
    report |= {
        "threads": options.threads,
        "quick": options.quick,
        "seed": options.seed,
        "members": {name: asdict(member) for name, member in MEMBERS.items()},
        "total_seconds": time.monotonic() - started,
    }
    print(json.dumps(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller steps: under 10 minutes on 2 cores")
    parser.add_argument("--threads", type=int, default=1, help="threads of every measurement (default 1)")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["6x384", "12x768"])
    parser.add_argument("--repetitions", type=int, help="interleaved repetitions (default 3; quick: 1)")
    parser.add_argument("--steps", type=int, help="steps of the mixture, the untimed first ones too (default by shape)")
    parser.add_argument("--batch-tokens", type=int, help="tokens of a step, with padding (default by shape)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--same-process", action="store_true", help="no process per measurement: peak memory is wrong")
    return parser.parse_args()


def _answer(request: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The worker's answer, from a fresh process unless --same-process is set."""
    if options.same_process:
        return answer(request)
    return fresh("mixture_worker.py", request, options.threads)


def _repetitions(shape: str, folder: str, options: argparse.Namespace, started: float) -> list[dict[str, Measurement]]:
    """Measure the mixture, then every member alone, without and with all members' rows; then all of it again."""
    tokens = options.batch_tokens or (QUICK_TOKENS if options.quick else BATCH_TOKENS)[shape]
    steps = options.steps or (QUICK_STEPS if options.quick else STEPS)[shape]
    found: list[dict[str, Measurement]] = []
    for repetition in range(options.repetitions or (1 if options.quick else 3)):
        if repetition and options.quick and time.monotonic() - started > QUICK_LIMIT:
            break
        request = Request(ALL, shape, folder, steps, tokens, options.threads, options.seed)
        round_ = {ALL: _measured(request, options)}
        for name in MEMBERS:
            own = sum(step.member == name for step in round_[ALL].steps)
            if own < 2:
                raise SystemExit(f"{name} has {own} of the {steps} steps, and its first is not timed: raise --steps")
            for variant in (name, name + UNION):
                round_[variant] = _measured(replace(request, variant=variant, steps=own), options)
        _require_equal(round_)
        found.append(round_)
    return found


def _measured(request: Request, options: argparse.Namespace) -> Measurement:
    found = _answer(asdict(request), options)
    measured = Measurement(**{**found, "steps": [Step(**step) for step in found["steps"]]})
    cpu = sum(step.cpu_seconds for step in _timed(measured.steps))
    note(f"{request.shape} {request.variant}: {cpu:.1f} CPU seconds of timed steps")
    return measured


def _timed(steps: list[Step]) -> list[Step]:
    """All but the first step of every member: a stage's first step includes loading and the first use of its memory."""
    return [step for step in steps if step.own]


def _require_equal(measured: dict[str, Measurement]) -> None:
    """End the benchmark if a member's batches differ between the mixture and its own stage."""
    for name in MEMBERS:
        in_mixture = [(step.own, step.tokens) for step in measured[ALL].steps if step.member == name]
        for variant in (name, name + UNION):
            alone = [(step.own, step.tokens) for step in measured[variant].steps]
            if alone != in_mixture:
                raise SystemExit(f"{variant} has the batches {alone}, but {in_mixture} in the mixture")


def _seconds(
    measured: list[dict[str, Measurement]], variants: list[str], *, cpu: bool, member: str = ""
) -> list[float]:
    """Seconds of the timed steps of these variants in every repetition; with `member`, only its steps."""
    return [
        sum(
            step.cpu_seconds if cpu else step.seconds
            for variant in variants
            for step in _timed(one[variant].steps)
            if not member or step.member == member
        )
        for one in measured
    ]


def _add(report: dict[str, Any], shape: str, found: list[dict[str, Measurement]]) -> None:
    """Add this shape's numbers to the report, and print its table."""
    groups = {ALL: [ALL], SINGLE: list(MEMBERS), HELD: [name + UNION for name in MEMBERS]}
    key = f"mixture_{shape}"
    for cpu, samples in ((False, "samples"), (True, "cpu_samples")):
        for group, variants in groups.items():
            report[samples][f"{key}/{group}"] = _seconds(found, variants, cpu=cpu)
    for ratios, spread, samples in (("ratios", "spread", "samples"), ("cpu_ratios", "cpu_spread", "cpu_samples")):
        ours = report[samples][f"{key}/{ALL}"]
        for group in (SINGLE, HELD):
            theirs = report[samples][f"{key}/{group}"]
            pairs = [one / other for one, other in zip(ours, theirs, strict=True)]
            report[ratios][f"{key}/{group}"] = median(ours) / median(theirs)
            report[spread][f"{key}/{group}"] = [min(pairs), max(pairs)]
    report["bars"][f"{key}/{SINGLE}"] = {
        "at most": BAR,
        "by the clock": report["ratios"][f"{key}/{SINGLE}"] <= BAR,
        "by CPU seconds": report["cpu_ratios"][f"{key}/{SINGLE}"] <= BAR,
    }
    for name in MEMBERS:
        ours, theirs = (_seconds(found, [variant], cpu=True, member=name) for variant in (ALL, name))
        report["member_ratios"][f"{key}/{name}"] = median(ours) / median(theirs)
    for variant, first in found[0].items():
        own = f"{key}/{variant}"
        report["steps"][own] = [[asdict(step) for step in one[variant].steps] for one in found]
        report["tokens"][own] = sum(step.tokens for step in _timed(first.steps))
        report["peak_mib"][own] = max(one[variant].peak_mib for one in found)
        report["embedding_rows"][own] = first.embedding_rows
    _print_table(report, shape, len(found))


def _print_table(report: dict[str, Any], shape: str, repetitions: int) -> None:
    key = f"mixture_{shape}"
    print(f"\nmixture {shape}: {report['tokens'][f'{key}/{ALL}']:,} tokens, {repetitions} repetition(s)")
    print(f"{'':28}{'seconds':>9}{'CPU s':>8}{'mixture takes':>15}{'by CPU s':>10}{'embedding rows':>24}")
    for group, title in ((ALL, "mixture"), (SINGLE, "single stages"), (HELD, "single, with all rows")):
        wall, cpu = (median(report[samples][f"{key}/{group}"]) for samples in ("samples", "cpu_samples"))
        ratios = [report[name].get(f"{key}/{group}") for name in ("ratios", "cpu_ratios")]
        shown = ["" if ratio is None else f"{ratio:.3f}x" for ratio in ratios]
        held = [report["embedding_rows"][f"{key}/{ALL}"]]
        if group == SINGLE:
            held = [report["embedding_rows"][f"{key}/{name}"] for name in MEMBERS]
        rows = " ".join(map(str, held))
        print(f"{title:28}{wall:>9.2f}{cpu:>8.2f}{shown[0]:>15}{shown[1]:>10}{rows:>24}", flush=True)


if __name__ == "__main__":
    main()
