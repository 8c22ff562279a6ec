from __future__ import annotations

import unicodedata
from typing import Any

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from viaduct.models.tokenizer import LONGEST_PIECE, SPECIAL_TOKENS, alphabet, train_tokenizer


@pytest.mark.parametrize("vocabulary", [300, 700])
def test_training_is_deterministic(vocabulary: int) -> None:
    """At 300 entries many characters are equally rare, and only some of them fit."""
    trained = {tiny.tokenizer(vocabulary).backend_tokenizer.to_str() for _ in range(4)}
    assert len(trained) == 1


def test_the_alphabet_is_the_most_frequent_characters() -> None:
    assert alphabet(["cab a", "xx"], 10) == ["a", "b", "c", "x", "▁"]
    assert alphabet(["cab a", "xx"], 3) == ["a", "b", "x"]
    assert alphabet([], 3) == ["▁"]


def test_the_vocabulary_is_no_larger_than_asked_and_begins_like_xlm_rs(tiny_tokenizer: Any) -> None:
    assert len(tiny_tokenizer) <= tiny.ARCHITECTURE.vocabulary
    assert len(tiny.tokenizer(300)) == 300
    assert tiny_tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    ids = (tiny_tokenizer.bos_token_id, tiny_tokenizer.pad_token_id, tiny_tokenizer.sep_token_id)
    assert ids == (0, 1, 2)
    pieces = [piece for piece in tiny_tokenizer.get_vocab() if piece not in SPECIAL_TOKENS]
    assert max(map(len, pieces)) <= LONGEST_PIECE


def test_sequences_are_framed_as_xlm_r_frames_them(tiny_tokenizer: Any) -> None:
    tokens = tiny_tokenizer.convert_ids_to_tokens(tiny_tokenizer("green", "house")["input_ids"])
    assert tokens == ["<s>", "▁green", "</s>", "</s>", "▁house", "</s>"]


@settings(deadline=None)
@given(words=st.lists(st.sampled_from([word for words in tiny.LANGUAGES.values() for word in words]), min_size=1))
def test_known_words_come_back(tiny_tokenizer: Any, words: list[str]) -> None:
    text = unicodedata.normalize("NFKC", " ".join(words))
    assert tiny_tokenizer.decode(tiny_tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_punctuation_stands_alone(tiny_tokenizer: Any) -> None:
    pieces = tiny_tokenizer.tokenize("house,garden(boat)!")
    assert [piece for piece in pieces if piece in ",()!"] == [",", "(", ")", "!"] or "<unk>" in pieces
    offsets = tiny_tokenizer("house,garden", add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    assert (5, 6) in offsets


def test_rare_characters_become_unknown_so_that_words_fit() -> None:
    texts = [*tiny.sentences("en") * 5, "".join(map(chr, range(0x4E00, 0x4E00 + 500)))]
    words = train_tokenizer(texts, 200, 64)
    assert len(words) <= 200
    assert words.unk_token_id in words("鿀 鿁")["input_ids"]
    assert sum(piece >= "一" for piece in words.get_vocab()) <= 50
    assert words.unk_token_id not in words("green river")["input_ids"]


@pytest.mark.parametrize("text", ["", " ", "\u200b"])
def test_an_empty_text_is_still_framed(tiny_tokenizer: Any, text: str) -> None:
    ids = tiny_tokenizer(text)["input_ids"]
    assert (ids[0], ids[-1]) == (0, 2)
