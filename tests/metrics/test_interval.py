"""Intervals of one model's scores over the test examples, compared with other formulas and by simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from viaduct.metrics.interval import interval
from viaduct.metrics.score import Outcomes


def right(flags: list[bool], name: str = "x") -> Outcomes:
    return Outcomes([f"{name}{number}" for number in range(len(flags))], {"accuracy": flags})


@pytest.mark.parametrize(("correct", "count"), [(7, 10), (0, 12), (12, 12), (499, 1000)])
def test_of_a_share_it_is_wilsons(correct: int, count: int) -> None:
    found = interval({"de": right([True] * correct + [False] * (count - correct))})
    wilson = binomtest(correct, count).proportion_ci(method="wilson")
    assert found == pytest.approx((wilson.low, wilson.high), abs=1e-6)


def test_the_same_examples_in_several_languages_count_once() -> None:
    flags = [True] * 60 + [False] * 40
    one = interval({"de": right(flags)})
    assert interval({"de": right(flags), "sw": right(flags)}) == pytest.approx(one)
    apart = interval({"de": right(flags), "sw": right(flags, "y")})
    assert apart[1] - apart[0] == pytest.approx((one[1] - one[0]) / np.sqrt(2), rel=0.02)


def test_questions_that_share_a_paragraph_are_fewer_than_they_look() -> None:
    flags = [paragraph % 3 > 0 for paragraph in range(60) for _ in range(5)]  # all five right, or all five wrong
    groups = [f"paragraph {number // 5}" for number in range(300)]
    wilson = binomtest(40, 60).proportion_ci(method="wilson")
    found = interval({"de": replace(right(flags), groups=groups)})
    assert found[0] < wilson.low and wilson.high < found[1]  # where groups may vary more than these do
    assert found == pytest.approx((wilson.low, wilson.high), abs=0.005)


def test_an_id_that_is_there_twice_gives_an_interval() -> None:
    low, high = interval({"de": Outcomes(["q", "q"], {"f1": [1.0, 0.0]})})
    assert 0 <= low < 0.1 and 0.9 < high <= 1


@pytest.mark.parametrize("size", [5, 20])
@pytest.mark.parametrize("count", [6, 15, 40])
def test_few_paragraphs_are_enough_for_an_interval_that_covers(count: int, size: int) -> None:
    rng, runs = np.random.default_rng(count), 800
    groups, hits = [f"paragraph {number // size}" for number in range(count * size)], 0
    for _ in range(runs):
        flags = rng.random(count * size) < np.repeat(rng.beta(3, 2, count), size)
        low, high = interval({"de": replace(right(flags.tolist()), groups=groups)})
        hits += low <= 0.6 <= high
    assert 0.93 <= hits / runs <= 0.99


def test_an_f1_is_covered_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        gold = rng.poisson(2.0, 300)
        correct, extra = rng.binomial(gold, 0.7), rng.poisson(0.5, 300)
        counts = {"correct": correct, "predicted": correct + extra, "gold": gold}
        low, high = interval({"de": Outcomes([str(number) for number in range(300)], counts)})
        hits += low <= 2 * 0.7 * 2.0 / (0.7 * 2.0 + 0.5 + 2.0) <= high
    assert 0.92 <= hits / 400 <= 0.98


def test_a_correlation_may_be_negative() -> None:
    values = [-0.5 + (-1) ** number * 0.3 for number in range(100)]
    low, high = interval({"de": Outcomes(list(map(str, range(100))), {"spearman": values})}, "spearman")
    assert -0.6 < low < -0.5 < high < -0.4
