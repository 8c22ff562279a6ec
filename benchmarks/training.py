"""Training throughput: our loop against transformers' Trainer on the same model, rows and threads.

`python benchmarks/training.py` prints a table for every shape and, as its last line, one JSON object with the ratios
and the raw samples. See docs/benchmarks.md for what is compared and how to read it. Nothing is written to disk.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from statistics import median
from typing import Any

from fresh_process import answer
from training_rows import BATCH_ROWS, LENGTH_SIGMA, LONGEST, MEAN_TOKENS, SHAPES, Shape, make_rows
from training_worker import Measurement, Request, batch_tokens, measure, speed

OURS = "viaduct"
THEIRS = ("trainer_default", "dynamic_padding", "length_grouped")
ABLATION = "viaduct_without_onednn"
TITLES = {
    "trainer_default": "Trainer, padded to 128",
    "dynamic_padding": "Trainer, dynamic padding",
    "length_grouped": "Trainer, length-grouped",
    OURS: "Viaduct",
    ABLATION: "Viaduct without oneDNN",
}
FULL_ROWS = {"12x768": 640, "6x384": 1600, "2x32": 64}
QUICK_ROWS = {"12x768": 192, "6x384": 640, "2x32": 64}
QUICK_SECONDS = {"12x768": 370.0, "6x384": 130.0, "2x32": 20.0}
"""What a quick run may take for a shape's first repetition, by an estimate before it; else it has fewer rows."""
QUICK_LIMIT = 480.0
"""Seconds after which a quick run starts no further repetition."""


