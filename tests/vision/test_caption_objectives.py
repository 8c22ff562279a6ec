"""Image and caption losses, compared with loops that follow their formulas one number at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import small_captions as small
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import log_softmax

from viaduct.training.masking import Masking, rarity
from viaduct.vision.objectives import CaptionModel
from viaduct.vision.prefix import encode_prefixed

IMAGES = (0, 1, 0, 2, 1, 3)
"""The image of each caption; some images have several."""
LENGTHS = (6, 4, 9, 5, 3, 7)


def vectors(model: CaptionModel, batch: Any, special_V: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors of texts, images and further images in the common space, in float64."""
    texts_BE = model.space.of_text(model.pooled(batch.text, special_V))
    images_BE = model.space.of_image(batch.pooled_BV)
    bank_KV = batch.bank_KV if batch.bank_KV is not None else batch.pooled_BV[:0]
    found = (texts_BE, images_BE, model.space.of_image(bank_KV))
    return tuple(one.double().numpy() for one in found)  # type: ignore[return-value]


@torch.no_grad()
def test_the_sigmoid_loss_is_siglips() -> None:
    model, asked = small.model(), small.objectives_of("contrastive")
    model.space.shift.fill_(-1.3)
    batch = small.batch("contrastive", LENGTHS, IMAGES)
    texts, images, _ = vectors(model, batch, asked.masking.special_V)
    scale, shift = float(model.space.scale), float(model.space.shift)
    expected = 0.0
    for at, image in enumerate(IMAGES):
        for other, other_image in enumerate(IMAGES):
            sign = 1 if image == other_image else -1
            expected += math.log1p(math.exp(-sign * (scale * float(texts[at] @ images[other]) + shift)))
    assert float(asked.contrastive(model, batch)) == pytest.approx(expected / len(IMAGES), rel=1e-5)


def cross_entropy_of(logits: Sequence[float], right: Sequence[bool]) -> float:
    """Cross-entropy in which several right answers have equal shares of the target."""
    total = math.log(sum(math.exp(one) for one in logits))
    return sum((total - one) / sum(right) for one, good in zip(logits, right, strict=True) if good)


