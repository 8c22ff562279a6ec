"""Written captions: beam search finds what an exhaustive search finds."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import small_captions as small
import torch
from torch.nn.functional import log_softmax

from viaduct.encode.batch import Batch
from viaduct.vision import image_use
from viaduct.vision.captioning import CaptionBatch
from viaduct.vision.image_use import LENGTH_PENALTY, beam_search
from viaduct.vision.objectives import CaptionModel

VOCABULARY = small.SPECIAL + 4
"""Four words and the special tokens."""
ASKED = small.objectives_of("ar_caption", vocabulary=VOCABULARY)


def guessing(seed: int) -> CaptionModel:
    """A model that is not certain of any guess."""
    model = small.model(VOCABULARY, seed=seed)
    with torch.no_grad():
        model.words_VD.mul_(0.5)
    return model


def image(number: int) -> CaptionBatch:
    return small.batch("", (3,), (number,))


def scores_of(model: CaptionModel, batch: CaptionBatch, ids: tuple[int, ...]) -> torch.Tensor:
    """(len(ids), V): log-probabilities of each token given those before it; only words and the end are allowed."""
    ids_1L = torch.tensor([[small.BEGIN, *ids]])
    text = Batch(ids_1L, None, None, batch.text.examples, ids_1L.numel())
    hidden_LD, _, _ = ASKED.written(model, replace(batch, text=text), train=False)
    logits_LV = model.language.logits(hidden_LD, model.words_VD)
    logits_LV[:, [one for one in range(small.SPECIAL) if one != small.END]] = -torch.inf
    return log_softmax(logits_LV, dim=1)


def found(model: CaptionModel, batch: CaptionBatch, beams: int) -> list[int]:
    return beam_search(ASKED, model, batch, small.Words(), beams)


@pytest.mark.parametrize("seed", range(6))
@torch.inference_mode()
def test_one_beam_is_greedy_decoding(seed: int) -> None:
    model = guessing(seed)
    for number in range(3):
        batch = image(number)
        expected: list[int] = []
        for _ in range(image_use.LONGEST_CAPTION):
            best = int(scores_of(model, batch, (*expected, small.SPECIAL))[-1].argmax())
            if best == small.END:
                break
            expected.append(best)
        assert found(model, batch, 1) == expected


@pytest.mark.parametrize("seed", range(4))
@torch.inference_mode()
def test_enough_beams_find_the_best_caption_of_all(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with all captions that end within three tokens, by log-probability over length to the power of 0.8."""
    monkeypatch.setattr(image_use, "LONGEST_CAPTION", 3)
    model, words = guessing(seed), range(small.SPECIAL, VOCABULARY)
    for number in range(3):
        batch = image(number)
        values = {}
        for length in range(3):
            for caption in product(words, repeat=length):
                ids = (*caption, small.END)
                scores_LV = scores_of(model, batch, ids)
                total = sum(float(scores_LV[at, one]) for at, one in enumerate(ids))
                values[caption] = total / len(ids) ** LENGTH_PENALTY
        assert len(values) == 21
        assert tuple(found(model, batch, 100)) == max(values, key=values.__getitem__)
