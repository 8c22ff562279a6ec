from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from viaduct.encode.tokens import Builder, Encoded
from viaduct.errors import DataError
from viaduct.rows import Pair, Row, Sentence
from viaduct.runs.spec import Pretrain
from viaduct.runs.stage import Context
from viaduct.training import pretraining
from viaduct.training.pretrain import PretrainWork
from viaduct.training.text import pack

BEGIN, END = 0, 2
LANGUAGES = ("en", "de", "th")


def encoded_lines(lines: list[list[int]]) -> Encoded:
    builder = Builder()
    for number, line in enumerate(lines):
        builder.example(number, [[BEGIN, *line, END]])
    return builder.build()


def sequences_of(encoded: Encoded) -> list[list[int]]:
    return [part.tolist() for part in np.split(encoded.ids, encoded.offsets[1:-1])]


@settings(deadline=None)
@given(
    lines=st.lists(st.lists(st.integers(5, 99), max_size=30), min_size=1, max_size=20), max_length=st.integers(4, 20)
)
def test_packing_loses_no_token_and_keeps_their_order(lines: list[list[int]], max_length: int) -> None:
    packed = sequences_of(pack(encoded_lines(lines), max_length))
    for sequence in packed:
        assert len(sequence) <= max_length
        assert (sequence[0], sequence[-1]) == (BEGIN, END)
        assert BEGIN not in sequence[1:]
    content = [token for sequence in packed for token in sequence[1:-1] if token != END]
    assert content == [token for line in lines for token in line]


def test_packed_lines_have_an_end_between_them_and_sequences_are_full() -> None:
    lines = [[11, 12], [13], [14, 15, 16], [17]]
    assert sequences_of(pack(encoded_lines(lines), 8)) == [
        [BEGIN, 11, 12, END, 13, END],
        [BEGIN, 14, 15, 16, END, 17, END],
    ]
    assert sequences_of(pack(encoded_lines([list(range(11, 19))]), 5)) == [
        [BEGIN, 11, 12, 13, END],
        [BEGIN, 14, 15, 16, END],
        [BEGIN, 17, 18, END],
    ]


def parts_of(languages: tuple[str, ...] = LANGUAGES) -> dict[tuple[str, str, str], list[Row]]:
    english = tiny.sentences("en")
    parts: dict[tuple[str, str, str], list[Row]] = {}
    for language in languages:
        lines = tiny.sentences(language)
        parts["text", "train", language] = [Sentence(str(at), language, line) for at, line in enumerate(lines)]
        parts["ntrex", "train", language] = [
            Pair(str(at), language, first, second, None)
            for at, (first, second) in enumerate(zip(english, lines, strict=True))
        ]
    return parts


def stage(folder: Path, *, parts: Any = None, **changes: Any) -> Context:
    fields: dict[str, Any] = {
        "name": "tiny",
        "architecture": tiny.ARCHITECTURE.model_copy(update={"layers": 1, "vocabulary": 300}),
        "parallel": ("ntrex",),
        "training": tiny.training(max_steps=8, epochs=8.0, batch_tokens=256, evaluations=2, max_length=32),
    }
    made = Pretrain(**{**fields, **changes})
    work = PretrainWork(pretrain=made, languages=LANGUAGES)
    return tiny.context(work, folder, parts_of() if parts is None else parts)


