"""Time and memory at 1, 4 and 16 times the rows: tokenising, a training epoch, prediction, and mining.

`python benchmarks/scaling.py` prints a table and, as its last line, one JSON object with the growth from 4 to 16 times
the rows (4 is linear; in CPU seconds, so that other work on the machine does not count), the peak memory at 16 times
over that at 1, and the raw samples. See docs/benchmarks.md. Each measurement is a separate process that runs the same
code as a run's stages.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from fresh_process import answer, note
from inference_models import LABELS, make_pairs, make_tokenizer
from training_rows import PAD, Shape

SHAPE = Shape(4, 256, 4, 1024, vocabulary=8000)
SCALES = (1, 4, 16)
ROWS = {"tokenise": 4000, "train": 300, "predict": 600, "mine": 4000}
QUICK_ROWS = {"tokenise": 2000, "train": 100, "predict": 200, "mine": 2000}
"""Rows at 1x: pairs, or candidate sentences, among which a fixed number of queries look for their neighbours."""
QUERIES, WIDTH, NEIGHBOURS = 4000, 256, 4
MEMORY_BYTES = 200_000_000
"""Memory that mining may use in addition to the vectors' files."""
DEV_ROWS = 50


@dataclass(frozen=True)
class Measurement:
    """The result: seconds of the work itself, the process's peak memory, and its memory before the work began."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    before_mib: float


def main() -> None:
    options = _options()
    started = time.monotonic()
    base = QUICK_ROWS if options.quick else ROWS
    found: dict[str, dict[int, list[Measurement]]] = {kind: {scale: [] for scale in SCALES} for kind in base}
    with tempfile.TemporaryDirectory() as scratch:
        _make_encoder(Path(scratch) / "encoder")
        for repetition in range(options.repetitions):
            for kind in base:
                for scale in SCALES:
                    rows = round(base[kind] * scale * options.scale)
                    request = {"kind": kind, "rows": rows, "threads": options.threads, "scratch": scratch}
                    found[kind][scale].append(_run(request, options))
                    last = found[kind][scale][-1]
                    note(f"{repetition + 1}/{options.repetitions} {kind} {rows} rows: {last.seconds:.1f} s")
    report = _report(base, found, options)
    report["total_seconds"] = time.monotonic() - started
    print(json.dumps(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows: a few minutes on 2 cores")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="all rows times this")
    parser.add_argument("--same-process", action="store_true", help="no process per measurement: peak memory is wrong")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(asdict(_measure(json.loads(options.worker)))))
        raise SystemExit
    return options


def _run(request: dict[str, Any], options: argparse.Namespace) -> Measurement:
    """The worker's answer, from a fresh process unless --same-process is set."""
    if options.same_process:
        return _measure(request)
    return Measurement(**answer("scaling.py", request, options.threads, ["--worker"]))


# ---- the work, in its own process -----------------------------------------------------------------------------------


def _measure(request: dict[str, Any]) -> Measurement:
    import torch

    from viaduct.memory import peak_bytes
    from viaduct.models.numerics import prepare

    prepare("cpu", request["threads"])
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(dir=request["scratch"]) as folder:
        work = WORK[request["kind"]](request["rows"], Path(request["scratch"]) / "encoder", Path(folder))
        before = peak_bytes()
        started, cpu_started = time.perf_counter(), time.process_time()
        work()
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    return Measurement(seconds, cpu_seconds, peak_bytes() / 2**20, before / 2**20)


def _rows(count: int) -> tuple[Any, ...]:
    from viaduct.rows import Pair

    shape = Shape(SHAPE.layers, SHAPE.width, SHAPE.heads, SHAPE.feed_forward, SHAPE.vocabulary, set_rows=count)
    pairs = make_pairs(shape, 1, count)
    return tuple(
        Pair(str(at), "en", first, second, LABELS[label])
        for at, (first, second, label) in enumerate(zip(pairs.first, pairs.second, pairs.labels, strict=True))
    )


def _tokenise(count: int, encoder: Path, folder: Path) -> Callable[[], object]:
    from viaduct.encode.cache import cached
    from viaduct.encode.tokens import Limits
    from viaduct.heads.pair import encode_pairs
    from viaduct.models.encoder import load_tokenizer

    rows, tokenizer = _rows(count), load_tokenizer(str(encoder), None)
    tokenizer(["warm up"])
    return lambda: cached(rows, encode_pairs, tokenizer, LABELS, Limits(128), folder)


def _context(work: Any, rows: tuple[Any, ...], encoder: Path, folder: Path) -> Any:
    """The context that a stage is given; its output and cache are below `folder`."""
    from viaduct.runs.rows import Loaded
    from viaduct.runs.stage import Context
    from viaduct.tasks.catalogue import Catalogue

    for name in ("output", "scratch", "cache"):
        (folder / name).mkdir()

    def load(task: str, split: str, language: str) -> Loaded:
        return Loaded(rows[:DEV_ROWS] if split == "dev" else rows, None)

    return Context(
        work=work,
        directory=folder / "output",
        scratch=folder / "scratch",
        inputs={"encoder": encoder.parent},
        encoder=str(encoder),
        revision=None,
        load=load,
        catalogue=Catalogue.builtin().with_files([Path(__file__).with_name("scaling_card.py")]),
        cache=folder / "cache",
        device="cpu",
        threads=1,
        checkpoint_seconds=float("inf"),
        memory_bytes=MEMORY_BYTES,
        progress=lambda *_: None,
    )


