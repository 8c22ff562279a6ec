"""How many CPU threads are worth using: measured, because with cores that other programs use, or that share one unit
for products, more threads can be slower than fewer."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn

from viaduct.models.linear import use_onednn

TOKENS, WIDTH, FEED_FORWARD, HEADS = 512, 384, 1536, 6
TIMED_ROUNDS = 5
WORTH_IT = 0.95
"""More threads are only used if they need at most this share of the time with fewer."""


def fastest(most: int, seconds: Callable[[int], float] | None = None) -> int:
    """The number of threads to use, of 1, 2, 4, ... and `most`: each in turn replaces the choice so far if worth it.

    seconds: the time of a step with this many threads; default: a training step of one encoder layer. Takes a second or
    two and leaves torch's number of threads changed.
    """
    step = seconds or _layer_step()
    tried: list[int] = [*(2**power for power in range(most.bit_length()) if 2**power < most), most]
    samples: dict[int, list[float]] = {count: [] for count in tried}
    for _ in range(TIMED_ROUNDS):
        for count in tried:
            samples[count].append(step(count))
    best = tried[0]
    for count in tried[1:]:
        if median(samples[count]) <= WORTH_IT * median(samples[best]):
            best = count
    return best


def _layer_step() -> Callable[[int], float]:
    layer = use_onednn(nn.TransformerEncoderLayer(WIDTH, HEADS, FEED_FORWARD, batch_first=True))
    hidden_BLD = torch.randn(TOKENS // 32, 32, WIDTH)

    def step(count: int) -> float:
        torch.set_num_threads(count)
        started = time.perf_counter()
        layer(hidden_BLD).sum().backward()
        return time.perf_counter() - started

    step(1)
    return step
