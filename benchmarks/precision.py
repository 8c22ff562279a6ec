"""How bfloat16 products in training affect scores and time on this CPU: the whole pipeline on the miniature world.

`python benchmarks/precision.py` pretrains encoders with different seeds, fine-tunes them on the demonstration's nine
tasks, and repeats this in bfloat16: first fine-tuning only, on the same encoders, then pretraining too. It prints the
differences from float32 with intervals over encoders and, as its last line, one JSON object. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from scipy.stats import t as student

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes"))

ARMS = {"fp32": ("fp32", "fp32"), "bf16_tuning": ("fp32", "bf16"), "bf16": ("bf16", "bf16")}
"""Name -> (precision of pretraining, precision of fine-tuning)."""
TUNINGS = (1, 2)
"""Seeds of fine-tuning."""


def main() -> None:
    options = _options()
    place = Path(options.store or tempfile.mkdtemp(prefix="viaduct-precision-"))
    data = place / "miniature"
    if not data.exists():
        from viaduct.miniature import world

        world.write(data)
    jobs = [(precision, seed, place) for seed in range(1, options.seeds + 1) for precision in ("fp32", "bf16")]
    with multiprocessing.get_context("spawn").Pool(options.processes, maxtasksperchild=1) as pool:
        found: dict[str, dict[int, dict[str, Any]]] = {arm: {} for arm in ARMS}
        for arm, seed, scores in pool.imap_unordered(_chain, jobs, chunksize=1):
            found[arm][seed] = scores
        tunings = [("bf16_tuning", seed, place) for seed in range(1, options.seeds + 1)]
        for arm, seed, scores in pool.imap_unordered(_chain, tunings, chunksize=1):
            found[arm][seed] = scores
    differences = {arm: _differences(found[arm], found["fp32"]) for arm in ARMS if arm != "fp32"}
    times = {kind: _ratios(found, kind) for kind in ("pretrain", "train")}
    _show(differences, times)
    print(json.dumps(_report(options, differences, times, found)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two encoders: about 12 minutes on 2 cores")
    parser.add_argument("--seeds", type=int, help="encoders (default 5; quick: 2)")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, a thread each (default 2)")
    parser.add_argument("--store", help="folder in which what is done is kept, so that it can go on")
    options = parser.parse_args()
    options.seeds = options.seeds or (2 if options.quick else 5)
    if options.seeds < 2:
        parser.error("--seeds must be 2 or more: one encoder has no interval")
    return options


def _chain(job: tuple[str, int, Path]) -> tuple[str, int, dict[str, Any]]:
    """(arm, seed, its scores and its stages' times) for one encoder, pretrained or taken from the float32 arm, with all
    its fine-tunings."""
    from demo import recipe as demonstration
    from rich.console import Console

    from viaduct import api
    from viaduct.results.store import Store
    from viaduct.runs.collect import collect, load_run
    from viaduct.runs.execute import Options
    from viaduct.runs.spec import Intermediate

    arm, seed, place = job
    pretraining, tuning = ARMS[arm]
    whole = demonstration()
    encoder: Any = _with(whole.encoder, "training", precision=pretraining).model_copy(update={"seed": seed})
    if arm == "bf16_tuning":
        encoder = str(next((place / f"fp32-{seed}").glob("*/pretrain/encoder")))
    changed = {
        "encoder": encoder,
        "intermediates": (Intermediate(name="none"),),
        "targets": tuple(_with(target, "training", precision=tuning) for target in whole.targets),
        "seeds": TUNINGS,
        "measure": None,
    }
    store = place / f"{arm}-{seed}"
    with (place / f"{arm}-{seed}.log").open("w") as log:
        result = api.run(
            whole.model_copy(update=changed),
            data=place / "miniature",
            store=store,
            options=Options(device="cpu", threads=1),
            console=Console(file=log),
        )
    print(f"{arm}, encoder {seed}: done", file=sys.stderr, flush=True)
    done = collect(Store(store), load_run(result.directory))
    tasks = sorted({row.task for row in done.rows})
    scores = {
        task: fmean(row.value for row in done.rows if row.task == task and row.headline and row.language != "en")
        for task in tasks
    }
    log_file = next(iter(store.glob("*/pretrain/training.json")), None)
    losses = json.loads(log_file.read_text())["evaluations"] if log_file else []
    return (
        arm,
        seed,
        {
            "scores": scores,
            "pretraining_loss": losses[-1]["loss"] if losses else None,
            "seconds": {
                kind: sum(cost.seconds for cost in done.costs if cost.stage == kind) for kind in ("pretrain", "train")
            },
        },
    )


def _with(spec: Any, name: str, **changes: Any) -> Any:
    return spec.model_copy(update={name: getattr(spec, name).model_copy(update=changes)})


def _differences(arm: Mapping[int, Any], base: Mapping[int, Any]) -> dict[str, dict[str, float]]:
    """Task, "mean" over tasks, and the pretraining loss -> mean difference with its 95 % interval (Student's t over two
    or more encoders)."""
    seeds = sorted(arm)
    tasks = list(base[seeds[0]]["scores"])
    samples = {task: [arm[one]["scores"][task] - base[one]["scores"][task] for one in seeds] for task in tasks}
    samples["mean"] = [fmean(samples[task][at] for task in tasks) for at in range(len(seeds))]
    if arm[seeds[0]]["pretraining_loss"] is not None:
        samples["pretraining_loss"] = [arm[one]["pretraining_loss"] - base[one]["pretraining_loss"] for one in seeds]
    return {name: interval(values) for name, values in samples.items()}


def interval(values: list[float]) -> dict[str, float]:
    half = float(student.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return {"mean": fmean(values), "low": fmean(values) - half, "high": fmean(values) + half}


def _ratios(found: Mapping[str, Mapping[int, Any]], kind: str) -> list[float]:
    """float32's seconds over bfloat16's, per encoder."""
    return [
        found["fp32"][seed]["seconds"][kind] / found["bf16"][seed]["seconds"][kind] for seed in sorted(found["fp32"])
    ]


def _show(differences: Mapping[str, Mapping[str, Mapping[str, float]]], times: Mapping[str, list[float]]) -> None:
    for arm, lines in differences.items():
        print(f"{arm} minus fp32, points (95 % over encoders)")
        for name, one in lines.items():
            scale, unit = (1, " nats") if name == "pretraining_loss" else (100, "")
            low, high = one["low"] * scale, one["high"] * scale
            print(f"  {name:18s} {one['mean'] * scale:+.2f} ({low:+.2f} to {high:+.2f}){unit}")
    for kind, ratios in times.items():
        print(f"{kind}: fp32 takes {median(ratios):.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f})")


def _report(options: argparse.Namespace, differences: Any, times: dict[str, list[float]], found: Any) -> dict[str, Any]:
    from viaduct.serving.machine import device_name

    return {
        "ratios": {f"{kind}/fp32": median(ratios) for kind, ratios in times.items()},
        "ratio_samples": times,
        "differences": differences,
        "samples": found,
        "device": device_name(),
        "versions": {"torch": version("torch"), "python": platform.python_version()},
        "threads": 1,
        "processes": options.processes,
    }


if __name__ == "__main__":
    main()
