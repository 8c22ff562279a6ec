"""The joint model as captions see it: with the image side, which the stage throws away in the end.

Shape letters: B sequences, P visual tokens, L text tokens, D width, V vocabulary.
"""

from __future__ import annotations

from typing import cast

import torch

from viaduct.encode.batch import Batch
from viaduct.models.joint import JointModel, real_tokens
from viaduct.vision.prefix import CommonSpace, VisualPrefix, both_ways, encode_prefixed, pseudo_masked

PREFIX, SPACE, MATCH, IMAGINE = "prefix", "space", "match", "imagine"
"""Names of the image side's parts."""

IMAGE_PARTS = (PREFIX, SPACE, MATCH, IMAGINE)


class CaptionModel(JointModel):
    """A view of a joint model: the same modules, and what is done with images and their captions."""

    @classmethod
    def of(cls, model: JointModel) -> CaptionModel:
        """The view of this model."""
        return cls(model.encoder, dict(model.head.items()), model.trimmed, model.mask_id)

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
        if prefix_BPD is None or prefix_BPD.shape[1] == 0:
            return super().states(batch)
        batch = self.kept(batch)
        allowed_B1T = both_ways(real_tokens(batch), prefix_BPD.shape[1])
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
            pseudo_masked(real_tokens(batch), prefix_BPD.shape[1]),
        )
        return hidden_BTD[:, length:]

    def pooled(self, batch: Batch, special_V: torch.Tensor) -> torch.Tensor:
        """(B, D): the mean state of a text's tokens, special ones and padding left out."""
        hidden_BLD = self.states(batch)
        real_BL1 = (real_tokens(batch) & ~special_V.to(batch.ids_BL.device)[batch.ids_BL])[..., None].to(
            hidden_BLD.dtype
        )
        return (hidden_BLD * real_BL1).sum(1) / real_BL1.sum(1).clamp(min=1.0)


def _positions(ids_BL: torch.Tensor) -> torch.Tensor:
    return torch.arange(ids_BL.shape[1], device=ids_BL.device).expand(ids_BL.shape)