def main() -> None:
    options = _options()
    started = time.monotonic()
    about = _run({"threads": options.threads}, options)
    limit = QUICK_LIMIT if options.quick else float("inf")
    report: dict[str, Any] = {"ratios": {}, "spread": {}, "cpu_ratios": {}, "samples": {}, "cpu_samples": {}}
    report |= {"padding": {}, "peak_mib": {}, "rows": {}, "steps": {}, "embedding_rows": {}}
    for name in options.shapes:
        timed_rows = _timed_rows(name, options, about["flops_per_second"])
        found = _repetitions(name, timed_rows, options, started + limit)
        _print_table(name, found)
        _add(report, name, found)
    rows = make_rows(SHAPES[options.shapes[0]], options.seed)
    data = {"lengths": "log-normal", "mean": MEAN_TOKENS, "sigma": LENGTH_SIGMA, "longest": LONGEST}
    report |= {
        **about,
        "threads": options.threads,
        "quick": options.quick,
        "seed": options.seed,
        "trainer_rows_per_step": BATCH_ROWS,
        "viaduct_tokens_per_step": batch_tokens(rows),
        "data": data,
        "total_seconds": time.monotonic() - started,
    }
    print(json.dumps(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows and repetitions: under 10 minutes on 2 cores")
    parser.add_argument("--threads", type=int, default=1, help="threads of every measurement (default 1)")
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["6x384", "12x768"])
    parser.add_argument("--repetitions", type=int, help="interleaved repetitions (default 3; quick: 1, more if time)")
    parser.add_argument("--rows", type=int, help="timed rows, a multiple of 32 (default by shape)")
    parser.add_argument("--ablations", action="store_true", help="also time our loop without oneDNN's products")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--same-process", action="store_true", help="no process per measurement: peak memory is wrong")
    options = parser.parse_args()
    if options.rows is not None and (options.rows <= 0 or options.rows % BATCH_ROWS):
        parser.error(f"--rows must be a multiple of {BATCH_ROWS}, so that every step of the Trainer is full")
    return options


def _run(request: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The worker's answer, from a fresh process unless --same-process."""
    if options.same_process:
        return asdict(measure(Request(**request))) if "variant" in request else speed(request["threads"])
    return answer("training_worker.py", request, options.threads)


def _timed_rows(name: str, options: argparse.Namespace, flops_per_second: float) -> int:
    if options.rows is not None:
        return int(options.rows)
    if not options.quick:
        return FULL_ROWS[name]
    rows = QUICK_ROWS[name]
    while rows > 3 * BATCH_ROWS and _estimate(SHAPES[name], rows, flops_per_second) > QUICK_SECONDS[name]:
        rows -= BATCH_ROWS
    return rows


def _estimate(shape: Shape, rows: int, flops_per_second: float) -> float:
    """About how many seconds one repetition of all variants takes."""
    weights = shape.layers * (4 * shape.width**2 + 2 * shape.width * shape.feed_forward)
    padded = (1 + _default_steps(rows)) * BATCH_ROWS * LONGEST
    others = (rows * (2.6 + 1.2 + 1.1) + BATCH_ROWS * (2 * 2.6 + 1)) * MEAN_TOKENS
    starting = 4 * (8 + shape.vocabulary * shape.width / 4e7)
    return 6 * weights * (padded + others) / (0.7 * flops_per_second) + starting


def _default_steps(timed_rows: int) -> int:
    """Timed steps of the padded Trainer: all its steps cost the same, whatever their rows, so a few are enough."""
    return min(timed_rows // BATCH_ROWS, 1 if timed_rows <= 320 else 2 if timed_rows <= 640 else 4)


def _repetitions(
    name: str, timed_rows: int, options: argparse.Namespace, deadline: float
) -> dict[str, list[Measurement]]:
    """Every variant once, then every variant again, ...; at least once, and no repetition begins that would end after
    the deadline."""
    variants = (*THEIRS, OURS, *((ABLATION,) if options.ablations else ()))
    found: dict[str, list[Measurement]] = {variant: [] for variant in variants}
    wanted = options.repetitions or (2 if options.quick else 3)
    for repetition in range(wanted):
        began = time.monotonic()
        for variant in variants:
            rows = _default_steps(timed_rows) * BATCH_ROWS if variant == "trainer_default" else timed_rows
            request = Request(variant, name, rows, options.threads, options.seed)
            found[variant].append(Measurement(**_run(asdict(request), options)))
            last = found[variant][-1]
            _note(f"{name} {repetition + 1}/{wanted} {variant}: {last.rows} rows in {last.seconds:.1f} s")
        now = time.monotonic()
        if now + (now - began) > deadline - _left_for_others(name, options):
            break
    return found


def _left_for_others(name: str, options: argparse.Namespace) -> float:
    later = options.shapes[options.shapes.index(name) + 1 :]
    return sum(QUICK_SECONDS[other] for other in later) if options.quick else 0.0


def _rates(name: str, found: dict[str, list[Measurement]], *, cpu: bool = False) -> dict[str, list[float]]:
    """Real tokens per second of every repetition. The padded Trainer's few rows count with the mean length of all the
    timed rows: its time per row does not depend on their lengths."""
    tokens_per_row = found[OURS][0].tokens / found[OURS][0].rows
    return {
        variant: [one.rows * tokens_per_row / (one.cpu_seconds if cpu else one.seconds) for one in measurements]
        for variant, measurements in found.items()
    }


def _print_table(name: str, found: dict[str, list[Measurement]]) -> None:
    rates, cpu_rates = _rates(name, found), _rates(name, found, cpu=True)
    ours = found[OURS][0]
    print(f"\npairs {name}: {ours.rows} rows, {ours.tokens} tokens, {len(found[OURS])} repetition(s)")
    print(f"{'':26}{'tokens/s':>9}{'min-max':>15}{'per CPU s':>11}{'padding':>9}{'peak MiB':>10}{'Viaduct is':>12}")
    for variant, measurements in found.items():
        samples, first = rates[variant], measurements[0]
        padding = 1 - first.tokens / first.slots
        peak = max(one.peak_mib for one in measurements)
        spread = f"{min(samples):,.0f}-{max(samples):,.0f}"
        faster = f"{median(rates[OURS]) / median(samples):.2f}x"
        print(
            f"{TITLES[variant]:26}{median(samples):>9,.0f}{spread:>15}{median(cpu_rates[variant]):>11,.0f}"
            f"{padding:>9.1%}{peak:>10,.0f}{faster:>12}"
        )


def _add(report: dict[str, Any], name: str, found: dict[str, list[Measurement]]) -> None:
    """This shape's numbers, into the report."""
    rates, cpu_rates = _rates(name, found), _rates(name, found, cpu=True)
    for variant, measurements in found.items():
        key, first = f"pairs_{name}/{variant}", measurements[0]
        report["samples"][key], report["cpu_samples"][key] = rates[variant], cpu_rates[variant]
        report["padding"][key] = 1 - first.tokens / first.slots
        report["peak_mib"][key] = max(one.peak_mib for one in measurements)
        report["rows"][key], report["steps"][key] = first.rows, first.steps
        report["embedding_rows"][key] = first.embedding_rows
        if variant != OURS:
            pairs = [ours / theirs for ours, theirs in zip(rates[OURS], rates[variant], strict=True)]
            report["ratios"][key] = median(rates[OURS]) / median(rates[variant])
            report["cpu_ratios"][key] = median(cpu_rates[OURS]) / median(cpu_rates[variant])
            report["spread"][key] = [min(pairs), max(pairs)]


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
