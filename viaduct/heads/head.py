"""Definition of a head: from a kind's rows to token sequences, from the encoder's states to logits, and from logits to
a loss or to predictions. A row kind names its head as "module:NAME"; all other code goes through the head.

Shape letters: B sequences, L tokens, D width.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from viaduct.doors import loaded
from viaduct.encode.batch import Batch
from viaduct.encode.tokens import Array, Encoded, Encoding, encode_sentences
from viaduct.errors import StoreError, UsageError
from viaduct.metrics.score import Prediction
from viaduct.models.encoder import encode_batch
from viaduct.models.numerics import require_finite
from viaduct.models.vocabulary import Trimmed, in_kept_ids
from viaduct.rows import Row
from viaduct.tasks.card import Task
from viaduct.tasks.kind import row_kind

INITIAL_RANGE = 0.02
"""Standard deviation of a new head's weights, as in the BERT family."""


@dataclass(frozen=True)
class HeadSpec:
    """The purpose of a head: the kind of its rows and its labels in index order (() for spans and choices)."""

    kind: str
    labels: tuple[str, ...]
    unanswerable: bool = False
    """For spans: "" may be predicted. Not saved, as it is a property of the questions to be answered."""


@dataclass(frozen=True)
class Head:
    """Everything that training and prediction need to know about a kind of row. A row is one example or several
    (windows of a long context, parts of a long sentence).

    To change a single part, a stage or package makes a new head with `dataclasses.replace`.
    """

    encode: Encoding
    """Rows -> token sequences, with the fields that `loss` and `read` use."""
    module: Callable[[int, int, float], nn.Module]
    """(width, number of labels, dropout) -> hidden_BLD to logits, with torch's own initial weights."""
    loss: Callable[[torch.Tensor, Encoded, Batch], torch.Tensor]
    """(logits, encoded, batch) -> nats summed over the batch's units."""
    read: Callable[[torch.Tensor, Encoded, Batch], Sequence[Any]]
    """(logits, float32 on the CPU, encoded, batch) -> the output for each example of the batch."""
    predict: Callable[[Any, Sequence[Any], HeadSpec], Prediction]
    """(row, outputs for its examples, spec) -> its prediction; batches, and so the examples, come in any order."""
    labels: Callable[[Task, Sequence[Row]], tuple[str, ...]] = lambda card, _: card.labels
    """(card, its training rows) -> the labels in index order; by default those that the card lists."""
    units: Callable[[Encoded], Array] = lambda encoded: np.ones(len(encoded), dtype=np.int64)
    """(examples,) number of units that `loss` sums over, so that all can weigh the same; by default one per example."""


class TaskModel(nn.Module):
    """An encoder and a head's module. `trimmed` maps token ids if the encoder holds only a part of its vocabulary."""

    def __init__(self, encoder: nn.Module, head: nn.Module, trimmed: Trimmed | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.trimmed = trimmed

    def train(self, mode: bool = True) -> TaskModel:
        """Set the mode as usual, but keep a fully frozen encoder in evaluation mode, without dropout."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.encoder.parameters()):
            self.encoder.eval()
        return self

    def forward(self, batch: Batch) -> torch.Tensor:
        """The head's logits."""
        logits: torch.Tensor = self.head(encode_batch(self.encoder, in_kept_ids(batch, self.trimmed)))
        return logits


def head_of(kind: str) -> Head | None:
    """The head for this kind of row; None if such rows are never trained with a head. Raises UsageError for a kind that
    no installed room or package has."""
    reference = row_kind(kind).head
    head: Head | None = None if reference is None else loaded(reference)
    return head


def encoding_of(kind: str) -> Encoding:
    """The encoding for rows of this kind: that of their head, or that of single texts."""
    head = head_of(kind)
    return encode_sentences if head is None else head.encode


def trained_head(spec: HeadSpec) -> Head:
    """The head for this spec. Raises UsageError for a kind that has none."""
    head = head_of(spec.kind)
    if head is None:
        raise UsageError(f"rows of kind '{spec.kind}' have no head", fix="train on a labelled task")
    return head


def head_spec(card: Task, rows: Sequence[Row] = ()) -> HeadSpec:
    """The head spec for a card; its labels may come from the training `rows` if the card lists none.

    Raises UsageError for kinds that have no head.
    """
    head = head_of(card.kind)
    if head is None:
        raise UsageError(
            f"{card.name} is of kind {card.kind}, which has no head to train", fix="train on a labelled task"
        )
    return HeadSpec(card.kind, head.labels(card, rows), card.unanswerable)


def build_head(spec: HeadSpec, width: int, dropout: float, initial_range: float = INITIAL_RANGE) -> nn.Module:
    """A new module with random weights (from torch's global seed)."""
    module = trained_head(spec).module(width, len(spec.labels), dropout)
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=initial_range)
            nn.init.zeros_(part.bias)
    return module


def require_logits(logits: torch.Tensor, batch: Batch, encoded: Encoded, rows: Sequence[Row]) -> None:
    """Raise NumbersError if a logit is not finite; logits at padding may be anything."""
    if batch.mask_BL is not None and logits.ndim == 3 and not logits.isfinite().all():
        logits = logits.masked_fill(~batch.mask_BL[..., None], 0.0)
    sequences = np.repeat(batch.examples, encoded.widths[batch.examples])
    require_finite(logits, "logit", lambda at: named(rows[encoded.rows[sequences[at]]]))


def named(row: Row) -> str:
    """The name of a row in messages."""
    return f"row '{row.id}' ({row.language})"


def save_head(module: nn.Module, spec: HeadSpec, folder: Path) -> None:
    """Write head.safetensors and head.json into the folder."""
    save_file(module.state_dict(), folder / "head.safetensors")
    about = {"kind": spec.kind, "labels": spec.labels}
    (folder / "head.json").write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def spec_in(folder: Path) -> HeadSpec | None:
    """The spec of the trained head in this folder; None if there is none."""
    path = folder / "head.json"
    if not path.is_file():
        return None
    about = json.loads(path.read_text(encoding="utf-8"))
    return HeadSpec(about["kind"], tuple(about["labels"]))


def load_head(folder: Path, width: int, dropout: float) -> tuple[nn.Module, HeadSpec]:
    """(the trained module in this folder, its spec). Raises StoreError if there is none."""
    spec = spec_in(folder)
    if spec is None:
        raise StoreError(f"there is no trained head in {folder}", fix="run the training stage before predicting")
    module = build_head(spec, width, dropout)
    module.load_state_dict(load_file(folder / "head.safetensors"))
    return module, spec
