"""Exact nearest neighbours in both directions: ours against faiss' IndexFlatIP on the same vectors and threads.

`python benchmarks/mining.py` prints a table and, as its last line, one JSON object with the ratios and raw samples.
Needs faiss (`pip install faiss-cpu`). Each measurement is a process of its own, ours and theirs in turn. Vectors are
random, of unit length; half the candidates are queries with noise, as translations are. Making them is not timed;
building faiss' indexes is. The neighbours found are compared: all must be the same, up to ties within float rounding.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

K = 4
OURS, THEIRS = "viaduct", "faiss_flat_ip"
ROUNDING = 1e-5


def vectors(count: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(queries, candidates), float32 of unit length."""
    generator = np.random.default_rng(seed)
    query = generator.standard_normal((count, width), dtype=np.float32)
    candidate = generator.standard_normal((count, width), dtype=np.float32)
    candidate[: count // 2] += query[: count // 2]
    return tuple(side / np.linalg.norm(side, axis=1, keepdims=True) for side in (query, candidate))  # type: ignore[return-value]


def ours(query: np.ndarray, candidate: np.ndarray, threads: int) -> list[np.ndarray]:
    """Indices and values, forward and backward."""
    import torch

    from viaduct.inference.neighbours import nearest_both_ways

    torch.set_num_threads(threads)
    both = nearest_both_ways(torch.from_numpy(query), torch.from_numpy(candidate), K)
    return [part.numpy() for one in both for part in (one.indices_NK, one.values_NK)]


def theirs(query: np.ndarray, candidate: np.ndarray, threads: int) -> list[np.ndarray]:
    """The same by two searches."""
    faiss = importlib.import_module("faiss")
    faiss.omp_set_num_threads(threads)
    found = []
    for asked, base in ((query, candidate), (candidate, query)):
        index = faiss.IndexFlatIP(base.shape[1])
        index.add(base)
        values, indices = index.search(asked, K)
        found += [indices, values]
    return found


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Run one of the two; the neighbours are left in a file."""
    query, candidate = vectors(request["count"], request["width"], request["seed"])
    search = {OURS: ours, THEIRS: theirs}[request["who"]]
    search(query[:64], candidate[:64], request["threads"])  # loads libraries
    started = time.monotonic()
    found = search(query, candidate, request["threads"])
    seconds = time.monotonic() - started
    np.savez(request["out"], *found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mib": peak}


def _different(one: Path, other: Path) -> float:
    """The share of queries whose neighbours differ by more than a tie within rounding."""
    first, second = (np.load(path) for path in (one, other))
    wrong = total = 0
    for at in (0, 2):
        mine, his = (np.sort(part[f"arr_{at}"], axis=1) for part in (first, second))
        gap = np.abs(first[f"arr_{at + 1}"] - second[f"arr_{at + 1}"]).max(axis=1)
        wrong += int(((mine != his).any(axis=1) & (gap > ROUNDING)).sum())
        total += len(mine)
    return wrong / total


def main() -> None:
    options = _options()
    started = time.monotonic()
    samples: dict[str, list[dict[str, Any]]] = {OURS: [], THEIRS: []}
    different = 0.0
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    with tempfile.TemporaryDirectory() as folder:
        for repetition in range(options.repetitions):
            for who in (OURS, THEIRS):
                request = {
                    "who": who,
                    "count": options.sentences,
                    "width": options.width,
                    "seed": options.seed,
                    "threads": options.threads,
                    "out": str(Path(folder) / f"{who}.npz"),
                }
                command = [sys.executable, __file__, "--worker", json.dumps(request)]
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
                if done.returncode:
                    raise SystemExit(f"the measurement of {who} failed; is faiss installed (pip install faiss-cpu)?")
                samples[who].append(json.loads(done.stdout.splitlines()[-1]))
                last = samples[who][-1]["seconds"]
                print(f"{repetition + 1}/{options.repetitions} {who}: {last:.1f} s", file=sys.stderr, flush=True)
            different = max(different, _different(*(Path(folder) / f"{who}.npz" for who in (OURS, THEIRS))))
    _print(options, samples, different, time.monotonic() - started)


def _print(
    options: argparse.Namespace, samples: dict[str, list[dict[str, Any]]], different: float, seconds: float
) -> None:
    shape = f"{options.sentences}x{options.sentences}x{options.width}"
    times = {who: [one["seconds"] for one in found] for who, found in samples.items()}
    ratio = median(times[THEIRS]) / median(times[OURS])
    print(f"\n{shape}, k = {K}, both directions, {options.threads} thread(s), {options.repetitions} repetition(s)")
    for who, found in samples.items():
        rate = 2e-9 * options.sentences**2 * options.width / median(times[who])
        peak = max(one["peak_mib"] for one in found)
        print(f"{who:15}{median(times[who]):9.1f} s{peak:9,.0f} MiB{rate:9.1f} G useful operations/s")
    print(f"Viaduct is {ratio:.2f}x as fast; {different:.2%} of the sentences have other neighbours")
    report = {
        "ratios": {f"mining_{shape}/{THEIRS}": ratio},
        "different_neighbours": different,
        "samples": {who: times[who] for who in samples},
        "peak_mib": {who: [one["peak_mib"] for one in found] for who, found in samples.items()},
        "threads": options.threads,
        "device": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("torch", "numpy", "faiss-cpu")},
        "quick": options.quick,
        "total_seconds": seconds,
    }
    print(json.dumps(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, help="on each side (default 100000; quick: 20000)")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, help="default 1; quick: 3")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="under 10 minutes on 2 cores")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(json.loads(options.worker))))
        raise SystemExit
    options.sentences = options.sentences or (20_000 if options.quick else 100_000)
    options.repetitions = options.repetitions or (3 if options.quick else 1)
    return options


if __name__ == "__main__":
    main()
