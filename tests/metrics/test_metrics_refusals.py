"""What the metrics refuse, with messages that name the row, and the values of small cases worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viaduct.errors import DataError, UsageError
from viaduct.metrics.classification import accuracy, paraphrase_scores
from viaduct.metrics.qa import mlqa_scores, squad2_scores, squad_scores
from viaduct.metrics.retrieval import bucc_f1, bucc_threshold, tatoeba_accuracy
from viaduct.metrics.score import MetricFunction, Prediction, Predictions, f1_precision_recall
from viaduct.metrics.tagging import Entity, entities, panx_scores, tag_accuracy, udpos_scores
from viaduct.rows import Answer, Choice, Pair, Row, Sentence, Span, Tagged


def _given(**values: object) -> Predictions:
    return {row_id: Prediction(row_id, "en", value) for row_id, value in values.items()}


PAIR = Pair("p1", "en", "a", "b", "1")
CHOICE = Choice("c1", "en", "context", "", ("yes", "no"), 1)
TAGGED = Tagged("t1", "en", ("in", "Oslo"), ("O", "B-LOC"))
SPAN = Span("q1", "en", "In Oslo.", "Where?", (Answer("Oslo", 3),))
QUERY = Sentence("e1", "de", "a house", "target", ("d1",))
SOURCE = Sentence("d1", "de", "ein Haus", "source", ("e1",))


@pytest.mark.parametrize(
    ("metric", "row", "prediction"),
    [
        (accuracy, PAIR, 1),
        (accuracy, CHOICE, "1"),
        (accuracy, CHOICE, True),
        (panx_scores, TAGGED, "O B-LOC"),
        (panx_scores, TAGGED, ["O", None]),
        (panx_scores, TAGGED, ["O", ""]),
        (squad_scores, SPAN, None),
        (mlqa_scores, SPAN, 5),
        (tatoeba_accuracy, QUERY, 1),
        (bucc_f1, SOURCE, [1]),
    ],
)
def test_a_prediction_of_the_wrong_type_is_refused(metric: MetricFunction, row: Row, prediction: object) -> None:
    with pytest.raises(DataError, match=f"row '{row.id}'"):
        metric([row], _given(**{row.id: prediction}))


@pytest.mark.parametrize(
    ("metric", "row"),
    [
        (accuracy, Pair("r", "en", "a", "b", None)),
        (accuracy, Choice("r", "en", "", "", ("x",), None)),
        (udpos_scores, Tagged("r", "en", ("a",), None)),
        (squad_scores, Span("r", "en", "c", "q", None)),
        (mlqa_scores, Span("r", "en", "c", "q", None)),
        (tatoeba_accuracy, Sentence("r", "de", "a", "target", None)),
        (bucc_f1, Sentence("r", "de", "a", "source", None)),
    ],
)
def test_rows_without_gold_labels_are_refused(metric: MetricFunction, row: Row) -> None:
    with pytest.raises(DataError, match="'r' has no gold label"):
        metric([row], {})


@pytest.mark.parametrize(
    ("metric", "row"), [(accuracy, SPAN), (panx_scores, PAIR), (squad_scores, TAGGED), (bucc_f1, PAIR)]
)
def test_rows_of_another_task_are_refused(metric: MetricFunction, row: Row) -> None:
    with pytest.raises(DataError, match=f"'{row.id}' is a {type(row).__name__}"):
        metric([row], {})


@pytest.mark.parametrize(
    ("metric", "row"), [(accuracy, PAIR), (panx_scores, TAGGED), (squad_scores, SPAN), (bucc_f1, SOURCE)]
)
def test_a_gold_id_given_twice_is_refused(metric: MetricFunction, row: Row) -> None:
    with pytest.raises(DataError, match="twice"):
        metric([row, row], {})


def test_unknown_ids_are_counted_and_the_nearest_is_offered_among_very_many() -> None:
    rows = [Pair(f"xnli-{place:06d}", "en", "a", "b", "0") for place in range(20_000)]
    with pytest.raises(DataError, match=r"2 of 2 predictions.*'XNLI-012345'.*mean 'xnli-012345'"):
        accuracy(rows, {name: Prediction(name, "en", "0") for name in ("XNLI-012345", "other")})


def test_labels_are_compared_as_text() -> None:
    rows = [Pair(str(place), "en", "a", "b", "1") for place in range(4)]
    (score,) = accuracy(rows, _given(**{"0": "1", "1": "01", "2": "1.0"}))
    assert (score.value, score.n, score.n_missing) == (0.25, 4, 1)


def test_a_tag_list_of_another_length_is_refused() -> None:
    with pytest.raises(DataError, match="row 't1' has 1 tags, but the sentence has 2 tokens"):
        panx_scores([TAGGED], _given(t1=["O"]))
    with pytest.raises(DataError, match="gold row 'bad' has 2 tokens but 1 tags"):
        panx_scores([Tagged("bad", "en", ("a", "b"), ("O",))], {})


def test_neighbours_with_one_part_of_speech_are_one_unit_unless_the_tag_begins_with_s() -> None:
    assert entities([["NOUN", "NOUN", "SYM", "SYM"], ["NOUN"]]) == [
        Entity("NOUN", 0, 1),
        Entity("SYM", 2, 2),
        Entity("SYM", 3, 3),
        Entity("NOUN", 5, 5),
    ]


def test_tagging_scores_come_headline_first_and_count_a_missing_sentence_as_all_wrong() -> None:
    rows = [TAGGED, Tagged("t2", "en", ("Bo", "Li", "ran"), ("B-PER", "I-PER", "O"))]
    scores = panx_scores(rows, _given(t1=["O", "B-LOC"]))
    assert [score.metric for score in scores] == ["f1", "precision", "recall", "token_accuracy"]
    # one right span of four (t2 counts as three wrong ones), one of two gold spans, two of five tokens
    assert [score.value for score in scores] == pytest.approx([1 / 3, 1 / 4, 1 / 2, 2 / 5])


def test_plain_tag_accuracy_is_what_span_scores_give_beside_f1() -> None:
    rows = [TAGGED, Tagged("t2", "en", ("Bo", "Li", "ran"), ("B-PER", "I-PER", "O"))]
    for given_ in (_given(t1=["O", "B-LOC"]), _given(t1=["O", "O"], t2=["B-PER", "O", "O"])):
        assert tag_accuracy(rows, given_) == panx_scores(rows, given_)[-1:]


@given(st.lists(st.tuples(st.sampled_from("01"), st.sampled_from(["0", "1", None])), min_size=1, max_size=20))
def test_paraphrase_f1_is_that_of_the_counts(pairs: list[tuple[str, str | None]]) -> None:
    """Compared with the definition 2PR / (P + R); a missing prediction counts as the other label."""
    rows = [Pair(str(at), "en", "a", "b", gold) for at, (gold, _) in enumerate(pairs)]
    given_ = {str(at): Prediction(str(at), "en", label) for at, (_, label) in enumerate(pairs) if label is not None}
    whole = [(gold, label or {"0": "1", "1": "0"}[gold]) for gold, label in pairs]
    found = [gold for gold, label in whole if label == "1"]
    there = [label for gold, label in whole if gold == "1"]
    precision = found.count("1") / len(found) if found else 0.0
    recall = there.count("1") / len(there) if there else 0.0
    expected = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    scores = paraphrase_scores(rows, given_)
    assert [score.metric for score in scores] == ["accuracy", "f1"]
    assert scores[0] == accuracy(rows, given_)[0]
    assert scores[1].value == pytest.approx(expected, abs=1e-12)
    assert scores[1].n_missing == len(pairs) - len(given_)


def test_rows_without_tokens_are_refused() -> None:
    with pytest.raises(DataError, match="no tokens"):
        panx_scores([Tagged("r", "en", (), ())], {})


def test_answers_that_normalise_to_nothing_score_in_exact_match_only() -> None:
    row = Span("q", "en", "The.", "What?", (Answer("The", 0),))
    f1, exact = squad_scores([row], _given(q="a"))
    assert (f1.metric, f1.value, exact.metric, exact.value) == ("f1", 0.0, "exact_match", 1.0)
    assert [score.value for score in squad2_scores([row], _given(q="a"))] == [1.0, 1.0]


def test_questions_without_answer_are_for_squad_2_only() -> None:
    row = Span("q", "en", "c", "What?", ())
    with pytest.raises(DataError, match="'q' has no gold answer"):
        squad_scores([row], _given(q="Oslo"))
    assert [score.value for score in squad2_scores([row], _given(q="Oslo"))] == [0.0, 0.0]
    assert [score.value for score in squad2_scores([row], _given(q=""))] == [1.0, 1.0]
    assert [score.value for score in squad2_scores([row], {})] == [0.0, 0.0]


def test_mlqa_articles_depend_on_the_language_of_the_row() -> None:
    german = Span("q", "de", "c", "q", (Answer("der Hund", 0),))
    spanish = Span("q", "es", "c", "q", (Answer("der Hund", 0),))
    assert [score.value for score in mlqa_scores([german], _given(q="Hund!"))] == [1.0, 1.0]
    assert [score.value for score in mlqa_scores([spanish], _given(q="Hund!"))] == pytest.approx([2 / 3, 0.0])
    with pytest.raises(UsageError, match="unknown language of MLQA 'sw'"):
        mlqa_scores([Span("q", "sw", "c", "q", (Answer("x", 0),))], _given(q="x"))


def test_only_english_sentences_with_a_match_are_queries() -> None:
    rows = [QUERY, SOURCE, Sentence("e2", "de", "noise", "target", ()), Sentence("d2", "de", "Lärm", "source", ())]
    (score,) = tatoeba_accuracy(rows, _given(e1="d2"))
    assert (score.value, score.n, score.n_missing) == (0.0, 1, 0)
    assert tatoeba_accuracy(rows, _given(e1="d2", e2="d1", d2="e1")) == (score,)
    with pytest.raises(DataError, match="no English sentence has a match"):
        tatoeba_accuracy(rows[1:], {})


def test_the_other_direction_is_scored_where_it_was_predicted() -> None:
    rows = [
        QUERY,
        SOURCE,
        Sentence("e2", "de", "tea", "target", ("d2",)),
        Sentence("d2", "de", "Tee", "source", ("e2",)),
    ]
    (only,) = tatoeba_accuracy(rows, _given(e1="d1", e2="d1"))
    assert (only.metric, only.value) == ("accuracy", 0.5)
    there, back = tatoeba_accuracy(rows, _given(e1="d1", e2="d2", d1="e2"))
    assert (there.value, back.metric) == (1.0, "accuracy_into_english")
    assert (back.value, back.n, back.n_missing) == (0.0, 2, 1)
    with pytest.raises(DataError, match=r"predicted 'd1'.*ids like 'e1'"):
        tatoeba_accuracy(rows, _given(e1="d1", d1="d1"))


def test_predictions_that_name_no_candidate_at_all_are_refused() -> None:
    rows = [QUERY, SOURCE]
    with pytest.raises(DataError, match=r"predicted '0'.*ids like 'd1'"):
        tatoeba_accuracy(rows, _given(e1="0"))
    with pytest.raises(DataError, match=r"predicted 'd1'.*ids like 'e1'"):
        bucc_f1(rows, _given(d1="d1"))


def test_mined_pairs_are_a_set_and_silence_is_no_wrong_pair() -> None:
    sources = [Sentence(f"d{i}", "de", "x", "source", (f"e{i}",) if i < 3 else ()) for i in range(5)]
    scores = bucc_f1(sources, _given(d0=["e0", "e0", "e9"], d1=None, d4="e4"))
    # right: e0; found: e0, e9, e4; gold: three pairs, of which d2's has no prediction
    assert {score.metric: score.value for score in scores} == pytest.approx(
        {"f1": 1 / 3, "precision": 1 / 3, "recall": 1 / 3}
    )
    assert {(score.n, score.n_missing) for score in scores} == {(3, 1)}
    with pytest.raises(DataError, match="no source sentence has a match"):
        bucc_f1(sources[3:], {})


def test_threshold_search_refuses_no_gold_and_says_so_for_nothing_found() -> None:
    with pytest.raises(DataError, match="no gold pairs"):
        bucc_threshold([(0.5, "s", "t")], [])
    assert bucc_threshold([], [("s", "t")]) == (0.0, 0.0)
    assert bucc_threshold([(0.5, "s", "x")], [("s", "t")]) == (0.0, 0.0)


PAIRS = st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"))
CANDIDATES = st.dictionaries(PAIRS, st.sampled_from([0.25, 0.5, 0.75, 1.0, 1.25]), max_size=9)


@given(CANDIDATES, st.sets(PAIRS, min_size=1), st.randoms(use_true_random=False))
def test_the_threshold_is_the_best_one_whatever_the_order_and_gives_the_f1_it_states(
    scores: dict[tuple[str, str], float], gold: set[tuple[str, str]], shuffler
) -> None:
    candidates = [(score, source, target) for (source, target), score in scores.items()]
    best = bucc_threshold(candidates, gold)
    shuffler.shuffle(candidates)
    assert bucc_threshold(candidates, gold) == best

    def f1_at(threshold: float) -> float:
        found = {pair for pair, score in scores.items() if score >= threshold}
        return f1_precision_recall(len(found & gold), len(found), len(gold))[0]

    assert f1_at(best.threshold) == best.f1
    assert best.f1 == max([0.0, *(f1_at(score) for score in scores.values())])
