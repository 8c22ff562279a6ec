"""What the Pretrain stage does: a tokenizer and an XLM-R-shaped encoder, by masked LM and translation LM.

Lines of one language are packed into sequences of up to `max_length` tokens; a translation-LM sequence is one pair of
translations, masked on both sides (arXiv 1901.07291). Languages are drawn by size ** exponent (arXiv 1911.02116,
section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import Batch, collate
from viaduct.encode.cache import cached
from viaduct.encode.tokens import Encoded, Limits
from viaduct.errors import DataError
from viaduct.heads.pair import encode_pairs
from viaduct.models.encoder import build_encoder, encode_batch, forward_flops, load_tokenizer, save_encoder
from viaduct.models.language import MaskedLanguageHead, save_language_head
from viaduct.models.numerics import derived_seed, prepare, seed_all
from viaduct.models.tokenizer import train_tokenizer
from viaduct.rows import Pair, Row, Sentence
from viaduct.runs.parts import Pretrain
from viaduct.runs.stage import Context, Spent
from viaduct.training.loop import TrainingJob, fit
from viaduct.training.masking import Masking
from viaduct.training.order import Order, count_steps
from viaduct.training.pretrain import PretrainWork
from viaduct.training.state import spent, write_log
from viaduct.training.text import draw, join, packed

TOKENIZER_LINES = 12_000
"""Lines per language, at most, that the tokenizer is trained on: balances languages and bounds the time."""


class MaskedLanguageModel(nn.Module):
    """An encoder with the masked-LM head; the head shares the encoder's token embedding."""

    def __init__(self, encoder: nn.Module, head: MaskedLanguageHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, batch: Batch, chosen_BL: torch.Tensor, targets_M: torch.Tensor) -> torch.Tensor:
        """Summed cross-entropy at the chosen positions."""
        hidden_MD = encode_batch(self.encoder, batch)[chosen_BL]
        embedding_VD = self.encoder.get_input_embeddings().weight  # type: ignore[operator]
        loss: torch.Tensor = self.head(hidden_MD, embedding_VD, targets_M)
        return loss


def run(context: Context, work: PretrainWork) -> Spent:
    """Pretrain, and leave `encoder/` and `training.json` in the stage's directory."""
    pretrain = work.pretrain
    device = prepare(context.device, context.threads)
    context.progress(0, 1, "reading text")
    texts = {language: _text(context, pretrain, language) for language in work.languages}
    pairs = {language: _parallel(context, pretrain, language) for language in work.languages}
    tokenizer = _tokenizer(context.scratch, pretrain, texts, pairs, context)
    context.progress(0, 1, "tokenising")
    max_length = min(pretrain.training.max_length, pretrain.architecture.max_length)
    encoded = sequences(texts, pairs, tokenizer, pretrain, max_length, context.cache)
    del texts, pairs  # as large as everything else together

    seed_all("encoder", pretrain.seed)
    encoder = build_encoder(pretrain.architecture, len(tokenizer), tokenizer.pad_token_id)
    head = MaskedLanguageHead(len(tokenizer))
    order = Order.of(encoded, pretrain.training.batch_tokens, pretrain.seed)
    masking = Masking.of(tokenizer, pretrain.mask_fraction, whole_words=pretrain.whole_words)
    real = int(np.isin(encoded.ids, tokenizer.all_special_ids, invert=True).sum())
    scale = 1.0 / (real * pretrain.mask_fraction / len(order.plan(0)))

    def loss(module: nn.Module, batch: Batch) -> torch.Tensor:
        ids_BL, mask_BL = batch.ids_BL.cpu(), None if batch.mask_BL is None else batch.mask_BL.cpu()
        masked_BL, chosen_BL = masking(ids_BL, mask_BL)
        place = batch.ids_BL.device
        summed: torch.Tensor = module(
            replace(batch, ids_BL=masked_BL.to(place)), chosen_BL.to(place), ids_BL[chosen_BL].to(place)
        )
        return summed * scale

    state = fit(
        TrainingJob(
            model=MaskedLanguageModel(encoder, head),
            steps=count_steps(order, pretrain.training),
            batch_at=lambda step: collate(encoded, order.batch(step), tokenizer.pad_token_id),
            loss=loss,
            evaluate=None,
            training=pretrain.training,
            seed=pretrain.seed,
            device=device,
            scratch=context.scratch,
            checkpoint_seconds=context.checkpoint_seconds,
            progress=context.progress,
        )
    )
    save_encoder(encoder.cpu(), tokenizer, context.directory / "encoder", half=pretrain.half_precision)
    save_language_head(head, context.directory)
    write_log(context.directory, state, sequences=len(encoded), vocabulary=len(tokenizer))
    flops = 3 * forward_flops(encoder, state.tokens, state.squares)
    flops += 6.0 * pretrain.mask_fraction * state.tokens * len(tokenizer) * pretrain.architecture.hidden
    return spent(state, flops, len(encoded))


