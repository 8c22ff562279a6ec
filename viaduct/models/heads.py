"""Task heads: from the encoder's states to logits. One class per shape of task.

Shape letters: B sequences, L tokens, D width, C classes, G examples of a batch (a multiple-choice example is several
sequences), E endings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.errors import StoreError, UsageError
from viaduct.models.encoder import encode_batch
from viaduct.models.vocabulary import Trimmed
from viaduct.rows import Row, Tagged
from viaduct.tasks.card import Task

HeadKind = Literal["pair", "tagged", "span", "choice"]


class SequenceHead(nn.Module):
    """(B, L, D) -> (B, C) from the first token: dropout, dense, tanh, dropout, linear (RoBERTa's classification
    head)."""

    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width, width)
        self.out = nn.Linear(width, classes)

    def forward(self, hidden_BLD: torch.Tensor) -> torch.Tensor:
        """The logits of this head; shapes as the class says."""
        first_BD = self.dropout(hidden_BLD[:, 0])
        logits_BC: torch.Tensor = self.out(self.dropout(torch.tanh(self.dense(first_BD))))
        return logits_BC


class TokenHead(nn.Module):
    """(B, L, D) -> (B, L, C): dropout and linear. Tagging has a class per tag; spans have two (start, end)."""

    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, classes)

    def forward(self, hidden_BLD: torch.Tensor) -> torch.Tensor:
        """The logits of this head; shapes as the class says."""
        logits_BLC: torch.Tensor = self.out(self.dropout(hidden_BLD))
        return logits_BLC


class TaskModel(nn.Module):
    """An encoder and a head. `trimmed` maps token ids when the encoder holds a part of its vocabulary."""

    def __init__(self, encoder: nn.Module, head: nn.Module, trimmed: Trimmed | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.trimmed = trimmed

    def forward(self, batch: Batch) -> torch.Tensor:
        """The logits of this head; shapes as the class says."""
        if self.trimmed is not None:
            batch = replace(batch, ids_BL=self.trimmed.to_kept(batch.ids_BL))
        logits: torch.Tensor = self.head(encode_batch(self.encoder, batch))
        return logits


@dataclass(frozen=True)
class HeadSpec:
    """What a head is for: its kind and its labels in index order (() for spans and choices)."""

    kind: HeadKind
    labels: tuple[str, ...]
    unanswerable: bool = False
    """Spans: "" may be predicted. Not saved: it is a property of the questions that are asked."""


def build_head(spec: HeadSpec, width: int, dropout: float, initial_range: float = 0.02) -> nn.Module:
    """A new head with random weights (from torch's global seed)."""
    head: nn.Module
    if spec.kind == "pair":
        head = SequenceHead(width, len(spec.labels), dropout)
    elif spec.kind == "choice":
        head = SequenceHead(width, 1, dropout)
    elif spec.kind == "tagged":
        head = TokenHead(width, len(spec.labels), dropout)
    else:
        head = TokenHead(width, 2, dropout)
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=initial_range)
            nn.init.zeros_(module.bias)
    return head


def save_head(head: nn.Module, spec: HeadSpec, folder: Path) -> None:
    """Write head.safetensors and head.json."""
    save_file(head.state_dict(), folder / "head.safetensors")
    about = {"kind": spec.kind, "labels": spec.labels}
    (folder / "head.json").write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def head_spec(card: Task, rows: Iterable[Row] = ()) -> HeadSpec:
    """The head that a card's kind and labels ask for; where its label set is open, the tags of the training `rows`.

    Raises UsageError for kinds that have no head.
    """
    kinds: tuple[HeadKind, ...] = ("pair", "tagged", "span", "choice")
    for kind in kinds:
        if card.kind == kind:
            return HeadSpec(kind, card.labels or _tags(rows), card.unanswerable)
    raise UsageError(f"{card.name} is of kind {card.kind}, which has no head to train", fix="train on a labelled task")


def _tags(rows: Iterable[Row]) -> tuple[str, ...]:
    return tuple(sorted({tag for row in rows if isinstance(row, Tagged) for tag in row.tags or ()}))


def load_head(folder: Path, width: int, dropout: float) -> tuple[nn.Module, HeadSpec]:
    """The head in this folder. Raises StoreError when it is not there."""
    path = folder / "head.json"
    if not path.is_file():
        raise StoreError(f"there is no trained head in {folder}", fix="run the training stage before predicting")
    about = json.loads(path.read_text(encoding="utf-8"))
    spec = HeadSpec(about["kind"], tuple(about["labels"]))
    head = build_head(spec, width, dropout)
    head.load_state_dict(load_file(folder / "head.safetensors"))
    return head, spec
