from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from viaduct.errors import DataError, StoreError
from viaduct.metrics.difference import example_variance
from viaduct.metrics.drawn import numbered
from viaduct.metrics.score import ByExample, Outcomes, Prediction, Predictions, Score, Scored, scored
from viaduct.metrics.tagging import entities, span_counts
from viaduct.results.outcomes import FILE, LanguageOutcomes, ids_digest, packed, read_outcomes, write_outcomes
from viaduct.rows import Answer, Choice, Pair, Row, Sentence, Span, Tagged
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder


def shares(**values: list[float]) -> LanguageOutcomes:
    length = len(next(iter(values.values())))
    units = np.arange(length, dtype=np.int32)[::-1]
    arrays = {name: np.array(one, np.float64) for name, one in values.items()}
    return LanguageOutcomes(arrays, units, ids_digest([str(one) for one in range(length)]), 0.5, None)


def counts(correct: list[int], predicted: list[int], gold: list[int]) -> LanguageOutcomes:
    values = {"correct": np.array(correct), "predicted": np.array(predicted), "gold": np.array(gold)}
    return LanguageOutcomes(values, np.arange(len(gold), dtype=np.int32), "digest", None, 0.0)


def test_the_mean_of_shares_and_of_linearised_f1_is_the_score() -> None:
    assert shares(accuracy=[1, 0, 1, 1]).scores().mean() == 0.75
    assert math.isclose(shares(f1=[1, 0.5, 0], exact_match=[1, 0, 0]).scores().mean(), (1.5 / 3 + 1 / 3) / 2)
    f1 = counts([2, 0, 1], [3, 1, 1], [2, 2, 4])
    assert f1.scores().mean() == pytest.approx(2 * 3 / 13, abs=1e-15)
    assert list(counts([0, 0], [0, 0], [0, 0]).scores()) == [0.0, 0.0]


def test_what_is_written_is_read_and_has_the_same_bytes(tmp_path: Path) -> None:
    written = {
        "de": shares(f1=[1.0, 0.25, 1 / 3, 0, 1, 1, 1, 1, 0], exact_match=[1, 0, 0, 0, 1, 1, 1, 1, 0]),
        "en": counts([2, 0, 300], [3, 1, 300], [2, 2, 70_000]),
    }
    write_outcomes(tmp_path, written)
    first = (tmp_path / FILE).read_bytes()
    write_outcomes(tmp_path, written)
    assert (tmp_path / FILE).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    read = read_outcomes(tmp_path)
    assert read is not None and list(read) == ["de", "en"]
    for language, one in written.items():
        back = read[language]
        assert (back.ids, back.chance, back.majority) == (one.ids, one.chance, one.majority)
        assert list(back.units) == list(one.units) and back.units.dtype == np.int32
        assert list(back.values) == list(one.values)
        for name, values in one.values.items():
            np.testing.assert_allclose(back.values[name], values, atol=1e-7)
        np.testing.assert_allclose(back.scores(), one.scores(), atol=1e-7)


def test_rows_of_one_id_have_one_number_in_all_languages() -> None:
    found = numbered({"de": ["10", "9", "2"], "en": ["9", "1"]})
    assert {language: list(numbers) for language, numbers in found.items()} == {"de": [3, 2, 1], "en": [2, 0]}
    assert ids_digest(["a", "b"]) != ids_digest(["b", "a"])


def test_no_file_and_a_damaged_one(tmp_path: Path) -> None:
    assert read_outcomes(tmp_path) is None
    write_outcomes(tmp_path, {"de": shares(accuracy=[1, 0])})
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-40])
    with pytest.raises(StoreError, match="damaged"):
        read_outcomes(tmp_path)


def found(task: str, rows: list[Row], *, language: str = "de") -> LanguageOutcomes:
    """The outcomes on a built-in card when there are no predictions at all."""
    card = Catalogue.builtin().task(task)
    assert card.metric is not None
    return packed(card, {language: (rows, scored(card.metric, rows, {}))})[language]


def test_chance_and_majority_are_those_of_the_task() -> None:
    pairs: list[Row] = [Pair(str(n), "de", "a", "b", "neutral" if n else "entailment") for n in range(4)]
    choices: list[Row] = [Choice(str(n), "et", "c", "q", ("a", "b"), n % 2) for n in range(3)]
    tagged: list[Row] = [
        Tagged("0", "de", ("a", "b", "c"), ("NOUN", "NOUN", "VERB")),
        Tagged("1", "de", ("a",), ("NOUN",)),
    ]
    entity: list[Row] = [Tagged("0", "de", ("Ada", "in", "der"), ("B-PER", "O", "O"))]
    asked: list[Row] = [Span("0", "en", "c", "q", ()), Span("1", "en", "c", "q", (Answer("c", 0),))]
    sides: list[Row] = [
        *(Sentence(f"de-{n}", "de", "x", "source", (f"en-{n}",)) for n in range(4)),
        *(Sentence(f"en-{n}", "de", "y", "target", (f"de-{n}",)) for n in range(4)),
    ]
    xnli, xcopa = found("xnli", pairs), found("xcopa", choices, language="et")
    assert (xnli.chance, xnli.majority) == (1 / 3, 3 / 4)
    assert (xcopa.chance, xcopa.majority) == (1 / 2, 2 / 3)
    udpos = found("udpos", tagged)
    assert (udpos.chance, udpos.majority) == (None, pytest.approx(2 * 1 / (2 + 3)))  # NOUN NOUN NOUN is one span
    assert (found("panx", entity).chance, found("panx", entity).majority) == (None, 0.0)
    squad2, xquad = found("squad2", asked, language="en"), found("xquad", asked[1:], language="en")
    assert (squad2.chance, squad2.majority, xquad.majority) == (None, 0.5, None)
    tatoeba = found("tatoeba", sides)
    assert (tatoeba.chance, tatoeba.majority) == (1 / 4, None)


