"""Properties of rows: the values on which plans, substitutions and `viaduct check` are based."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from viaduct.rows import Answer, Choice, Pair, Row, Sentence, Span, Tagged
from viaduct.tasks.kind import row_kind, row_kinds
from viaduct.vision.rows import Captioned

PAIR = Pair("1", "en", "Tea is hot.", "It boils.", "yes")
CHOICE = Choice("1", "en", "Tea.", "Why?", ("hot", "cold"), 1)
TAGGED = Tagged("1", "en", ("Ann", "came"), ("B-PER", "O"))
SPAN = Span("1", "en", "Tea is hot.", "What?", (Answer("Tea", 0),))
SENTENCE = Sentence("1", "de", "Tee.", "source", ("en-1",))
CAPTIONED = Captioned("9", "en", None, ("A kite.", "Red kite"), "people")


@pytest.mark.parametrize(
    ("row", "texts", "compared", "group", "characters", "lengths"),
    [
        (PAIR, ("Tea is hot.", "It boils."), ("Tea is hot.", "It boils."), "Tea is hot.", 20, (20,)),
        (CHOICE, ("Tea.", "Why?", "hot", "cold"), ("Tea.", "Why?", "hot", "cold"), "Tea.\nWhy?", 23, (15,)),
        (TAGGED, ("Ann", "came"), ("Ann came",), "Ann came", 9, (7,)),
        (SPAN, ("Tea is hot.", "What?"), ("Tea is hot.",), "Tea is hot.", 16, (16,)),
        (SENTENCE, ("Tee.",), ("Tee.",), "Tee.", 4, (4,)),
        (CAPTIONED, ("A kite.", "Red kite"), ("9",), "9", 15, (7, 8)),
    ],
)
def test_texts_group_and_length(
    row: Row,
    texts: tuple[str, ...],
    compared: tuple[str, ...],
    group: str,
    characters: int,
    lengths: tuple[int, ...],
) -> None:
    assert (row.texts, row.compared, row.group) == (texts, compared, group)
    assert (row.characters, row.lengths) == (characters, lengths)
    assert row.links == (("en-1",) if row is SENTENCE else ())
    with pytest.raises(FrozenInstanceError):
        row.id = "2"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("row", "gold", "words"),
    [
        (PAIR, "yes", ("yes",)),
        (replace(PAIR, label=None), None, ()),
        (CHOICE, 1, ("1",)),
        (replace(CHOICE, label=0), 0, ("0",)),
        (replace(CHOICE, label=None), None, ()),
        (TAGGED, ("B-PER", "O"), ("B-PER", "O")),
        (replace(TAGGED, tags=None), None, ()),
        (SPAN, (Answer("Tea", 0),), ("answer",)),
        (replace(SPAN, answers=()), (), ("no answer",)),
        (replace(SPAN, answers=None), None, ()),
        (SENTENCE, ("en-1",), ("pair",)),
        (replace(SENTENCE, match=()), (), ("no pair",)),
        (replace(SENTENCE, side="target"), ("en-1",), ()),
        (replace(SENTENCE, match=None), None, ()),
    ],
)
def test_gold_and_the_words_that_are_counted(row: Row, gold: object, words: tuple[str, ...]) -> None:
    assert (row.gold, row.label_words, row.is_labelled) == (gold, words, gold is not None)


def test_captions_are_always_labelled() -> None:
    assert (CAPTIONED.gold, CAPTIONED.is_labelled, CAPTIONED.label_words) == (None, True, ())


def test_every_kind_is_known_by_name_and_says_what_it_is() -> None:
    kinds = row_kinds()
    core = ["pair", "choice", "tagged", "span", "retrieval", "mining", "text", "parallel"]
    assert list(kinds) == [*core, "classification", "regression", "captioned", "pictured"]
    assert [name for name, kind in kinds.items() if not kind.has_gold] == ["text", "parallel", "captioned"]
    assert [name for name, kind in kinds.items() if kind.is_searched] == ["retrieval", "mining"]
    assert [name for name, kind in kinds.items() if kind.head] == [*core[:4], "classification", "regression"]
    assert [name for name, kind in kinds.items() if kind.is_target] == [*core[:6], "classification", "regression"]
    assert row_kind("captioned").row is Captioned
