"""Baselines: right on rows made by hand, but weak on the miniature tasks, as those are designed to be hard for them."""

from __future__ import annotations

from pathlib import Path
from random import Random
from statistics import mean

import miniature_baselines as baselines
import pytest

from viaduct.miniature import pairs
from viaduct.miniature.sentences import text
from viaduct.rows import Answer, Pair, Sentence, Span, Tagged


def labelled(made: tuple[pairs.LabelledPair, ...]) -> list[Pair]:
    return [
        Pair(str(number), "en", text(one.first, "en"), text(one.second, "en"), one.label)
        for number, one in enumerate(made)
    ]


@pytest.mark.parametrize(("make", "labels"), [(pairs.inference, pairs.INFERENCE), (pairs.paraphrase, pairs.PARAPHRASE)])
def test_word_overlap_is_close_to_chance_on_pairs(make: object, labels: tuple[str, ...]) -> None:
    train = labelled(pairs.many(make, labels, 1_500, Random("train"), set()))  # type: ignore[arg-type]
    test = labelled(pairs.many(make, labels, 1_500, Random("test"), set()))  # type: ignore[arg-type]
    made = baselines.word_overlap(train, test)
    assert abs(mean(made[row.id] == row.label for row in test) - 1 / len(labels)) < 0.05


def test_word_overlap_finds_it_where_it_is() -> None:
    rows = [
        Pair(str(number), "en", "sun and moon", "moon and sun" if number % 2 else "star", str(number % 2))
        for number in range(10)
    ]
    assert baselines.word_overlap(rows, rows) == {row.id: row.label for row in rows}


def test_overlap_counts_characters_without_blanks_between_words() -> None:
    assert baselines.overlap("太阳和月亮", "月亮和太阳") == 1
    assert baselines.overlap("sun and sun", "sun") == pytest.approx(1 / 3)
    assert baselines.overlap("", "") == 1


def test_majority_and_usual_tags() -> None:
    pair_rows = [Pair(str(number), "en", "a", "b", label) for number, label in enumerate("yxx")]
    assert baselines.majority(pair_rows, pair_rows[:1]) == {"0": "x"}
    train = [Tagged("0", "en", ("sun", "moon", "sun", "."), ("NOUN", "PROPN", "NOUN", "PUNCT"))]
    test = [Tagged("7", "en", ("moon", "star"), None)]
    assert baselines.usual_tag_of_word(train, test) == {"7": ["PROPN", "NOUN"]}
    assert baselines.usual_tag(train, test) == {"7": ["NOUN", "NOUN"]}


def test_statements_of_a_passage() -> None:
    row = Span("q", "en", "Spain: sun. Peru: moon.", "moon?", (Answer("Peru", 12),))
    assert baselines.first_statement([], [row]) == {"q": "Spain: sun"}
    assert baselines.asked_statement([], [row]) == {"q": "Peru: moon"}


def test_same_letters_finds_cognates() -> None:
    rows = [
        Sentence("de-0", "de", "Kometen", "source", ("en-0",)), Sentence("de-1", "de", "Giraffe", "source", ("en-1",)),
        Sentence("en-0", "de", "comets", "target", ("de-0",)), Sentence("en-1", "de", "giraffe", "target", ("de-1",)),
    ]  # fmt: skip
    found = {"en-0": "de-0", "en-1": "de-1", "de-0": "en-0", "de-1": "en-1"}
    assert baselines.same_letters([], rows) == found


def test_table_has_every_task(small_world: Path) -> None:
    table = baselines.table(small_world)
    for name, of_task in baselines.BASELINES.items():
        assert table.count(f"| {name} |") == len(of_task)