def test_sentences_of_tatoeba_are_the_same_where_their_english_is() -> None:
    card = Catalogue.builtin().task("tatoeba")
    english = {"de": ("Hello.", "Tea.", "Tea."), "fr": ("Snow.", "Hello.", "Tea.")}
    rows: dict[str, list[Row]] = {
        code: [
            *(Sentence(f"{code}-{n}", code, "x", "source", (f"en-{n}",)) for n in range(3)),
            *(Sentence(f"en-{n}", code, text, "target", (f"{code}-{n}",)) for n, text in enumerate(texts)),
        ]
        for code, texts in english.items()
    }
    assert card.metric is not None
    made = packed(card, {code: (one, scored(card.metric, one, {})) for code, one in rows.items()})
    de, fr = (made[code].units.tolist() for code in ("de", "fr"))
    assert (de[0], de[1]) == (fr[1], fr[2])
    assert len({*de, *fr}) == 4  # the second "Tea." is a separate sentence
    assert made["de"].ids == made["fr"].ids  # ids never pair rows of different languages


def question(number: int, language: str, context: str) -> Span:
    return Span(str(number), language, context, "q", (Answer("c", 0),))


def units_of(rows: dict[str, list[Row]]) -> dict[str, list[int]]:
    card = Catalogue.builtin().task("xquad")
    assert card.metric is not None
    made = packed(card, {code: (one, scored(card.metric, one, {})) for code, one in rows.items()})
    return {code: one.units.tolist() for code, one in made.items()}


def test_questions_about_one_paragraph_are_drawn_together_in_all_languages() -> None:
    german = [question(n, "de", f"Absatz {n // 3}") for n in range(120)]
    greek = [question(n, "el", f"paragraph {n // 3}") for n in reversed(range(60))]
    found = units_of({"de": [*german], "el": [*greek]})
    assert len(set(found["de"])) == 40
    assert all(found["de"][n] == found["de"][n - n % 3] for n in range(120))
    assert found["el"] == found["de"][:60][::-1]


@pytest.mark.parametrize(
    ("task", "split", "rows", "groups"), [("xnli", "dev", 2490, 830), ("xquad", "test", 1190, 240)]
)
def test_groups_of_real_test_sets(shared_data: Path, task: str, split: str, rows: int, groups: int) -> None:
    """XNLI has three hypotheses for each premise; XQuAD has 240 paragraphs (Artetxe et al. 2020)."""
    catalogue = Catalogue.builtin()
    folder, card = DataFolder(shared_data, catalogue), catalogue.task(task)
    assert card.metric is not None
    read = {code: folder.read(task, split, code).rows for code in ("de", "el", "zh")}
    made = packed(card, {code: (one, scored(card.metric, one, {})) for code, one in read.items()})
    assert [len(one.units) for one in made.values()] == [rows] * 3
    assert [len(set(one.units.tolist())) for one in made.values()] == [groups] * 3
    assert len({tuple(sorted(one.units.tolist())) for one in made.values()}) == 1


def test_paragraphs_of_a_test_set_that_is_not_parallel_form_no_chain_across_languages() -> None:
    rows: dict[str, list[Row]] = {
        code: [question(n, code, f"{code} {(n + 3 * at) // 10}") for n in range(400)]
        for at, code in enumerate(("de", "el", "ru"))
    }
    found = units_of(rows)
    assert [len(set(one)) for one in found.values()] == [40, 41, 41]
    assert len({unit for one in found.values() for unit in one}) == 122


def test_a_duplicate_in_one_language_hardly_matters_to_others() -> None:
    rows: dict[str, list[Row]] = {
        code: [question(n, code, f"{code} {n % (200 - at)}") for n in range(200)]
        for at, code in enumerate(("de", "el", "ru"))
    }
    assert [len(set(one)) for one in units_of(rows).values()] == [197] * 3


@pytest.mark.parametrize("context", ["the only paragraph", ""])
def test_groups_that_are_too_few_or_nameless_are_ignored(context: str) -> None:
    def left(contexts: list[str]) -> int:
        return len(set(units_of({"de": [question(n, "de", one) for n, one in enumerate(contexts)]})["de"]))

    assert left([context] * 200) == 200
    assert left([f"Absatz {n % 4}" for n in range(200)]) == 200
    assert left([f"Absatz {n % 5}" for n in range(200)]) == 5
    assert left([f"Absatz {max(0, n - 100)}" for n in range(200)]) == 200  # one has half of the questions
    assert left([f"Absatz {max(0, n - 72)}" for n in range(400)]) == 328
    few = {code: [question(n, code, f"{code} {n % 4}") for n in range(200)] for code in ("de", "el", "ru")}
    assert [len(set(one)) for one in units_of({**few}).values()] == [200] * 3


