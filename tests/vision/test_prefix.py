"""Images before texts: what sees what, and that nothing of an image reaches a text that does not see it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from transformers import BertConfig, BertModel, DebertaV2Config, DebertaV2Model

from viaduct.encode.batch import Batch
from viaduct.errors import UsageError
from viaduct.models.encoder import encode_batch
from viaduct.vision.objectives import PREFIX, CaptionModel
from viaduct.vision.prefix import VisualPrefix, both_ways, encode_prefixed, pseudo_masked

PAD, MASK = 1, 4
FEATURES, TOKENS = 12, 4


def batch_of(*lengths: int, seed: int = 0) -> Batch:
    """A padded batch of texts of these lengths."""
    generator = torch.Generator().manual_seed(seed)
    longest = max(lengths)
    ids_BL = torch.randint(5, 200, (len(lengths), longest), generator=generator)
    mask_BL = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
    ids_BL[:, 0] = 0
    ids_BL[~mask_BL] = PAD
    return Batch(ids_BL, mask_BL, None, np.arange(len(lengths)), sum(lengths))


@pytest.fixture
def model(tiny_tokenizer: Any) -> CaptionModel:
    encoder = tiny.encoder(tiny_tokenizer)
    torch.manual_seed(1)
    prefix = VisualPrefix(FEATURES, TOKENS, encoder, layers=0, languages=3)
    return CaptionModel(encoder, {PREFIX: prefix}, None, MASK).eval()


def images(count: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(count, TOKENS, FEATURES, generator=torch.Generator().manual_seed(seed))


def attention(encoder: nn.Module, kind: str) -> None:
    encoder.config._attn_implementation = kind  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
@torch.inference_mode()
def test_a_text_that_does_not_see_the_image_has_the_states_it_has_alone(model: CaptionModel, kind: str) -> None:
    attention(model.encoder, kind)
    batch = batch_of(7, 7)
    prefix_BPD = model.visual(images(2))
    allowed_BTT = both_ways(torch.ones_like(batch.ids_BL, dtype=torch.bool), TOKENS).expand(2, TOKENS + 7, -1).clone()
    allowed_BTT[:, :, :TOKENS] = False
    positions_BL = torch.arange(7).expand(2, 7)
    hidden_BLD = encode_prefixed(model.encoder, batch.ids_BL, positions_BL, prefix_BPD, allowed_BTT)
    torch.testing.assert_close(hidden_BLD, encode_batch(model.encoder, batch), atol=2e-6, rtol=0)


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
@torch.inference_mode()
def test_one_pass_over_pseudo_masks_is_step_by_step_decoding(model: CaptionModel, kind: str) -> None:
    attention(model.encoder, kind)
    batch = batch_of(8, 5, 3)
    prefix_BPD = model.visual(images(3))
    at_once_BLD = model.foreseen(batch, prefix_BPD)
    for row, length in enumerate((8, 5, 3)):
        for step in range(1, length):
            ids_BL = torch.cat([batch.ids_BL[row : row + 1, :step], torch.tensor([[MASK]])], dim=1)
            # What decoding has at this step: image, the tokens so far (each seeing those before it) and one mask token.
            total = TOKENS + step + 1
            allowed_TT = torch.ones(total, total, dtype=torch.bool).tril()
            allowed_TT[:TOKENS, :TOKENS] = True
            alone_BLD = encode_prefixed(
                model.encoder, ids_BL, torch.arange(step + 1)[None], prefix_BPD[row : row + 1], allowed_TT[None]
            )
            torch.testing.assert_close(at_once_BLD[row, step - 1], alone_BLD[0, -1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
@torch.inference_mode()
def test_no_prediction_knows_its_own_token_or_a_later_one(model: CaptionModel, kind: str) -> None:
    attention(model.encoder, kind)
    batch = batch_of(9, 6)
    prefix_BPD = model.visual(images(2))
    before_BLD = model.foreseen(batch, prefix_BPD)
    for changed in range(1, 9):
        ids_BL = batch.ids_BL.clone()
        ids_BL[:, changed:] = (ids_BL[:, changed:] + 50) % 200 + 5
        after_BLD = model.foreseen(replace(batch, ids_BL=ids_BL), prefix_BPD)
        for row, length in enumerate((9, 6)):
            known = min(changed, length - 1)  # predictions of tokens 1 .. changed
            torch.testing.assert_close(before_BLD[row, :known], after_BLD[row, :known], atol=2e-6, rtol=0)
            if changed < length - 1:
                assert (before_BLD[row, changed] - after_BLD[row, changed]).abs().max() > 1e-4


@torch.inference_mode()
def test_padding_changes_nothing_and_the_image_does(model: CaptionModel) -> None:
    short, padded = batch_of(5), batch_of(5, 9)
    padded = replace(padded, ids_BL=torch.cat([nn.functional.pad(short.ids_BL, (0, 4), value=PAD), padded.ids_BL[1:]]))
    prefix_BPD = model.visual(images(2))
    alone_BLD = model.states(short, prefix_BPD[:1])
    together_BLD = model.states(padded, prefix_BPD)
    torch.testing.assert_close(alone_BLD[0], together_BLD[0, :5], atol=2e-6, rtol=0)
    other_BLD = model.states(short, model.visual(images(1, seed=9)))
    assert (alone_BLD - other_BLD).abs().max() > 1e-3


@torch.inference_mode()
def test_the_prefix_enters_at_the_scale_of_words_and_can_be_left_out(model: CaptionModel) -> None:
    prefix_BPD = model.visual(100 * images(3), torch.tensor([False, True, False]))
    scale = model.words_VD.pow(2).mean().sqrt()
    assert 0.5 * scale < prefix_BPD[0].pow(2).mean().sqrt() < 2 * scale
    assert torch.equal(prefix_BPD[1], model.visual.null)
    assert torch.equal(model.visual.null_images(2)[0], model.visual.null)


def test_who_sees_whom_in_a_caption_of_three_tokens() -> None:
    allowed = pseudo_masked(torch.ones(1, 3, dtype=torch.bool), 1)[0].int().tolist()
    assert allowed == [
        # image, y0, y1, y2, m1, m2
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 1, 0, 0, 1],
    ]


@torch.inference_mode()
def test_bert_takes_images_and_deberta_says_why_it_does_not() -> None:
    torch.manual_seed(0)
    small = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    bert = BertModel(BertConfig(**small, intermediate_size=64, pad_token_id=PAD), add_pooling_layer=False).eval()
    batch = batch_of(6)
    prefix = VisualPrefix(FEATURES, TOKENS, bert, layers=0, languages=1)
    model = CaptionModel(bert, {PREFIX: prefix}, None, MASK).eval()
    assert model.states(batch, model.visual(images(1))).shape == (1, 6, 32)
    deberta = DebertaV2Model(DebertaV2Config(**small, intermediate_size=64)).eval()
    with pytest.raises(UsageError, match="no absolute positions"):
        CaptionModel(deberta, {PREFIX: prefix}, None, MASK).states(batch, model.visual(images(1)))
