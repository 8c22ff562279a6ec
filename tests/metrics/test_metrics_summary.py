"""Means over languages and seeds, worked out by hand."""

from __future__ import annotations

import pytest

from viaduct.errors import DataError
from viaduct.metrics.summary import Spread, counted_metrics, language_means, over_seeds, transfer_gap


def test_means_over_languages_with_and_without_english() -> None:
    means = language_means({"en": 0.9, "sw": 0.5, "zh": 0.7})
    assert means.including_english == pytest.approx(0.7)
    assert means.excluding_english == pytest.approx(0.6)
    assert language_means({"en": 0.9}).excluding_english is None
    with pytest.raises(DataError, match="no language has a result"):
        language_means({})


def test_transfer_gap_is_english_minus_the_others_and_absent_where_there_is_no_english() -> None:
    assert transfer_gap({"en": 0.9, "sw": 0.5, "zh": 0.7}) == pytest.approx(0.3)
    assert transfer_gap({"sw": 0.5, "zh": 0.7}) is None
    assert transfer_gap({"en": 0.9}) is None


def test_spread_over_seeds_is_that_of_a_sample_and_absent_with_one_seed() -> None:
    assert over_seeds({3: 0.5}) == Spread(0.5, None, (3,))
    two = over_seeds({2: 0.6, 1: 0.4})
    assert (two.mean, two.standard_deviation, two.seeds) == (pytest.approx(0.5), pytest.approx(0.1 * 2**0.5), (1, 2))
    with pytest.raises(DataError, match="no seed has a result"):
        over_seeds({})


def test_questions_count_f1_and_exact_match_and_other_tasks_their_headline() -> None:
    assert set(counted_metrics(("f1", "exact_match"))) == {"f1", "exact_match"}
    assert counted_metrics(("f1", "precision", "token_accuracy")) == ("f1",)
    assert counted_metrics(()) == ()