def _train(count: int, encoder: Path, folder: Path) -> Callable[[], object]:
    from viaduct.runs.spec import Training
    from viaduct.runs.stage import kind_of
    from viaduct.training.train import TrainWork

    training = Training(epochs=1.0, batch_tokens=1024, evaluations=1)
    context = _context(TrainWork(task="scaling-pairs", training=training, seed=1), _rows(count), encoder, folder)
    return lambda: kind_of(context.work.kind).run(context, context.work)


def _predict(count: int, encoder: Path, folder: Path) -> Callable[[], object]:
    from viaduct.inference.predict import PredictWork
    from viaduct.runs.stage import kind_of

    work = PredictWork(task="scaling-pairs", languages=("en",), split="test", max_length=128, stride=64)
    context = _context(work, _rows(count), encoder, folder)
    return lambda: kind_of(context.work.kind).run(context, context.work)


def _mine(count: int, encoder: Path, folder: Path) -> Callable[[], object]:
    """Search in both directions, with all vectors in files."""
    import torch

    from viaduct.inference.neighbours import Search, nearest_both_ways

    query, candidate = (_vectors(folder / name, size) for name, size in (("query", QUERIES), ("candidate", count)))
    return lambda: nearest_both_ways(
        torch.from_numpy(query), torch.from_numpy(candidate), NEIGHBOURS, Search(MEMORY_BYTES)
    )


def _vectors(path: Path, count: int) -> np.memmap:
    """Random vectors of unit length in a memory-mapped file."""
    generator = np.random.default_rng(count)
    made = np.memmap(path, dtype=np.float32, mode="w+", shape=(count, WIDTH))
    for at in range(0, count, 1000):
        part = generator.standard_normal((min(1000, count - at), WIDTH), dtype=np.float32)
        made[at : at + 1000] = part / np.linalg.norm(part, axis=1, keepdims=True)
    made.flush()
    del made
    return np.memmap(path, dtype=np.float32, mode="c", shape=(count, WIDTH))


WORK: dict[str, Callable[[int, Path, Path], Callable[[], object]]] = {
    "tokenise": _tokenise,
    "train": _train,
    "predict": _predict,
    "mine": _mine,
}


def _make_encoder(folder: Path) -> None:
    """Write a small encoder with random weights, its tokenizer, and a head next to it."""
    from viaduct.heads.head import HeadSpec, build_head, save_head
    from viaduct.models.encoder import build_encoder, save_encoder
    from viaduct.runs.spec import Architecture

    architecture = Architecture(
        layers=SHAPE.layers, hidden=SHAPE.width, heads=SHAPE.heads, feed_forward=SHAPE.feed_forward
    )
    save_encoder(build_encoder(architecture, SHAPE.vocabulary, PAD), make_tokenizer(SHAPE), folder)
    spec = HeadSpec("pair", LABELS)
    save_head(build_head(spec, SHAPE.width, 0.0), spec, folder.parent)


# ---- the table -------------------------------------------------------------------------------------------------------


def _report(
    base: dict[str, int], found: dict[str, dict[int, list[Measurement]]], options: argparse.Namespace
) -> dict[str, Any]:
    from viaduct.serving.machine import device_name

    print(f"\n{'':10}{'rows':>9}{'seconds':>10}{'CPU s':>9}{'us a row':>10}{'peak MiB':>10}{'before MiB':>12}")
    report: dict[str, Any] = {"ratios": {}, "samples": {}, "cpu_samples": {}, "peak_mib": {}, "before_mib": {}}
    for kind, by_scale in found.items():
        for scale, samples in by_scale.items():
            rows, key = round(base[kind] * scale * options.scale), f"{kind}/{scale}"
            seconds, cpu = (median(getattr(one, name) for one in samples) for name in ("seconds", "cpu_seconds"))
            peak, before = (median(getattr(one, name) for one in samples) for name in ("peak_mib", "before_mib"))
            numbers = f"{seconds:>10.2f}{cpu:>9.2f}{1e6 * cpu / rows:>10,.0f}{peak:>10,.0f}{before:>12,.0f}"
            print(f"{kind:10}{rows:>9,}{numbers}")
            report["samples"][key] = [one.seconds for one in samples]
            report["cpu_samples"][key] = [one.cpu_seconds for one in samples]
            report["peak_mib"][key], report["before_mib"][key] = peak, before
        cpu_of = {scale: median(one.cpu_seconds for one in samples) for scale, samples in by_scale.items()}
        peak_of = {scale: median(one.peak_mib for one in samples) for scale, samples in by_scale.items()}
        report["ratios"][f"{kind}/cpu_seconds_16x_over_4x"] = cpu_of[16] / cpu_of[4]
        report["ratios"][f"{kind}/peak_16x_over_1x"] = peak_of[16] / peak_of[1]
        growth = f"{cpu_of[16] / cpu_of[4]:.2f} times the CPU seconds from 4x to 16x (4 is linear)"
        print(f"{'':10}{growth}, {peak_of[16] / peak_of[1]:.2f} times the memory from 1x to 16x")
    return report | {
        "rows": {f"{kind}/{scale}": round(base[kind] * scale * options.scale) for kind in base for scale in SCALES},
        "device": device_name(),
        "threads": options.threads,
        "quick": options.quick,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy")}},
    }


if __name__ == "__main__":
    main()
