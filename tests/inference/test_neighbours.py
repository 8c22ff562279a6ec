from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_device import simulated

from viaduct.errors import UsageError
from viaduct.inference import neighbours
from viaduct.inference.neighbours import Search, block_size, nearest_both_ways


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
        patch.setattr(neighbours, "LARGEST_BLOCK", block)
        found = nearest_both_ways(torch.from_numpy(query), torch.from_numpy(candidate), k)
    for one, (first, second) in zip(found, ((query, candidate), (candidate, query)), strict=True):
        values, indices = brute_force(first, second, k)
        assert one.indices_NK.tolist() == indices
        assert one.values_NK.tolist() == values


def test_of_many_equal_ones_the_first_are_taken() -> None:
    """`topk` alone may return any of them."""
    forward, backward = nearest_both_ways(torch.ones(300, 2), torch.ones(5000, 2), 4)
    assert (forward.indices_NK == torch.arange(4)).all()
    assert (backward.indices_NK == torch.arange(4)).all()


def test_there_are_no_more_neighbours_than_sentences() -> None:
    forward, backward = nearest_both_ways(torch.eye(3)[:1], torch.eye(3), 4)
    assert forward.indices_NK.tolist() == [[0, 1, 2]]
    assert backward.indices_NK.tolist() == [[0], [0], [0]]


def test_a_search_that_was_broken_off_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "LARGEST_BLOCK", 8)
    generator = torch.Generator().manual_seed(1)
    query, candidate = torch.randn(50, 4, generator=generator), torch.randn(41, 4, generator=generator)
    whole = nearest_both_ways(query, candidate, 3)
    path = tmp_path / "search.safetensors"
    steps: list[float] = []

    def stop(done: float, total: float, note: str) -> None:
        assert note == "comparing 50 x 41 sentences"
        steps.append(done / total)
        if done >= total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nearest_both_ways(query, candidate, 3, Search(path=path, seconds=0.0, progress=stop))
    assert steps == [8 / 50, 16 / 50, 24 / 50, 32 / 50]
    saved = path.read_bytes()
    for content, again in (
        (saved, [32 / 50, 40 / 50, 48 / 50, 1.0]),  # only the rows after the last saved ones
        (saved[:-5] + bytes([saved[-5] ^ 64]) + saved[-4:], [8 * step / 50 for step in range(1, 7)] + [1.0]),
        (saved[:-5], [8 * step / 50 for step in range(1, 7)] + [1.0]),  # damaged: all of them
    ):
        path.write_bytes(content)
        rest: list[float] = []
        going_on = Search(path=path, progress=lambda done, total, note, rest=rest: rest.append(done / total))
        resumed = nearest_both_ways(query, candidate, 3, going_on)
        assert rest == again
        for one, other in zip(whole, resumed, strict=True):
            assert torch.equal(one.values_NK, other.values_NK) and torch.equal(one.indices_NK, other.indices_NK)


def test_the_block_fits_the_memory_that_is_left() -> None:
    limit = 4 * 10**9
    size = block_size(400_000, 400_000, 1024, 4, limit)
    assert size == neighbours.LARGEST_BLOCK
    vectors = 4 * 800_000 * 1024
    assert vectors + 12 * 2 * 800_000 * 4 + 4 * neighbours.COPIES * size**2 <= limit
    small = block_size(1000, 1000, 64, 4, 2_000_000)
    assert neighbours.SMALLEST_BLOCK <= small < 400
    with pytest.raises(UsageError, match=r"needs at least 3\.\d\d GB; the limit is 1\.00 GB"):
        zeros = torch.zeros(1, 1024).expand(400_000, 1024)
        nearest_both_ways(zeros, zeros, 4, Search(10**9))
    assert block_size(400_000, 400_000, 1024, 4, 10**9) == 0


@pytest.mark.parametrize("free", [0, 2**30])
def test_neighbours_on_a_gpu_are_those_on_the_cpu_whether_or_not_its_memory_holds_all_candidates(
    free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(1)
    query, candidate = (
        torch.randint(-2, 3, (count, 5), generator=generator).float() for count in (70, 90)
    )  # many ties
    expected = nearest_both_ways(query, candidate, 4)
    monkeypatch.setattr(neighbours, "LARGEST_BLOCK_ELSEWHERE", 16)
    with simulated(monkeypatch) as device:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (free, free))
        found = nearest_both_ways(query, candidate, 4, Search(device=torch.device("cuda")))
        sent = sum("a copy to cuda" in wait for wait in device.waits)
    assert device.calls > 100 and sent == (5 + 1 if free else 5 + 5 * 6)
    for one, other in zip(found, expected, strict=True):
        assert one.values_NK.device.type == "cpu"
        assert torch.equal(one.values_NK, other.values_NK) and torch.equal(one.indices_NK, other.indices_NK)
