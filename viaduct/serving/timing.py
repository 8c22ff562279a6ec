"""Timing of models, each job in its own process: the profile of one model, or two models taking turns.

Latency is measured on single examples; throughput on all of them, sorted by length into batches of several budgets.
Whether one model is slower than another is measured in paired rounds: in each, both run all rows one at a time, three
times, and the one that went first last time goes second. The shortest of a row's three times counts, because anything
else the machine does can only add to them. What one copy of a model gains over another by its place in memory must
count for neither, so every few rounds both are reopened, in reversed order. No time includes tokenising.

`python -m viaduct.serving.timing JOBS` prints one JSON object per job.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from viaduct.encode.batch import Batch, collate, padding_fraction, plan_batches
from viaduct.encode.cache import read_tokens
from viaduct.encode.tokens import Array, Encoded
from viaduct.errors import UsageError
from viaduct.models.numerics import keep_freed_memory
from viaduct.runs.processes import end_with
from viaduct.serving.engines import Engine, open_engine
from viaduct.serving.machine import device_peak, energy, joules_between, matrix_rate
from viaduct.serving.model import skeleton

BUDGETS = (512, 1024, 2048, 4096, 8192)
"""Numbers of token slots per batch that are tried for throughput."""
BUDGETS_ON_GPU = (*BUDGETS, 16_384, 32_768, 65_536)
"""The same on a GPU, tried until the number of batches no longer falls, or one does not fit in its memory."""
SINGLE = 200
"""Examples whose latency is measured, one at a time, spread over all of them."""
WARM_UP = 5
"""Single examples, and batches of each budget, that run before the clock starts."""
REOPEN = 5
"""Number of paired rounds after which both models are reopened."""
PASSES = 3
"""Passes of each model over the rows in a round."""


@dataclass(frozen=True)
class TimedModel:
    """A model to be profiled: the engine that opens it, and the rows that it runs."""

    folder: str
    engine: str
    precision: str
    threads: int
    rows: str
    """Folder with the rows' token arrays (`cache.write_tokens`)."""
    pad_id: int
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"

    def open(self) -> Engine:
        """The engine, with the model loaded."""
        return open_engine(Path(self.folder), self.engine, self.precision, self.threads, self.device)

    def singles(self, encoded: Encoded, count: int) -> list[Batch]:
        """At most `count` examples, spread over all of them, each in its own batch."""
        chosen = np.unique(np.linspace(0, len(encoded) - 1, min(count, len(encoded))).astype(int))
        return [collate(encoded, np.array([at]), self.pad_id) for at in chosen]

    def run(self) -> dict[str, Any]:
        """Measure load time, latencies, throughputs, peak memory and energy; returns these, with versions."""
        keep_freed_memory()
        torch.set_num_threads(self.threads)
        encoded = read_tokens(Path(self.rows))
        load_average = os.getloadavg()[0]
        before = device_peak(self.device)
        started = time.perf_counter()
        engine = self.open()
        engine.wait()
        loaded = time.perf_counter() - started
        after_load = device_peak(self.device)
        alone = self.singles(encoded, SINGLE)
        seconds(engine, alone[:WARM_UP])
        latency = 1e3 * seconds(engine, alone)
        joules, started = energy(self.device), time.perf_counter()
        throughput = self._throughput(engine, encoded)
        used, spent = joules_between(joules, energy(self.device)), time.perf_counter() - started
        of = "the whole processor" if self.device == "cpu" else "the GPU"
        return {
            "load_average_before": load_average,
            "load_seconds": loaded,
            "peak_bytes": {
                "before_loading": before,
                "after_loading": after_load,
                "in_all": device_peak(self.device),
            },
            "latency_ms": latency.tolist(),
            "throughput": throughput,
            "energy": {"joules": used, "seconds": spent, "of": of},
            "flops_per_second_of_products": matrix_rate(self.threads, self.device, self.precision),
            "versions": {"python": platform.python_version(), "numpy": version("numpy"), **engine.versions()},
        }

    def _throughput(self, engine: Engine, encoded: Encoded) -> list[dict[str, Any]]:
        """Throughput with batches of several sizes."""
        if self.device == "cpu":
            return [_throughput(engine, encoded, self.pad_id, budget) for budget in BUDGETS]
        found: list[dict[str, Any]] = []
        for budget in BUDGETS_ON_GPU:
            with contextlib.suppress(torch.OutOfMemoryError):
                found.append(_throughput(engine, encoded, self.pad_id, budget))
            batches = [len(one["seconds"]) for one in found[-2:]]
            if not found or found[-1]["batch_tokens"] < budget or (len(batches) == 2 and batches[0] == batches[1]):
                break
        return found