def outputs(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class StoppedError(Exception):
    """Stand-in for a process that dies."""


def stop_after(step: int) -> Any:
    def progress(done: float, total: float, _note: str) -> None:
        if total > 1 and done >= step:
            raise StoppedError

    return progress


def test_before_anything_is_learned_every_point_is_what_guessing_costs(tmp_path: Path) -> None:
    """Whatever the batches, the loss of a new encoder is about log(vocabulary) nats per masked piece."""
    training = tiny.training(learning_rate=0.0, max_steps=30, epochs=9.0, batch_tokens=100, max_length=32)
    context = stage(tmp_path, training=training)
    tiny.run(context)
    vocabulary = json.loads((context.directory / "training.json").read_text())["vocabulary"]
    told = json.loads((context.directory / "curve.json").read_text())["loss"]
    assert told == pytest.approx([np.log(vocabulary)] * 30, rel=0.05)


def test_a_pretrained_encoder_opens_and_has_learned(tmp_path: Path) -> None:
    training = tiny.training(
        learning_rate=5e-3, max_steps=120, epochs=1e3, batch_tokens=256, evaluations=4, max_length=32
    )
    context = stage(tmp_path, training=training)
    spent = tiny.run(context)
    log = json.loads((context.directory / "training.json").read_text())
    losses = [one["loss"] for one in log["evaluations"]]
    assert losses[-1] < losses[0] - 0.5
    assert (log["steps"], log["tokens"]) == (120, spent.tokens)
    tokenizer = AutoTokenizer.from_pretrained(context.directory / "encoder")
    model = AutoModel.from_pretrained(context.directory / "encoder")
    assert model.config.vocab_size == len(tokenizer) == log["vocabulary"]
    inputs = tokenizer(["green river", "Fluss"], padding=True, return_tensors="pt")
    assert model(**inputs).last_hidden_state.shape == (*inputs["input_ids"].shape, 32)
    assert spent.padding_fraction is not None
    assert 0 <= spent.padding_fraction < 0.3


@pytest.mark.parametrize("stop", [1, 4, 8])
def test_a_resumed_pretraining_leaves_the_same_bytes(tmp_path: Path, stop: int) -> None:
    whole = stage(tmp_path / "whole")
    spent = tiny.run(whole)
    with pytest.raises(StoppedError):
        tiny.run(tiny.with_progress(stage(tmp_path / "parts"), stop_after(stop)))
    resumed = stage(tmp_path / "parts")
    assert tiny.run(resumed) == spent
    assert outputs(resumed.directory) == outputs(whole.directory)


def test_a_stage_that_dies_while_training_the_tokenizer_starts_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = stage(tmp_path / "whole"), stage(tmp_path / "parts")
    tiny.run(whole)

    def dying(*_: Any) -> Any:
        made = tiny.tokenizer()
        monkeypatch.setattr(made.__class__, "save_pretrained", half_saved)
        return made

    def half_saved(_: Any, folder: Path) -> None:
        folder.mkdir()
        (folder / "tokenizer_config.json").write_text("{")
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "train_tokenizer", dying)
        with pytest.raises(StoppedError):
            tiny.run(parts)
    monkeypatch.undo()
    tiny.run(parts)
    assert outputs(parts.directory) == outputs(whole.directory)


def test_half_precision_is_the_same_encoder_rounded(tmp_path: Path) -> None:
    states = []
    for half in (False, True):
        context = stage(tmp_path / str(half), half_precision=half)
        tiny.run(context)
        states.append(load_file(context.directory / "encoder" / "model.safetensors"))
    assert {tensor.dtype for tensor in states[1].values()} == {torch.float16}
    for name, tensor in states[0].items():
        assert torch.equal(tensor.half(), states[1][name]), name


def drawn(tokenizer: Any, folder: Path, **changes: Any) -> Encoded:
    parts = parts_of()
    made = Pretrain(name="tiny", **changes)
    texts = {language: parts["text", "train", language] for language in LANGUAGES}
    texts["en"] = texts["en"] * 6
    pairs = {language: parts["ntrex", "train", language] if made.parallel else [] for language in LANGUAGES}
    return pretraining.sequences(texts, pairs, tokenizer, made, 32, folder)


def test_languages_are_drawn_by_the_exponent_and_pairs_by_their_share(tiny_tokenizer: Any, tmp_path: Path) -> None:
    plain = drawn(tiny_tokenizer, tmp_path, sampling_exponent=1.0)
    flat = drawn(tiny_tokenizer, tmp_path, sampling_exponent=0.0)
    assert len(plain.ids) == pytest.approx(len(flat.ids), rel=0.1)
    english = set(tiny_tokenizer(" ".join(tiny.LANGUAGES["en"]), add_special_tokens=False)["input_ids"])
    shares = [np.isin(encoded.ids, list(english)).mean() for encoded in (plain, flat)]
    assert shares[1] < shares[0] * 0.7
    both = drawn(tiny_tokenizer, tmp_path, sampling_exponent=1.0, parallel=("ntrex",), parallel_share=0.4)
    assert (len(both.ids) - len(plain.ids)) / len(both.ids) == pytest.approx(0.4, abs=0.05)
    paired = sequences_of(both)[len(plain) :]
    assert all([END, END] in [sequence[at : at + 2] for at in range(len(sequence))] for sequence in paired)


def test_no_text_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no text to pretrain on"):
        tiny.run(stage(tmp_path, parts={key: [] for key in parts_of()}))


def test_a_language_without_parallel_text_is_no_trouble(tmp_path: Path) -> None:
    parts = parts_of()
    parts["ntrex", "train", "th"] = []
    context = stage(tmp_path, parts=parts)
    tiny.run(context)
    assert (context.directory / "encoder" / "model.safetensors").is_file()