@pytest.mark.parametrize("bank", [0, 5])
@torch.no_grad()
def test_the_softmax_loss_goes_both_ways_with_several_right_answers_and_a_bank(bank: int) -> None:
    model, asked = small.model(sigmoid=False), small.objectives_of("contrastive", contrast="softmax", negatives=bank)
    batch = small.batch("contrastive", LENGTHS, IMAGES, bank=bank)
    texts, images, further = vectors(model, batch, asked.masking.special_V)
    scale, count = float(model.space.scale), len(IMAGES)
    right = [[image == own for image in IMAGES] for own in IMAGES]
    to_images = [
        cross_entropy_of(
            [scale * float(texts[at] @ one) for one in (*images, *further)],
            right[at] + [False] * bank,
        )
        for at in range(count)
    ]
    to_texts = [
        cross_entropy_of(
            [scale * float(text @ images[at]) for text in texts], [image == IMAGES[at] for image in IMAGES]
        )
        for at in range(count)
    ]
    expected = (sum(to_images) / count + sum(to_texts) / count) / 2
    assert float(asked.contrastive(model, batch)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("objectives", [("itm",), ("itm", "contrastive")])
@torch.no_grad()
def test_wrong_images_and_captions_are_never_of_the_same_image(
    objectives: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = small.model(), small.objectives_of(*objectives)
    model.space.log_scale.fill_(math.log(50.0))  # near images are much more likely than far ones
    batch = small.batch("itm", LENGTHS, IMAGES)
    prefixes_BPD = model.visual(batch.patches_BPV)
    seen: list[tuple[int, int]] = []
    states = CaptionModel.states

    def spy(self: CaptionModel, text: Any, prefix_BPD: torch.Tensor | None = None) -> torch.Tensor:
        if prefix_BPD is not None:
            for ids_L, own_PD in zip(text.ids_BL, prefix_BPD, strict=True):
                caption = next(at for at, known in enumerate(batch.text.ids_BL) if torch.equal(known, ids_L))
                shown = next(at for at, known in enumerate(prefixes_BPD) if torch.equal(known, own_PD))
                seen.append((IMAGES[caption], IMAGES[shown]))
        return states(self, text, prefix_BPD)

    monkeypatch.setattr(CaptionModel, "states", spy)
    torch.manual_seed(3)
    for _ in range(20):
        asked.loss(model, batch)
    count = len(IMAGES)
    kinds = [seen[at : at + count] for at in range(0, len(seen), count)]
    assert len(kinds) == 60
    for number, pairs in enumerate(kinds):
        assert all((caption == shown) == (number % 3 == 0) for caption, shown in pairs)
    assert len({tuple(pairs) for pairs in kinds[1::3]}) > 1, "wrong images are drawn"


@torch.no_grad()
def test_one_pass_over_a_caption_costs_what_its_tokens_cost_step_by_step() -> None:
    model, asked = small.model(), small.objectives_of("ar_caption")
    torch.nn.init.normal_(model.language.bias)
    batch = small.batch("ar_caption", LENGTHS, IMAGES)
    nats = count = 0.0
    for at, length in enumerate(LENGTHS):
        slot_1D = model.visual.slot(batch.language_B[at : at + 1])
        prefix_1PD = torch.cat([slot_1D[:, None], model.visual(batch.patches_BPV[at : at + 1])], dim=1)
        visual = prefix_1PD.shape[1]
        for step in range(1, length):
            ids_1L = torch.cat([batch.text.ids_BL[at : at + 1, :step], torch.tensor([[small.MASK]])], dim=1)
            allowed_TT = torch.ones(visual + step + 1, visual + step + 1, dtype=torch.bool).tril()
            allowed_TT[:visual, :visual] = True
            hidden_1LD = encode_prefixed(
                model.encoder, ids_1L, torch.arange(step + 1)[None], prefix_1PD, allowed_TT[None]
            )
            scores_V = log_softmax(model.language.logits(hidden_1LD[0, -1:], model.words_VD)[0], dim=0)
            nats -= float(scores_V[batch.text.ids_BL[at, step]])
            count += 1
    assert count == sum(LENGTHS) - len(LENGTHS)
    assert float(asked.loss(model, batch)) == pytest.approx(nats / count, rel=1e-5)
    hidden_MD, targets_M, caption_M = asked.written(model, batch, train=False)
    assert len(hidden_MD) == len(targets_M) == count
    assert small.END in targets_M and small.PAD not in targets_M
    assert torch.bincount(caption_M).tolist() == [length - 1 for length in LENGTHS]


@torch.no_grad()
def test_a_pooled_text_is_the_mean_of_its_words_whatever_stands_beside_it() -> None:
    model, special_V = small.model(), small.objectives_of("contrastive").masking.special_V
    batch = small.texts(LENGTHS)
    pooled_BD = model.pooled(batch, special_V)
    hidden_BLD = model.states(batch)
    for row, length in enumerate(LENGTHS):
        words = [hidden_BLD[row, at] for at in range(length) if int(batch.ids_BL[row, at]) >= small.SPECIAL]
        assert len(words) == length - 2
        torch.testing.assert_close(pooled_BD[row], torch.stack(words).mean(0), atol=1e-6, rtol=0)
        alone = small.texts(LENGTHS[row : row + 1])
        alone.ids_BL.copy_(batch.ids_BL[row : row + 1, :length])
        torch.testing.assert_close(pooled_BD[row], model.pooled(alone, special_V)[0], atol=1e-5, rtol=0)
    nothing = small.texts((2,))
    assert not model.pooled(nothing, special_V).any(), "a text of no words is nothing, not a number over 0"


@settings(deadline=None, max_examples=30)
@given(ids=st.lists(st.integers(0, 40), min_size=8, max_size=300))
def test_rarity_weighs_tokens_by_surprise_with_mean_one(ids: list[int]) -> None:
    special = [0, 1, 2]
    words = np.array([one for one in ids if one not in special])
    if not len(words):
        return
    weights_V = rarity(np.array(ids), 50, special).numpy()
    assert weights_V[words].mean() == pytest.approx(1.0, rel=1e-4)
    counts = np.bincount(words, minlength=50)
    order = np.argsort(counts[words])
    assert (np.diff(weights_V[words][order]) <= 1e-6).all(), "what is more frequent is masked less"


def test_every_caption_has_a_masked_word_even_where_hardly_any_is_drawn() -> None:
    torch.manual_seed(0)
    text = small.texts([3] * 200 + [2, 12])
    special_V = torch.arange(60) < small.SPECIAL
    masked_BL, chosen_BL = Masking(0.01, small.MASK, special_V, every_row=True)(text.ids_BL, text.mask_BL)
    assert (chosen_BL[:200].sum(1) == 1).all()
    assert not chosen_BL[200].any(), "a caption without words"
    assert chosen_BL[201].any()
    assert not special_V[text.ids_BL[chosen_BL]].any()
    assert torch.equal(masked_BL[~chosen_BL], text.ids_BL[~chosen_BL])


def test_words_are_masked_as_often_as_their_weights_say() -> None:
    torch.manual_seed(0)
    ids_BL = torch.randint(small.SPECIAL, 60, (2000, 50))
    weights_V = torch.where(torch.arange(60) < 30, 1.0, 3.0)
    _, chosen_BL = Masking(0.1, small.MASK, torch.arange(60) < small.SPECIAL, None, weights_V)(ids_BL, None)
    assert chosen_BL[ids_BL < 30].float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert chosen_BL[ids_BL >= 30].float().mean().item() == pytest.approx(0.3, abs=0.01)
