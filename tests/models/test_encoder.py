from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, DistilBertConfig, DistilBertModel

from viaduct.encode.batch import Batch, collate
from viaduct.encode.tokens import Limits
from viaduct.errors import UsageError
from viaduct.models.encoder import (
    encode_batch,
    encode_layers,
    forward_flops,
    load_encoder,
    load_tokenizer,
    longest_input,
    save_encoder,
)
from viaduct.models.layers import keep_layers

BERT = BertConfig(
    vocab_size=700,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=2,
    intermediate_size=48,
    max_position_embeddings=64,
)


def bert() -> Any:
    torch.manual_seed(3)
    return BertModel(deepcopy(BERT), add_pooling_layer=False).eval()


def batch_of(tokenizer: Any, *, padded: bool = True) -> Batch:
    encoded = tiny.encode(tiny.rows("pair", 6), tokenizer, (), Limits(40))
    return collate(encoded, np.arange(6) if padded else np.array([2]), tokenizer.pad_token_id)


def stock(model: Any, batch: Batch) -> torch.Tensor:
    """The states from calling the model in its own way, with padding set to zero."""
    inputs = {"input_ids": batch.ids_BL}
    if batch.mask_BL is not None:
        inputs["attention_mask"] = batch.mask_BL.long()
    if batch.types_BL is not None:
        inputs["token_type_ids"] = batch.types_BL
    return blanked(model(**inputs).last_hidden_state, batch)


def blanked(hidden_BLD: torch.Tensor, batch: Batch) -> torch.Tensor:
    return hidden_BLD if batch.mask_BL is None else hidden_BLD * batch.mask_BL[..., None]


@pytest.mark.parametrize("padded", [True, False])
def test_positions_are_those_that_xlm_r_derives(tiny_tokenizer: Any, padded: bool) -> None:
    model, batch = tiny.encoder(tiny_tokenizer), batch_of(tiny_tokenizer, padded=padded)
    assert (batch.mask_BL is not None) == padded
    with torch.inference_mode():
        assert torch.equal(blanked(encode_batch(model, batch), batch), stock(model, batch))


@pytest.mark.parametrize("padded", [True, False])
def test_bert_is_called_with_its_segments(tiny_tokenizer: Any, padded: bool) -> None:
    model, batch = bert(), batch_of(tiny.typed_tokenizer(tiny_tokenizer), padded=padded)
    with torch.inference_mode():
        ours = blanked(encode_batch(model, batch), batch)
        assert torch.equal(ours, stock(model, batch))
        without = blanked(model(input_ids=batch.ids_BL, attention_mask=batch.mask_BL).last_hidden_state, batch)
    assert not torch.allclose(ours, without), "the segments make no difference, so the test shows nothing"


def test_padding_does_not_change_a_sequence(tiny_tokenizer: Any) -> None:
    model, encoded = tiny.encoder(tiny_tokenizer), tiny.encode(tiny.rows("pair", 6), tiny_tokenizer, (), Limits(40))
    together = collate(encoded, np.arange(6), tiny_tokenizer.pad_token_id)
    with torch.inference_mode():
        hidden_BLD = encode_batch(model, together)
        for at in range(6):
            alone_1LD = encode_batch(model, collate(encoded, np.array([at]), 1))
            torch.testing.assert_close(hidden_BLD[at : at + 1, : alone_1LD.shape[1]], alone_1LD)


@pytest.mark.parametrize("half", [False, True])
def test_a_saved_encoder_opens_with_transformers(tiny_tokenizer: Any, tmp_path: Path, half: bool) -> None:
    model, batch = tiny.encoder(tiny_tokenizer), batch_of(tiny_tokenizer)
    save_encoder(model, tiny_tokenizer, tmp_path, half=half)
    opened, words = (
        AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval(),
        AutoTokenizer.from_pretrained(tmp_path),
    )
    ours = load_encoder(str(tmp_path), None).eval()
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    assert load_file(tmp_path / "model.safetensors")["embeddings.word_embeddings.weight"].dtype == (
        torch.float16 if half else torch.float32
    )
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    assert model.config.dtype in (None, torch.float32), "saving in half precision changed the model itself"
    with torch.inference_mode():
        expected, theirs = stock(model, batch), stock(opened, batch)
        # Ours multiplies with another library than a plain transformers model: the last bits may differ.
        torch.testing.assert_close(blanked(encode_batch(ours, batch), batch), theirs, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(theirs, expected, atol=5e-3 if half else 1e-5, rtol=0)
    state = ours.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[name], tensor.half().float() if half else tensor), name
    for text in tiny.corpus():
        assert words(text)["input_ids"] == tiny_tokenizer(text)["input_ids"]


def test_saved_bytes_do_not_tell_what_was_tokenised_before(tiny_tokenizer: Any, tmp_path: Path) -> None:
    model = tiny.encoder(tiny_tokenizer)
    save_encoder(model, tiny_tokenizer, tmp_path / "one")
    tiny_tokenizer(["green house " * 9], truncation=True, max_length=7)
    save_encoder(model, tiny_tokenizer, tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_what_cannot_be_opened_is_named(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be opened as an encoder"):
        load_encoder(str(tmp_path), None)
    with pytest.raises(UsageError, match="no tokenizer"):
        load_tokenizer(str(tmp_path), None)
    for path in tiny_encoder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    del state["encoder.layer.1.output.dense.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"1 of the encoder.s weights.*encoder\.layer\.1\.output\.dense"):
        load_encoder(str(tmp_path), None)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_kept_layers_give_that_layers_states(tiny_tokenizer: Any, layer: int) -> None:
    for model, words in (
        (tiny.encoder(tiny_tokenizer, layers=3), tiny_tokenizer),
        (bert(), tiny.typed_tokenizer(tiny_tokenizer)),
    ):
        batch = batch_of(words)
        with torch.inference_mode():
            (expected,) = encode_layers(model, batch, (layer,))
            whole = forward_flops(model, batch.tokens, 100)
            keep_layers(model, layer)
            assert torch.equal(encode_batch(model, batch), expected)
        assert forward_flops(model, batch.tokens, 100) < whole


def test_an_architecture_that_is_no_plain_stack_is_left_alone() -> None:
    config = DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=16)
    model = DistilBertModel(config)
    keep_layers(model, 1)
    assert len(model.transformer.layer) == 2


def test_operations_by_hand(tiny_tokenizer: Any) -> None:
    # d = 32, feed-forward 64, two layers; sequences of 5 and 7 tokens.
    attention, feed_forward = 4 * (32 * 32 + 32), (32 * 64 + 64) + (64 * 32 + 32)
    norms = 2 * 2 * 32
    weights = 2 * (attention + feed_forward + norms) + 2 * 32  # and the embeddings' own norm
    expected = 2 * weights * (5 + 7) + 2 * 4 * 32 * (5**2 + 7**2)
    assert forward_flops(tiny.encoder(tiny_tokenizer), 5 + 7, 5**2 + 7**2) == expected


def test_the_longest_input_leaves_out_xlm_rs_unused_positions(tiny_encoder: Path) -> None:
    about = json.loads((tiny_encoder / "config.json").read_text())
    assert about["max_position_embeddings"] == tiny.ARCHITECTURE.max_length + 2
    model = load_encoder(str(tiny_encoder), None)
    assert longest_input(model) == tiny.ARCHITECTURE.max_length
    assert longest_input(bert()) == 64
    ids = torch.full((1, longest_input(model)), 7)
    assert encode_batch(model, Batch(ids, None, None, np.array([0]), 0)).shape == (1, 128, 32)
