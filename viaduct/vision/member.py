"""The captions of a joint stage as one of its members: reads them, computes their images' features with the tower once,
trains on them, and measures how the encoder uses images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from viaduct.encode.cache import cached
from viaduct.encode.tokens import Limits, encode_sentences
from viaduct.models.encoder import width
from viaduct.models.joint import JointModel
from viaduct.models.numerics import prepare
from viaduct.runs.stage import Context
from viaduct.training.joint import JointWork
from viaduct.training.joint_training import write_record
from viaduct.training.masking import Masking, rarity
from viaduct.training.member import Member
from viaduct.training.order import Order
from viaduct.vision.captioning import PREFIXED, CaptionBatch, CaptionOrder, caption_set
from viaduct.vision.features import Features, build_features
from viaduct.vision.fields import CAPTIONS, Captions, languages_of
from viaduct.vision.image_use import MEASURED_OBJECTIVES, recall_by_language, use_of_images
from viaduct.vision.images import open_picture
from viaduct.vision.objectives import IMAGE_PARTS, IMAGINE, MATCH, PREFIX, SPACE, CaptionModel, CaptionObjectives
from viaduct.vision.prefix import CommonSpace, VisualPrefix
from viaduct.vision.rows import Captioned, Picture
from viaduct.vision.towers import Tower, load_tower

TOWER_BATCH = 32
"""Images per forward pass of the tower."""


class CaptionMember(Member):
    """The captions of a stage, their images' features and their losses."""

    name = "captions"

    def __init__(self, context: Context, work: JointWork, tokenizer: Any, limits: Limits) -> None:
        asked = CAPTIONS.of(work)
        assert asked is not None  # noqa: S101  else this member is not asked for
        self.context, self.work, self.asked, self.tokenizer, self.limits = context, work, asked, tokenizer, limits
        self.languages = languages_of(work)
        self.names = tuple(one.name for one in asked.objectives)
        self.captioned = {split: self._rows(split, self.languages) for split in ("train", "dev")}
        device = prepare(context.device, context.threads)
        tower = load_tower(asked.tower, asked.tower_revision, max_tokens=asked.tower_tokens, device=device)
        held = Captions(card=asked.card, skip_damaged=asked.skip_damaged)  # all held-out images, in every arm
        self.train = self._order(self.captioned["train"], asked, tower)
        self.held = self._order(self.captioned["dev"], held, tower)
        every = tuple(dict.fromkeys((*self.languages, *asked.retrieval_languages)))
        searched = every if asked.retrieval_languages else ()
        self.searched = self._order(self._rows("dev", searched), held, tower, searched) if searched else self.held
        weights_V = rarity(self.train.encoded.ids, len(tokenizer), tokenizer.all_special_ids)
        masking = Masking.of(tokenizer, asked.mask_fraction, whole_words=True, weights_V=weights_V, every_row=True)
        self.objectives = CaptionObjectives(asked, masking)
        self.rows, self.order = len(self.train.data.captions), self.train.order
        self.ids = (self.train.encoded.ids, self.held.encoded.ids, self.searched.encoded.ids)
        self.needs_vocabulary = any(name in MEASURED_OBJECTIVES for name in self.names)
        self.view: CaptionModel | None = None

    def _rows(self, split: str, codes: Sequence[str]) -> list[Captioned]:
        loaded = [row for code in codes for row in self.context.load(self.asked.card, split, code).rows]
        return [row for row in loaded if isinstance(row, Captioned)]

    def _order(
        self, rows: Sequence[Captioned], asked: Captions, tower: Tower, languages: Sequence[str] | None = None
    ) -> CaptionOrder:
        """The captions of these rows with their images' features, in the languages trained on unless others are named.
        Images that cannot be opened are left out if `skip_damaged` allows it."""
        context = self.context
        data = caption_set(rows, languages or self.languages, asked, self.work.seed)
        features = features_of(context, data.pictures, tower, skip_damaged=asked.skip_damaged)
        if features.missing:
            return self._order([row for row in rows if row.id not in features.missing], asked, tower, languages)
        encoded = cached(data.captions, encode_sentences, self.tokenizer, (), self.limits, context.cache)
        visual = features.num_tokens if any(name in PREFIXED for name in self.names) else 0
        order = Order(encoded, self.work.training.batch_tokens, self.work.seed, beside=visual)
        return CaptionOrder(data, encoded, features, asked, order)

    def parts(self, encoder: nn.Module) -> dict[str, nn.Module]:
        """New modules that the objectives need, initialised from torch's global seed."""
        asked, features, size = self.asked, self.train.features, width(encoder)
        made: dict[str, nn.Module] = {}
        if asked.tower_layers or any(name in PREFIXED for name in self.names):
            languages = len(self.languages)
            made[PREFIX] = VisualPrefix(features.width, features.num_tokens, encoder, asked.tower_layers, languages)
        if "contrastive" in self.names:
            seen = size if asked.tower_layers else features.width
            made[SPACE] = CommonSpace(size, seen, asked.common_width, sigmoid=asked.contrast == "sigmoid")
        if "itm" in self.names:
            made[MATCH] = nn.Linear(size, 2)
        if "imagine" in self.names:
            made[IMAGINE] = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, features.width))
        return made

    def batch(self, own: int) -> CaptionBatch:
        """Captions, and what is shown as their images."""
        return self.train.batch(own, self.tokenizer.pad_token_id)

    def loss(self, model: JointModel, batch: CaptionBatch) -> torch.Tensor:
        """The loss of the batch's objective."""
        if self.view is None:
            self.view = CaptionModel.of(model)
        return self.objectives.loss(self.view, batch)

    def cut(self, model: JointModel, batch: CaptionBatch, count: int) -> list[CaptionBatch]:
        """The batch in at most `count` parts, cut as its objective requires."""
        return self.objectives.cut(CaptionModel.of(model), batch, count)

    def finish(self, model: JointModel, directory: Path) -> None:
        """Write how the encoder uses images (images.json), and the image side, which is no longer needed."""
        view = CaptionModel.of(model).eval()
        use = use_of_images(self.objectives, view, self.held, self.captioned, self.tokenizer, self.context.progress)
        if self.asked.retrieval_languages:
            found = recall_by_language(self.objectives, view, self.searched, self.tokenizer.pad_token_id)
            use = use.model_copy(update={"scores": (*use.scores, *found)})
        write_record(directory / "images.json", use)
        save_image_side(model, directory)


def features_of(
    context: Context, pictures: Sequence[tuple[str, Picture]], tower: Tower, *, skip_damaged: bool
) -> Features:
    """The pictures' features, from the cache or computed; see `build_features`."""
    return build_features(
        pictures,
        tower,
        context.cache,
        opener=open_picture,
        batch=TOWER_BATCH,
        progress=context.progress,
        skip_damaged=skip_damaged,
    )


def save_image_side(model: JointModel, directory: Path) -> None:
    """Write the parts that turn images into input, which are no longer needed, as visual.safetensors."""
    image_side = {
        f"{part}.{name}": tensor.contiguous()
        for part in IMAGE_PARTS
        if part in model.head
        for name, tensor in model.head[part].state_dict().items()
    }
    if image_side:
        save_file(image_side, directory / "visual.safetensors")