def _text(context: Context, pretrain: Pretrain, language: str) -> list[Row]:
    cards = [name for name in pretrain.text if language in context.task(name).languages]
    return [row for name in cards for row in context.load(name, "train", language).rows]


def _parallel(context: Context, pretrain: Pretrain, language: str) -> list[Row]:
    cards = [name for name in pretrain.parallel if language in context.task(name).languages]
    return [row for name in cards for row in context.load(name, "train", language).rows]


def _tokenizer(
    scratch: Path, pretrain: Pretrain, texts: dict[str, list[Row]], pairs: dict[str, list[Row]], context: Context
) -> Any:
    """The trained tokenizer; kept in scratch so that a resumed stage does not train it again."""
    kept = scratch / "tokenizer"
    if not (kept / "tokenizer_config.json").is_file():
        context.progress(0, 1, "training the tokenizer")
        made = train_tokenizer(_lines(texts, pairs), pretrain.architecture.vocabulary, pretrain.architecture.max_length)
        unfinished = scratch / "unfinished-tokenizer"
        made.save_pretrained(unfinished)
        unfinished.rename(kept)
    return load_tokenizer(str(kept), None)


def _lines(texts: dict[str, list[Row]], pairs: dict[str, list[Row]]) -> Iterator[str]:
    for language, rows in texts.items():
        for row in rows[:TOKENIZER_LINES]:
            assert isinstance(row, Sentence)  # noqa: S101  the card's kind says so
            yield row.text
        for row in pairs[language][:TOKENIZER_LINES]:
            assert isinstance(row, Pair)  # noqa: S101
            yield row.second


def sequences(
    texts: dict[str, list[Row]],
    pairs: dict[str, list[Row]],
    tokenizer: Any,
    pretrain: Pretrain,
    max_length: int,
    cache: Path,
) -> Encoded:
    """All sequences of one epoch: each language's packed text, resampled by its share, and the drawn translation pairs.

    An epoch has as many text tokens as the text itself. Raises DataError when there is no text at all.
    """
    limits = Limits(max_length)
    members = packed(texts, tokenizer, max_length, cache)
    if not members:
        raise DataError("there is no text to pretrain on", fix="check --data and the recipe's languages")
    paired = {
        language: cached(rows, encode_pairs, tokenizer, (), limits, cache) for language, rows in pairs.items() if rows
    }
    generator = np.random.default_rng(derived_seed("languages", pretrain.seed))
    parts = draw(members, pretrain.sampling_exponent, 1.0, generator)
    tokens = sum(int(part.offsets[-1]) for part in members.values())
    if paired and pretrain.parallel_share > 0:
        share = pretrain.parallel_share / (1 - pretrain.parallel_share)
        paired_tokens = sum(int(part.offsets[-1]) for part in paired.values())
        parts += draw(paired, pretrain.sampling_exponent, share * tokens / paired_tokens, generator)
    return join(parts)
