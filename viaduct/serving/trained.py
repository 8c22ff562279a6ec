"""A trained stage's folder, or an encoder's, as one model that is called with plain tensors.

Shape letters: B sequences, L tokens, D width, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.errors import UsageError
from viaduct.heads.head import HeadSpec, load_head
from viaduct.models.encoder import OFFSET_POSITIONS, encode_batch, load_encoder, load_tokenizer, width

NO_EXAMPLES = np.zeros(0, dtype=np.int64)


class Whole(nn.Module):
    """An encoder with its head; without a head its states are the output."""

    def __init__(self, encoder: nn.Module, head: nn.Module | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """logits_BC, logits_BLC (tagging, spans), or hidden_BLD where there is no head.

        input_ids (B, L) int64, padded on the right; attention_mask (B, L), 1 or True for real tokens.
        """
        batch = Batch(input_ids, attention_mask, token_type_ids, NO_EXAMPLES, tokens=0)
        hidden_BLD = encode_batch(self.encoder, batch)
        if self.head is None:
            return hidden_BLD
        logits: torch.Tensor = self.head(hidden_BLD)
        return logits


@dataclass(frozen=True)
class Trained:
    """What a folder holds: the model in evaluation mode, its head's spec (None: an encoder alone), its tokenizer."""

    folder: Path
    model: Whole
    spec: HeadSpec | None
    tokenizer: Any

    @property
    def config(self) -> Any:
        """The encoder's configuration, as transformers has it."""
        return self.model.encoder.config

    @property
    def has_segments(self) -> bool:
        """Whether the model is told which of two texts a token belongs to."""
        names = self.tokenizer.model_input_names
        return "token_type_ids" in names and self.config.model_type not in OFFSET_POSITIONS


def encoder_folder(folder: Path) -> Path:
    """The folder with config.json: `encoder/` of a stage, or the folder itself. Raises UsageError when neither is."""
    for place in (folder / "encoder", folder):
        if (place / "config.json").is_file():
            return place
    raise UsageError(
        f"{folder} holds no model: neither it nor its encoder/ has a config.json",
        fix="name the `train` folder of a run in the store, or a folder that AutoModel.from_pretrained opens",
    )


def open_trained(folder: Path) -> Trained:
    """The model in a trained stage's folder or an encoder's folder, in float32 on the CPU.

    Raises UsageError when the folder holds no model, or an exported one, whose weights torch does not read.
    """
    place = encoder_folder(folder)
    if (folder / "export.json").is_file():
        raise UsageError(
            f"{folder} holds an exported model, which has no weights that torch reads",
            fix="name the folder that it was exported from",
        )
    encoder = load_encoder(str(place), None)
    head, spec = load_head(folder, width(encoder), 0.0) if (folder / "head.json").is_file() else (None, None)
    return Trained(folder, Whole(encoder, head).eval(), spec, load_tokenizer(str(place), None))
