"""One encoder with everything that a stage trains along with it, by name: task heads, the masked-LM head, and parts
added by rooms.

Shape letters: B sequences, L tokens, M chosen positions, D width, V vocabulary.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.models.encoder import encode_batch, word_embeddings
from viaduct.models.language import MaskedLanguageHead
from viaduct.models.vocabulary import Trimmed, in_kept_ids

LANGUAGE = "language"
"""Name of the masked-LM head among the parts."""


class JointModel(nn.Module):
    """`head` holds everything except the encoder, by name; the stage determines which parts there are."""

    def __init__(self, encoder: nn.Module, parts: dict[str, nn.Module], trimmed: Trimmed | None, mask_id: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.ModuleDict(parts)
        self.trimmed = trimmed
        self.mask_id = mask_id

    @property
    def words_VD(self) -> torch.Tensor:
        """The word embeddings, which are also used to score words."""
        return word_embeddings(self.encoder)

    @property
    def language(self) -> MaskedLanguageHead:
        """The masked-LM head."""
        return cast(MaskedLanguageHead, self.head[LANGUAGE])

    def forward(
        self, masked: Batch, chosen: torch.Tensor | tuple[torch.Tensor, ...], ids_BL: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Masked LM: (hidden_MD at the chosen positions of the masked text, summed cross-entropy of the original
        tokens). `chosen` is a (B, L) mask, or the indices of the chosen positions."""
        hidden_MD = self.states(masked)[chosen]
        return hidden_MD, self.language(hidden_MD, self.words_VD, ids_BL[chosen])

    def states(self, batch: Batch) -> torch.Tensor:
        """hidden_BLD of a text given in ids of the full vocabulary."""
        return encode_batch(self.encoder, in_kept_ids(batch, self.trimmed))


def real_tokens(batch: Batch) -> torch.Tensor:
    """(B, L) bool: True for tokens that are not padding."""
    return torch.ones_like(batch.ids_BL, dtype=torch.bool) if batch.mask_BL is None else batch.mask_BL
