from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from viaduct.encode.tokens import TOKENISED_ROWS, Encoded, Limits, frame
from viaduct.errors import UsageError
from viaduct.heads.span import SHORTEST_WINDOW
from viaduct.rows import Answer, Choice, Pair, Sentence, Span, Tagged

BEGIN, END = 0, 2
QUICK = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = st.sampled_from([word for words in tiny.LANGUAGES.values() for word in words] + ["Ω", "日本", "ﬁne", "7,5"])


def ids_of(encoded: Encoded, sequence: int) -> list[int]:
    return encoded.ids[encoded.offsets[sequence] : encoded.offsets[sequence + 1]].tolist()


def bare(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_pair_is_first_then_second(tiny_tokenizer: Any) -> None:
    rows = [Pair("1", "en", "green river", "small house", "yes"), Pair("2", "zh", "石头", "面包", "no")]
    encoded = tiny.encode(rows, tiny_tokenizer, ("no", "yes"), Limits(64))
    for number, row in enumerate(rows):
        first, second = bare(tiny_tokenizer, row.first), bare(tiny_tokenizer, row.second)
        assert ids_of(encoded, number) == [BEGIN, *first, END, END, *second, END]
    assert encoded.fields["label"].tolist() == [1, 0]
    assert encoded.cut_tokens == 0
    assert "types" not in encoded.fields


@QUICK
@given(
    first=st.lists(WORDS, max_size=40).map(" ".join),
    second=st.lists(WORDS, max_size=40).map(" ".join),
    max_length=st.integers(8, 40),
)
def test_long_pairs_are_cut_and_the_cut_tokens_counted(
    tiny_tokenizer: Any, first: str, second: str, max_length: int
) -> None:
    encoded = tiny.encode([Pair("1", "en", first, second, None)], tiny_tokenizer, (), Limits(max_length))
    whole = len(bare(tiny_tokenizer, first)) + len(bare(tiny_tokenizer, second)) + 4
    assert len(encoded.ids) == min(whole, max_length)
    assert encoded.cut_tokens == whole - len(encoded.ids)
    assert "label" not in encoded.fields


def test_long_sentences_are_cut_and_counted(tiny_tokenizer: Any) -> None:
    text = " ".join(tiny.sentences("de"))
    encoded = tiny.encode([Sentence("1", "de", text)], tiny_tokenizer, (), Limits(16))
    whole = bare(tiny_tokenizer, text)
    assert ids_of(encoded, 0) == [BEGIN, *whole[:14], END]
    assert encoded.cut_tokens == len(whole) - 14


def test_rows_beyond_one_chunk_keep_their_numbers(tiny_tokenizer: Any) -> None:
    rows = [Sentence(str(number), "en", f"green {number}") for number in range(TOKENISED_ROWS + 3)]
    encoded = tiny.encode(rows, tiny_tokenizer, (), Limits(16))
    assert encoded.rows.tolist() == list(range(TOKENISED_ROWS + 3))
    assert ids_of(encoded, TOKENISED_ROWS + 1) == [BEGIN, *bare(tiny_tokenizer, f"green {TOKENISED_ROWS + 1}"), END]


def test_a_model_that_tells_segments_apart_gets_types(tiny_tokenizer: Any) -> None:
    typed = tiny.typed_tokenizer(tiny_tokenizer)
    encoded = tiny.encode([Pair("1", "en", "green", "small house", None)], typed, (), Limits(64))
    first, second = len(bare(typed, "green")), len(bare(typed, "small house"))
    assert encoded.fields["types"].tolist() == [0] * (first + 2) + [1] * (second + 1)
    choice = tiny.encode([Choice("1", "en", "green", "", ("house", "boat"), 1)], typed, (), Limits(64))
    assert len(choice.fields["types"]) == len(choice.ids)


def test_endings_of_a_choice_stay_together(tiny_tokenizer: Any) -> None:
    rows = [
        Choice("1", "en", "green river", "which?", ("boat", "small house", "stone"), 2),
        Choice("2", "en", "winter", "", ("bread", "garden"), 0),
    ]
    encoded = tiny.encode(rows, tiny_tokenizer, (), Limits(64))
    assert encoded.widths.tolist() == [3, 2]
    assert encoded.fields["label"].tolist() == [2, 0]
    context = bare(tiny_tokenizer, "green river")
    assert ids_of(encoded, 1) == [BEGIN, *context, END, END, *bare(tiny_tokenizer, "which? small house"), END]
    assert ids_of(encoded, 3) == [BEGIN, *bare(tiny_tokenizer, "winter"), END, END, *bare(tiny_tokenizer, "bread"), END]
    assert encoded.lengths.tolist() == [max(len(ids_of(encoded, at)) for at in part) for part in ((0, 1, 2), (3, 4))]


def words_of(encoded: Encoded) -> list[tuple[int, int, int]]:
    """(row, word, token id of its first piece) for every word, in order."""
    found = []
    for example, row in enumerate(encoded.rows):
        ids = ids_of(encoded, example)
        flat = slice(encoded.word_ends[example], encoded.word_ends[example + 1])
        for position, word in zip(encoded.fields["first"][flat], encoded.fields["word"][flat], strict=True):
            found.append((int(row), int(word), ids[position]))
    return found


TOKENS = st.lists(st.one_of(WORDS, st.sampled_from(["", " ", "\u200b", "\x00", "a b", "\u00ad"])), max_size=30)


@QUICK
@given(sentences=st.lists(TOKENS, min_size=1, max_size=4), max_length=st.integers(8, 30))
def test_every_word_is_tagged_at_its_first_piece_and_nothing_is_lost(
    tiny_tokenizer: Any, sentences: list[list[str]], max_length: int
) -> None:
    rows = [
        Tagged(str(at), "en", tuple(tokens), tuple("ab"[len(token) % 2] for token in tokens))
        for at, tokens in enumerate(sentences)
    ]
    encoded = tiny.encode(rows, tiny_tokenizer, ("a", "b"), Limits(max_length))
    assert [(row, word) for row, word, _ in words_of(encoded)] == [
        (at, word) for at, tokens in enumerate(sentences) for word in range(len(tokens))
    ]
    assert encoded.fields["tag"].tolist() == [len(token) % 2 for tokens in sentences for token in tokens]
    assert encoded.lengths.max(initial=0) <= max_length
    room = max_length - 2
    expected = []
    for tokens in sentences:
        for token in tokens:
            pieces = tiny_tokenizer([token], is_split_into_words=True, add_special_tokens=False)["input_ids"]
            expected.append(pieces[:room] or [tiny_tokenizer.unk_token_id])
    assert [first for *_, first in words_of(encoded)] == [pieces[0] for pieces in expected]
    inside = [token for at in range(len(encoded)) for token in ids_of(encoded, at)[1:-1]]
    assert inside == [piece for pieces in expected for piece in pieces]


def test_a_word_longer_than_the_limit_is_cut_and_counted(tiny_tokenizer: Any) -> None:
    word = "bread" * 30
    pieces = tiny_tokenizer([word], is_split_into_words=True, add_special_tokens=False)["input_ids"]
    row = Tagged("1", "en", ("green", word, "house"), ("a", "b", "a"))
    encoded = tiny.encode([row], tiny_tokenizer, ("a", "b"), Limits(12))
    assert [word for _, word, _ in words_of(encoded)] == [0, 1, 2]
    assert encoded.cut_tokens == len(pieces) - 10


def test_labelled_tags_are_no_trouble_when_predicting(tiny_tokenizer: Any) -> None:
    encoded = tiny.encode(tiny.rows("tagged"), tiny_tokenizer, (), Limits(32))
    assert "tag" not in encoded.fields
    assert len(encoded.fields["word"]) == sum(len(row.tokens) for row in tiny.rows("tagged"))


def windows_of(encoded: Encoded) -> list[np.ndarray]:
    """The character ranges of every window's context tokens."""
    ends = encoded.context_ends * 2
    return [encoded.fields["spans"][ends[at] : ends[at + 1]].reshape(-1, 2) for at in range(len(encoded))]


CONTEXTS = st.one_of(st.lists(WORDS, min_size=1, max_size=60).map(" ".join), st.text(min_size=1, max_size=150))


@st.composite
def questions(draw: st.DrawFn) -> Span:
    context = draw(CONTEXTS)
    start = draw(st.integers(0, len(context) - 1))
    stop = draw(st.integers(start + 1, min(len(context), start + 30)))
    text = context[start:stop]
    start += len(text) - len(text.lstrip())
    return Span("1", "en", context, draw(st.lists(WORDS, max_size=60).map(" ".join)), (Answer(text.strip(), start),))


@QUICK
@given(row=questions(), max_length=st.integers(SHORTEST_WINDOW, 64), share=st.floats(0, 0.5))
def test_windows_cover_the_context_and_answers_map_back(
    tiny_tokenizer: Any, row: Span, max_length: int, share: float
) -> None:
    encoded = tiny.encode([row], tiny_tokenizer, (), Limits(max_length, int(share * max_length)))
    assert encoded.lengths.max() <= max_length
    windows = windows_of(encoded)
    covered = {place for ranges in windows for left, right in ranges for place in range(left, right)}
    whole = tiny_tokenizer(row.context, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    assert covered == {place for left, right in whole for place in range(left, right)}
    for earlier, later in pairwise(windows):
        assert later[0][0] <= earlier[-1][1], "characters between two windows would never be seen"
    answer = row.answers[0]
    stop = answer.start + len(answer.text)
    for window, ranges in enumerate(windows):
        begin = encoded.fields["begin"][window]
        start, end = encoded.fields["start"][window], encoded.fields["end"][window]
        holds = len(ranges) and ranges[0][0] <= answer.start and ranges[-1][1] >= stop and answer.text
        assert bool(start) == bool(holds)
        if start:
            found = row.context[ranges[start - begin][0] : ranges[end - begin][1]]
            assert answer.text in found
            assert begin <= start <= end < begin + len(ranges)


def test_answers_of_whole_words_map_back_to_themselves(tiny_tokenizer: Any) -> None:
    rows = tiny.rows("span", 12)
    encoded = tiny.encode(rows, tiny_tokenizer, (), Limits(64, 16))
    for window, ranges in enumerate(windows_of(encoded)):
        row = rows[encoded.rows[window]]
        start, end = (encoded.fields[name][window] - encoded.fields["begin"][window] for name in ("start", "end"))
        assert row.context[ranges[start][0] : ranges[end][1]].strip() == row.answers[0].text


def test_unanswerable_questions_and_empty_contexts_point_at_the_first_token(tiny_tokenizer: Any) -> None:
    rows = [Span("1", "en", "green house", "why?", ()), Span("2", "en", "", "why?", (Answer("x", 0),))]
    encoded = tiny.encode(rows, tiny_tokenizer, (), Limits(64, 16))
    assert encoded.fields["start"].tolist() == encoded.fields["end"].tolist() == [0, 0]
    assert encoded.fields["contexts"].tolist()[1] == 0
    assert len(encoded) == 2


@pytest.mark.parametrize("length", [SHORTEST_WINDOW, 64, 129])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_a_very_long_question_leaves_room_for_the_context(tiny_tokenizer: Any, length: int, share: float) -> None:
    row = Span("1", "en", " ".join(tiny.sentences("en") * 3), " ".join(tiny.sentences("ru") * 9), ())
    stride = int(share * length)
    encoded = tiny.encode([row], tiny_tokenizer, (), Limits(length, stride))
    assert (encoded.fields["contexts"][:-1] > stride).all()
    assert windows_of(encoded)[-1][-1][1] == len(row.context)
    for earlier, later in pairwise(windows_of(encoded)):
        assert [*map(tuple, later[:stride])] == [*map(tuple, earlier[len(earlier) - stride :])]


@pytest.mark.parametrize("stride", [-1, 33, 1000])
def test_an_overlap_that_windows_cannot_have_is_refused(tiny_tokenizer: Any, stride: int) -> None:
    with pytest.raises(UsageError, match=rf"stride of {stride:,} tokens in windows of 64 .*\n.* 0 to 32, or"):
        tiny.encode([Span("1", "en", "green", "why?", ())], tiny_tokenizer, (), Limits(64, stride))


def test_windows_without_room_are_refused(tiny_tokenizer: Any) -> None:
    with pytest.raises(UsageError, match="no room"):
        tiny.encode([Span("1", "en", "green", "why?", ())], tiny_tokenizer, (), Limits(SHORTEST_WINDOW - 1))


def test_no_rows_give_no_examples(tiny_tokenizer: Any) -> None:
    encoded = tiny.encode([], tiny_tokenizer, (), Limits(16))
    assert len(encoded) == 0
    assert encoded.lengths.tolist() == []


def test_the_frame_is_the_tokenizers_own(tiny_tokenizer: Any) -> None:
    assert frame(tiny_tokenizer) == ([BEGIN], [END])
