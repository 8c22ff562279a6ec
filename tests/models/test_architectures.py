"""Every architecture that people evaluate is loaded, called, trimmed and cut in the same way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from viaduct.encode.batch import collate
from viaduct.encode.tokens import Limits
from viaduct.models import vocabulary
from viaduct.models.encoder import (
    encode_batch,
    encode_layers,
    forward_flops,
    keep_layers,
    load_encoder,
    longest_input,
    num_layers,
    save_encoder,
    width,
)

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
OWN: dict[str, dict[str, Any]] = {
    "xlm-roberta": SHAPE,
    "bert": SHAPE,
    "deberta-v2": {
        **SHAPE,
        "relative_attention": True,
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "modernbert": {
        **SHAPE,
        "global_attn_every_n_layers": 2,
        "local_attention": 16,
        "cls_token_id": 0,
        "sep_token_id": 2,
    },
    "rembert": {**SHAPE, "input_embedding_size": 16, "output_embedding_size": 24},
    "xlm": {
        "emb_dim": 32,
        "n_layers": 2,
        "n_heads": 2,
        "pad_index": 1,
        "bos_index": 0,
        "eos_index": 2,
        "mask_index": 4,
    },
    "eurobert": {**SHAPE, "num_key_value_heads": 2, "mask_token_id": 4},
}


@pytest.fixture(params=OWN)
def folder(request: pytest.FixtureRequest, tiny_tokenizer: Any, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        request.param,
        vocab_size=len(tiny_tokenizer),
        max_position_embeddings=140,
        pad_token_id=tiny_tokenizer.pad_token_id,
        bos_token_id=0,
        eos_token_id=2,
        **OWN[request.param],
    )
    model: nn.Module = AutoModel.from_config(config)
    save_encoder(model, tiny_tokenizer, tmp_path / request.param)
    return tmp_path / request.param


def test_it_is_called_trimmed_and_cut_like_any_other(folder: Path, tiny_tokenizer: Any) -> None:
    encoder = load_encoder(str(folder), None).eval()
    assert (width(encoder), num_layers(encoder)) == (32, 2)
    assert longest_input(encoder) in (138, 140)
    assert forward_flops(encoder, 100, 1000) > 1e6
    encoded = tiny.encode(tiny.rows("pair", 6), tiny_tokenizer, tiny.CARDS["pair"].labels, Limits(64, 8))
    batch = collate(encoded, np.arange(6), tiny_tokenizer.pad_token_id)
    alone = collate(encoded, np.array([0]), tiny_tokenizer.pad_token_id)
    with torch.no_grad():
        hidden_BLD = encode_batch(encoder, batch)
        alone_BLD = encode_batch(encoder, alone)
        embedded_BLD, first_BLD, last_BLD = encode_layers(encoder, batch, (0, 1, 2))
    assert torch.equal(last_BLD, hidden_BLD) and not torch.equal(embedded_BLD, first_BLD)
    # Padding is masked wherever there is some.
    torch.testing.assert_close(hidden_BLD[:1, : alone_BLD.shape[1]], alone_BLD, atol=1e-5, rtol=1e-4)

    kept = vocabulary.used_ids([np.asarray(encoded.ids)], tiny_tokenizer.all_special_ids)
    trimmed = vocabulary.trim(encoder, kept)
    with torch.no_grad():
        trimmed_BLD = encode_batch(encoder, replace(batch, ids_BL=trimmed.to_kept(batch.ids_BL)))
    torch.testing.assert_close(trimmed_BLD, hidden_BLD, atol=0, rtol=0)
    vocabulary.restore(encoder, trimmed)

    keep_layers(encoder, 1)
    with torch.no_grad():
        (cut_BLD,) = encode_layers(encoder, batch, (1,))
    torch.testing.assert_close(cut_BLD, first_BLD, atol=1e-6, rtol=1e-5)
