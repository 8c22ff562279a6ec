"""Words of tagged sentences get the same pieces as in the whole sentence, whatever the tokenizer does with blanks, and
what planning infers from the tokenizer's file agrees with the tokenizer itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from viaduct.encode.tokens import Limits
from viaduct.heads.tagged import needs_blanks
from viaduct.rows import Tagged
from viaduct.runs.identity import identity
from viaduct.runs.spec import Training
from viaduct.runs.stage import Stage
from viaduct.runs.words import words_need_blanks
from viaduct.training.train import TrainWork

SENTENCES = [
    ("green", "river", "'s", "(", "house", ")", ",", "7.5", "!"),
    ("маленький", "дом"),
    ("石头", "bread"),
    ("one",),
]


def byte_level(*, prefix: bool, sequence: bool = False) -> Tokenizer:
    """A byte-level BPE tokenizer like RoBERTa's (`prefix`: with a blank before the text) or EuroBERT's."""
    made = Tokenizer(models.BPE())
    cut: Any = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    if sequence:
        split = pre_tokenizers.Split(" ", behavior="merged_with_next")
        cut = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.pre_tokenizer, made.decoder = cut, decoders.ByteLevel()
    return made


def metaspace(scheme: Any) -> Tokenizer:
    """A Metaspace tokenizer like XLM-R's ("always", "first")."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    return made


def replaced(*, prepend: bool) -> Tokenizer:
    """A tokenizer that replaces blanks, like Gemma's (nothing before the text) or Llama's."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    begin: list[Any] = [normalizers.Prepend("▁")] if prepend else []
    made.normalizer = normalizers.Sequence([*begin, normalizers.Replace(" ", "▁")])
    if not prepend:
        made.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    return made


def words_only() -> Tokenizer:
    """A WordPiece tokenizer like BERT's."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(lowercase=False), pre_tokenizers.BertPreTokenizer()
    return made


KINDS: dict[str, tuple[Callable[[], Tokenizer], bool]] = {
    "byte level": (lambda: byte_level(prefix=False), True),
    "byte level with a prefix": (lambda: byte_level(prefix=True), False),
    "byte level after a split": (lambda: byte_level(prefix=False, sequence=True), True),
    "metaspace": (lambda: metaspace("always"), False),
    "metaspace never": (lambda: metaspace("never"), True),
    "gemma": (lambda: replaced(prepend=False), True),
    "words": (words_only, False),
}


def trained(make: Callable[[], Tokenizer]) -> Any:
    made = make()
    special = ["<unk>", "[UNK]", "<s>", "</s>"]
    trainer_of: Any = trainers.WordPieceTrainer if isinstance(made.model, models.WordPiece) else trainers.BpeTrainer
    alphabet = pre_tokenizers.ByteLevel.alphabet() if isinstance(made.decoder, decoders.ByteLevel) else []
    trainer = trainer_of(vocab_size=900, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    texts = [*tiny.corpus(), *(" ".join(words) for words in SENTENCES)] * 3
    made.train_from_iterator(texts, trainer=trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", pad_token="<s>")


@pytest.mark.parametrize("kind", KINDS)
def test_words_have_the_pieces_of_the_whole_sentence(kind: str) -> None:
    make, blanks = KINDS[kind]
    tokenizer = trained(make)
    assert needs_blanks(tokenizer) is blanks
    rows = [Tagged(str(at), "en", words, ("a",) * len(words)) for at, words in enumerate(SENTENCES)]
    encoded = tiny.encode(rows, tokenizer, ("a",), Limits(200))
    for at, words in enumerate(SENTENCES):
        whole = tokenizer(" ".join(words), add_special_tokens=False, return_offsets_mapping=True)
        ids = encoded.ids[encoded.offsets[at] : encoded.offsets[at + 1]].tolist()
        assert ids == whole["input_ids"], "the pieces are those of the words joined by blanks"
        firsts = encoded.fields["first"][encoded.word_ends[at] : encoded.word_ends[at + 1]]
        begin = 0
        for word, first, after in zip(words, firsts, [*firsts[1:], len(ids)], strict=True):
            covered = [whole["offset_mapping"][piece] for piece in range(first, after)]
            assert min(left for left, _ in covered) in (begin, max(begin - 1, 0)), "its pieces begin with the word"
            assert max(right for _, right in covered) == begin + len(word), "and end with it"
            begin += len(word) + 1


@pytest.mark.parametrize("kind", KINDS)
def test_planning_tells_from_the_file_what_the_tokenizer_does(kind: str, tmp_path: Path) -> None:
    make, blanks = KINDS[kind]
    trained(make).save_pretrained(tmp_path)
    work = TrainWork(task="tiny-tagged", training=Training(), seed=1)
    first = Stage("x", work, {}, encoder=str(tmp_path))
    later = Stage("y", work, {"encoder": first})
    for stage in (first, later):
        assert words_need_blanks(stage) is blanks
        found = identity(stage, [tiny.CARDS["tagged"], tiny.CARDS["pair"]], [], upstream={}, encoder={"a": "b"})
        assert found.content.get("kinds") == ({"tagged": 2} if blanks else None)
    assert not words_need_blanks(Stage("z", work, {"predictions": first})), "scores are made without a tokenizer"


def test_the_older_files_of_byte_level_tokenizers_are_told_by_their_merges(tmp_path: Path) -> None:
    stage = Stage("x", TrainWork(task="t", training=Training(), seed=1), {}, encoder=str(tmp_path))
    assert not words_need_blanks(stage)
    (tmp_path / "merges.txt").write_text("#version\n")
    assert words_need_blanks(stage)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"pre_tokenizer": None, "normalizer": None}))
    assert not words_need_blanks(stage)
