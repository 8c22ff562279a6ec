"""The fused encoder compared with a plain one, and with one that is written out layer by layer.

Shape letters: B sequences, L tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, BertConfig, DistilBertConfig, ElectraConfig, RobertaConfig, XLMRobertaConfig

from viaduct.encode.batch import Batch
from viaduct.errors import UsageError
from viaduct.fusion.fused_encoder import fused_flops, fused_layers
from viaduct.models.dropout import use_fast_dropout
from viaduct.models.encoder import encode_batch, forward_flops

CONFIGS = {
    "bert": BertConfig,
    "roberta": RobertaConfig,
    "xlm-roberta": XLMRobertaConfig,
    "electra": ElectraConfig,
    "distilbert": DistilBertConfig,
}
LENGTHS = (7, 5, 4, 9, 9, 2)
"""Lengths of three texts and their translations, alternating."""


def encoder(kind: str = "xlm-roberta", attention: str = "sdpa", dropout: float = 0.0) -> nn.Module:
    """An encoder with four layers, 32 wide, with weights large enough to tell tokens apart."""
    torch.manual_seed(1)
    sizes: dict[str, Any] = {
        "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 48,
        "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "embedding_size": 24,
    }  # fmt: skip
    if kind == "distilbert":
        sizes = {"dim": 32, "n_layers": 4, "n_heads": 2, "hidden_dim": 48, "dropout": dropout}
    config = CONFIGS[kind](
        vocab_size=50, max_position_embeddings=40, initializer_range=0.2, pad_token_id=1, **sizes
    )  # fmt: skip
    return use_fast_dropout(AutoModel.from_config(config, attn_implementation=attention)).eval()


def batch(lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> Batch:
    """A batch of random tokens, padded to the longest sequence."""
    generator = torch.Generator().manual_seed(seed)
    mask_BL = torch.arange(max(lengths))[None, :] < torch.tensor(lengths)[:, None]
    ids_BL = torch.randint(5, 50, mask_BL.shape, generator=generator).masked_fill(~mask_BL, 1)
    return Batch(ids_BL, None if mask_BL.all() else mask_BL, None, np.arange(len(lengths)), sum(lengths))


def written_out(model: Any, given: Batch, local: int, fused: int) -> list[torch.Tensor]:
    """Each sequence's states without any padding: one couple at a time, with the stock layers."""
    found = []
    for couple in range(0, len(given.ids_BL), 2):
        sides = []
        for at in (couple, couple + 1):
            length = given.ids_BL.shape[1] if given.mask_BL is None else int(given.mask_BL[at].sum())
            alone = Batch(given.ids_BL[at : at + 1, :length], None, None, np.arange(1), length)
            sides.append(model(**_inputs(model, alone), output_hidden_states=True).hidden_states[local])
        joined = torch.cat(sides, dim=1)
        layers = (model.transformer if hasattr(model, "transformer") else model.encoder).layer
        for layer in layers[local : local + fused]:
            joined = layer(joined, None)
        for state in joined.split([one.shape[1] for one in sides], dim=1):
            for layer in layers[local + fused :]:
                state = layer(state, None)
            found.append(state[0])
    return found


def _inputs(model: Any, given: Batch) -> dict[str, torch.Tensor]:
    first = model.config.pad_token_id + 1 if "roberta" in model.config.model_type else 0
    positions = torch.arange(first, first + given.ids_BL.shape[1])[None, :]
    return {"input_ids": given.ids_BL, "position_ids": positions}


