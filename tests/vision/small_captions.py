"""A joint model with every image part, and batches of captions over images of noise, small enough to make in a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tiny
import torch
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.models.encoder import build_encoder
from viaduct.models.joint import LANGUAGE
from viaduct.models.language import MaskedLanguageHead
from viaduct.training.masking import Masking
from viaduct.vision.captioning import CaptionBatch
from viaduct.vision.fields import Captions, Objective
from viaduct.vision.objectives import IMAGINE, MATCH, PREFIX, SPACE, CaptionModel, CaptionObjectives
from viaduct.vision.prefix import CommonSpace, VisualPrefix

BEGIN, PAD, END, UNKNOWN, MASK = range(5)
SPECIAL = 5
FEATURES, TOKENS, WIDTH = 12, 4, 32


class Words:
    """The part of a tokenizer that decoding needs."""

    eos_token_id, sep_token_id = END, END
    all_special_ids = tuple(range(SPECIAL))


def model(vocabulary: int = 60, *, sigmoid: bool = True, seed: int = 0) -> CaptionModel:
    """A model in evaluation mode, without dropout; its weights are so large that every state depends on all it sees."""
    torch.manual_seed(seed)
    encoder: Any = build_encoder(tiny.ARCHITECTURE.model_copy(update={"dropout": 0.0}), vocabulary, PAD)
    for parameter in encoder.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.4)
    parts: dict[str, nn.Module] = {
        LANGUAGE: MaskedLanguageHead(vocabulary),
        PREFIX: VisualPrefix(FEATURES, TOKENS, encoder, 0, 3),
        SPACE: CommonSpace(WIDTH, FEATURES, 16, sigmoid=sigmoid),
        MATCH: nn.Linear(WIDTH, 2),
        IMAGINE: nn.Linear(WIDTH, FEATURES),
    }
    return CaptionModel(encoder, parts, None, MASK).eval()


def objectives_of(*objectives: str, vocabulary: int = 60, **settings: Any) -> CaptionObjectives:
    """Objectives in which no caption loses its image and nothing is smoothed, unless the settings say so."""
    asked = tuple(Objective(name=name) for name in objectives)  # type: ignore[arg-type]
    settings = {"null_share": 0.0, "label_smoothing": 0.0, **settings}
    special_V = torch.arange(vocabulary) < SPECIAL
    return CaptionObjectives(Captions(card="made", objectives=asked, **settings), Masking(0.4, MASK, special_V))


def texts(lengths: Sequence[int], vocabulary: int = 60, seed: int = 0) -> Batch:
    """A batch of texts `<s>`, words, `</s>`, with these total lengths."""
    generator = torch.Generator().manual_seed(seed)
    ids_BL = torch.randint(SPECIAL, vocabulary, (len(lengths), max(lengths)), generator=generator)
    at_L, lengths_B1 = torch.arange(max(lengths)), torch.tensor(lengths)[:, None]
    ids_BL[:, 0] = BEGIN
    ids_BL[at_L == lengths_B1 - 1] = END
    ids_BL[at_L >= lengths_B1] = PAD
    mask_BL = at_L < lengths_B1
    return Batch(ids_BL, None if bool(mask_BL.all()) else mask_BL, None, np.arange(len(lengths)), sum(lengths))


def batch(
    objective: str, lengths: Sequence[int], images: Sequence[int], *, bank: int = 0, seed: int = 0
) -> CaptionBatch:
    """A batch of captions of these lengths, for the images with these numbers; an image's features never change."""
    generator = torch.Generator().manual_seed(99)
    patches = torch.randn(max(images) + 1, TOKENS, FEATURES, generator=generator)
    image_B = torch.tensor(images)
    return CaptionBatch(
        objective=objective,
        text=texts(lengths),
        image_B=image_B,
        language_B=torch.arange(len(images)) % 3,
        patches_BPV=patches[image_B],
        pooled_BV=patches[image_B].mean(1),
        other=None,
        bank_KV=torch.randn(bank, FEATURES, generator=generator) if bank else None,
        visual=TOKENS,
    )
