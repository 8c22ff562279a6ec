"""Vocabulary trimming: hold only the embedding rows that a stage's data use, without changing the result.

An embedding row that no training sequence uses gets zero gradient in every objective without a vocabulary softmax;
AdamW without weight decay on embeddings then never moves it. Training without those rows gives the same model at a
fraction of the time and memory (XLM-R has 250,002 rows). `restore` puts the trained rows back into the full matrix.

On the CPU the result is bit-identical if the width is a multiple of 8: the gradient norm for clipping is summed in 8
lanes, and whole rows of zeros then change no partial sum. Encoders of other widths are trained with all rows.

Shape letters: V rows of the full vocabulary, K rows kept, D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.encode.tokens import Array
from viaduct.models.trial import whole_because


@dataclass(frozen=True)
class Trimmed:
    """What is needed to undo trimming: the full matrix, which rows are kept, and the map from full ids to kept ids."""

    full_VD: torch.Tensor
    kept_K: torch.Tensor
    new_of_old_V: torch.Tensor
    pad_id: int | None
    copies: dict[torch.device, torch.Tensor] = field(default_factory=dict, repr=False, compare=False)
    """Copies of the map on the devices that use it."""


def in_kept_ids(batch: Batch, trimmed: Trimmed | None) -> Batch:
    """The same text in ids of the trimmed vocabulary, of which only kept ones may occur; unchanged without trimming."""
    if trimmed is None:
        return batch
    device = batch.ids_BL.device
    if device not in trimmed.copies:
        trimmed.copies[device] = trimmed.new_of_old_V.to(device)
    return replace(batch, ids_BL=trimmed.copies[device][batch.ids_BL])


def used_ids(arrays: Iterable[Array], special: Iterable[int]) -> Array:
    """The sorted distinct token ids of these arrays and of the special tokens."""
    parts = [np.unique(ids) for ids in arrays]
    return np.unique(np.concatenate([*parts, np.fromiter(special, dtype=np.int64)]).astype(np.int64))


def trim(encoder: nn.Module, kept: Array) -> Trimmed | None:
    """Let the encoder hold only these rows of its token embedding. Does nothing and returns None if that would not give
    a bit-identical model (`whole_because`)."""
    return None if whole_because(encoder) else take_rows(encoder, kept)


def take_rows(encoder: nn.Module, kept: Array) -> Trimmed:
    """Replace the encoder's token embedding by its kept rows; the full matrix stays in the returned `Trimmed`."""
    embedding: nn.Embedding = encoder.get_input_embeddings()  # type: ignore[operator]
    full_VD = embedding.weight.detach()
    kept_K = torch.from_numpy(kept)
    new_of_old_V = torch.full((full_VD.shape[0],), -1, dtype=torch.int64)  # -1: looking up a removed row fails loudly
    new_of_old_V[kept_K] = torch.arange(len(kept_K))
    pad_id = embedding.padding_idx
    new_pad = None if pad_id is None or new_of_old_V[pad_id] < 0 else int(new_of_old_V[pad_id])
    small = nn.Embedding(len(kept_K), full_VD.shape[1], padding_idx=new_pad, _weight=full_VD[kept_K].clone())
    encoder.set_input_embeddings(small)  # type: ignore[operator]
    return Trimmed(full_VD, kept_K, new_of_old_V, pad_id)


def restore(encoder: nn.Module, trimmed: Trimmed | None) -> None:
    """Put the full embedding back, with the trained rows in their places; None: it was not trimmed."""
    if trimmed is None:
        return
    small: nn.Embedding = encoder.get_input_embeddings()  # type: ignore[operator]
    full_VD = trimmed.full_VD.clone()
    full_VD[trimmed.kept_K] = small.weight.detach().to(full_VD.device)
    embedding = nn.Embedding(full_VD.shape[0], full_VD.shape[1], padding_idx=trimmed.pad_id, _weight=full_VD)
    encoder.set_input_embeddings(embedding)  # type: ignore[operator]
