from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from viaduct.inference import neighbours
from viaduct.inference.neighbours import nearest_both_ways


def brute_force(query: np.ndarray, candidate: np.ndarray, k: int) -> tuple[list[list[float]], list[list[int]]]:
    values, indices = [], []
    for one in query:
        similarity = [float(one @ other) for other in candidate]
        order = sorted(range(len(candidate)), key=lambda at: (-similarity[at], at))[:k]
        indices.append(order)
        values.append([similarity[at] for at in order])
    return values, indices


@settings(deadline=None, max_examples=150)
@given(
    sizes=st.tuples(st.integers(1, 25), st.integers(1, 25)),
    k=st.integers(1, 6),
    block=st.integers(1, 9),
    largest=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_neighbours_are_those_of_brute_force(
    sizes: tuple[int, int], k: int, block: int, largest: int, seed: int
) -> None:
    """Small whole numbers: inner products are exact, and many are equal."""
    random = np.random.default_rng(seed)
    query, candidate = (random.integers(-largest, largest + 1, (size, 3)).astype(np.float32) for size in sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "BLOCK", block)
        found = nearest_both_ways(torch.from_numpy(query), torch.from_numpy(candidate), k)
    for one, (first, second) in zip(found, ((query, candidate), (candidate, query)), strict=True):
        values, indices = brute_force(first, second, k)
        assert one.indices_NK.tolist() == indices
        assert one.values_NK.tolist() == values


def test_of_many_equal_ones_the_first_are_taken() -> None:
    """`topk` alone takes any of them."""
    forward, backward = nearest_both_ways(torch.ones(300, 2), torch.ones(5000, 2), 4)
    assert (forward.indices_NK == torch.arange(4)).all()
    assert (backward.indices_NK == torch.arange(4)).all()


def test_there_are_no_more_neighbours_than_sentences() -> None:
    forward, backward = nearest_both_ways(torch.eye(3)[:1], torch.eye(3), 4)
    assert forward.indices_NK.tolist() == [[0, 1, 2]]
    assert backward.indices_NK.tolist() == [[0], [0], [0]]
