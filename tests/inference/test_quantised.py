from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from viaduct.inference import neighbours, quantised
from viaduct.inference.neighbours import Search, block_size, nearest_both_ways
from viaduct.inference.quantised import Pairs, Sieve, pairs_left, sieve_bytes, usable

UNIT = 2.0**-24


def fast_bytes() -> bool:
    return usable(torch.ones(2000, 4), torch.ones(2000, 4))


needs_bytes = pytest.mark.skipif(not fast_bytes(), reason="this processor has no exact 8-bit products (VNNI)")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Makes sieving apply to few rows, in small blocks and groups, however many pairs are left."""
    monkeypatch.setattr(quantised, "FEWEST", 1)
    monkeypatch.setattr(quantised, "GROUP", 4)
    monkeypatch.setattr(quantised, "MOST_GROUPS", 1)
    monkeypatch.setattr(quantised, "MOST_PAIRS", 1)
    monkeypatch.setattr(neighbours, "PATIENCE", 100)
    monkeypatch.setattr(neighbours, "LARGEST_BLOCK", 40)
    return monkeypatch


def sentence_like(random: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Unit vectors with a common direction, topics, and dimensions of very different spread."""
    spread = (np.arange(1, width + 1) ** -0.5)[random.permutation(width)]
    topic = random.standard_normal((8, width))[random.integers(0, 8, count)]
    vectors = (1.5 + topic + random.standard_normal((count, width))) * spread
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def lengths_apart(random: np.random.Generator, count: int, width: int) -> np.ndarray:
    return random.standard_normal((count, width)) * 10.0 ** random.uniform(-9, 9, (count, 1))


def many_alike(random: np.random.Generator, count: int, width: int) -> np.ndarray:
    return sentence_like(random, 5, width)[random.integers(0, 5, count)]


def with_zeros(random: np.random.Generator, count: int, width: int) -> np.ndarray:
    return random.standard_normal((count, width)) * random.integers(0, 2, (count, 1))


def constant(random: np.random.Generator, count: int, width: int) -> np.ndarray:
    return np.full((count, width), random.standard_normal())


def one_large_dimension(random: np.random.Generator, count: int, width: int) -> np.ndarray:
    vectors = random.standard_normal((count, width))
    vectors[:, 0] *= 1000
    return vectors


def nearly_the_same(random: np.random.Generator, count: int, width: int) -> np.ndarray:
    return 1.0 + 1e-6 * random.standard_normal((count, width))


