"""Losses, in nats. Vocabulary softmaxes are computed at masked positions only, in chunks.

Shape letters: B sequences, L tokens, D width, C classes, M masked positions, V vocabulary, W words, G examples, E
endings.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from viaduct.encode.batch import Batch, word_positions
from viaduct.encode.tokens import Encoded
from viaduct.models.linear import product

CHUNK_ROWS = 1024
"""Masked positions whose vocabulary logits exist at once."""


class MaskedLanguageHead(nn.Module):
    """Scores of the vocabulary: the token embedding's own rows and a bias, as XLM has it (arXiv 1901.07291).

    RoBERTa's extra dense layer before it slows small models down: after 0.6 M tokens of the miniature world a 4x128
    encoder was at 5.1 nats with it and at 4.0 without.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, hidden_MD: torch.Tensor, embedding_VD: torch.Tensor, targets_M: torch.Tensor) -> torch.Tensor:
        """The summed cross-entropy at these positions. Chunks are recomputed backwards: memory does not grow with M."""
        total = hidden_MD.new_zeros(())
        for at in range(0, len(targets_M), CHUNK_ROWS):
            part = (hidden_MD[at : at + CHUNK_ROWS], embedding_VD, targets_M[at : at + CHUNK_ROWS])
            if len(targets_M) > CHUNK_ROWS and torch.is_grad_enabled():
                total = total + checkpoint(self._chunk, *part, use_reentrant=False)
            else:
                total = total + self._chunk(*part)
        return total

    def _chunk(self, hidden_MD: torch.Tensor, embedding_VD: torch.Tensor, targets_M: torch.Tensor) -> torch.Tensor:
        logits_MV = product(hidden_MD, embedding_VD, self.bias)
        return cross_entropy(logits_MV.float(), targets_M, reduction="sum")


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
