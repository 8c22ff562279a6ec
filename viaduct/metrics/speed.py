"""How one model's time compares with another's, from paired rounds.

The rule, fixed before any run: a time is *unchanged* when the 95 % interval of the ratio, over rounds, reaches no
further than 5 % from 1; else *faster* or *slower* when it lies on one side of 1; else nothing can be said. Equal models
come out 1 or 2 % apart where each runs in a process of its own: where its memory lies is drawn once, not in each round,
so that intervals over rounds do not hold it. Where several are compared, the intervals are as wide as it takes for all
of them to be right in 95 % of experiments (Bonferroni).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from viaduct.metrics.spread import Part, Spread

FEWEST_ROUNDS = 20
"""Rounds of measured inference below which nothing is said about its speed."""
SPEED_MARGIN = 0.05
"""The widest that an interval of a ratio of times may reach from 1."""

Speed = Literal["unchanged", "faster", "slower", "cannot tell"]


@dataclass(frozen=True)
class MeasuredInference:
    """What one arm's trained model is and costs at inference, from a Measure stage."""

    arm: str
    keys: str
    """Digest of the names and shapes of the encoder's weights."""
    parameters: int
    flops: float
    """Of the workload."""
    seconds: tuple[float, ...]
    """Of the workload, one per round."""
    against: tuple[float, ...]
    """Of the same workload in the same rounds, the model that all are compared with."""


class Ratio(NamedTuple):
    """A ratio of times with its interval."""

    mean: float
    low: float
    high: float


def time_ratio(one: MeasuredInference, compared: int = 1) -> Ratio | None:
    """The geometric mean of the rounds' ratios and its 95 % interval, held jointly with those of the others when
    `compared` arms are; None with too few rounds, or unpaired ones."""
    if len(one.seconds) != len(one.against) or len(one.seconds) < FEWEST_ROUNDS:
        return None
    # a round is to time what a seed is to a score: the unit that is drawn anew
    logs = np.log(one.seconds) - np.log(one.against)
    mean, variance = float(logs.mean()), float(logs.var(ddof=1)) / len(logs)
    reach = Spread(Part(variance, len(logs) - 1)).reach(1 - 0.05 / max(1, compared)) if variance > 0 else 0.0
    return Ratio(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach))


def too_wide(ratio: Ratio) -> bool:
    """Whether the interval reaches too far from 1 for a time to be called unchanged."""
    return max(ratio.high - 1, 1 - ratio.low) > SPEED_MARGIN


def speed(ratio: Ratio | None) -> Speed:
    """The rule's verdict."""
    if ratio is None:
        return "cannot tell"
    if not too_wide(ratio):
        return "unchanged"
    if ratio.high < 1:
        return "faster"
    return "slower" if ratio.low > 1 else "cannot tell"
