"""One encoder with everything that a joint stage trains beside it: heads of tasks, the masked-LM head, the image side.

Shape letters: B sequences, P visual tokens, L text tokens, M chosen positions, D width, V features or vocabulary.
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
from viaduct.vision.prefix import CommonSpace, VisualPrefix, both_ways, encode_prefixed, pseudo_masked

LANGUAGE, PREFIX, SPACE, MATCH, IMAGINE = "language", "prefix", "space", "match", "imagine"
"""Names of the parts that are not a task's head."""

IMAGE_PARTS = (PREFIX, SPACE, MATCH, IMAGINE)
"""Those that a stage throws away."""


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

    @property
    def visual(self) -> VisualPrefix:
        """What turns features into input vectors."""
        return cast(VisualPrefix, self.head[PREFIX])

    @property
    def space(self) -> CommonSpace:
        """The common space of texts and images."""
        return cast(CommonSpace, self.head[SPACE])

    def states(self, batch: Batch, prefix_BPD: torch.Tensor | None = None) -> torch.Tensor:
        """hidden_BLD of a text, seen together with what stands before it."""
        batch = self._kept(batch)
        if prefix_BPD is None or prefix_BPD.shape[1] == 0:
            return encode_batch(self.encoder, batch)
        allowed_B1T = both_ways(inside(batch), prefix_BPD.shape[1])
        return encode_prefixed(self.encoder, batch.ids_BL, _positions(batch.ids_BL), prefix_BPD, allowed_B1T)

    def foreseen(self, batch: Batch, prefix_BPD: torch.Tensor) -> torch.Tensor:
        """(B, L - 1, D): at t the state of a mask token that sees the prefix and the text before position t + 1."""
        ids_BL, length = batch.ids_BL, batch.ids_BL.shape[1]
        masks_BL = torch.full_like(ids_BL[:, 1:], self.mask_id)
        positions_BL = _positions(ids_BL)
        hidden_BTD = encode_prefixed(
            self.encoder,
            torch.cat([ids_BL, masks_BL], dim=1),
            torch.cat([positions_BL, positions_BL[:, 1:]], dim=1),
            prefix_BPD,
            pseudo_masked(inside(batch), prefix_BPD.shape[1]),
        )
        return hidden_BTD[:, length:]

    def pooled(self, batch: Batch, special_V: torch.Tensor) -> torch.Tensor:
        """(B, D): the mean state of a text's tokens, special ones and padding left out."""
        hidden_BLD = self.states(batch)
        real_BL1 = (inside(batch) & ~special_V.to(batch.ids_BL.device)[batch.ids_BL])[..., None].to(hidden_BLD.dtype)
        return (hidden_BLD * real_BL1).sum(1) / real_BL1.sum(1).clamp(min=1.0)

    def _kept(self, batch: Batch) -> Batch:
        return batch if self.trimmed is None else replace(batch, ids_BL=self.trimmed.to_kept(batch.ids_BL))


def inside(batch: Batch) -> torch.Tensor:
    """(B, L) bool: what is not padding."""
    return torch.ones_like(batch.ids_BL, dtype=torch.bool) if batch.mask_BL is None else batch.mask_BL


def _positions(ids_BL: torch.Tensor) -> torch.Tensor:
    return torch.arange(ids_BL.shape[1], device=ids_BL.device).expand(ids_BL.shape)
