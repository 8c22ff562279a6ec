"""The head for multiple choice: a sequence with the context for each ending; the ending with the highest logit wins.

Shape letters: B sequences, G examples (several sequences each), E endings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, pad

from viaduct.encode.batch import Batch
from viaduct.encode.cut_texts import encode_texts
from viaduct.encode.tokens import Array, Builder, Encoded, Limits
from viaduct.heads.head import Head, HeadSpec
from viaduct.heads.pair import SequenceHead, gold_labels
from viaduct.metrics.score import Prediction
from viaduct.rows import Choice


def encode_choices(
    rows: Sequence[Choice], at: int, tokenizer: Any, _labels: Sequence[str], limits: Limits, out: Builder
) -> None:
    """One sequence per ending, all in one example; field `label` (examples,) is the index of the right ending."""
    for number, row in enumerate(rows):
        endings = [f"{row.question} {choice}".strip() for choice in row.choices]
        encoded = list(encode_texts([[row.context] * len(endings), endings], tokenizer, limits.max_length))
        types = [kind for one in encoded for kind in one.types or ()]
        fields = {"types": types} if types else {}
        if row.label is not None:
            fields["label"] = [row.label]
        out.cut_tokens += sum(one.cut for one in encoded)
        out.example(at + number, [one.ids for one in encoded], **fields)


def _module(width: int, _labels: int, dropout: float) -> nn.Module:
    return SequenceHead(width, 1, dropout)


def _loss(logits_B1: torch.Tensor, encoded: Encoded, batch: Batch) -> torch.Tensor:
    """Cross-entropy over each example's endings; padding has a logit so low that its probability is 0 in float32."""
    widths = encoded.widths[batch.examples].tolist()
    longest = max(widths)
    parts = torch.split(logits_B1, widths)
    logits_GE = torch.stack([pad(part[:, 0].float(), (0, longest - len(part)), value=-1e4) for part in parts])
    return cross_entropy(logits_GE, gold_labels(encoded, batch, logits_B1), reduction="sum")


def _read(logits_B1: torch.Tensor, encoded: Encoded, batch: Batch) -> list[Array]:
    parts = torch.split(logits_B1[:, 0], encoded.widths[batch.examples].tolist())
    return [logits.numpy() for logits in parts]


def _predict(row: Choice, said: Sequence[Array], _spec: HeadSpec) -> Prediction:
    """The index of the best ending; `scores` are the endings' logits."""
    (logits,) = said
    return Prediction(row.id, row.language, int(logits.argmax()), tuple(logits.tolist()))


CHOICE = Head(encode=encode_choices, module=_module, loss=_loss, read=_read, predict=_predict)
