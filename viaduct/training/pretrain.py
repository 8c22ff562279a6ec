"""The Pretrain stage: a tokenizer and an XLM-R-shaped encoder, by masked LM on text and translation LM on parallel
text.

Lines of one language are packed into sequences of up to `max_length` tokens; a translation-LM sequence is one pair of
translations, masked on both sides (arXiv 1901.07291). Languages are drawn by size ** exponent (arXiv 1911.02116,
section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import Batch, collate
from viaduct.encode.cache import cached
from viaduct.encode.tokens import Array, Builder, Encoded, Limits
from viaduct.errors import DataError
from viaduct.models.encoder import build_encoder, encode_batch, forward_flops, load_tokenizer, save_encoder
from viaduct.models.numerics import derived_seed, prepare, seed_all
from viaduct.models.tokenizer import train_tokenizer
from viaduct.rows import Pair, Row, Sentence
from viaduct.runs.spec import Pretrain
from viaduct.runs.stage import Context, PretrainWork, Spent
from viaduct.tasks.registry import task
from viaduct.training.loop import Job, fit
from viaduct.training.masking import Masking
from viaduct.training.objectives import MaskedLanguageHead
from viaduct.training.train import Epochs, write_log

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


def run(context: Context) -> Spent:
    """Pretrain, and leave `encoder/` and `training.json` in the stage's directory."""
    work = context.work
    assert isinstance(work, PretrainWork)  # noqa: S101  the executor's contract
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
    epochs = Epochs(encoded, pretrain.training, pretrain.seed)
    masking = Masking.of(tokenizer, pretrain.mask_fraction, whole_words=pretrain.whole_words)
    real = int(np.isin(encoded.ids, tokenizer.all_special_ids, invert=True).sum())
    scale = 1.0 / (real * pretrain.mask_fraction / len(epochs.plan(0)))

    def loss(module: nn.Module, batch: Batch) -> torch.Tensor:
        ids_BL, mask_BL = batch.ids_BL.cpu(), None if batch.mask_BL is None else batch.mask_BL.cpu()
        masked_BL, chosen_BL = masking(ids_BL, mask_BL)
        place = batch.ids_BL.device
        summed: torch.Tensor = module(
            replace(batch, ids_BL=masked_BL.to(place)), chosen_BL.to(place), ids_BL[chosen_BL].to(place)
        )
        return summed * scale

    state = fit(
        Job(
            model=MaskedLanguageModel(encoder, head),
            steps=epochs.steps,
            batch_at=lambda step: collate(encoded, epochs.batch(step), tokenizer.pad_token_id),
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
    write_log(context.directory, state, sequences=len(encoded), vocabulary=len(tokenizer))
    flops = 3 * forward_flops(encoder, state.tokens, state.squares)
    flops += 6.0 * pretrain.mask_fraction * state.tokens * len(tokenizer) * pretrain.architecture.hidden
    return Spent(state.tokens, 1 - state.tokens / state.slots, flops, len(encoded))


def _text(context: Context, pretrain: Pretrain, language: str) -> list[Row]:
    cards = [name for name in pretrain.text if language in task(name).languages]
    return [row for name in cards for row in context.load(name, "train", language).rows]


def _parallel(context: Context, pretrain: Pretrain, language: str) -> list[Row]:
    cards = [name for name in pretrain.parallel if language in task(name).languages]
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
    packed = {
        language: pack(cached(rows, tokenizer, (), Limits(10**6), cache), max_length)
        for language, rows in texts.items()
        if rows
    }
    if not packed:
        raise DataError("there is no text to pretrain on", fix="check --data and the recipe's languages")
    paired = {language: cached(rows, tokenizer, (), limits, cache) for language, rows in pairs.items() if rows}
    generator = np.random.default_rng(derived_seed("languages", pretrain.seed))
    parts = _draw(packed, pretrain.sampling_exponent, 1.0, generator)
    tokens = sum(int(part.offsets[-1]) for part in packed.values())
    if paired and pretrain.parallel_share > 0:
        share = pretrain.parallel_share / (1 - pretrain.parallel_share)
        paired_tokens = sum(int(part.offsets[-1]) for part in paired.values())
        parts += _draw(paired, pretrain.sampling_exponent, share * tokens / paired_tokens, generator)
    return _join(parts)


def _draw(
    members: dict[str, Encoded], exponent: float, epochs: float, generator: np.random.Generator
) -> list[tuple[Encoded, Array]]:
    """(member, sequence indices) for each: together `epochs` times all sequences, shared out by tokens ** exponent.

    A member drawn more often than it is long goes round: whole passes in full, the rest at random.
    """
    sizes = np.array([float(member.offsets[-1]) for member in members.values()])
    wanted = sizes**exponent / (sizes**exponent).sum() * sizes.sum() * epochs
    drawn = []
    for member, tokens, size in zip(members.values(), wanted, sizes, strict=True):
        passes, rest = divmod(tokens / size, 1.0)
        extra = generator.permutation(len(member))[: round(rest * len(member))]
        drawn.append((member, np.concatenate([np.tile(np.arange(len(member)), int(passes)), np.sort(extra)])))
    return drawn


def _join(parts: Sequence[tuple[Encoded, Array]]) -> Encoded:
    builder = Builder()
    for encoded, chosen in parts:
        ids = np.asarray(encoded.ids)
        for at in chosen.astype(np.int64):
            builder.example(int(at), [ids[encoded.offsets[at] : encoded.offsets[at + 1]]])
    return builder.build()


def pack(encoded: Encoded, max_length: int) -> Encoded:
    """Consecutive lines joined into sequences of at most `max_length` tokens, `</s>` between lines; longer lines are
    cut up.

    The first and last token of every line are the tokenizer's own (`<s>`, `</s>`).
    """
    builder = Builder()
    ids = np.asarray(encoded.ids)
    room = max_length - 2
    first, last = int(ids[0]), int(ids[encoded.offsets[1] - 1])
    current: list[Array] = []
    used = 0

    def close() -> None:
        nonlocal current, used
        if current:
            body = np.concatenate(current)[:-1]  # the last line's own end
            builder.example(len(builder.rows), [np.concatenate([[first], body, [last]])])
        current, used = [], 0

    for start, stop in zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True):
        line = ids[start + 1 : stop]  # with its </s>, without its <s>
        if used + len(line) - 1 > room:
            close()
        for at in range(0, max(1, len(line) - 1), room):
            piece = line[at : at + room]
            if used + len(piece) > room + 1:
                close()
            current.append(np.concatenate([piece, [last]]) if piece[-1] != last else piece)
            used += len(current[-1])
    close()
    return builder.build()
