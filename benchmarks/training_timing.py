"""The request to every variant of the training benchmark, and the timing of its steps."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from training_rows import WORKS, Work

LEARNING_RATE = 2e-5


@dataclass(frozen=True)
class Request:
    """What to measure."""

    variant: str
    work: str
    shape: str
    steps: int
    """Number of timed steps."""
    threads: int
    seed: int
    device: str = "cpu"
    warm_up: int = 1
    """Number of steps before the timed ones."""
    scale: int = 1
    """Factor for the rows in a step: a GPU needs more of them than a CPU to be fully used."""

    @property
    def rows(self) -> Work:
        """The kind of work, with the scaled number of rows per step."""
        work = WORKS[self.work]
        return replace(work, batch_rows=self.scale * work.batch_rows)

    @property
    def format(self) -> str:
        """Number format of the products, the same for ours and theirs: on a GPU, the fast one that it has."""
        from viaduct.models.numerics import training_precision

        return training_precision("auto", torch_device(self.device))


def torch_device(name: str) -> Any:
    import torch

    return torch.device(name)


@dataclass(frozen=True)
class Timed:
    """Rows, real tokens, slots (including padding) and the sum of the rows' squared lengths, which determines the cost
    of attention, over the timed steps; both clocks; the number of embedding rows held."""

    steps: int
    rows: int
    tokens: int
    slots: int
    squares: int
    seconds: float
    cpu_seconds: float
    embedding_rows: int


class Clock:
    """Wall and CPU seconds between the end of the last warm-up step and the end of the last step; both points wait for
    the GPU, if there is one."""

    def __init__(self, steps: int, warm_up: int = 1, device: str = "cpu") -> None:
        self.steps, self.warm_up, self.device = steps, warm_up, device
        self.marks: list[tuple[float, float]] = []

    def step_done(self, done: int) -> None:
        if done in (self.warm_up, self.steps):
            if self.device != "cpu":
                import torch

                torch.cuda.synchronize()
            self.marks.append((time.perf_counter(), time.process_time()))

    def passed(self) -> tuple[float, float]:
        (wall, cpu), (wall_end, cpu_end) = self.marks
        return wall_end - wall, cpu_end - cpu

    def timed(self, batches: list[Any], slots: list[int], embedding_rows: int) -> Timed:
        """`batches`: row lengths of every step, warm-up steps first; `slots`: slots of the same steps, with padding."""
        batches, slots = batches[self.warm_up : self.steps], slots[self.warm_up : self.steps]
        lengths = np.concatenate(batches).astype(np.int64)
        return Timed(
            steps=len(batches),
            rows=len(lengths),
            tokens=int(lengths.sum()),
            slots=sum(slots),
            squares=int((lengths**2).sum()),
            seconds=self.passed()[0],
            cpu_seconds=self.passed()[1],
            embedding_rows=embedding_rows,
        )
