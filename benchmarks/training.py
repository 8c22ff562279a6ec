"""Training throughput: our loop against transformers' Trainer on the same model, rows and threads.

`python benchmarks/training.py` prints a table for every kind of work and shape and, as its last line, one JSON object
with the ratios and the raw samples. See docs/benchmarks.md for what is compared and how to read it. Nothing is written
to disk.
"""

from __future__ import annotations

import argparse
import json
import time
from ctypes.util import find_library
from dataclasses import asdict
from statistics import median
from typing import Any

from fresh_process import answer, note
from training_rows import SHAPES, WORKS, Rows, Shape, Work, make_rows
from training_timing import Request, Timed
from training_worker import Measurement, measure, speed

from viaduct.runs.memory_forecast import SQUARES_KEPT, WIDTHS_KEPT

OURS = "viaduct"
PADDED = "trainer_default"
THEIRS = (PADDED, "dynamic_padding", "length_grouped")
JEMALLOC = "jemalloc"
ABLATIONS = (
    "viaduct_without_onednn",
    "viaduct_torch_dropout",
    "viaduct_whole_attention",
    "viaduct_bf16",
    "viaduct_compiled",
)
OTHER_ALLOCATOR = ("viaduct_jemalloc", "viaduct_bf16_jemalloc")
"""Ablations for machines that have jemalloc, which a separate process preloads."""
TITLES = {
    "trainer_default": "Trainer, padded to longest",
    "dynamic_padding": "Trainer, dynamic padding",
    "length_grouped": "Trainer, length-grouped",
    OURS: "Viaduct",
    "viaduct_without_onednn": "Viaduct without oneDNN",
    "viaduct_torch_dropout": "Viaduct with torch's dropout",
    "viaduct_whole_attention": "Viaduct, all sequences at once",
    "viaduct_bf16": "Viaduct in bfloat16",
    "viaduct_compiled": "Viaduct, compiled",
    "viaduct_jemalloc": "Viaduct with jemalloc",
    "viaduct_bf16_jemalloc": "Viaduct in bfloat16, jemalloc",
}
FULL_STEPS = {"24x1024": 60, "12x768": 20, "12x384": 30, "6x384": 50, "2x32": 2}
QUICK_STEPS = {"12x768": 6, "6x384": 20}
"""Timed steps, fewer in a quick run if it would not finish in time by an estimate."""
QUICK_SECONDS = {"12x768": {"pairs": 290.0}, "6x384": {"pairs": 100.0, "windows": 45.0, "tagging": 45.0}}
"""Seconds that a quick run may spend on the first repetition of a shape's kinds of work, as estimated beforehand; other
kinds are left out."""
QUICK_LIMIT = 480.0
"""Seconds after which a quick run starts no further repetition."""
LEAST_STEPS = 3
BARS = {
    "pairs_12x768": {PADDED: 4.0, "dynamic_padding": 3.5, "length_grouped": 1.15},
    "pairs_6x384": {PADDED: 4.0, "dynamic_padding": 3.5, "length_grouped": 1.5},
}
PRODUCTS_BAR = {"pairs_12x768": 0.65, "tagging_12x768": 0.65}
PRODUCTS_BAR |= dict.fromkeys(("pairs_6x384", "windows_6x384", "windows_12x768"), 0.8)
"""Minimum share of the rate of float32 matrix products, counting only operations on real tokens."""
PRODUCTS_BAR_ON_GPU = {"pairs_24x1024": 0.5}
"""The same for the GPU's products in the training's format, by wall clock."""
WARM_UP = 10
"""Untimed steps on a GPU: each new batch shape has to find its kernels and memory first."""
WEIGHT_BYTES = 44.0
"""Bytes moved per step for each trained weight: gradient written, read for its norm, read and written to be clipped;
AdamW reads weight, gradient and moments, and writes all but the gradient."""
PASSES = 4.0
"""How often what is kept for the backward pass is moved: written and read, and as much again for its gradient."""
Found = dict[str, list[Measurement]]


