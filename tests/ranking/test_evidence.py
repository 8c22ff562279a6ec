"""LogME is the largest possible evidence, as found by another formula and by search."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from viaduct.ranking.evidence import log_evidence


def searched(states_ND: NDArray[np.float64], target_N: NDArray[np.float64]) -> float:
    """The largest log N(target; 0, noise + states states^T / weights) per row, by search over both precisions."""
    products_NN = states_ND @ states_ND.T

    def lost(logarithms: NDArray[np.float64]) -> float:
        weights, noise = np.exp(logarithms)
        covariance_NN = products_NN / weights + np.eye(len(target_N)) / noise
        return -float(multivariate_normal.logpdf(target_N, cov=covariance_NN, allow_singular=False))

    starts = [(0.0, 0.0), (3.0, 1.0), (-2.0, 3.0)]
    best = min(minimize(lost, start, method="Nelder-Mead", options={"maxiter": 2000}).fun for start in starts)
    return -best / len(target_N)


@pytest.mark.parametrize(("rows", "dimensions", "labels"), [(60, 5, 2), (40, 12, 3), (25, 60, 2)])
def test_it_is_the_largest_evidence(rows: int, dimensions: int, labels: int) -> None:
    rng = np.random.default_rng(rows)
    states_ND = rng.normal(size=(rows, dimensions))
    scores_NC = states_ND[:, :2] @ rng.normal(size=(2, labels)) + rng.normal(size=(rows, labels))
    targets_NC = np.eye(labels)[scores_NC.argmax(axis=1)]
    expected = np.mean([searched(states_ND, target_N) for target_N in targets_NC.T])
    assert log_evidence(states_ND, targets_NC) == pytest.approx(expected, abs=1e-4)


def test_numbers_are_targets_too() -> None:
    rng = np.random.default_rng(2)
    states_ND = rng.normal(size=(50, 6))
    target_N = states_ND @ rng.normal(size=6) + 0.3 * rng.normal(size=50)
    assert log_evidence(states_ND, target_N[:, None]) == pytest.approx(searched(states_ND, target_N), abs=1e-4)


def test_states_that_tell_the_label_are_better_and_more_of_them_that_do_not_are_no_better() -> None:
    rng = np.random.default_rng(3)
    labels_N = rng.integers(0, 2, 200)
    telling_ND, noise_ND = labels_N[:, None] + 0.7 * rng.normal(size=(200, 4)), rng.normal(size=(200, 40))
    told, both, none = (
        log_evidence(states, np.eye(2)[labels_N])
        for states in (telling_ND, np.hstack([telling_ND, noise_ND]), noise_ND)
    )
    assert told > both > none
