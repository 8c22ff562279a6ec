"""A joint model with the image side, which is discarded at the end of the stage, and the losses on images and captions:
in nats, each a mean over what it predicts.

Shape letters: B captions, P visual tokens, L text tokens, M predicted tokens, D, V, E widths of the encoder, of the
features and of the common space, N images of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
import torch
from torch.nn.functional import cosine_similarity, cross_entropy, logsigmoid, pad

from viaduct.encode.batch import Batch, moved, split
from viaduct.models.joint import JointModel, real_tokens
from viaduct.models.numerics import products_in
from viaduct.models.vocabulary import in_kept_ids
from viaduct.training.masking import Masking, places
from viaduct.vision.captioning import PREFIXED, CaptionBatch, Known
from viaduct.vision.fields import Captions
from viaduct.vision.prefix import CommonSpace, VisualPrefix, both_ways, encode_prefixed, pseudo_masked

PREFIX, SPACE, MATCH, IMAGINE = "prefix", "space", "match", "imagine"
"""Names of the image side's parts."""

IMAGE_PARTS = (PREFIX, SPACE, MATCH, IMAGINE)


class CaptionModel(JointModel):
    """A view of a joint model: the same modules, with methods for images and their captions."""

    @classmethod
    def of(cls, model: JointModel) -> CaptionModel:
        """The view of this model."""
        return cls(model.encoder, dict(model.head.items()), model.trimmed, model.mask_id)

    @property
    def visual(self) -> VisualPrefix:
        """The module that turns features into input vectors."""
        return cast(VisualPrefix, self.head[PREFIX])

    @property
    def space(self) -> CommonSpace:
        """The common space of texts and images."""
        return cast(CommonSpace, self.head[SPACE])

    def states(self, batch: Batch, prefix_BPD: torch.Tensor | None = None) -> torch.Tensor:
        """hidden_BLD of a text, encoded together with the prefix before it."""
        if prefix_BPD is None or prefix_BPD.shape[1] == 0:
            return super().states(batch)
        batch = in_kept_ids(batch, self.trimmed)
        allowed_B1T = both_ways(real_tokens(batch), prefix_BPD.shape[1])
        positions_BL = _positions(batch.ids_BL)
        return encode_prefixed(self.encoder, batch.ids_BL, positions_BL, prefix_BPD, allowed_B1T, batch.types_BL)

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
        """(B, D): the mean state of a text's tokens, without special tokens and padding."""
        hidden_BLD, text = self.states(batch), batch.on_cpu
        real_BL = moved(real_tokens(text) & ~special_V[text.ids_BL], hidden_BLD.device)
        real_BL1 = real_BL[..., None].to(hidden_BLD.dtype)
        return (hidden_BLD * real_BL1).sum(1) / real_BL1.sum(1).clamp(min=1.0)


def _positions(ids_BL: torch.Tensor) -> torch.Tensor:
    return torch.arange(ids_BL.shape[1], device=ids_BL.device).expand(ids_BL.shape)


def image_prefix(captions: Captions, model: CaptionModel, batch: CaptionBatch, *, train: bool) -> torch.Tensor:
    """(B, P, D): the visual prefix of the texts; P is 0 in arms without images.

    A batch that should have images but has none gets the null image; in training some texts lose their image.
    """
    count = len(batch.image_B)
    if captions.image in ("none", "text"):
        return model.words_VD.new_zeros(count, 0, model.words_VD.shape[1])
    if batch.patches_BPV is None:
        return model.visual.null_images(count)
    dropped_B = with_drops(captions, batch).dropped_B if train else None
    prefix_BPD: torch.Tensor = model.visual(batch.patches_BPV, dropped_B)
    return prefix_BPD