@pytest.mark.parametrize(("alike", "ratio"), [(0.5, 3.0), (-0.2, 0.2)])
def test_the_variance_over_groups_is_that_of_drawing_groups(alike: float, ratio: float) -> None:
    """Five questions about a paragraph go right or wrong together, or one wins what another loses: over rows, the
    variance is 1 / `ratio` of what it is."""
    random, seeds, paragraphs, of_each = np.random.default_rng(4), 3, 60, 5
    covariance = np.full((of_each, of_each), alike) + (1 - alike) * np.eye(of_each)
    groups = {"de": np.repeat(np.arange(paragraphs, dtype=np.int32), of_each)}
    rows = {"de": np.arange(paragraphs * of_each, dtype=np.int32)}
    means, over_groups, over_rows = [], [], []
    for _ in range(600):
        drawn = random.multivariate_normal(np.zeros(of_each), covariance, paragraphs, method="eigh").ravel()
        values_SN = drawn + 0.1 * random.standard_normal((seeds, len(drawn)))
        means.append(values_SN.mean())
        over_groups.append(example_variance({"de": values_SN}, groups).total)
        over_rows.append(example_variance({"de": values_SN}, rows).total)
    assert np.mean(over_groups) == pytest.approx(np.var(means), rel=0.15)
    assert np.mean(over_groups) / np.mean(over_rows) == pytest.approx(ratio, rel=0.1)


def test_every_card_with_a_metric_says_how_its_examples_came_out() -> None:
    assert all(isinstance(card.metric, ByExample | None) for card in Catalogue.builtin())


def test_spans_that_join_sentences_are_counted_where_they_begin() -> None:
    gold = [["B-X", "I-X"], ["O-X", "X-X"], ["B-Y"]]
    given = [["B-X", "I-X"], ["O", "X-X"], ["I-Y"]]
    right, predicted, there = span_counts(gold, given)
    assert sum(there) == len(set(entities(gold))) and sum(predicted) == len(set(entities(given)))
    assert sum(right) == len(set(entities(gold)) & set(entities(given)))
    assert there == [2, 0, 1]  # by the official definition, the second sentence's span begins in the first


def half_right(rows: Sequence[Row], predictions: Predictions) -> Scored:
    values = [1.0 if row.id in predictions else 0.5 for row in rows]
    score = Score("accuracy", sum(values) / len(rows), len(rows), 0, "half|1")
    return Scored((score,), Outcomes([row.id for row in rows], {"accuracy": values}))


def test_a_metric_of_ones_own_gives_outcomes_and_wrong_ones_are_refused() -> None:
    rows: list[Row] = [Pair(str(n), "de", "a", "b", "yes") for n in range(3)]
    one = {"1": Prediction("1", "de", "yes")}
    own = ByExample(half_right)
    card = replace(Catalogue.builtin().task("xnli"), metric=own, metrics=("accuracy",))
    assert own(rows, one) == half_right(rows, one).scores
    made = packed(card, {"de": (rows, scored(own, rows, one))})["de"]
    assert made.scores().tolist() == [0.5, 1.0, 0.5]
    assert made.chance is None  # answers are not only right or wrong
    wrong = Scored(own(rows, one), Outcomes(("0", "1", "2"), {"accuracy": [1, 1, 1]}))
    with pytest.raises(DataError, match=r"xnli gives 0\.666667 in 'de', but outcomes of 1\.000000"):
        packed(card, {"de": (rows, wrong)})
    short = Scored(own(rows, one), Outcomes(("0", "1", "2"), {"accuracy": [0.5, 5 / 6]}))
    with pytest.raises(DataError, match="2 values for 3 ids"):
        packed(card, {"de": (rows, short)})
    assert packed(card, {"de": (rows, Scored(own(rows, one), None))}) == {}


def test_the_spread_of_linearised_f1_is_that_of_f1_itself() -> None:
    random = np.random.default_rng(5)
    gold = random.poisson(1.5, 600)
    correct = random.binomial(gold, 0.7)
    predicted = correct + random.poisson(0.5, 600)
    one = counts(correct.tolist(), predicted.tolist(), gold.tolist())
    error = one.scores().std(ddof=1) / math.sqrt(600)
    spans = predicted + gold
    without = 2 * (correct.sum() - correct) / (spans.sum() - spans)
    jackknife = math.sqrt(599 / 600 * ((without - without.mean()) ** 2).sum())
    drawn = random.integers(0, 600, (4000, 600))
    bootstrap = (2 * correct[drawn].sum(axis=1) / spans[drawn].sum(axis=1)).std(ddof=1)
    assert error == pytest.approx(jackknife, rel=0.01)
    assert error == pytest.approx(bootstrap, rel=0.04)
