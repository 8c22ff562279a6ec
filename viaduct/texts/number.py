"""The regression head: all texts of a row in one sequence, one number from its first token.

It learns where the value lies between the lowest and the highest of the training rows, which take the place of labels.
Shape letters: B sequences, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import mse_loss

from viaduct.encode.batch import Batch
from viaduct.encode.tokens import Array, Builder, Encoded, Limits
from viaduct.errors import DataError
from viaduct.heads.head import HeadSpec
from viaduct.heads.pair import PAIR, SequenceHead, encode_whole, gold_labels
from viaduct.metrics.score import Prediction
from viaduct.rows import Row
from viaduct.tasks.card import Task
from viaduct.texts.rows import Rated

STEPS = 1_000_000
"""Steps into which the range of the training values is divided: the fields of encoded rows are integers."""


def _scale(card: Task, rows: Sequence[Row]) -> tuple[str, ...]:
    """The lowest and the highest training value. Raises DataError if they are equal or missing."""
    values = [row.value for row in rows if isinstance(row, Rated) and row.value is not None]
    if len(set(values)) < 2:
        raise DataError(f"{card.name}: all training rows have the same value, or none", fix="give rows that differ")
    return repr(min(values)), repr(max(values))


def _encode(rows: Sequence[Rated], at: int, tokenizer: Any, scale: Sequence[str], limits: Limits, out: Builder) -> None:
    """One sequence per row; field `label` (examples,): where the value lies on the scale, in `STEPS`."""
    low, high = map(float, scale) if scale else (0.0, 1.0)
    gold = [None if row.value is None or not scale else round((row.value - low) / (high - low) * STEPS) for row in rows]
    encode_whole(rows, gold, at, tokenizer, limits, out)


def _module(width: int, _labels: int, dropout: float) -> nn.Module:
    return SequenceHead(width, 1, dropout)


def _loss(logits_B1: torch.Tensor, encoded: Encoded, batch: Batch) -> torch.Tensor:
    wanted_B = gold_labels(encoded, batch, logits_B1).float() / STEPS
    return mse_loss(logits_B1[:, 0].float(), wanted_B, reduction="sum")


def _predict(row: Rated, said: Sequence[Array], spec: HeadSpec) -> Prediction:
    """The predicted number, which may be outside the range of the training rows."""
    (place,) = said
    low, high = map(float, spec.labels)
    return Prediction(row.id, row.language, low + (high - low) * float(place[0]))


NUMBER = replace(PAIR, encode=_encode, module=_module, loss=_loss, predict=_predict, labels=_scale)
