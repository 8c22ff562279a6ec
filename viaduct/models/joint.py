"""One encoder with everything that a stage trains beside it, by name: heads of tasks, the masked-LM head, what rooms
bring.

Shape letters: B sequences, L tokens, M chosen positions, D width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.models.encoder import encode_batch
from viaduct.models.language import MaskedLanguageHead
from viaduct.models.vocabulary import Trimmed

LANGUAGE = "language"
"""Name of the masked-LM head among the parts."""


class JointModel(nn.Module):
    """`head` holds what is not the encoder, by name; which parts are there depends on what the stage asks."""

    def __init__(self, encoder: nn.Module, parts: dict[str, nn.Module], trimmed: Trimmed | None, mask_id: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.ModuleDict(parts)
        self.trimmed = trimmed
        self.mask_id = mask_id

    @property
    def words_VD(self) -> torch.Tensor:
        """The word embeddings, which score words too."""
        weight: torch.Tensor = self.encoder.get_input_embeddings().weight  # type: ignore[operator]
        return weight

    @property
    def language(self) -> MaskedLanguageHead:
        """The masked-LM head."""
        return cast(MaskedLanguageHead, self.head[LANGUAGE])

    def forward(
        self, masked: Batch, chosen: torch.Tensor | tuple[torch.Tensor, ...], ids_BL: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Masked LM: (hidden_MD at the chosen positions of the masked text, summed cross-entropy of what was there).
        `chosen` is a (B, L) mask, or the places of what is chosen."""
        hidden_MD = self.states(masked)[chosen]
        return hidden_MD, self.language(hidden_MD, self.words_VD, ids_BL[chosen])

    def states(self, batch: Batch) -> torch.Tensor:
        """hidden_BLD of a text, whose ids are those of the whole vocabulary."""
        return encode_batch(self.encoder, self.kept(batch))

    def kept(self, batch: Batch) -> Batch:
        """The same text in ids of the vocabulary that is held."""
        return batch if self.trimmed is None else replace(batch, ids_BL=self.trimmed.to_kept(batch.ids_BL))


def real_tokens(batch: Batch) -> torch.Tensor:
    """(B, L) bool: what is not padding."""
    return torch.ones_like(batch.ids_BL, dtype=torch.bool) if batch.mask_BL is None else batch.mask_BL
