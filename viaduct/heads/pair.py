"""The head for pairs and single texts: all texts of a row in one sequence, classified by its first token.

Shape letters: B sequences, L tokens, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from viaduct.encode.batch import Batch, moved
from viaduct.encode.cut_texts import encode_texts
from viaduct.encode.tokens import Array, Builder, Encoded, Limits
from viaduct.heads.head import Head, HeadSpec
from viaduct.metrics.score import Prediction
from viaduct.rows import Row


class SequenceHead(nn.Module):
    """RoBERTa's classification head, (B, L, D) -> (B, C): dropout, dense, tanh, dropout, linear on the first token."""

    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width, width)
        self.out = nn.Linear(width, classes)

    def forward(self, hidden_BLD: torch.Tensor) -> torch.Tensor:
        """logits_BC."""
        first_BD = self.dropout(hidden_BLD[:, 0])
        logits_BC: torch.Tensor = self.out(self.dropout(torch.tanh(self.dense(first_BD))))
        return logits_BC


def encode_pairs(
    rows: Sequence[Any], at: int, tokenizer: Any, labels: Sequence[str], limits: Limits, out: Builder
) -> None:
    """One sequence per row, containing all its texts; field `label` (examples,)."""
    index = {label: number for number, label in enumerate(labels)}
    gold = [None if row.label is None or not labels else index[row.label] for row in rows]
    encode_whole(rows, gold, at, tokenizer, limits, out)


def encode_whole(
    rows: Sequence[Row], gold: Sequence[int | None], at: int, tokenizer: Any, limits: Limits, out: Builder
) -> None:
    """One sequence per row, cut from the end of the longer text; field `label` (examples,) for rows that have one."""
    texts = [list(side) for side in zip(*(row.texts for row in rows), strict=True)]
    encoded = encode_texts(texts, tokenizer, limits.max_length)
    for number, ((ids, types, cut), label) in enumerate(zip(encoded, gold, strict=True)):
        fields = {} if types is None else {"types": types}
        if label is not None:
            fields["label"] = [label]
        out.cut_tokens += cut
        out.example(at + number, [ids], **fields)


def gold_labels(encoded: Encoded, batch: Batch, like: torch.Tensor) -> torch.Tensor:
    """The batch's gold labels (examples,), on the device of `like`."""
    return moved(torch.from_numpy(encoded.fields["label"][batch.examples].astype(np.int64)), like.device)


def _loss(logits_BC: torch.Tensor, encoded: Encoded, batch: Batch) -> torch.Tensor:
    return cross_entropy(logits_BC.float(), gold_labels(encoded, batch, logits_BC), reduction="sum")


def _read(logits_BC: torch.Tensor, _encoded: Encoded, _batch: Batch) -> list[Array]:
    return list(logits_BC.numpy())


def _predict(row: Row, said: Sequence[Array], spec: HeadSpec) -> Prediction:
    """The label with the highest logit; `scores` are the logits in label order."""
    (logits,) = said
    return Prediction(row.id, row.language, spec.labels[int(logits.argmax())], tuple(logits.tolist()))


PAIR = Head(encode=encode_pairs, module=SequenceHead, loss=_loss, read=_read, predict=_predict)
