"""Correlations and macro-F1: compared with other implementations, and as means over examples that vary alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from viaduct.errors import DataError
from viaduct.metrics.score import ByExample, Prediction
from viaduct.texts.metrics import macro_f1, pearson, spearman
from viaduct.texts.rows import Labelled, Rated

NUMBERS = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=40)


def rated(values):
    return [Rated(str(number), "de", "text", None, float(value)) for number, value in enumerate(values)]


def said(values):
    return {
        str(number): Prediction(str(number), "de", value) for number, value in enumerate(values) if value is not None
    }


def values(metric: ByExample, rows, predictions) -> dict[str, float]:
    scored = metric.examine(rows, predictions)
    found = {score.metric: score.value for score in scored.scores}
    headline = scored.scores[0]
    (parts,) = scored.outcomes.values.values()
    assert np.mean(parts) == pytest.approx(headline.value, abs=1e-12) and len(parts) == len(rows)
    return found


@given(NUMBERS)
def test_correlations_are_scipys(pairs):
    gold, given_ = zip(*pairs, strict=True)
    assume(len(set(gold)) > 1 and len(set(given_)) > 1)
    for metric in (pearson, spearman):
        found = values(metric, rated(gold), said(given_))
        assert found["pearson"] == pytest.approx(pearsonr(gold, given_).statistic, abs=1e-9)
        assert found["spearman"] == pytest.approx(spearmanr(gold, given_).statistic, abs=1e-9)
        assert next(iter(found)) == metric.__name__


def test_what_says_nothing_is_no_correlation():
    assert values(pearson, rated([1, 2, 3]), said([2, 2, 2]))["pearson"] == 0.0
    assert values(pearson, rated([1, 2, 3]), {})["pearson"] == 0.0
    whole = values(pearson, rated([1, 2, 3, 4]), said([1, 2, 3, 4]))["pearson"]
    part = values(pearson, rated([1, 2, 3, 4]), said([1, 2, 3, None]))["pearson"]
    assert whole == pytest.approx(1.0) and part == pytest.approx(pearsonr([1, 2, 3, 4], [1, 2, 3, 2]).statistic)


@pytest.mark.parametrize("wrong", ["3", True, None, math.nan, math.inf])
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(DataError, match="the prediction for row '1'"):
        spearman(rated([1, 2, 3]), {"1": Prediction("1", "de", wrong)})


def brute_macro_f1(gold, given_):
    found = []
    for label in {*gold, *(one for one in given_ if one is not None)}:
        right = sum(one == other == label for one, other in zip(gold, given_, strict=True))
        wanted, called = gold.count(label), list(given_).count(label)
        found.append(2 * right / (wanted + called))
    return sum(found) / len(found)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["a", "b", "c", "d", None])), min_size=1, max_size=40)
)
def test_macro_f1_is_the_mean_over_labels(pairs):
    gold, given_ = zip(*pairs, strict=True)
    rows = [Labelled(str(number), "de", "text", label) for number, label in enumerate(gold)]
    assert values(macro_f1, rows, said(given_))["macro_f1"] == pytest.approx(brute_macro_f1(gold, given_), abs=1e-12)


@pytest.mark.parametrize("metric", [pearson, spearman, macro_f1])
def test_the_parts_of_examples_vary_as_the_score_does_over_drawn_rows(metric):
    random = np.random.default_rng(5)
    gold = random.normal(size=400)
    given_ = 0.7 * gold + random.normal(size=400) * 0.6
    rows, predictions = rated(gold), [float(value) for value in given_]
    if metric is macro_f1:
        gold, given_ = (np.digitize(side, [-0.5, 1.2]).astype(str).tolist() for side in (gold, given_))
        rows = [Labelled(str(number), "de", "text", label) for number, label in enumerate(gold)]
        predictions = given_
    (parts,) = metric.examine(rows, said(predictions)).outcomes.values.values()
    drawn = []
    for _ in range(300):
        places = random.integers(0, 400, 400)
        if metric is macro_f1:
            drawn.append(brute_macro_f1([gold[at] for at in places], [given_[at] for at in places]))
        else:
            function = pearsonr if metric is pearson else spearmanr
            drawn.append(function(gold[places], given_[places]).statistic)
    assert np.std(parts) / 20 == pytest.approx(np.std(drawn), rel=0.15)
