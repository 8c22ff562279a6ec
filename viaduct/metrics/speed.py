"""Comparison of two models' inference times, from paired rounds.

The rule, fixed before any run: a time is *unchanged* if the 95 % interval of the ratio, over rounds, reaches no further
than 5 % from 1; else *faster* or *slower* if the interval lies on one side of 1; else nothing can be said. Equal models
measure 1 or 2 % apart if each runs in its own process: the placement of memory is drawn once, not in each round, so
intervals over rounds do not cover it. If several models are compared, the intervals are wide enough for all of them to
be right in 95 % of experiments (Bonferroni).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from viaduct.metrics.spread import Part, Spread

FEWEST_ROUNDS = 20
"""With fewer rounds of measured inference than this, nothing is said about its speed."""
SPEED_MARGIN = 0.05
"""The furthest that the interval of an unchanged ratio of times may reach from 1."""

Speed = Literal["unchanged", "faster", "slower", "cannot tell"]


@dataclass(frozen=True)
class MeasuredInference:
    """The size and inference cost of one arm's trained model, from a Measure stage."""

    arm: str
    keys: str
    """Digest of the names and shapes of the encoder's weights."""
    parameters: int
    flops: float
    """Floating-point operations of the workload."""
    seconds: tuple[float, ...]
    """Times of the workload, one per round."""
    against: tuple[float, ...]
    """Times of the same workload in the same rounds with the model that all are compared with."""


class Ratio(NamedTuple):
    """A ratio of times with its interval."""

    mean: float
    low: float
    high: float


def time_ratio(one: MeasuredInference, compared: int = 1) -> Ratio | None:
    """The geometric mean of the rounds' ratios and its 95 % interval, which holds jointly for all `compared` arms; None
    if there are too few rounds, or unpaired ones."""
    if len(one.seconds) != len(one.against) or len(one.seconds) < FEWEST_ROUNDS:
        return None
    # a round is to a time what a seed is to a score: the unit of repetition
    logs = np.log(one.seconds) - np.log(one.against)
    mean, variance = float(logs.mean()), float(logs.var(ddof=1)) / len(logs)
    reach = Spread(Part(variance, len(logs) - 1)).reach(1 - 0.05 / max(1, compared)) if variance > 0 else 0.0
    return Ratio(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach))


def speed(ratio: Ratio | None) -> Speed:
    """The verdict by the rule above."""
    if ratio is None:
        return "cannot tell"
    if max(ratio.high - 1, 1 - ratio.low) <= SPEED_MARGIN:
        return "unchanged"
    if ratio.high < 1:
        return "faster"
    return "slower" if ratio.low > 1 else "cannot tell"
