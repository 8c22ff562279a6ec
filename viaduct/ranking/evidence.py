"""LogME: how well a linear model could predict labels from an encoder's states, without training one.

It is the log evidence of the labels under Bayesian linear regression, maximised over the precisions of weights and
noise, per row and averaged over labels (You et al. 2021, arXiv 2102.11005; MacKay's fixed point, their algorithm 3).
Higher is better; unlike the fit of a probe, it does not reward states with more dimensions.

Shape letters: N rows, D dimensions, C labels, K singular values.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEPS = 100
_CLOSE = 1e-6
"""Relative change of the ratio of the precisions at which the iteration has converged."""
_NOTHING = 1e-10
"""Added to sums of squares, which may be 0."""


def log_evidence(states_ND: NDArray[Any], targets_NC: NDArray[Any]) -> float:
    """LogME of these targets: one-hot labels, or a column of numbers."""
    left_NK, values_K, _ = np.linalg.svd(states_ND.astype(np.float64), full_matrices=False)
    found = [
        _of_one(values_K**2, (left_NK.T @ target_N) ** 2, float(target_N @ target_N), states_ND.shape)
        for target_N in targets_NC.astype(np.float64).T
    ]
    return sum(found) / len(found)


def _of_one(squares_K: NDArray[Any], seen_K: NDArray[Any], total: float, shape: tuple[int, ...]) -> float:
    """LogME of one target; `seen_K`: its squared components along the states' left singular vectors."""
    (rows, dimensions), unseen = shape, max(0.0, total - float(seen_K.sum()))
    weights = noise = 1.0
    for _ in range(_STEPS):
        ratio = weights / noise
        determined = float((squares_K / (squares_K + ratio)).sum())
        length, error = _fit(squares_K, seen_K, unseen, ratio)
        weights = determined / (length + _NOTHING)
        noise = (rows - determined) / (error + _NOTHING)
        if abs(weights / noise - ratio) <= _CLOSE * ratio:
            break
    length, error = _fit(squares_K, seen_K, unseen, weights / noise)
    volume = float(np.log(weights + noise * squares_K).sum()) + (dimensions - len(squares_K)) * math.log(weights)
    constant = rows * math.log(noise) + dimensions * math.log(weights) - rows * math.log(2 * math.pi)
    return (constant - noise * error - weights * length - volume) / 2 / rows


def _fit(squares_K: NDArray[Any], seen_K: NDArray[Any], unseen: float, ratio: float) -> tuple[float, float]:
    """(squared length of the mean weights, squared error) at this ratio of the precisions."""
    length = float((squares_K * seen_K / (squares_K + ratio) ** 2).sum())
    return length, float((seen_K * (ratio / (squares_K + ratio)) ** 2).sum()) + unseen
