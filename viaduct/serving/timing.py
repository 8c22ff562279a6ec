"""What models cost by the clock, in the process that runs them: one model's profile, or two models in turns.

Latency is of single examples; throughput of all of them, sorted by length into batches of several budgets. Whether one
model is slower than another is asked in paired rounds: in each both run all rows one at a time, three times, whichever
began last going second; of a row's three times the shortest counts, because whatever else the machine does only ever
adds to them. What one copy of a model gains over another by where it lies in memory is part of neither: every few
rounds both are opened anew, in turned order. Tokenising is not part of any time.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from viaduct.encode.batch import Batch, collate, padding_fraction, plan_batches
from viaduct.encode.tokens import Array, Encoded
from viaduct.memory import peak_bytes
from viaduct.models.numerics import keep_freed_memory
from viaduct.serving.engines import Engine, open_engine
from viaduct.serving.machine import energy, joules_between, matrix_rate
from viaduct.serving.samples import load_tokens

BUDGETS = (512, 1024, 2048, 4096, 8192)
"""Slots of a batch that are tried for throughput."""
SINGLE = 200
"""Examples whose latency is measured, one at a time, spread over all of them."""
WARM_UP = 5
"""Single examples, and batches of each budget, that run before the clock starts."""
REOPEN = 5
"""Paired rounds after which both models are opened anew."""
PASSES = 3
"""Of either model in a round."""


@dataclass(frozen=True)
class TimedModel:
    """A model to be profiled: what opens it, and the rows that it runs."""

    folder: str
    engine: str
    precision: str
    threads: int
    rows: str
    """File with the token arrays (`samples.save_tokens`)."""
    pad_id: int

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}"

    def open(self) -> Engine:
        """The engine with the model."""
        return open_engine(Path(self.folder), self.engine, self.precision, self.threads)

    def singles(self, encoded: Encoded, count: int) -> list[Batch]:
        """At most `count` examples, spread over all of them, each alone."""
        chosen = np.unique(np.linspace(0, len(encoded) - 1, min(count, len(encoded))).astype(int))
        return [collate(encoded, np.array([at]), self.pad_id) for at in chosen]

    def run(self) -> dict[str, Any]:
        """Seconds to load, latencies, throughputs, peak memory, energy, versions."""
        keep_freed_memory()
        torch.set_num_threads(self.threads)
        encoded = load_tokens(Path(self.rows))
        load_average = os.getloadavg()[0]
        before = peak_bytes()
        started = time.perf_counter()
        engine = self.open()
        loaded = time.perf_counter() - started
        after_load = peak_bytes()
        alone = self.singles(encoded, SINGLE)
        seconds(engine, alone[:WARM_UP])
        latency = 1e3 * seconds(engine, alone)
        joules, started = energy(), time.perf_counter()
        throughput = [_throughput(engine, encoded, self.pad_id, budget) for budget in BUDGETS]
        used = joules_between(joules, energy())
        return {
            "load_average_before": load_average,
            "load_seconds": loaded,
            "peak_bytes": {"before_loading": before, "after_loading": after_load, "in_all": peak_bytes()},
            "latency_ms": latency.tolist(),
            "throughput": throughput,
            "energy": {"joules": used, "seconds": time.perf_counter() - started, "of": "the whole processor"},
            "flops_per_second_of_products": matrix_rate(self.threads),
            "versions": {"python": platform.python_version(), "numpy": version("numpy"), **engine.versions()},
        }


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
    """(batches,) seconds of each."""
    ends = [time.perf_counter()]
    for batch in batches:
        engine(batch)
        ends.append(time.perf_counter())
    return np.diff(ends)


@dataclass(frozen=True)
class PairedRounds:
    """Two models that take turns in one process; no more than these two are open at a time."""

    first: TimedModel
    other: TimedModel
    rounds: int
    rows: int
    """Run in each round, spread over all of the file."""

    def __str__(self) -> str:
        return f"{self.other} against {self.first}"

    def run(self) -> dict[str, list[float]]:
        """Seconds of the other model ("seconds") and of the first ("against") for the rows, one of each per round."""
        keep_freed_memory()
        models = (self.other, self.first)
        batches = [model.singles(load_tokens(Path(model.rows)), self.rows) for model in models]
        engines: dict[int, Engine] = {}
        found: tuple[list[float], list[float]] = ([], [])
        for number in range(self.rounds):
            if number % REOPEN == 0:
                engines.clear()  # before the new ones are there
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