def ordered(random: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Each row has a larger product with any other row than those before it: the worst order for a running list."""
    return np.sort(np.abs(random.standard_normal((count, width))), axis=0)


KINDS = (
    sentence_like,
    lengths_apart,
    many_alike,
    with_zeros,
    constant,
    one_large_dimension,
    nearly_the_same,
    ordered,
)
Kind = Callable[[np.random.Generator, int, int], np.ndarray]


def check(found: neighbours.Neighbours, query: np.ndarray, candidate: np.ndarray, k: int) -> None:
    """Compare with all products in float64, up to float32 rounding, which is far less than 8 bits would lose."""
    exact = query.astype(np.float64) @ candidate.astype(np.float64).T
    rounding = 4 * query.shape[1] * UNIT * np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(candidate, axis=1)
    assert found.indices_NK.shape == (len(query), min(k, len(candidate)))
    for row, (indices, values) in enumerate(
        zip(found.indices_NK.numpy(), found.values_NK.numpy().astype(np.float64), strict=True)
    ):
        assert len(set(indices)) == len(indices)
        assert (np.abs(values - exact[row, indices]) <= rounding[row, indices] + 1e-37).all()
        assert (np.diff(values) <= 0).all()
        left_out = np.setdiff1d(np.arange(len(candidate)), indices)
        assert (exact[row, left_out] - rounding[row, left_out] <= values[-1] + rounding[row, indices[-1]]).all()


@needs_bytes
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)),
    sizes=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    width=st.sampled_from([2, 3, 16, 70]),
    k=st.integers(1, 6),
    seed=st.integers(0, 1000),
)
def test_neighbours_are_those_of_float64(
    small: pytest.MonkeyPatch, kinds: tuple[Kind, Kind], sizes: tuple[int, int], width: int, k: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    query, candidate = (kind(random, size, width).astype(np.float32) for kind, size in zip(kinds, sizes, strict=True))
    forward, backward = nearest_both_ways(torch.from_numpy(query), torch.from_numpy(candidate), k)
    check(forward, query, candidate, k)
    check(backward, candidate, query, k)


@needs_bytes
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    k=st.integers(1, 6),
    largest=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_of_equal_neighbours_the_first_come_first(
    small: pytest.MonkeyPatch, sizes: tuple[int, int], k: int, largest: int, seed: int
) -> None:
    """Products of small whole numbers are exact, and many are equal."""
    random = np.random.default_rng(seed)
    query, candidate = (random.integers(-largest, largest + 1, (size, 5)).astype(np.float32) for size in sizes)
    found = nearest_both_ways(torch.from_numpy(query), torch.from_numpy(candidate), k)
    for one, exact in zip(found, (query @ candidate.T, candidate @ query.T), strict=True):
        order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
        assert (one.indices_NK.numpy() == order).all()
        assert (one.values_NK.numpy() == np.take_along_axis(exact, order, axis=1)).all()


@needs_bytes
@settings(deadline=None, max_examples=100)
@given(
    kinds=st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)),
    width=st.sampled_from([2, 3, 16, 70]),
    seed=st.integers(0, 1000),
)
def test_a_pair_that_reaches_what_is_known_is_never_left_out(kinds: tuple[Kind, Kind], width: int, seed: int) -> None:
    """The known value is the largest product itself, so any bound that is slightly too low would show."""
    random = np.random.default_rng(seed)
    query, candidate = (torch.from_numpy(kind(random, 64, width).astype(np.float32)) for kind in kinds)
    largest = (query.double() @ candidate.double().T).float()
    sieve = Sieve(query, candidate)
    found = pairs_left(sieve.queries(query), sieve.candidates, largest.amax(dim=1), largest.amax(dim=0), 4)
    if found is not None:
        for pairs, best in zip(found, (largest.argmax(dim=1), largest.argmax(dim=0)), strict=True):
            assert set(enumerate(best.tolist())) <= set(_coordinates(pairs))
            assert _coordinates(pairs) == sorted(_coordinates(pairs))


def _coordinates(pairs: Pairs) -> list[tuple[int, int]]:
    return list(zip(pairs.rows_P.tolist(), pairs.columns_P.tolist(), strict=True))


@needs_bytes
def test_few_pairs_of_sentence_like_vectors_are_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    query, candidate = (torch.from_numpy(sentence_like(random, 2100, 256).astype(np.float32)) for _ in range(2))
    shares: list[float] = []

    def counted(*arguments: object) -> tuple[Pairs, Pairs] | None:
        found = pairs_left(*arguments)  # type: ignore[arg-type]
        assert found is not None
        shares.append(sum(len(pairs.rows_P) for pairs in found) / 2 / 2100**2)
        return found

    monkeypatch.setattr(neighbours, "pairs_left", counted)
    sieved = nearest_both_ways(query, candidate, 4)
    assert len(shares) == 9 and sum(shares) < 0.02
    check(sieved[0], query.numpy(), candidate.numpy(), 4)
    check(sieved[1], candidate.numpy(), query.numpy(), 4)


@needs_bytes
def test_where_all_pairs_are_left_the_sieve_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[None] = []

    def counted(*arguments: object) -> tuple[Pairs, Pairs] | None:
        tried.append(None)
        return pairs_left(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(neighbours, "pairs_left", counted)
    monkeypatch.setattr(neighbours, "LARGEST_BLOCK", 128)
    forward, backward = nearest_both_ways(torch.ones(1100, 2), torch.ones(1300, 2), 4)
    assert len(tried) == neighbours.PATIENCE * 9, "each of 9 blocks of queries meets 11 blocks of candidates"
    assert (forward.indices_NK == torch.arange(4)).all() and (backward.indices_NK == torch.arange(4)).all()


@needs_bytes
def test_a_sieved_search_that_was_broken_off_goes_on_where_it_was(small: pytest.MonkeyPatch, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    query, candidate = (torch.from_numpy(sentence_like(random, size, 64).astype(np.float32)) for size in (130, 150))
    whole = nearest_both_ways(query, candidate, 3)
    path = tmp_path / "search.safetensors"

    def stop(done: float, total: float, _note: str) -> None:
        if done >= total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nearest_both_ways(query, candidate, 3, Search(path=path, seconds=0.0, progress=stop))
    rest: list[float] = []
    going_on = Search(path=path, progress=lambda done, *_: rest.append(done / 150))
    resumed = nearest_both_ways(query, candidate, 3, going_on)
    assert rest == [80, 120, 130]
    for one, other in zip(whole, resumed, strict=True):
        assert torch.equal(one.values_NK, other.values_NK) and torch.equal(one.indices_NK, other.indices_NK)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e20, 1e-20])
def test_vectors_for_which_the_bound_would_not_hold_are_not_sieved(bad: float) -> None:
    vectors = torch.ones(2000, 4)
    vectors[7] = 0
    vectors[7, 0] = bad
    assert not usable(vectors, torch.ones(2000, 4)) and not usable(torch.ones(2000, 4), vectors)


def test_other_types_few_rows_and_single_dimensions_are_not_sieved() -> None:
    assert not usable(torch.ones(2000, 1), torch.ones(2000, 1))
    assert not usable(torch.ones(2000, 4, dtype=torch.float64), torch.ones(2000, 4, dtype=torch.float64))
    assert not usable(torch.ones(100, 4), torch.ones(2000, 4)) and not usable(torch.ones(2000, 4), torch.ones(100, 4))


def test_products_that_overflow_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN without VNNI (ONEDNN_MAX_CPU_ISA=AVX2, say): one side is made positive, and pairs of products are added in
    16 bits."""

    def overflowing(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        product = (first[:2].int() + 128)[..., None] * second.int()
        in_pairs = product.view(2, -1, 2, second.shape[1]).sum(dim=2).clamp(-(2**15), 2**15 - 1)
        return in_pairs.sum(dim=1) - 128 * second.int().sum(dim=0)

    monkeypatch.setattr(torch, "_int_mm", overflowing)
    quantised._multiplies_bytes.cache_clear()
    try:
        assert not usable(torch.ones(2000, 4), torch.ones(2000, 4))
    finally:
        quantised._multiplies_bytes.cache_clear()


def test_the_candidates_in_8_bits_fit_the_memory_that_is_left() -> None:
    limit = 4 * 10**9
    size = block_size(400_000, 400_000, 1024, 4, limit, sieved=True)
    assert size == neighbours.LARGEST_BLOCK
    vectors, lists = 4 * 800_000 * 1024, 12 * 2 * 800_000 * 4
    assert vectors + lists + sieve_bytes(400_000 + size, 1024) + 4 * neighbours.COPIES * size**2 <= limit
    assert block_size(400_000, 400_000, 1024, 4, 3_500_000_000, sieved=True) == 0
    assert block_size(400_000, 400_000, 1024, 4, 3_500_000_000) == neighbours.LARGEST_BLOCK
