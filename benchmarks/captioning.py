"""Training throughput of the multimodal stage: ours against a plain loop over transformers' models, with the image
tower in the loop and the whole vocabulary scored at every position.

`python benchmarks/captioning.py` prints a table for every shape and, as its last line, one JSON object with the ratios
and the raw samples. See docs/benchmarks.md for what is compared and how to read it. Weights, pictures and batches are
synthetic, and kept in a temporary folder while it runs (1.6 GB at 12x768).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from statistics import median
from typing import Any

from captioning_stage import CAPTIONS_EACH, OBJECTIVES, TOWERS
from captioning_worker import Measurement, Request
from fresh_process import answer, note

WORKER = "captioning_worker.py"
OURS, THEIRS = "viaduct", "transformers"
TOKENS_ON_GPU, STEPS_ON_GPU = 16_384, (40, 15)
BATCH_TOKENS = {"12x768": 1024, "6x384": 1024, "2x32": 200}
QUICK_TOKENS = {"12x768": 512, "6x384": 1024, "2x32": 200}
"""Tokens per step, including visual ones; every quick step of the large shape has to finish within a minute."""
STEPS = {"12x768": 3, "6x384": 6, "2x32": 2}
QUICK_STEPS = {"12x768": 1, "6x384": 2, "2x32": 2}
QUICK_LIMIT = 480.0
"""Seconds after which a quick run starts no more optional measurements."""


def main() -> None:
    options = _options()
    started = time.monotonic()
    report: dict[str, Any] = {name: {} for name in ("ratios", "ratios_with_tower", "cpu_ratios", "spread", "samples")}
    report |= {
        name: {} for name in ("cpu_samples", "captions", "peak_mib", "embedding_rows", "loss", "loss_difference")
    }
    report |= {
        **answer(WORKER, {"threads": options.threads, "device": options.device}, options.threads),
        "tower_seconds_per_picture": {},
    }
    for shape in options.shapes:
        with tempfile.TemporaryDirectory(prefix="viaduct-captioning-") as folder:
            made = {"shape": shape, "folder": folder, "threads": options.threads, "seed": options.seed}
            made["device"] = options.device
            tower_seconds = answer(WORKER, made, options.threads)["tower_seconds"]
            report["tower_seconds_per_picture"][shape] = tower_seconds
            print(f"\ncaptions {shape}: the tower takes {tower_seconds:.2f} s per picture, once")
            print(f"{'':20}{'captions/s':>11}{'transformers':>14}{'Viaduct is':>12}{'per CPU s':>11}{'peak MiB':>16}")
            for objective in options.objectives:
                found = _repetitions(shape, objective, folder, options, started)
                _add(report, f"captions_{shape}/{objective}", found, tower_seconds)
    report |= {
        "threads": options.threads,
        "quick": options.quick,
        "seed": options.seed,
        "towers": {shape: asdict(TOWERS[shape]) for shape in options.shapes},
        "total_seconds": time.monotonic() - started,
    }
    print(json.dumps(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller steps: under 10 minutes on 2 cores")
    parser.add_argument("--threads", type=int, default=1, help="threads of every measurement (default 1)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shapes", nargs="+", choices=list(TOWERS), help="default 6x384 12x768; cuda: 12x768")
    parser.add_argument("--objectives", nargs="+", choices=list(OBJECTIVES), default=list(OBJECTIVES))
    parser.add_argument("--repetitions", type=int, help="interleaved repetitions (default 3; quick: 1)")
    parser.add_argument("--steps", type=int, help="timed optimiser steps of a measurement (default by shape)")
    parser.add_argument("--batch-tokens", type=int, help="tokens of a step, visual ones among them (default by shape)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.shapes = options.shapes or (["6x384", "12x768"] if options.device == "cpu" else ["12x768"])
    return options


def _repetitions(
    shape: str, objective: str, folder: str, options: argparse.Namespace, started: float
) -> dict[str, list[Measurement]]:
    """Measure ours and theirs in turn, at least once; theirs starts from the batches that ours leaves, and fails if its
    loss on the first one differs."""
    tokens = options.batch_tokens or (QUICK_TOKENS if options.quick else BATCH_TOKENS)[shape]
    steps = options.steps or (QUICK_STEPS if options.quick else STEPS)[shape]
    if options.device != "cpu":
        tokens, steps = options.batch_tokens or TOKENS_ON_GPU, options.steps or STEPS_ON_GPU[options.quick]
    found: dict[str, list[Measurement]] = {OURS: [], THEIRS: []}
    for repetition in range(options.repetitions or (1 if options.quick else 3)):
        if repetition and options.quick and time.monotonic() - started > QUICK_LIMIT:
            break
        for variant, measurements in found.items():
            request = Request(
                variant, shape, objective, folder, steps, tokens, options.threads, options.seed, options.device
            )
            measurements.append(Measurement(**answer(WORKER, asdict(request), options.threads)))
            last = measurements[-1]
            note(f"{shape} {objective} {variant}: {last.captions} captions in {last.seconds:.1f} s")
    return found


def _add(report: dict[str, Any], key: str, found: dict[str, list[Measurement]], tower_seconds: float) -> None:
    """Print this objective's line of the table, and add its numbers to the report."""
    rates = {variant: [one.captions / one.seconds for one in measured] for variant, measured in found.items()}
    cpu_rates = {variant: [one.captions / one.cpu_seconds for one in measured] for variant, measured in found.items()}
    ours, theirs = median(rates[OURS]), median(rates[THEIRS])
    pairs = [one / other for one, other in zip(rates[OURS], rates[THEIRS], strict=True)]
    # One epoch over a set like MS COCO in one language: our tower sees each picture once, theirs once per caption.
    with_tower = 1 / (1 / ours + tower_seconds / CAPTIONS_EACH)
    report["ratios"][key], report["ratios_with_tower"][key] = ours / theirs, with_tower / theirs
    report["cpu_ratios"][key] = median(cpu_rates[OURS]) / median(cpu_rates[THEIRS])
    report["spread"][key] = [min(pairs), max(pairs)]
    report["loss_difference"][key] = abs(found[OURS][0].loss - found[THEIRS][0].loss)
    for variant, measured in found.items():
        own = f"{key}/{variant}"
        report["samples"][own], report["cpu_samples"][own] = rates[variant], cpu_rates[variant]
        report["captions"][own], report["loss"][own] = measured[0].captions, measured[0].loss
        report["peak_mib"][own] = max(one.peak_mib for one in measured)
        report["embedding_rows"][own] = measured[0].embedding_rows
    peaks = "/".join(f"{max(one.peak_mib for one in measured):,.0f}" for measured in found.values())
    ratio, cpu_ratio = f"{report['ratios'][key]:.2f}x", f"{report['cpu_ratios'][key]:.2f}x"
    print(
        f"{key.partition('/')[2]:20}{ours:>11.2f}{theirs:>14.2f}{ratio:>12}{cpu_ratio:>11}{peaks:>16}",
        flush=True,
    )


if __name__ == "__main__":
    main()
