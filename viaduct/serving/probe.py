"""What a model costs, by the clock: a fresh process opens one engine and runs the rows that it is given.

`python -m viaduct.serving.probe REQUEST.json` prints one JSON object. Latency is of single examples in the order
given; throughput of all of them, sorted by length into batches of several budgets. Tokenising is not part of it.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from viaduct.encode.batch import Batch, collate, padding_fraction, plan_batches
from viaduct.encode.tokens import Encoded
from viaduct.errors import UsageError
from viaduct.memory import peak_bytes
from viaduct.models.linear import product
from viaduct.models.numerics import keep_freed_memory
from viaduct.serving.engines import Engine, open_engine
from viaduct.serving.workload import load

BUDGETS = (512, 1024, 2048, 4096, 8192)
"""Slots of a batch that are tried for throughput."""
SINGLE = 200
"""Examples whose latency is measured, one at a time, spread over all of them."""
WARM_UP = 5
"""Single examples, and batches of each budget, that run before the clock starts."""
PRODUCT = 1024
PRODUCTS = 12
ENERGY = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Request:
    """What to measure."""

    folder: str
    engine: str
    precision: str
    threads: int
    rows: str
    """File with the token arrays (`workload.save`)."""
    pad_id: int


def measure(request: Request) -> dict[str, Any]:
    """The measurement, from a process of its own. Raises UsageError with what that process said when it failed."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(request.threads), "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "viaduct.serving.probe", json.dumps(asdict(request))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UsageError(f"the process that measures {request.engine} {request.precision} failed: {last}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(request: Request) -> dict[str, Any]:
    """The measurement, in this process: seconds to load, latencies, throughputs, peak memory, energy, versions."""
    keep_freed_memory()
    torch.set_num_threads(request.threads)
    encoded = load(Path(request.rows))
    load_average = os.getloadavg()[0]
    before = peak_bytes()
    started = time.perf_counter()
    engine = open_engine(Path(request.folder), request.engine, request.precision, request.threads)
    loaded = time.perf_counter() - started
    after_load = peak_bytes()
    latency = latencies(engine, encoded, request.pad_id)
    joules = energy()
    started_batches = time.perf_counter()
    throughput = [_throughput(engine, encoded, request.pad_id, budget) for budget in BUDGETS]
    used = None if joules is None else difference(joules, energy())
    return {
        "load_average_before": load_average,
        "load_seconds": loaded,
        "peak_bytes": {"before_loading": before, "after_loading": after_load, "in_all": peak_bytes()},
        "latency_ms": latency,
        "throughput": throughput,
        "energy": {"joules": used, "seconds": time.perf_counter() - started_batches, "of": "the whole processor"},
        "flops_per_second_of_products": matrix_rate(request.threads),
        "versions": {"python": platform.python_version(), "numpy": version("numpy"), **engine.versions()},
    }


def latencies(engine: Engine, encoded: Encoded, pad_id: int) -> list[float]:
    """Milliseconds of single examples, one after the other."""
    chosen = np.unique(np.linspace(0, len(encoded) - 1, min(SINGLE, len(encoded))).astype(int))
    alone = [collate(encoded, np.array([at]), pad_id) for at in chosen]
    for batch in alone[:WARM_UP]:
        engine(batch)
    return [1e3 * _seconds(engine, batch) for batch in alone]


def _throughput(engine: Engine, encoded: Encoded, pad_id: int, budget: int) -> dict[str, Any]:
    plan = plan_batches(encoded.lengths, encoded.widths, budget, None)
    made = [collate(encoded, examples, pad_id) for examples in plan]
    for batch in made[: min(WARM_UP, -(-len(made) // 4))]:
        engine(batch)
    seconds = [_seconds(engine, batch) for batch in made]
    return {
        "batch_tokens": budget,
        "examples": len(encoded),
        "tokens": sum(batch.tokens for batch in made),
        "padding_fraction": padding_fraction(encoded.lengths, encoded.widths, plan),
        "seconds": seconds,
    }


def _seconds(engine: Engine, batch: Batch) -> float:
    started = time.perf_counter()
    engine(batch)
    return time.perf_counter() - started


def matrix_rate(threads: int) -> dict[str, float]:
    """Floating-point operations per second of float32 matrix products here: torch's own and oneDNN's, the best of a
    dozen each. The better one is what any engine could reach."""
    torch.set_num_threads(threads)
    left, right = torch.randn(PRODUCT, PRODUCT), torch.randn(PRODUCT, PRODUCT)
    best = {"torch": float("inf"), "onednn": float("inf")}
    with torch.inference_mode():
        for _ in range(PRODUCTS):
            for name, multiply in (("torch", torch.nn.functional.linear), ("onednn", product)):
                started = time.perf_counter()
                multiply(left, right, None)
                best[name] = min(best[name], time.perf_counter() - started)
    return {name: 2.0 * PRODUCT**3 / seconds for name, seconds in best.items()}


def energy() -> dict[str, tuple[float, float]] | None:
    """Counter -> (joules so far, joules at which it begins again at 0) of each processor; None where the system has no
    such counters or does not let us read them."""
    found = {}
    for counter in sorted(ENERGY.glob("intel-rapl:[0-9]*")):
        if counter.name.count(":") > 1:  # a part of a processor, counted in the whole
            continue
        try:
            now = int((counter / "energy_uj").read_text())
            most = int((counter / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            return None
        found[counter.name] = (1e-6 * now, 1e-6 * most)
    return found or None


def difference(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]] | None) -> float | None:
    """Joules between two readings, over the counters' ends; None when the second could not be made."""
    if after is None or before.keys() != after.keys():
        return None
    return sum((after[name][0] - now) % most for name, (now, most) in before.items())


def device() -> str:
    """The processor's name and the number of cores that may be used."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} CPUs"


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 of the samples (linear between neighbours), and how many there are."""
    values = np.percentile(samples, (50, 95, 99))
    return {"p50": float(values[0]), "p95": float(values[1]), "p99": float(values[2]), "n": len(samples)}


if __name__ == "__main__":
    print(json.dumps(run(Request(**json.loads(sys.argv[1])))))  # noqa: T201  its parent reads it