@pytest.mark.parametrize("kind", CONFIGS)
def test_without_a_fused_layer_it_is_the_plain_model_to_the_bit(kind: str) -> None:
    model, given = encoder(kind), batch()
    with torch.inference_mode(), fused_layers(model, 2, 0):
        found = encode_batch(model, given)
    with torch.inference_mode():
        assert torch.equal(found, encode_batch(model, given))


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(("local", "fused"), [(0, 1), (1, 2), (0, 4), (3, 1)])
def test_couples_are_read_as_the_layers_written_out_read_them(
    kind: str, attention: str, local: int, fused: int
) -> None:
    model, given = encoder(kind, attention), batch()
    with torch.inference_mode():
        expected = written_out(model, given, local, fused)
        with fused_layers(model, local, fused):
            found = encode_batch(model, given)
        plain = encode_batch(model, given)
    for state, one, length in zip(found, expected, LENGTHS, strict=True):
        torch.testing.assert_close(state[:length], one, atol=2e-5, rtol=1e-4)
    assert not torch.allclose(found[0, :4], plain[0, :4], atol=1e-3)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_translation_that_is_masked_out_changes_nothing(attention: str) -> None:
    model, given = encoder(attention=attention), batch()
    assert given.mask_BL is not None
    hidden_BL = given.mask_BL.clone()
    hidden_BL[1::2] = False
    texts = Batch(given.ids_BL[0::2], given.mask_BL[0::2], None, np.arange(3), 0)
    with torch.inference_mode():
        with fused_layers(model, 1, 2):
            found = encode_batch(model, Batch(given.ids_BL, hidden_BL, None, given.examples, 0))[0::2]
        plain = encode_batch(model, texts)
    real = given.mask_BL[0::2]
    torch.testing.assert_close(found[real], plain[real], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("training", [False, True])
def test_padding_of_neither_side_leaks(attention: str, training: bool) -> None:
    model, given = encoder(attention=attention, dropout=0.1 if training else 0.0).train(training), batch()
    assert given.mask_BL is not None
    noise = torch.randint(5, 50, given.ids_BL.shape, generator=torch.Generator().manual_seed(9))
    other = Batch(torch.where(given.mask_BL, given.ids_BL, noise), given.mask_BL, None, given.examples, 0)
    states = []
    for one in (given, other):
        torch.manual_seed(3)
        with torch.no_grad(), fused_layers(model, 1, 2):
            states.append(encode_batch(model, one)[given.mask_BL])
    torch.testing.assert_close(states[0], states[1], atol=0, rtol=0)


@pytest.mark.parametrize("changed", [0, 1])
def test_each_side_sees_the_other_and_no_other_couple(changed: int) -> None:
    model, given = encoder(), batch()
    ids_BL = given.ids_BL.clone()
    ids_BL[changed, 0] = 5 + (int(ids_BL[changed, 0]) - 4) % 44
    with torch.inference_mode(), fused_layers(model, 1, 1):
        before = encode_batch(model, given)
        after = encode_batch(model, Batch(ids_BL, given.mask_BL, None, given.examples, 0))
    moved = (before - after).abs().amax(-1) > 1e-4
    assert moved[0, : LENGTHS[0]].all() and moved[1, : LENGTHS[1]].all()
    assert torch.equal(before[2:], after[2:])


def test_equal_lengths_need_no_mask() -> None:
    model, given = encoder(), batch((6, 6, 6, 6))
    with torch.inference_mode(), fused_layers(model, 1, 2):
        found = encode_batch(model, given)
    with torch.inference_mode():
        for state, one in zip(found, written_out(model, given, 1, 2), strict=True):
            torch.testing.assert_close(state, one, atol=2e-5, rtol=1e-4)


def test_nothing_is_left_of_fusion_afterwards() -> None:
    model, given = encoder(), batch()
    with torch.inference_mode():
        before = encode_batch(model, given)
        with pytest.raises(RuntimeError, match="stopped"), fused_layers(model, 0, 4):
            encode_batch(model, given)
            raise RuntimeError("stopped")
        assert torch.equal(before, encode_batch(model, given))


def test_operations_are_those_of_real_tokens() -> None:
    model, lengths, fused = encoder(), (20, 8), 3
    squares, both = sum(length**2 for length in lengths), sum(lengths) ** 2
    attended = fused_flops(model, sum(lengths), squares, fused, both - squares) - forward_flops(model, sum(lengths), 0)
    assert attended == 4 * 32 * (fused * both + (4 - fused) * squares)
    assert fused_flops(model, 16, 128, fused) == fused_flops(model, 16, 128, fused, 128), "8 tokens on both sides"


def test_encoders_that_cannot_be_fused_are_refused_with_the_reason() -> None:
    from transformers import ModernBertConfig

    config = ModernBertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        pad_token_id=1, bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3,
    )  # fmt: skip
    with (
        pytest.raises(UsageError, match="'modernbert' cannot be fused: its layers turn"),
        fused_layers(AutoModel.from_config(config), 0, 1),
    ):
        pass
    with pytest.raises(UsageError, match="the encoder has 4"), fused_layers(encoder(), 3, 2):
        pass