def with_drops(captions: Captions, batch: CaptionBatch) -> CaptionBatch:
    """The batch with a draw of the texts that lose their image in training, if it has images and no draw yet."""
    if batch.dropped_B is not None or batch.patches_BPV is None or not captions.null_share:
        return batch
    drawn_B = moved(torch.rand(len(batch.image_B)), batch.image_B.device)
    return replace(batch, dropped_B=drawn_B < captions.null_share)


class Held(NamedTuple):
    """The parameters of a common space that the loss uses, as constants."""

    scale: torch.Tensor
    shift: torch.Tensor


@dataclass(frozen=True)
class CaptionObjectives:
    """The objectives of a stage, and what they need besides the model and the batch."""

    captions: Captions
    masking: Masking
    """Its special tokens are not pooled either."""

    def loss(self, model: CaptionModel, batch: CaptionBatch) -> torch.Tensor:
        """The mean loss of the batch's objective. Masks are drawn first, so arms with different images share them."""
        losses: dict[str, Callable[[CaptionModel, CaptionBatch], torch.Tensor]] = {
            "ar_caption": self.ar_caption,
            "mlm_caption": self.mlm_caption,
            "contrastive": self.contrastive,
            "itm": self.itm,
            "imagine": self.imagine,
        }
        return losses[batch.objective](model, batch) * batch.share

    def cut(self, model: CaptionModel, batch: CaptionBatch, count: int) -> list[CaptionBatch]:
        """The batch in at most `count` parts whose losses add up to its own; masks, dropped images and hard negatives
        are drawn for the whole batch first."""
        if batch.objective == "mlm_caption":
            batch = replace(batch, masked=self.masking.of_batch(batch.text))
        if batch.objective in PREFIXED:
            batch = with_drops(self.captions, batch)
        whole, runs = len(batch.image_B), split(len(batch.image_B), count)
        if batch.objective == "contrastive":
            vectors = self._vectors(model, batch, count)
            return [replace(batch.take(at), known=Known(*vectors, batch.image_B, int(at[0]))) for at in runs]
        if batch.objective == "itm":
            drawn = self._hard_negatives(model, batch, count)
            image_B, text_B = (one.cpu().numpy() for one in drawn)
            parts = []
            for at in runs:
                own = replace(batch.take(np.concatenate([at, image_B[at], text_B[at]])), share=len(at) / whole)
                places = torch.arange(len(at), 3 * len(at), device=batch.image_B.device)
                parts.append(replace(own, wrong=(places[: len(at)], places[len(at) :])))
            return parts
        parts = batch.cut(count)
        if batch.objective == "ar_caption":  # every token but the first of each caption is predicted
            return [replace(one, share=_predicted(one) / _predicted(batch)) for one in parts]
        return [replace(one, share=1.0) for one in parts] if batch.objective == "mlm_caption" else parts

    @torch.no_grad()
    def _vectors(self, model: CaptionModel, batch: CaptionBatch, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """(the captions' vectors, the images' vectors), computed in at most `count` passes."""
        parts = [batch] if count == 1 else batch.cut(count)
        texts, images = zip(
            *((self.text_vectors(model, one), self.image_vectors(model, one)) for one in parts), strict=True
        )
        return torch.cat(texts), torch.cat(images)

    def ar_caption(self, model: CaptionModel, batch: CaptionBatch) -> torch.Tensor:
        """Loss of predicting every token of the caption, its end too, from image, language and the tokens before."""
        hidden_MD, targets_M, _ = self.written(model, batch, train=True)
        summed = model.language(hidden_MD, model.words_VD, targets_M, smoothing=self.captions.label_smoothing)
        loss: torch.Tensor = summed / len(targets_M)
        return loss

    def written(
        self, model: CaptionModel, batch: CaptionBatch, *, train: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(states that predict tokens 1 .. L - 1, those tokens, index of their caption), without padding, caption by
        caption. The language slot is the first position of the prefix."""
        slot_B1D = model.visual.slot(batch.language_B)[:, None]
        before_BPD = torch.cat([slot_B1D, image_prefix(self.captions, model, batch, train=train)], dim=1)
        targets_BL = batch.text.ids_BL[:, 1:]
        hidden_BLD = model.foreseen(batch.text, before_BPD)
        at_M = places(real_tokens(batch.text.on_cpu)[:, 1:], targets_BL.device)
        return hidden_BLD[at_M], targets_BL[at_M], at_M[0]

    def mlm_caption(self, model: CaptionModel, batch: CaptionBatch) -> torch.Tensor:
        """Loss of predicting masked words from the image and the other words."""
        masked = batch.masked or self.masking.of_batch(batch.text)
        hidden_MD, targets_M, _ = self.filled(model, replace(batch, masked=masked), train=True)
        loss: torch.Tensor = model.language(hidden_MD, model.words_VD, targets_M) / max(1, masked.count)
        return loss

    def filled(
        self, model: CaptionModel, batch: CaptionBatch, *, train: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(states at the masked positions, the tokens there, index of their caption); masks from torch's generator."""
        masked = batch.masked or self.masking.of_batch(batch.text)
        hidden_BLD = model.states(masked.text, image_prefix(self.captions, model, batch, train=train))
        at_M = places(masked.chosen_BL, hidden_BLD.device)
        return hidden_BLD[at_M], masked.ids_BL[at_M], at_M[0]

    def contrastive(self, model: CaptionModel, batch: CaptionBatch) -> torch.Tensor:
        """Which images of the step belong to which captions: SigLIP's loss or InfoNCE; all captions of an image count
        as correct.

        The loss of a part is that of the whole step with the other parts' vectors as constants, so each part has the
        gradient of its own vectors; the first also has the value, and the gradient of what all parts share."""
        texts_BE, images_BE = self.text_vectors(model, batch), self.image_vectors(model, batch)
        bank_KE = None if batch.bank_KV is None else model.space.of_image(batch.bank_KV)
        if (known := batch.known) is None:
            return self._contrast(model.space, texts_BE, images_BE, batch.image_B, bank_KE)
        texts_NE, images_NE = known.around(texts_BE, images_BE)
        if known.begin == 0:
            return self._contrast(model.space, texts_NE, images_NE, known.image_N, bank_KE)
        held = Held(model.space.scale.detach(), model.space.shift.detach())
        bank_KE = None if bank_KE is None else bank_KE.detach()
        loss = self._contrast(held, texts_NE, images_NE, known.image_N, bank_KE)
        return loss - loss.detach()

    def _contrast(
        self,
        space: CommonSpace | Held,
        texts_BE: torch.Tensor,
        images_BE: torch.Tensor,
        image_B: torch.Tensor,
        bank_KE: torch.Tensor | None,
    ) -> torch.Tensor:
        same_BB = image_B[:, None] == image_B[None, :]
        logits_BB = _scaled_cosines(space, texts_BE, images_BE)
        if self.captions.contrast == "sigmoid":
            signs_BB = torch.where(same_BB, 1.0, -1.0)
            return -logsigmoid(signs_BB * (logits_BB + space.shift)).sum() / len(texts_BE)
        to_text = _multi_positive_cross_entropy(logits_BB.T, same_BB)
        if bank_KE is not None:
            further_BK = _scaled_cosines(space, texts_BE, bank_KE)
            logits_BB = torch.cat([logits_BB, further_BK], dim=1)
            same_BB = pad(same_BB, (0, further_BK.shape[1]), value=False)
        return (_multi_positive_cross_entropy(logits_BB, same_BB) + to_text) / 2

    def text_vectors(self, model: CaptionModel, batch: CaptionBatch) -> torch.Tensor:
        """(B, E): the captions in the common space."""
        return model.space.of_text(model.pooled(batch.text, self.masking.special_V))

    def image_vectors(self, model: CaptionModel, batch: CaptionBatch) -> torch.Tensor:
        """(B, E): the images' vectors, from the trainable tower if there is one. If captions are shown as images, the
        vectors of another caption; without features, the same vector for all."""
        if batch.other is not None:
            return model.space.of_text(model.pooled(batch.other, self.masking.special_V))
        if self.captions.tower_layers:
            return model.space.of_tokens(image_prefix(self.captions, model, batch, train=False))
        if batch.pooled_BV is not None:
            return model.space.of_image(batch.pooled_BV)
        weight_EV = model.space.image.weight
        return model.space.of_image(weight_EV.new_ones(len(batch.image_B), weight_EV.shape[1]))

    def imagine(self, model: CaptionModel, batch: CaptionBatch) -> torch.Tensor:
        """1 - cosine of the image's vector and the one predicted from the caption (Imagination, arXiv 1705.04350)."""
        guessed_BV = model.head[IMAGINE](model.pooled(batch.text, self.masking.special_V))
        wanted_BV = torch.ones_like(guessed_BV) if batch.pooled_BV is None else batch.pooled_BV.float()
        return 1 - cosine_similarity(guessed_BV, wanted_BV, dim=1).mean()

    def itm(self, model: CaptionModel, batch: CaptionBatch) -> torch.Tensor:
        """Whether an image and a caption belong together: each true pair, plus one with a hard negative image and one
        with a hard negative caption (ALBEF, arXiv 2107.07651). Negatives are drawn by similarity in the common space if
        it is trained, else uniformly."""
        images_BPD = image_prefix(self.captions, model, batch, train=True)
        wrong_image_B, wrong_text_B = batch.wrong or self._hard_negatives(model, batch)
        own_B = torch.arange(len(wrong_image_B), device=batch.image_B.device)
        losses = []
        for text_B, image_B, answer in ((own_B, own_B, 1), (own_B, wrong_image_B, 0), (wrong_text_B, own_B, 0)):
            mask_BL = None if batch.text.mask_BL is None else batch.text.mask_BL[text_B]
            text = replace(batch.text, ids_BL=batch.text.ids_BL[text_B], mask_BL=mask_BL)
            logits_B2 = model.head[MATCH](model.states(text, images_BPD[image_B])[:, 0])
            losses.append(cross_entropy(logits_B2, torch.full_like(own_B, answer)))
        return torch.stack(losses).mean()

    def _hard_negatives(
        self, model: CaptionModel, batch: CaptionBatch, count: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """For each caption (index of a wrong image, index of a wrong caption); its own if the step has no other."""
        same_BB = batch.image_B[:, None] == batch.image_B[None, :]
        logits_BB = torch.zeros(same_BB.shape, device=same_BB.device)
        if "contrastive" in (one.name for one in self.captions.objectives):
            with torch.no_grad():
                logits_BB = _scaled_cosines(model.space, *self._vectors(model, batch, count))
        logits_BB = logits_BB.masked_fill(same_BB, -torch.inf)
        alone_B = same_BB.all(1)
        logits_BB[alone_B] = torch.where(same_BB[alone_B], 0.0, -torch.inf)
        return torch.multinomial(logits_BB.softmax(1), 1)[:, 0], torch.multinomial(logits_BB.T.softmax(1), 1)[:, 0]


def _predicted(batch: CaptionBatch) -> int:
    return batch.text.tokens - len(batch.image_B)


def _scaled_cosines(space: CommonSpace | Held, texts_BE: torch.Tensor, others_NE: torch.Tensor) -> torch.Tensor:
    """(B, N) scaled cosines, always in float32: the scale would amplify the rounding errors of bfloat16."""
    with products_in("fp32", texts_BE.device):
        return space.scale * texts_BE.float() @ others_NE.float().T


def _multi_positive_cross_entropy(logits_BN: torch.Tensor, right_BN: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy with several correct answers, each with the same target probability."""
    shares_BN = right_BN.float() / right_BN.sum(1, keepdim=True)
    return cross_entropy(logits_BN, shares_BN)
