"""Implementation of the Pretrain stage: trains a tokenizer and an XLM-R-shaped encoder, by masked and translation LM.

Lines of one language are packed into sequences of up to `max_length` tokens; a translation-LM sequence is one pair of
translations, masked on both sides (arXiv 1901.07291). Languages are sampled by size ** exponent (arXiv 1911.02116,
section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
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
from viaduct.models.encoder import build_encoder, forward_flops, load_tokenizer, save_encoder
from viaduct.models.joint import LANGUAGE, JointModel
from viaduct.models.language import MaskedLanguageHead, save_language_head
from viaduct.models.numerics import derived_seed, prepare, seed_all
from viaduct.models.tokenizer import train_tokenizer
from viaduct.rows import Row
from viaduct.runs.parts import Pretrain
from viaduct.runs.stage import Context, Spent
from viaduct.training.job import TrainingJob, asked
from viaduct.training.loop import fit
from viaduct.training.masking import Masked, Masking
from viaduct.training.order import Order, count_steps
from viaduct.training.pretrain import PretrainWork
from viaduct.training.state import spent, write_log
from viaduct.training.text import draw, join, packed

TOKENIZER_LINES = 12_000
"""Most lines of text, and most pairs, per language that the tokenizer is trained on: balances languages and bounds the
time."""


TextRows = dict[str, list[Row]]
"""Language -> rows of plain text, or of parallel text."""


def pretrain(context: Context, work: PretrainWork) -> Spent:
    """Pretrain, and write `encoder/`, the masked-LM head and `training.json` to the stage's directory."""
    pretrain = work.pretrain
    device = prepare(context.device, context.threads)
    context.progress(0, 1, "reading text")
    texts, pairs = (_read(context, cards, work.languages) for cards in (pretrain.text, pretrain.parallel))
    tokenizer = _tokenizer(context, pretrain, texts, pairs)
    context.progress(0, 1, "tokenising")
    max_length = min(pretrain.training.max_length, pretrain.architecture.max_length)
    encoded = sequences(texts, pairs, tokenizer, pretrain, max_length, context.cache)
    del texts, pairs  # as large as everything else together

    seed_all("encoder", pretrain.seed)
    encoder = build_encoder(pretrain.architecture, len(tokenizer), tokenizer.pad_token_id)
    head = MaskedLanguageHead(len(tokenizer))
    order = Order(encoded, pretrain.training.batch_tokens, pretrain.seed)
    masking = Masking.of(tokenizer, pretrain.mask_fraction, whole_words=pretrain.whole_words)
    real = int(np.isin(encoded.ids, tokenizer.all_special_ids, invert=True).sum())
    scale = 1.0 / (real * pretrain.mask_fraction / len(order.plan(0)))
    guessed = 0

    def loss(model: nn.Module, batch: Batch | Masked) -> torch.Tensor:
        nonlocal guessed
        masked = masking.of_batch(batch)
        hidden_MD, summed = model(masked.text, masked.at, masked.ids_BL)
        guessed = len(hidden_MD)
        return summed * scale  # type: ignore[no-any-return]

    state = fit(
        TrainingJob(
            model=JointModel(encoder, {LANGUAGE: head}, None, tokenizer.mask_token_id),
            steps=count_steps(order, pretrain.training),
            batch_at=lambda step: collate(encoded, order.batch(step), tokenizer.pad_token_id),
            loss=loss,
            cut=lambda batch, count: masking.of_batch(batch).cut(count),
            weighed=lambda loss, _: (loss, guessed * scale),
            evaluate=None,
            training=pretrain.training,
            seed=pretrain.seed,
            device=device,
            **asked(context),
        )
    )
    save_encoder(encoder.cpu(), tokenizer, context.directory / "encoder", half=pretrain.half_precision)
    save_language_head(head, context.directory)
    write_log(context.directory, state, sequences=len(encoded), vocabulary=len(tokenizer))
    flops = 3 * forward_flops(encoder, state.tokens, state.squares)
    flops += 6.0 * pretrain.mask_fraction * state.tokens * len(tokenizer) * pretrain.architecture.hidden
    return spent(state, flops, len(encoded))


def _read(context: Context, cards: Sequence[str], languages: Sequence[str]) -> TextRows:
    """Language -> the train rows of all cards that have it, one card after the other."""
    return {
        code: [
            row
            for name in cards
            if code in context.task(name).languages
            for row in context.load(name, "train", code).rows
        ]
        for code in languages
    }


def _tokenizer(context: Context, pretrain: Pretrain, texts: TextRows, pairs: TextRows) -> Any:
    """The trained tokenizer; kept in scratch so that a resumed stage does not train it again."""
    kept = context.scratch / "tokenizer"
    if not (kept / "tokenizer_config.json").is_file():
        context.progress(0, 1, "training the tokenizer")
        # English is the first text of each translation pair: it would be repeated for every language.
        lines = (row.texts[-1] for code in texts for rows in (texts, pairs) for row in rows[code][:TOKENIZER_LINES])
        made = train_tokenizer(lines, pretrain.architecture.vocabulary, pretrain.architecture.max_length)
        unfinished = context.scratch / "unfinished-tokenizer"
        made.save_pretrained(unfinished)
        unfinished.rename(kept)
    return load_tokenizer(str(kept), None)


def sequences(
    texts: TextRows, pairs: TextRows, tokenizer: Any, pretrain: Pretrain, max_length: int, cache: Path
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