def main() -> None:
    options = _options()
    started = time.monotonic()
    about = _run({"threads": options.threads, "device": options.device}, options)
    deadline = started + (QUICK_LIMIT if options.limited else float("inf"))
    report: dict[str, Any] = {"ratios": {}, "spread": {}, "cpu_ratios": {}, "bars": {}, "samples": {}}
    report |= {"cpu_samples": {}, "products": {}, "padding": {}, "peak_mib": {}, "rows": {}, "steps": {}}
    report |= {"embedding_rows": {}, "data": {}, "roofline": {}, "ceilings": {}}
    pending = [
        (work, shape)
        for shape in options.shapes
        for work in options.works
        if not options.limited or work in QUICK_SECONDS[shape]
    ]
    while pending:
        (work, shape), *pending = pending
        data = Request(OURS, work, shape, 1, 1, 1, scale=options.scale).rows
        rows = make_rows(SHAPES[shape], options.seed, data)
        steps = _timed_steps(work, shape, rows, options, about["flops_per_second"])
        reserved = sum(QUICK_SECONDS[later][other] for other, later in pending) if options.limited else 0.0
        found = _repetitions(work, shape, steps, options, deadline - reserved)
        per_padded_row = float(rows.lengths.mean())
        _print_table(f"{work} {shape}", found, per_padded_row)
        _add(report, f"{work}_{shape}", found, per_padded_row)
        report["data"][work] = asdict(data) | {"our_tokens_per_step": rows.tokens_per_step(data)}
    _print_bars(report["bars"])
    total = time.monotonic() - started
    report |= {**about, "threads": options.threads, "quick": options.quick, "seed": options.seed}
    print(json.dumps({**report, "total_seconds": total}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows and repetitions: under 10 minutes on 2 cores")
    parser.add_argument("--threads", type=int, default=1, help="threads of every measurement (default 1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--works", nargs="+", choices=list(WORKS), default=list(WORKS))
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), help="default 6x384 12x768; cuda: 24x1024")
    parser.add_argument(
        "--warm-up", type=int, default=WARM_UP, help="steps on a GPU before the timed ones (default 10)"
    )
    parser.add_argument("--scale", type=int, help="times as many rows a step as the works say (default 1; cuda: 8)")
    parser.add_argument("--repetitions", type=int, help="interleaved repetitions (default 3; quick: 1, more if time)")
    parser.add_argument("--steps", type=int, help="timed steps (default by shape)")
    parser.add_argument(
        "--ablations",
        action="store_true",
        help="also our loop without oneDNN, with torch's dropout, in bfloat16, compiled",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--same-process", action="store_true", help="no process per measurement: peak memory is wrong")
    options = parser.parse_args()
    on_cpu = options.device == "cpu"
    options.shapes = options.shapes or (["6x384", "12x768"] if on_cpu else ["24x1024"])
    options.scale = options.scale or (1 if on_cpu else 8)
    options.limited = options.quick and on_cpu
    if options.limited and not set(options.shapes) <= set(QUICK_SECONDS):
        parser.error(f"--quick has the shapes {', '.join(QUICK_SECONDS)}")
    if options.steps is not None and options.steps < 1:
        parser.error("--steps must be 1 or more")
    return options


def _run(request: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The worker's answer, from a fresh process unless --same-process is set."""
    if options.same_process:
        return asdict(measure(Request(**request))) if "variant" in request else speed(**request)
    preload = find_library(JEMALLOC) if JEMALLOC in request.get("variant", "") else None
    return answer("training_worker.py", request, options.threads, preload=preload or "")


def _timed_steps(work: str, shape: str, rows: Rows, options: argparse.Namespace, flops_per_second: float) -> int:
    steps: int = options.steps or (QUICK_STEPS if options.limited else FULL_STEPS)[shape]
    while (
        options.limited
        and steps > LEAST_STEPS
        and _estimate(SHAPES[shape], WORKS[work], rows, steps, flops_per_second) > QUICK_SECONDS[shape][work]
    ):
        steps -= 1
    return steps


def _estimate(shape: Shape, work: Work, rows: Rows, steps: int, flops_per_second: float) -> float:
    """Estimated seconds that one repetition of all variants takes."""
    whole = len(rows.lengths) // work.batch_rows * work.batch_rows
    in_order = float(rows.lengths[:whole].reshape(-1, work.batch_rows).max(axis=1).mean())
    padded = (1 + _padded_steps(steps)) * work.longest
    others = (1 + steps) * in_order + in_order + (steps + 1) * 2.3 * work.mean
    starting = 4 * (8 + shape.vocabulary * shape.width / 4e7)
    return 3 * shape.forward_flops(work.batch_rows * (padded + others), 0.0) / (0.7 * flops_per_second) + starting


def _padded_steps(steps: int) -> int:
    """Timed steps of the padded Trainer: all its steps cost the same, regardless of their rows, so a few are enough."""
    return min(steps, 1 if steps <= 10 else 2 if steps <= 20 else 4)


def _repetitions(work: str, shape: str, steps: int, options: argparse.Namespace, deadline: float) -> Found:
    """Measure every variant once, then every variant again, and so on; at least once, and no repetition starts that
    would end after the deadline."""
    theirs = THEIRS if options.device == "cpu" or not options.quick else THEIRS[1:]
    ablations = (
        (*ABLATIONS, *(OTHER_ALLOCATOR if find_library(JEMALLOC) and not options.same_process else ()))
        if options.ablations
        else ()
    )
    variants = (*theirs, OURS, *ablations)
    found: Found = {variant: [] for variant in variants}
    wanted = options.repetitions or (3 if not options.quick else 2 if options.limited else 1)
    there = (
        {}
        if options.device == "cpu"
        else {"device": options.device, "warm_up": options.warm_up, "scale": options.scale}
    )
    for repetition in range(wanted):
        began = time.monotonic()
        for variant in variants:
            few = _padded_steps(steps) if variant == PADDED else steps
            request = Request(variant, work, shape, few, options.threads, options.seed, **there)
            answered = _run(asdict(request), options)
            last = Measurement(**answered | {"timed": Timed(**answered["timed"])})
            found[variant].append(last)
            seconds = f"{last.timed.rows} rows in {last.timed.seconds:.1f} s"
            note(f"{work} {shape} {repetition + 1}/{wanted} {variant}: {seconds}")
        now = time.monotonic()
        if now + (now - began) > deadline:
            break
    return found


def _rates(found: Found, per_padded_row: float, *, cpu: bool = False) -> dict[str, list[float]]:
    """Real tokens per second in every repetition. The padded Trainer's few rows count with the mean length of the whole
    set: its time per row does not depend on their lengths."""
    return {
        variant: [
            (one.timed.rows * per_padded_row if variant == PADDED else one.timed.tokens)
            / (one.timed.cpu_seconds if cpu else one.timed.seconds)
            for one in measurements
        ]
        for variant, measurements in found.items()
    }


def _products(shape: Shape, one: Measurement) -> float:
    """Operations on real tokens per CPU second (three times those of the forward pass), relative to the rate of matrix
    products in the same process."""
    operations = 3 * shape.forward_flops(one.timed.tokens, one.timed.squares)
    return operations / _seconds(one) / one.products_per_second


def _seconds(one: Measurement) -> float:
    """CPU seconds, which other work on the machine affects less; on a GPU, wall-clock seconds."""
    return one.timed.cpu_seconds if one.device == "cpu" else one.timed.seconds


def _roofline(shape: Shape, one: Measurement) -> float:
    """The share of the products' rate that remains if everything else takes only as long as its bytes need to and from
    memory: the gap between the share reached and this one is what the loop could still gain."""
    timed = one.timed
    weights = shape.forward_flops(0.5, 0.0) + timed.embedding_rows * shape.width
    kept = shape.layers * (WIDTHS_KEPT * shape.width * timed.tokens + SQUARES_KEPT * shape.heads * timed.squares)
    moving = (timed.steps * WEIGHT_BYTES * weights + PASSES * kept) / one.bytes_per_second
    multiplying = 3 * shape.forward_flops(timed.tokens, timed.squares) / one.products_per_second
    return multiplying / (multiplying + moving)


def _print_table(title: str, found: Found, per_padded_row: float) -> None:
    shape = title.split()[1]
    rates, cpu_rates = (_rates(found, per_padded_row, cpu=cpu) for cpu in (False, True))
    ours = found[OURS][0].timed
    ceiling = 1e-9 * median(one.products_per_second for one in found[OURS])
    moved = 1e-9 * median(one.bytes_per_second for one in found[OURS])
    print(f"\n{title}: {ours.steps} steps, {ours.tokens} tokens, {len(found[OURS])} repetition(s)")
    print(f"ceilings: {ceiling:.0f} GFLOP/s in products, {moved:.1f} GB/s of memory")
    columns = ("tokens/s", "min-max", "per CPU s", "products", "roofline", "padding", "peak MiB", "Viaduct is")
    print(
        f"{'':30}"
        + "".join(f"{name:>{width}}" for name, width in zip(columns, (9, 15, 11, 10, 10, 9, 10, 12), strict=True))
    )
    for variant, measurements in found.items():
        samples, first = rates[variant], measurements[0].timed
        peak = max(one.peak_mib for one in measurements)
        products = median(_products(SHAPES[shape], one) for one in measurements)
        roofline = median(_roofline(SHAPES[shape], one) for one in measurements)
        spread = f"{min(samples):,.0f}-{max(samples):,.0f}"
        faster = f"{median(rates[OURS]) / median(samples):.2f}x"
        print(
            f"{TITLES[variant]:30}{median(samples):>9,.0f}{spread:>15}{median(cpu_rates[variant]):>11,.0f}"
            f"{products:>10.0%}{roofline:>10.0%}{1 - first.tokens / first.slots:>9.1%}{peak:>10,.0f}{faster:>12}"
        )


def _add(report: dict[str, Any], place: str, found: Found, per_padded_row: float) -> None:
    """Add these numbers to the report."""
    rates, cpu_rates = (_rates(found, per_padded_row, cpu=cpu) for cpu in (False, True))
    shape = SHAPES[place.split("_")[1]]
    for variant, measurements in found.items():
        key, first = f"{place}/{variant}", measurements[0].timed
        report["samples"][key], report["cpu_samples"][key] = rates[variant], cpu_rates[variant]
        report["products"][key] = [_products(shape, one) for one in measurements]
        report["roofline"][key] = [_roofline(shape, one) for one in measurements]
        report["ceilings"][key] = [[one.products_per_second, one.bytes_per_second] for one in measurements]
        report["padding"][key] = 1 - first.tokens / first.slots
        report["peak_mib"][key] = max(one.peak_mib for one in measurements)
        report["rows"][key], report["steps"][key] = first.rows, first.steps
        report["embedding_rows"][key] = first.embedding_rows
        if variant != OURS:
            pairs = [ours / theirs for ours, theirs in zip(rates[OURS], rates[variant], strict=True)]
            report["ratios"][key] = median(rates[OURS]) / median(rates[variant])
            report["cpu_ratios"][key] = median(cpu_rates[OURS]) / median(cpu_rates[variant])
            report["spread"][key] = [min(pairs), max(pairs)]
    on_cpu = found[OURS][0].device == "cpu"
    if not on_cpu:
        report["format"] = found[OURS][0].format
    for variant, bar in (BARS.get(place, {}) if on_cpu else {}).items():
        key = f"{place}/{variant}"
        value, cpu_value = report["ratios"][key], report["cpu_ratios"][key]
        report["bars"][key] = {"value": value, "cpu_value": cpu_value, "bar": bar}
    bars = PRODUCTS_BAR if on_cpu else PRODUCTS_BAR_ON_GPU
    if place in bars:
        share = median(report["products"][f"{place}/{OURS}"])
        report["bars"][f"{place}/products"] = {"value": share, "cpu_value": share, "bar": bars[place]}


def _print_bars(bars: dict[str, dict[str, float]]) -> None:
    if bars:
        print(f"\n{'':32}{'clock':>9}{'CPU':>9}{'bar':>9}")
    for name, one in bars.items():
        met, cpu_met = one["value"] >= one["bar"], one["cpu_value"] >= one["bar"]
        words = "met" if met else "missed; met by CPU seconds" if cpu_met else "missed"
        print(f"{name:32}{one['value']:>9.3f}{one['cpu_value']:>9.3f}{one['bar']:>9}  {words}")


if __name__ == "__main__":
    main()
