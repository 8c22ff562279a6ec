"""Exact nearest neighbours in both directions: ours against faiss' IndexFlatIP on the same vectors and threads.

`python benchmarks/mining.py` prints a table and, as its last line, one JSON object with the ratios and raw samples.
Needs faiss (`pip install faiss-cpu`). Each measurement is a separate process, ours and theirs in turn. Making vectors
is not timed; building faiss' indexes is. The neighbours found are compared: all must be the same, up to ties within
float rounding. Vectors are synthetic, of two kinds, both of unit length; half the candidates are translations of
queries:

* sentences: like sentence vectors. A direction common to all (cosine of unrelated sentences 0.4), 1,000 topics of very
  different frequency, and a few dimensions, not along any axis, that vary far more than most; translations' cosine 0.8.
* noise: independent normal numbers; translations' cosine 0.7. In so many dimensions all others are almost equally far,
  which is the hardest case for any bound.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from fresh_process import answer, note

from viaduct.memory import peak_bytes

K = 4
OURS, THEIRS, PLAIN = "viaduct", "faiss", "torch"
"""`PLAIN` is the peer on a GPU."""
ROUNDING = 1e-5
TOPICS = 1000
BLOCK = 1024
BAR = 5.0
"""Target: how many times as fast as faiss our search of sentences should be."""


def noise(count: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(queries, candidates), float32 of unit length."""
    generator = np.random.default_rng(seed)
    query = generator.standard_normal((count, width), dtype=np.float32)
    candidate = generator.standard_normal((count, width), dtype=np.float32)
    candidate[: count // 2] += query[: count // 2]
    return _unit(query), _unit(candidate)


def sentences(count: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(queries, candidates), float32 of unit length, in random order.

    Before noise, half of the squared length is common to all, a quarter is the topic's and a quarter the sentence's
    own; one side is shifted a little as a whole, as languages are.
    """
    generator = np.random.default_rng(seed)
    spread = np.arange(1, width + 1, dtype=np.float32) ** -0.5
    spread /= np.linalg.norm(spread)
    rotation = np.linalg.qr(generator.standard_normal((width, width)))[0].astype(np.float32)

    def draw(number: int) -> np.ndarray:
        return (generator.standard_normal((number, width), dtype=np.float32) * spread) @ rotation

    common, language, topics = _unit(draw(1)), _unit(draw(1)), draw(TOPICS)
    frequency = np.arange(1, TOPICS + 1) ** -0.7
    topic = generator.choice(TOPICS, size=(2, count), p=frequency / frequency.sum())
    own = [draw(count), draw(count)]
    half = count // 2
    topic[1, :half], own[1][:half] = topic[0, :half], own[0][:half]
    sides = []
    for side in (0, 1):
        meaning = _unit(np.sqrt(0.5) * common + 0.5 * topics[topic[side]] + 0.5 * own[side])
        moved = meaning + (side * np.sqrt(0.1) * language + np.sqrt(0.2) * draw(count)).astype(np.float32)
        sides.append(_unit(moved)[generator.permutation(count)])
    return sides[0], sides[1]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


KINDS = {"sentences": sentences, "noise": noise}


def ours(query: np.ndarray, candidate: np.ndarray, threads: int, device: str = "cpu") -> list[np.ndarray]:
    """Indices and values, forward and backward."""
    import torch

    from viaduct.inference.neighbours import Search, nearest_both_ways

    torch.set_num_threads(threads)
    search = Search(device=torch.device(device))
    both = nearest_both_ways(torch.from_numpy(query), torch.from_numpy(candidate), K, search)
    return [part.numpy() for one in both for part in (one.indices_NK, one.values_NK)]


def plain(query: np.ndarray, candidate: np.ndarray, _threads: int, device: str) -> list[np.ndarray]:
    """The same as one would write it for a GPU: both sides on the device, and each direction's products in blocks."""
    import torch

    sides = [torch.from_numpy(one).to(device) for one in (query, candidate)]
    found = []
    for asked, base in (sides, sides[::-1]):
        parts = [(asked[at : at + 8192] @ base.T).topk(K, dim=1) for at in range(0, len(asked), 8192)]
        found += [torch.cat([one.indices for one in parts]).cpu().numpy()]
        found += [torch.cat([one.values for one in parts]).cpu().numpy()]
    return found


def theirs(query: np.ndarray, candidate: np.ndarray, threads: int, _device: str = "cpu") -> list[np.ndarray]:
    """The same with two faiss searches."""
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
    """Run one variant, and leave its neighbours in a file."""
    query, candidate = KINDS[request["kind"]](request["count"], request["width"], request["seed"])
    search, device = {OURS: ours, THEIRS: theirs, PLAIN: plain}[request["who"]], request["device"]
    search(query[:64], candidate[:64], request["threads"], device)  # loads libraries
    started, cpu_started = time.monotonic(), time.process_time()
    found = search(query, candidate, request["threads"], device)
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu_started
    np.savez(request["out"], *found)
    peak = peak_bytes() / 2**20
    if device != "cpu":
        import torch

        peak = torch.cuda.max_memory_allocated() / 2**20
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": peak, **_ceilings(request, device)}


def _ceilings(request: dict[str, Any], device: str) -> dict[str, float]:
    """Operations per second of products in float32, and of blocks of these vectors in 8 bits, which is the least that
    our search does on a CPU; measured in this process after the search. Empty on a GPU."""
    if device != "cpu":
        return {}
    import torch

    from viaduct.serving.machine import PRODUCTS, matrix_rate

    floats = max(matrix_rate(request["threads"]).values())
    left, right = (torch.ones(BLOCK, request["width"], dtype=torch.int8) for _ in range(2))
    best = float("inf")
    for _ in range(PRODUCTS):
        started = time.perf_counter()
        torch._int_mm(left, right.T)
        best = min(best, time.perf_counter() - started)
    return {"float32_per_second": floats, "int8_per_second": 2.0 * BLOCK**2 * request["width"] / best}


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
    peer = THEIRS if options.device == "cpu" else PLAIN
    samples: dict[str, dict[str, list[dict[str, Any]]]] = {kind: {OURS: [], peer: []} for kind in options.kinds}
    different = dict.fromkeys(options.kinds, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        for repetition in range(options.repetitions):
            for kind in options.kinds:
                for who in (OURS, peer):
                    samples[kind][who].append(_measured(options, kind, who, Path(folder)))
                    last = samples[kind][who][-1]["seconds"]
                    note(f"{repetition + 1}/{options.repetitions} {kind} {who}: {last:.1f} s")
                found = _different(*(Path(folder) / f"{who}.npz" for who in (OURS, peer)))
                different[kind] = max(different[kind], found)
    _print(options, samples, different, time.monotonic() - started)


def _measured(options: argparse.Namespace, kind: str, who: str, folder: Path) -> dict[str, Any]:
    request = {
        "who": who,
        "kind": kind,
        "count": options.sentences,
        "width": options.width,
        "seed": options.seed,
        "threads": options.threads,
        "device": options.device,
        "out": str(folder / f"{who}.npz"),
    }
    if options.same_process:
        return measure(request)
    try:
        return answer("mining.py", request, options.threads, ["--worker"])
    except SystemExit as error:
        raise SystemExit(f"{error}; is faiss installed (pip install faiss-cpu)?") from error


def _print(
    options: argparse.Namespace,
    samples: dict[str, dict[str, list[dict[str, Any]]]],
    different: dict[str, float],
    seconds: float,
) -> None:
    from viaduct.serving.machine import device_name  # imported here to keep it out of a measurement's memory

    shape = f"{options.sentences}x{options.sentences}x{options.width}"
    print(f"\n{shape}, k = {K}, both directions, {options.threads} thread(s), {options.repetitions} repetition(s)")
    ratios, cpu_ratios, roofline = {}, {}, {}
    useful = 2.0 * options.sentences**2 * options.width
    for kind, by_who in samples.items():
        peer = next(who for who in by_who if who != OURS)
        name = f"mining_{'' if kind == 'sentences' else kind + '_'}{shape}/{peer}"
        middle = {who: _medians(found) for who, found in by_who.items()}
        ratios[name] = middle[peer]["seconds"] / middle[OURS]["seconds"]
        cpu_ratios[name] = middle[peer]["cpu_seconds"] / middle[OURS]["cpu_seconds"]
        for who, one in middle.items():
            print(
                f"{kind:10}{who:9}{one['seconds']:9.2f} s{one['cpu_seconds']:9.2f} CPU s{one['peak_mib']:9,.0f} MiB"
                f"{_against_ceilings(one, useful)}"
            )
        print(f"{kind:10}{ratios[name]:.2f}x as fast; {different[kind]:.2%} of the sentences have other neighbours")
        if options.device == "cpu":
            least = useful / middle[OURS]["int8_per_second"]
            roofline[name] = middle[peer]["cpu_seconds"] / least
            print(f"{kind:10}8-bit products alone take {least:.2f} s: at most {roofline[name]:.1f}x (aim {BAR:g})")
    report = {
        "ratios": ratios,
        "cpu_ratios": cpu_ratios,
        "most_by_8_bit_products": roofline,
        "different_neighbours": different,
        "samples": samples,
        "threads": options.threads,
        "device": device_name(options.device),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", *(["faiss-cpu"] if options.device == "cpu" else []))},
        },
        "quick": options.quick,
        "total_seconds": seconds,
    }
    print(json.dumps(report))


def _against_ceilings(one: dict[str, float], useful: float) -> str:
    """Useful operations per second, and on the CPU their share of the measured rates of products."""
    shares = [
        f"{useful / one['cpu_seconds'] / one[key]:.0%} of {1e-9 * one[key]:.0f} in {said}"
        for key, said in (("float32_per_second", "float32"), ("int8_per_second", "8-bit products"))
        if key in one
    ]
    return ", ".join((f"{1e-9 * useful / one['seconds']:9.1f} G useful operations/s", *shares))


def _medians(samples: list[dict[str, Any]]) -> dict[str, float]:
    return {key: median(one[key] for one in samples) for key in samples[0]}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sentences", type=int, help="on each side (default 100000; quick: 20000; cuda: twice and five times as many)"
    )
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of vectors; default all")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: against plain torch there")
    parser.add_argument("--same-process", action="store_true", help="no process per measurement")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, help="default 1; quick: 3")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="under 10 minutes on 2 cores")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(json.loads(options.worker))))
        raise SystemExit
    few, many = (20_000, 100_000) if options.device == "cpu" else (100_000, 200_000)
    options.sentences = options.sentences or (few if options.quick else many)
    options.repetitions = options.repetitions or (3 if options.quick else 1)
    return options


if __name__ == "__main__":
    main()
