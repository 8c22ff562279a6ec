"""What every variant of the training benchmark is asked, and how its steps are timed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

LEARNING_RATE = 2e-5


@dataclass(frozen=True)
class Request:
    """What to measure."""

    variant: str
    work: str
    shape: str
    steps: int
    """Timed ones; one more, the first, warms up."""
    threads: int
    seed: int


@dataclass(frozen=True)
class Timed:
    """Rows, real tokens, slots (with padding) and the sum of the rows' squared lengths, which attention costs, over
    the timed steps; both clocks; the embedding rows that were held."""

    steps: int
    rows: int
    tokens: int
    slots: int
    squares: int
    seconds: float
    cpu_seconds: float
    embedding_rows: int


class Clock:
    """Wall and CPU seconds between the end of the first step and the end of the last."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.marks: list[tuple[float, float]] = []

    def step_done(self, done: int) -> None:
        if done in (1, self.steps):
            self.marks.append((time.perf_counter(), time.process_time()))

    def passed(self) -> tuple[float, float]:
        (wall, cpu), (wall_end, cpu_end) = self.marks
        return wall_end - wall, cpu_end - cpu

    def timed(self, batches: list[Any], slots: list[int], embedding_rows: int) -> Timed:
        """batches: the lengths of the rows of every step, the warm-up's first; slots: with padding, of the same."""
        lengths = np.concatenate(batches[1:]).astype(np.int64)
        return Timed(
            steps=len(batches) - 1,
            rows=len(lengths),
            tokens=int(lengths.sum()),
            slots=sum(slots[1:]),
            squares=int((lengths**2).sum()),
            seconds=self.passed()[0],
            cpu_seconds=self.passed()[1],
            embedding_rows=embedding_rows,
        )