def _throughput(engine: Engine, encoded: Encoded, pad_id: int, budget: int) -> dict[str, Any]:
    plan = plan_batches(encoded.lengths, encoded.widths, budget, None)
    made = [collate(encoded, examples, pad_id) for examples in plan]
    seconds(engine, made[: min(WARM_UP, -(-len(made) // 4))])
    return {
        "batch_tokens": budget,
        "examples": len(encoded),
        "tokens": sum(batch.tokens for batch in made),
        "padding_fraction": padding_fraction(encoded.lengths, encoded.widths, plan),
        "seconds": seconds(engine, made).tolist(),
    }


def seconds(engine: Engine, batches: Sequence[Batch]) -> Array:
    """(batches,) seconds that each batch takes."""
    ends = [time.perf_counter()]
    for batch in batches:
        engine(batch)
        engine.wait()
        ends.append(time.perf_counter())
    return np.diff(ends)


@dataclass(frozen=True)
class PairedRounds:
    """Two models that take turns in one process; no more than these two are open at a time."""

    first: TimedModel
    other: TimedModel
    rounds: int
    rows: int
    """Rows run in each round, spread over the whole file."""

    def __str__(self) -> str:
        return f"{self.other} against {self.first}"

    def run(self) -> dict[str, list[float]]:
        """Seconds of the other model ("seconds") and of the first ("against") for the rows, one of each per round."""
        keep_freed_memory()
        models = (self.other, self.first)
        batches = [model.singles(read_tokens(Path(model.rows)), self.rows) for model in models]
        engines: dict[int, Engine] = {}
        found: tuple[list[float], list[float]] = ([], [])
        for number in range(self.rounds):
            if number % REOPEN == 0:
                engines.clear()  # before the new ones are opened
                for at in _turned(number // REOPEN):
                    engines[at] = models[at].open()
                    seconds(engines[at], batches[at][:WARM_UP])
            times: tuple[list[Array], list[Array]] = ([], [])
            for passes in range(PASSES):
                for at in _turned(number + passes):
                    times[at].append(seconds(engines[at], batches[at]))
            for at in (0, 1):
                found[at].append(float(np.min(times[at], axis=0).sum()))
        return {"seconds": found[0], "against": found[1]}


def _turned(number: int) -> tuple[int, int]:
    return (0, 1) if number % 2 == 0 else (1, 0)


Job = TimedModel | PairedRounds
JOBS = TypeAdapter(list[Job])


def results(jobs: Sequence[Job], threads: int) -> Iterator[dict[str, Any]]:
    """What each job's `run` returns, as soon as it is available.

    Raises UsageError with the last line of a process's error output if it failed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "viaduct.serving.timing", JOBS.dump_json(list(jobs)).decode()]
    done = 0
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(  # noqa: S603
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101  a pipe
        try:
            for line in process.stdout:
                done += 1
                yield json.loads(line)
            process.wait()
        finally:
            process.kill()  # if the caller needs no more; a no-op if it has ended
        errors.seek(0)
        said = errors.read().strip().splitlines() or ["no error output"]
    if process.returncode:
        raise UsageError(f"the process that measures {jobs[done]} failed: {said[-1]}")


def measure(jobs: Sequence[Job]) -> int:
    """Run the jobs in turn; returns 1 as soon as one fails, else 0.

    Each runs in a fork of this process, which has imported what all need and opened no model: a fork takes no time,
    while a new process would take seconds to import torch and transformers.
    """
    for job in jobs:
        model = job if isinstance(job, TimedModel) else job.other
        skeleton(Path(model.folder))  # imports the code of its architecture
        child = os.fork()
        if child == 0:
            end_with(sys.stdin.fileno())
            print(json.dumps(job.run()), flush=True)  # noqa: T201  its parent reads it
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            return 1
    return 0


if __name__ == "__main__":
    end_with(sys.stdin.fileno())  # a pipe held by the caller
    sys.exit(measure(JOBS.validate_json(sys.argv[1])))
