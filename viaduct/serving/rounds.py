"""Whether one model is slower than another: both go through the same rows in turns, in one process.

In each round both run all rows one at a time, three times, whichever began last going second; of a row's three times
the shortest counts, because whatever else the machine does only ever adds to them. What one copy of a model gains over
another by where it lies in memory is part of neither: every few rounds both are opened anew, in turned order. Two
models are open at a time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from viaduct.encode.batch import Batch, collate
from viaduct.encode.tokens import Array
from viaduct.models.numerics import keep_freed_memory
from viaduct.serving.engines import Engine, open_engine
from viaduct.serving.probe import Request
from viaduct.serving.workload import load

REOPEN = 5
"""Rounds after which both models are opened anew."""
PASSES = 3
"""In each round."""
WARM_UP = 5
"""Rows that each model runs after it was opened, before the clock starts."""


@dataclass(frozen=True)
class Pair:
    """Two models and how to measure them."""

    first: Request
    other: Request
    rounds: int
    rows: int
    """Run in each round, spread over all of the file."""


def run(pair: Pair) -> dict[str, list[float]]:
    """Seconds of the other model ("seconds") and of the first ("against") for the rows, one of each per round."""
    keep_freed_memory()
    models = (pair.other, pair.first)
    batches = [_batches(model, pair.rows) for model in models]
    engines: dict[int, Engine] = {}
    seconds: list[list[float]] = [[], []]
    for number in range(pair.rounds):
        if number % REOPEN == 0:
            engines.clear()  # before the new ones are there
            for at in _turned(number // REOPEN):
                engines[at] = _opened(models[at])
                _times(engines[at], batches[at][:WARM_UP])
        times: list[list[Any]] = [[], []]
        for passes in range(PASSES):
            for at in _turned(number + passes):
                times[at].append(_times(engines[at], batches[at]))
        for at in (0, 1):
            seconds[at].append(float(np.min(times[at], axis=0).sum()))
    return {"seconds": seconds[0], "against": seconds[1]}


def _turned(number: int) -> tuple[int, int]:
    return (0, 1) if number % 2 == 0 else (1, 0)


def _opened(model: Request) -> Engine:
    return open_engine(Path(model.folder), model.engine, model.precision, model.threads)


def _batches(model: Request, count: int) -> list[Batch]:
    encoded = load(Path(model.rows))
    chosen = np.unique(np.linspace(0, len(encoded) - 1, min(count, len(encoded))).astype(int))
    return [collate(encoded, np.array([at]), model.pad_id) for at in chosen]


def _times(engine: Engine, batches: Sequence[Batch]) -> Array:
    """(batches,) seconds of each."""
    ends = [time.perf_counter()]
    for batch in batches:
        engine(batch)
        ends.append(time.perf_counter())
    return np.diff(ends)
