"""Losses of labelled batches, in nats.

Shape letters: B sequences, L tokens, C classes, W words, G examples, E endings.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from viaduct.encode.batch import Batch, word_positions
from viaduct.encode.tokens import Encoded


def task_loss(kind: str, logits: torch.Tensor, encoded: Encoded, batch: Batch) -> torch.Tensor:
    """The loss of a labelled batch, summed over its units: words in tagging, examples elsewhere (see `units`).

    logits: pair (B, C), choice (B, 1), tagged (B, L, C), span (B, L, 2).
    """
    if kind == "pair":
        return cross_entropy(logits.float(), _labels(encoded, batch, logits), reduction="sum")
    if kind == "choice":
        return _choice_loss(logits, encoded, batch)
    if kind == "tagged":
        rows_W, columns_W, tags_W = word_positions(encoded, batch, "tag")
        return cross_entropy(logits[rows_W, columns_W].float(), tags_W.to(logits.device), reduction="sum")
    start, end = (torch.from_numpy(encoded.fields[name][batch.examples].astype(np.int64)) for name in ("start", "end"))
    blocked = torch.zeros((), device=logits.device) if batch.mask_BL is None else (~batch.mask_BL) * -1e4
    start_loss = cross_entropy(logits[..., 0].float() + blocked, start.to(logits.device), reduction="sum")
    end_loss = cross_entropy(logits[..., 1].float() + blocked, end.to(logits.device), reduction="sum")
    return (start_loss + end_loss) / 2


def units(kind: str, encoded: Encoded) -> int:
    """How many things `task_loss` sums over in the whole data set."""
    return len(encoded.fields["tag"]) if kind == "tagged" else len(encoded)


def _labels(encoded: Encoded, batch: Batch, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(encoded.fields["label"][batch.examples].astype(np.int64)).to(like.device)


def _choice_loss(logits: torch.Tensor, encoded: Encoded, batch: Batch) -> torch.Tensor:
    widths = encoded.widths[batch.examples].tolist()
    longest = max(widths)
    logits_GE = torch.stack(
        [
            torch.nn.functional.pad(part[:, 0].float(), (0, longest - len(part)), value=-1e4)
            for part in torch.split(logits, widths)
        ]
    )
    return cross_entropy(logits_GE, _labels(encoded, batch, logits), reduction="sum")
