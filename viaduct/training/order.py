"""Which examples make up the batch of each step, as a function of only the seed and the step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from viaduct.encode.batch import plan_batches
from viaduct.encode.tokens import Array, Encoded
from viaduct.errors import DataError
from viaduct.models.numerics import derived_seed
from viaduct.rows import Row
from viaduct.runs.parts import Training

PLANS_KEPT = 2
"""Number of epochs whose plans are cached: steps go forwards, so older ones are not needed again."""


class Order:
    """Batches for any number of epochs; each is planned from the seed when it is first needed."""

    def __init__(self, encoded: Encoded, batch_tokens: int, seed: int, *, beside: int = 0) -> None:
        """`beside`: number of image tokens that go through the encoder with every sequence."""
        if not len(encoded):
            raise DataError("there are no training rows", fix="check the recipe's substitutions and `viaduct plan`")
        self.lengths, self.widths = encoded.lengths + beside, encoded.widths
        self.batch_tokens, self.seed = batch_tokens, seed
        self._known: dict[int, list[Array]] = {}
        self._ends: list[int] = []

    def plan(self, epoch: int) -> list[Array]:
        """The batches of this epoch, in order."""
        if epoch not in self._known:
            while len(self._known) >= PLANS_KEPT:
                del self._known[next(iter(self._known))]
            self._known[epoch] = self.planned(epoch, derived_seed("order", self.seed, epoch))
        return self._known[epoch]

    def planned(self, _epoch: int, seed: int) -> list[Array]:
        """A newly made plan."""
        return plan_batches(self.lengths, self.widths, self.batch_tokens, seed)

    def end(self, epoch: int) -> int:
        """Number of steps in all epochs up to and including this one."""
        while len(self._ends) <= epoch:
            before = self._ends[-1] if self._ends else 0
            self._ends.append(before + len(self.plan(len(self._ends))))
        return self._ends[epoch]

    def epoch_of(self, step: int) -> int:
        """The epoch that this step belongs to."""
        while not self._ends or self._ends[-1] <= step:
            self.end(len(self._ends))
        return int(np.searchsorted(self._ends, step, side="right"))

    def batch(self, step: int) -> Array:
        """Example indices of this step's batch."""
        epoch = self.epoch_of(step)
        return self.plan(epoch)[step - (self._ends[epoch - 1] if epoch else 0)]


def sample_rows(rows: Sequence[Row], count: int | None, seed: int) -> tuple[Row, ...]:
    """`count` of the rows drawn by the seed, in file order; all of them if there are no more than that."""
    if count is None or count >= len(rows):
        return tuple(rows)
    chosen = np.random.default_rng(derived_seed("sample", seed)).choice(len(rows), count, replace=False)
    return tuple(rows[at] for at in sorted(chosen))


def count_steps(order: Order, training: Training) -> int:
    """Number of steps for the requested epochs (a partial epoch is rounded up), at least 1 and at most `max_steps`."""
    whole = math.floor(training.epochs)
    steps = order.end(whole - 1) if whole else 0
    if training.epochs > whole:
        steps += math.ceil((training.epochs - whole) * len(order.plan(whole)))
    return max(1, steps if training.max_steps is None else min(steps, training.max_steps))
