"""What must hold for every metric, on random rows and predictions."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viaduct.errors import DataError
from viaduct.metrics.classification import accuracy, paraphrase_scores
from viaduct.metrics.qa import mlqa_scores, squad2_scores, squad_scores
from viaduct.metrics.retrieval import bucc_f1, tatoeba_accuracy
from viaduct.metrics.score import MetricFunction, Prediction, Predictions, scored
from viaduct.metrics.summary import counted_metrics
from viaduct.metrics.tagging import panx_scores, tag_accuracy, udpos_scores
from viaduct.results.outcomes import packed
from viaduct.rows import Answer, Choice, Pair, Row, Sentence, Span, Tagged
from viaduct.tasks.card import Task

UPOS = ("NOUN", "SYM", "SCONJ", "INTJ", "X", "PUNCT")
IOB = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
WORDS = st.lists(
    st.sampled_from(["the", "La", "cat", "猫咪", "القط", "U.S.", "$5", "của", "Bär-"]), min_size=1, max_size=4
)
TEXT = WORDS.map(" ".join)


@dataclass(frozen=True)
class Case:
    """Gold rows with perfect predictions, and predictions that a model might make."""

    metric: MetricFunction
    rows: list[Row]
    perfect: Predictions
    given: Predictions


def _case(metric: MetricFunction, rows: list[Row], perfect: list[object], given_: list[object]) -> Case:
    scored = [row for row in rows if not (isinstance(row, Sentence) and row.match == ())]

    def by_id(values: list[object]) -> Predictions:
        return {row.id: Prediction(row.id, row.language, value) for row, value in zip(scored, values, strict=True)}

    return Case(metric, rows, by_id(perfect), by_id(given_))


@st.composite
def labels(draw: st.DrawFn) -> Case:
    gold = draw(st.lists(st.integers(0, 2), min_size=1, max_size=12))
    guesses: list[object] = [draw(st.integers(0, 2)) for _ in gold]
    if draw(st.booleans()):
        rows: list[Row] = [Choice(str(i), "en", "c", "", ("x", "y", "z"), label) for i, label in enumerate(gold)]
        return _case(accuracy, rows, list(gold), guesses)
    if draw(st.booleans()):
        gold, guesses = [min(label, 1) for label in gold], [draw(st.integers(0, 1)) for _ in gold]
    metric = paraphrase_scores if max(gold) == 1 else accuracy  # without a paraphrase F1 is 0, even for the gold
    rows = [Pair(str(i), "en", "a", "b", str(label)) for i, label in enumerate(gold)]
    return _case(metric, rows, [str(label) for label in gold], [str(guess) for guess in guesses])


@st.composite
def tags(draw: st.DrawFn) -> Case:
    names, metric = draw(st.sampled_from([(UPOS, udpos_scores), (IOB, panx_scores), (UPOS, tag_accuracy)]))
    gold = draw(st.lists(st.lists(st.sampled_from(names), min_size=1, max_size=6), min_size=1, max_size=6))
    guesses: list[object] = [[draw(st.sampled_from(names)) for _ in sentence] for sentence in gold]
    rows: list[Row] = [Tagged(str(i), "en", tuple("w" * len(s)), tuple(s)) for i, s in enumerate(gold)]
    return _case(metric, rows, list(gold), guesses)


@st.composite
def answers(draw: st.DrawFn) -> Case:
    metric = draw(st.sampled_from([squad_scores, squad2_scores, mlqa_scores]))
    language = draw(st.sampled_from(["en", "es", "de", "ar", "hi", "vi", "zh"]))
    # "x" survives every normalisation, so the right answer is never empty
    gold = draw(st.lists(st.lists(TEXT.map(lambda text: f"x {text}"), min_size=1, max_size=3), min_size=1, max_size=6))
    guesses: list[object] = [draw(TEXT | st.just("") | st.just(texts[0])) for texts in gold]
    rows: list[Row] = [
        Span(str(i), language, "context", "question?", tuple(Answer(text, 0) for text in texts))
        for i, texts in enumerate(gold)
    ]
    return _case(metric, rows, [texts[-1] for texts in gold], guesses)


@st.composite
def matches(draw: st.DrawFn) -> Case:
    size = draw(st.integers(1, 10))
    order = draw(st.permutations(range(size)))
    guesses: list[object] = [f"s{draw(st.integers(0, size - 1))}" for _ in range(size)]
    queries: list[Row] = [Sentence(f"t{i}", "de", "text", "target", (f"s{order[i]}",)) for i in range(size)]
    sources: list[Row] = [Sentence(f"s{i}", "de", "text", "source", ()) for i in range(size)]
    return _case(tatoeba_accuracy, queries + sources, [f"s{place}" for place in order], guesses)


@st.composite
def mined(draw: st.DrawFn) -> Case:
    size = draw(st.integers(1, 10))
    guesses: list[object] = [draw(st.none() | st.integers(0, size - 1).map(lambda i: f"t{i}")) for _ in range(size)]
    sources: list[Row] = [Sentence(f"s{i}", "de", "text", "source", (f"t{i}",)) for i in range(size)]
    targets: list[Row] = [Sentence(f"t{i}", "de", "text", "target", ()) for i in range(size)]
    return _case(bucc_f1, sources + targets, [[f"t{i}"] for i in range(size)], guesses)


CASES = labels() | tags() | answers() | matches() | mined()


def _values(case: Case, predictions: Predictions) -> dict[str, float]:
    return {score.metric: score.value for score in case.metric(case.rows, predictions)}


@given(CASES)
def test_perfect_predictions_score_one(case: Case) -> None:
    scores = case.metric(case.rows, case.perfect)
    has_spans = not all(tag == "O" for row in case.rows if isinstance(row, Tagged) for tag in row.tags or ())
    for score in scores:
        if has_spans or score.metric == "token_accuracy" or not isinstance(case.rows[0], Tagged):
            assert score.value == 1.0, score
    assert {score.n_missing for score in scores} == {0}
    assert {score.n for score in scores} == {len(case.perfect)}


KINDS = {Pair: "pair", Choice: "choice", Tagged: "tagged", Span: "span"}


def card_of(metric: MetricFunction, row: Row, metrics: tuple[str, ...]) -> Task:
    """A card with this metric."""
    kind = KINDS.get(type(row), "mining" if metric is bucc_f1 else "retrieval")
    return Task("case", "Case", kind, (row.language,), "", "", metric=metric, metrics=metrics)


@settings(max_examples=200)
@given(CASES, st.data())
def test_the_mean_of_the_outcomes_of_examples_is_the_score(case: Case, data: st.DataObject) -> None:
    left_out = data.draw(st.sets(st.sampled_from(sorted(case.given))))
    given_ = {row_id: one for row_id, one in case.given.items() if row_id not in left_out}
    found = scored(case.metric, case.rows, given_)
    card = card_of(case.metric, case.rows[0], tuple(score.metric for score in found.scores))
    made = packed(card, {"x": (case.rows, found)})["x"]
    counted = [score.value for score in found.scores if score.metric in counted_metrics(card.metrics)]
    assert made.scores().mean() == pytest.approx(sum(counted) / len(counted), abs=1e-12)
    assert len(made.scores()) == len(made.units) == len(case.perfect)


@given(CASES)
def test_scores_are_fractions_signed_with_their_name_and_version(case: Case) -> None:
    for score in case.metric(case.rows, case.given):
        assert 0 <= score.value <= 1
        name, definition, version = score.signature.split("|")
        assert name == score.metric
        assert definition
        assert version == "v1"


@given(CASES, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_predictions_does_not_matter(case: Case, shuffler: random.Random) -> None:
    rows, items = list(case.rows), list(case.given.items())
    shuffler.shuffle(rows)
    shuffler.shuffle(items)
    assert case.metric(rows, dict(items)) == case.metric(case.rows, case.given)


@settings(max_examples=200)
@given(labels() | tags() | answers() | matches(), st.data())
def test_leaving_a_prediction_out_never_raises_a_score_and_is_counted(case: Case, data: st.DataObject) -> None:
    left_out = data.draw(st.sets(st.sampled_from(sorted(case.given)), min_size=1))
    fewer = {row_id: given_ for row_id, given_ in case.given.items() if row_id not in left_out}
    before, after = _values(case, case.given), _values(case, fewer)
    assert all(after[name] <= before[name] for name in before)
    assert {score.n_missing for score in case.metric(case.rows, fewer)} == {len(left_out)}


@given(CASES)
def test_no_predictions_at_all_score_zero(case: Case) -> None:
    scores = case.metric(case.rows, {})
    assert {score.value for score in scores} == {0.0}
    assert all(score.n_missing == score.n for score in scores)


@given(CASES)
def test_a_prediction_for_another_id_is_refused_with_the_nearest(case: Case) -> None:
    row_id = next(iter(case.given))
    with pytest.raises(DataError, match=f"'{row_id}z'"):
        case.metric(case.rows, {**case.given, f"{row_id}z": case.given[row_id]})


@given(CASES)
def test_no_rows_are_refused(case: Case) -> None:
    with pytest.raises(DataError, match="no gold rows"):
        case.metric([], case.given)
