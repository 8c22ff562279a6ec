"""Reading the results of training steps from the device: losses, and whether they and the gradients are finite.

Reading a number from an accelerator waits for all its queued work, so many steps are read at once. Until then, the
first step that is not finite blocks its own update and all later ones, on the device: when it is found, the weights are
still those from before it, and it can be repeated in float32.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

from viaduct.encode.batch import BatchSize
from viaduct.models.numerics import finite
from viaduct.training.state import TrainingState

GROWTH_STEPS = 2000
"""Steps in float16 without an overflow after which the loss scale is doubled (as torch's GradScaler does)."""

FIX = "lower the learning rate or lengthen the warm-up (XLM-R large is known to need 1e-5 or less)"


def steps_together(device: torch.device) -> int:
    """Number of steps after which results are read from a device at the latest."""
    return 1 if device.type == "cpu" else 32


@dataclass(frozen=True)
class Reading:
    """One completed step. `summed` (mean loss x `weight`) and `norm` (of the gradient) are scalars on the device."""

    step: int
    precision: str
    scale: float
    summed: torch.Tensor
    norm: torch.Tensor
    weight: float
    size: BatchSize
    learning_rate: float


class Readings:
    """The steps whose results are still on the device."""

    def __init__(self, optimizer: torch.optim.Optimizer, state: TrainingState, device: torch.device) -> None:
        """`optimizer`: a fused one, which leaves the weights unchanged if its `found_inf` is 1."""
        self.optimizer, self.state, self.device = optimizer, state, device
        self._unread: list[Reading] = []
        self._begun = 0.0
        self._again: int | None = None
        self._failed = torch.zeros((), device=device)

    def begin(self) -> tuple[str, float]:
        """(precision of the next step's products, factor on its loss that makes its gradient fit in float16)."""
        if not self._unread:
            self._begun = time.monotonic()
        precision = "fp32" if self.state.step == self._again else self.state.precision
        if precision != "fp16":
            return precision, 1.0
        if self.state.step - self.state.scaled_at >= GROWTH_STEPS:
            self.state.scale, self.state.scaled_at = self.state.scale * 2, self.state.step
        return precision, self.state.scale

    def add(self, reading: Reading) -> None:
        """Record a step whose gradient has been computed, right before the optimiser's update."""
        self._failed = self._failed.maximum((~(reading.summed + reading.norm).isfinite()).float())
        self.optimizer.found_inf = self._failed  # type: ignore[attr-defined]
        self._unread.append(reading)

    def read(self, *, now: bool = True) -> None:
        """Read and count the completed steps; if not `now`, only when there are enough of them.

        A step in less than float32 that is not finite is undone, with all later ones, to be repeated in float32.
        Raises NumbersError, with its number and what to change, if it is not finite in float32 either.
        """
        enough, since = steps_together(self.device), self.state.step - self.state.scaled_at
        if self.state.precision == "fp16":  # a scale that is too large shows soon
            enough = max(1, min(enough, since // 2))
        if not self._unread or not (now or self._again is not None or len(self._unread) >= enough):
            return
        unread, self._unread, self._again = self._unread, [], None
        numbers = [number.double() for one in unread for number in (one.summed, one.norm)]
        values = torch.stack(numbers).tolist()
        seconds = (time.monotonic() - self._begun) / len(unread)
        for one, value, norm in zip(unread, values[::2], values[1::2], strict=True):
            if one.precision != "fp32" and not math.isfinite(value + norm):
                self._take_back(one)
                return
            finite(value, f"the training loss at step {one.step}", FIX)
            finite(norm, f"the norm of the gradient at step {one.step}", FIX)  # clipping would spread it to all weights
            self.state.count(one.size, value, one.weight, seconds, one.learning_rate)

    def _take_back(self, one: Reading) -> None:
        self.state.step = self._again = one.step
        self.state.made_again += 1
        if one.precision == "fp16":
            self.state.scale, self.state.scaled_at = one.scale / 2, one.step
        self._failed = torch.zeros((), device=self.device)
