"""Plain text in many languages for masked LM: as drawn by a stage, and as replayed in every step of another one, with
measures of what was forgotten.

Shape letters: N compared tokens, B sequences, L tokens, M masked positions, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import Batch, collate
from viaduct.encode.tokens import Array, Encoded
from viaduct.errors import DataError
from viaduct.models.encoder import encode_batch, encode_layers, num_layers, word_embeddings
from viaduct.models.joint import JointModel, real_tokens
from viaduct.models.language import MaskedLanguageHead, divergence
from viaduct.models.numerics import derived_seed, finite, seed_all
from viaduct.rows import Row
from viaduct.runs.parts import Replay, Retention
from viaduct.runs.stage import Context
from viaduct.training.joint import JointWork
from viaduct.training.masking import Masked, Masking
from viaduct.training.order import Order
from viaduct.training.text import draw, join, packed

COMPARED_TOKENS = 50
"""Tokens of each language whose states before and after are compared."""
HELD_OUT_LINES = 40
"""Lines per language, after those that may be replayed, on which forgetting is measured."""


def _read(context: Context, how: Replay, languages: Sequence[str]) -> tuple[dict[str, list[Row]], dict[str, list[Row]]]:
    """(language -> first lines of each card, language -> held-out lines after them; the last ones of a short text)."""
    texts: dict[str, list[Row]] = {code: [] for code in languages}
    held: dict[str, list[Row]] = {code: [] for code in languages}
    for name in how.text:
        for code in languages:
            if code in context.task(name).languages:
                rows = context.load(name, "train", code).rows
                used = min(how.lines, max(1, len(rows) - HELD_OUT_LINES))
                texts[code] += rows[:used]
                held[code] += rows[used : used + HELD_OUT_LINES]
    return texts, held


class DrawnText:
    """Text to learn from, with its masks and batches, and held-out text by language; `purpose` ("replay") is the recipe
    field that requests it. Raises DataError if there is no text."""

    def __init__(
        self, context: Context, how: Replay, languages: Sequence[str], tokenizer: Any, seed: int, purpose: str
    ) -> None:
        self.how, self.pad_id = how, tokenizer.pad_token_id
        texts, held = _read(context, how, languages)
        members = packed(texts, tokenizer, how.max_length, context.cache)
        if not members:
            raise DataError(f"there is no text to {purpose}", fix=f"check --data and the arm's `{purpose}.languages`")
        generator = np.random.default_rng(derived_seed(purpose, seed))
        self.encoded: Encoded = join(draw(members, how.sampling_exponent, 1.0, generator))
        self.held = packed(held, tokenizer, how.max_length, context.cache)
        self.order = Order(self.encoded, how.batch_tokens, derived_seed(purpose, seed))
        self.masking = Masking.of(tokenizer, how.mask_fraction, whole_words=how.whole_words)

    def batch(self, step: int) -> Batch:
        """The batch of text of this step."""
        return collate(self.encoded, self.order.batch(step), self.pad_id)


class ReplayedText(DrawnText):
    """Text that is replayed in every step of a Joint stage, and its losses."""

    def __init__(self, context: Context, work: JointWork, replay: Replay, tokenizer: Any) -> None:
        super().__init__(context, replay, work.replay_languages, tokenizer, work.seed, "replay")
        self.kl = 0.0
        self.original: Original | None = None
        self.before: dict[str, float] = {}
        self.states_before: list[torch.Tensor] = []

    def begin(self, model: JointModel, retention: Retention) -> None:
        """Record losses and states before the stage, and copy the original model if predictions are held to its own."""
        self.kl = retention.kl
        if self.kl:
            self.original = Original.of(model)
        self.before = self.losses(model.eval())
        self.states_before = self.states(model)

    def loss(self, model: JointModel, batch: Batch | Masked) -> torch.Tensor:
        """weight x masked-LM loss + kl x KL(original || current), each a mean over the masked tokens, in nats."""
        masked = self.masking.of_batch(batch)
        hidden_MD, summed = model(masked.text, masked.at, masked.ids_BL)
        count = max(1, masked.count)
        loss: torch.Tensor = self.how.weight * summed / count
        original = self.original
        if original is None:
            return loss
        with torch.no_grad():
            original_MD = encode_batch(original.encoder, masked.text)[masked.at]
        words_VD, original_VD = model.words_VD, word_embeddings(original.encoder)
        kept = divergence(
            (lambda states_MD: model.language.logits(states_MD, words_VD), hidden_MD),
            (lambda states_MD: original.head.logits(states_MD, original_VD), original_MD),
        )
        return loss + self.kl * kept / count

    @torch.inference_mode()
    def losses(self, model: JointModel) -> dict[str, float]:
        """Language -> mean masked-LM loss on held-out text, with the same masks in every call."""
        found = {}
        device = next(model.parameters()).device
        for code, encoded in self.held.items():
            seed_all("held out", code)
            examples: Array = np.arange(len(encoded))
            batch = collate(encoded, examples, self.pad_id).to(device)
            masked = self.masking.of_batch(batch)
            _, summed = model(masked.text, masked.at, masked.ids_BL)
            found[code] = finite(float(summed) / max(1, masked.count), f"the masked-LM loss in '{code}'")
        return found

    @torch.inference_mode()
    def states(self, model: JointModel) -> list[torch.Tensor]:
        """hidden_ND of every layer, embeddings first, for a few tokens of held-out text in each language."""
        layers = range(num_layers(model.encoder) + 1)
        device = next(model.parameters()).device
        found: list[list[torch.Tensor]] = [[] for _ in layers]
        for encoded in self.held.values():
            enough = int(np.searchsorted(np.cumsum(encoded.lengths), COMPARED_TOKENS)) + 1
            batch = collate(encoded, np.arange(min(len(encoded), enough)), self.pad_id).to(device)
            for own, hidden_BLD in zip(found, encode_layers(model.encoder, batch, layers), strict=True):
                own.append(hidden_BLD[real_tokens(batch)][:COMPARED_TOKENS].float().cpu())
        return [torch.cat(own) for own in found]

    def forgotten(self, model: JointModel) -> dict[str, Any]:
        """Fields of `results.record.Retained` about the text: losses before and after, and linear CKA of the states
        before the stage and now, by layer, embeddings first."""
        after = self.losses(model.eval())
        similarity = tuple(map(linear_cka, self.states_before, self.states(model.eval())))
        return {"before": self.before, "after": after, "similarity": similarity}


@dataclass(frozen=True)
class Original:
    """The encoder and its masked-LM head as they were before the stage, frozen."""

    encoder: nn.Module
    head: MaskedLanguageHead

    @classmethod
    def of(cls, model: JointModel) -> Original:
        """Frozen copies, on the same device."""
        encoder, head = copy.deepcopy(model.encoder), copy.deepcopy(model.language)
        return cls(encoder.eval().requires_grad_(False), head.requires_grad_(False))


def linear_cka(x_ND: torch.Tensor, y_ND: torch.Tensor) -> float:
    """Similarity of two sets of states of the same N tokens, up to rotation and scale: 1 if they are the same, near 0
    if they are unrelated and N is well above D (arXiv 1905.00414, section 3)."""
    x_ND, y_ND = (one.double() - one.double().mean(0) for one in (x_ND, y_ND))
    shared = (x_ND.T @ y_ND).square().sum()
    return float(shared / ((x_ND.T @ x_ND).norm() * (y_ND.T @ y_ND).norm()))
