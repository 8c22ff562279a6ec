from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file

from viaduct.encode.batch import collate
from viaduct.encode.tokens import Limits
from viaduct.heads.head import HeadSpec, TaskModel, build_head
from viaduct.models.encoder import load_encoder
from viaduct.models.vocabulary import restore, trim, used_ids
from viaduct.training import finetuning
from viaduct.training.train import TrainWork


def test_used_ids_are_distinct_sorted_and_hold_the_special_ones() -> None:
    arrays = [np.array([9, 5, 9], np.int32), np.array([7], np.int32), np.zeros(0, np.int32)]
    assert used_ids(arrays, [0, 5]).tolist() == [0, 5, 7, 9]


def test_a_trimmed_model_computes_the_same(tiny_tokenizer: Any) -> None:
    encoded = tiny.encode(tiny.rows("pair", 6), tiny_tokenizer, (), Limits(64))
    batch = collate(encoded, np.arange(6), tiny_tokenizer.pad_token_id)
    encoder, head = tiny.encoder(tiny_tokenizer), build_head(HeadSpec("pair", ("no", "yes")), 32, 0.0).eval()
    with torch.inference_mode():
        expected = TaskModel(encoder, head)(batch)
        kept = used_ids([encoded.ids], tiny_tokenizer.all_special_ids)
        trimmed = trim(encoder, kept)
        assert encoder.get_input_embeddings().weight.shape == (len(kept), 32)
        assert len(kept) < len(tiny_tokenizer) / 2
        assert torch.equal(TaskModel(encoder, head, trimmed)(batch), expected)


def test_restoring_puts_trained_rows_in_their_places(tiny_tokenizer: Any) -> None:
    encoder = tiny.encoder(tiny_tokenizer)
    before = encoder.get_input_embeddings().weight.detach().clone()
    trimmed = trim(encoder, np.array([0, 1, 2, 7, 30]))
    assert encoder.get_input_embeddings().padding_idx == 1
    with torch.no_grad():
        encoder.get_input_embeddings().weight[3] += 1.0
    restore(encoder, trimmed)
    after = encoder.get_input_embeddings()
    before[7] += 1.0
    assert torch.equal(after.weight, before)
    assert after.padding_idx == 1
    assert after.weight.requires_grad


@pytest.mark.parametrize("kind", list(tiny.CARDS))
@pytest.mark.parametrize("clip_norm", [1e6, 0.05])
def test_training_with_a_part_of_the_vocabulary_is_bit_identical(
    kind: str, clip_norm: float, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tiny.CARDS[kind]
    parts = {(card.name, split, "en"): tiny.rows(kind, count) for split, count in (("train", 12), ("dev", 4))}
    training = tiny.training(clip_norm=clip_norm, weight_decay=0.01, epochs=3.0)
    weights = []
    rows_held = []
    for name in ("trimmed", "whole"):
        context = tiny.context(
            TrainWork(task=card.name, training=training, seed=1), tmp_path / name, parts, encoder=tiny_encoder
        )

        def keep(encoder: Any, kept: Any, name: str = name) -> Any:
            everything = np.arange(encoder.get_input_embeddings().num_embeddings)
            trimmed = trim(encoder, kept if name == "trimmed" else everything)
            rows_held.append(encoder.get_input_embeddings().num_embeddings)
            return trimmed

        monkeypatch.setattr(finetuning, "trim", keep)
        tiny.run(context)
        encoder = load_file(context.directory / "encoder" / "model.safetensors")
        weights.append({**encoder, **load_file(context.directory / "head.safetensors")})
    assert rows_held[0] < rows_held[1] / 2
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name
    start = load_encoder(str(tiny_encoder), None).state_dict()
    moved = [name for name, tensor in start.items() if not torch.equal(tensor, weights[0][name])]
    assert "embeddings.word_embeddings.weight" in moved
    assert len(moved) == len(start)
