"""A trimmed tokenizer gives the same pieces as the whole one wherever all of them were kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from viaduct.errors import UsageError
from viaduct.serving.pieces import Kept, keep_pieces

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
LETTERS = "abc"
PIECES = st.lists(
    st.tuples(st.text("▁abc", min_size=1, max_size=4), st.floats(-30, -1)),
    max_size=40,
    unique_by=lambda entry: entry[0],
)
TEXTS = st.lists(st.text("abcdé ", max_size=12), min_size=1, max_size=6)


def unigram(pieces: list[tuple[str, float]], *, special_first: bool = True) -> Any:
    ends = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    vocabulary = [*ends, *pieces, ("<mask>", 0.0)] if special_first else [*pieces, *ends, ("<mask>", 0.0)]
    places = {piece: at for at, (piece, _) in enumerate(vocabulary)}
    backend = Tokenizer(models.Unigram(vocabulary, unk_id=places["<unk>"]))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(name, places[name]) for name in ("<s>", "</s>")],
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


def byte_level() -> Any:
    from tokenizers import trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(tiny.corpus(), trainer=trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL)


def used(tokenizer: Any, texts: list[str]) -> set[int]:
    return {one for ids in tokenizer(texts)["input_ids"] for one in ids}


def same(tokenizer: Any, kept: Kept, texts: list[str]) -> bool:
    whole, trimmed = tokenizer(texts)["input_ids"], kept.tokenizer(texts)["input_ids"]
    return [kept.ids_K[ids].tolist() for ids in trimmed] == whole


@settings(deadline=None, max_examples=150)
@given(pieces=PIECES, texts=TEXTS, special_first=st.booleans())
def test_unigram_is_exact_on_texts_whose_pieces_were_kept(
    pieces: list[tuple[str, float]], texts: list[str], special_first: bool
) -> None:
    tokenizer = unigram(pieces, special_first=special_first)
    kept = keep_pieces(tokenizer, used(tokenizer, texts))
    assert same(tokenizer, kept, texts)
    assert len(kept.tokenizer) == len(kept.ids_K) <= len(tokenizer)
    for name in ("pad_token_id", "unk_token_id", "mask_token_id"):
        assert kept.ids_K[getattr(kept.tokenizer, name)] == getattr(tokenizer, name)


def test_a_removed_single_character_does_not_make_the_unknown_piece_cheaper() -> None:
    """Without the lowest score, <unk> would cost 30 instead of 110, and "ab" + <unk> would beat "a" + "bc"."""
    tokenizer = unigram([("▁", -1.0), ("▁ab", -1.0), ("▁a", -20.0), ("bc", -20.0), ("c", -100.0)])
    kept = keep_pieces(tokenizer, used(tokenizer, ["abc"]) | used(tokenizer, ["ab"]))
    assert tokenizer.convert_ids_to_tokens(tokenizer("abc")["input_ids"]) == ["<s>", "▁a", "bc", "</s>"]
    assert same(tokenizer, kept, ["abc", "ab"])


@pytest.mark.parametrize("make", [tiny.tokenizer, byte_level])
@pytest.mark.parametrize("language", ["en", "ru", "th"])
def test_bpe_is_exact_on_the_languages_that_were_kept(make: Any, language: str) -> None:
    tokenizer = make()
    texts = [*tiny.sentences(language), "7.7, ♥"]
    kept = keep_pieces(tokenizer, used(tokenizer, texts))
    assert same(tokenizer, kept, texts)
    assert len(kept.ids_K) < 0.8 * len(tokenizer)


@settings(deadline=None, max_examples=60)
@given(texts=TEXTS, more=TEXTS)
def test_bpe_is_exact_on_other_texts_whose_pieces_happen_to_be_there(texts: list[str], more: list[str]) -> None:
    tokenizer = tiny.tokenizer(120)
    kept = keep_pieces(tokenizer, used(tokenizer, texts))
    there = [text for text in more if used(tokenizer, [text]) <= set(kept.ids_K.tolist())]
    assert not there or same(tokenizer, kept, there)


def test_unseen_characters_become_the_unknown_piece_or_bytes() -> None:
    words = tiny.tokenizer()
    kept = keep_pieces(words, used(words, tiny.sentences("en")))
    assert kept.tokenizer.unk_token_id in kept.tokenizer("река")["input_ids"]
    letters = byte_level()
    bytes_kept = keep_pieces(letters, used(letters, tiny.sentences("en")))
    assert (
        bytes_kept.tokenizer.decode(bytes_kept.tokenizer("река 河")["input_ids"], skip_special_tokens=True) == "река 河"
    )


def test_a_saved_tokenizer_gives_the_new_ids_without_viaduct_or_transformers(tmp_path: Path) -> None:
    words = tiny.tokenizer()
    kept = keep_pieces(words, used(words, tiny.sentences("en")))
    kept.tokenizer.save_pretrained(tmp_path)
    bare, again = Tokenizer.from_file(str(tmp_path / "tokenizer.json")), AutoTokenizer.from_pretrained(tmp_path)
    for text in tiny.sentences("en"):
        expected = kept.tokenizer(text, "boat")["input_ids"]
        assert bare.encode(text, "boat").ids == again(text, "boat")["input_ids"] == expected
    assert np.array_equal(kept.ids_K, np.unique(kept.ids_K))


def test_wordpiece_is_refused_with_the_reason() -> None:
    backend = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    with pytest.raises(UsageError, match="WordPiece tokenizer cannot be trimmed exactly: a word that is unknown"):
        keep_pieces(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]"), {1})
