"""Captioned images of a joint stage: read, seen through the tower once, asked about, and measured in the end."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from viaduct.encode.cache import cached
from viaduct.encode.tokens import Array, Limits, encode_sentences
from viaduct.metrics.score import Prediction, Score
from viaduct.models.encoder import width
from viaduct.models.joint import JointModel
from viaduct.runs.stage import Context
from viaduct.training.joint import JointWork
from viaduct.training.masking import Masking, rarity
from viaduct.training.member import Member
from viaduct.training.order import Order
from viaduct.vision.caption_metrics import FEWEST_IMAGES, caption_retrieval, caption_scores
from viaduct.vision.captioning import PREFIXED, CaptionBatch, CaptionOrder, caption_set, held_out
from viaduct.vision.features import Features, build_features
from viaduct.vision.fields import CAPTIONS, Captions, languages_of
from viaduct.vision.image_use import HeldOutCaptions, measured_objective
from viaduct.vision.images import open_picture
from viaduct.vision.model import IMAGE_PARTS, IMAGINE, MATCH, PREFIX, SPACE, CaptionModel
from viaduct.vision.objectives import CaptionObjectives
from viaduct.vision.prefix import CommonSpace, VisualPrefix
from viaduct.vision.records import CaptionSample, CaptionScore, ImageUse
from viaduct.vision.rows import Captioned, Picture
from viaduct.vision.towers import load_tower

TOWER_BATCH = 32
"""Images that go through the tower at once."""
SAMPLES = 12
"""Held-out images shown with what was written about them."""
THUMBNAIL = 96
"""Pixels on the longer side of a sample."""


class CaptionMember(Member):
    """The captions of a stage, their features and their losses."""

    name = "captions"

    def __init__(self, context: Context, work: JointWork, tokenizer: Any, limits: Limits) -> None:
        asked = CAPTIONS.of(work)
        assert asked is not None  # noqa: S101  else this member is not asked for
        self.context, self.asked, self.tokenizer, self.languages = context, asked, tokenizer, languages_of(work)
        self.names = tuple(one.name for one in asked.objectives)
        self.tower = load_tower(asked.tower, asked.tower_revision, max_tokens=asked.tower_tokens)
        self.captioned = {split: self._rows(split) for split in ("train", "dev")}
        self.train = self._order("train", asked, limits, work)
        self.held = self._order("dev", Captions(card=asked.card, skip_damaged=asked.skip_damaged), limits, work)
        special_V = torch.zeros(len(tokenizer), dtype=torch.bool)
        special_V[tokenizer.all_special_ids] = True
        weights_V = rarity(self.train.encoded.ids, len(tokenizer), tokenizer.all_special_ids)
        masking = Masking.of(tokenizer, asked.mask_fraction, whole_words=True, weights_V=weights_V, every_row=True)
        self.objectives = CaptionObjectives(asked, masking, special_V)
        self.rows, self.order = len(self.train.data.captions), self.train.order
        self.ids = (self.train.encoded.ids, self.held.encoded.ids)
        self.needs_vocabulary = bool({"ar_caption", "mlm_caption"} & set(self.names))
        self.view: CaptionModel | None = None

    def batch(self, own: int) -> CaptionBatch:
        """Captions, and what stands for their images."""
        return self.train.batch(own, self.tokenizer.pad_token_id)

    def loss(self, model: JointModel, batch: CaptionBatch) -> torch.Tensor:
        """That of the batch's objective."""
        if self.view is None:
            self.view = CaptionModel.of(model)
        return self.objectives.loss(self.view, batch)

    def finish(self, model: JointModel, directory: Path) -> None:
        """What use the encoder makes of images (images.json), and the image side, which nothing needs any more."""
        use = self.use(CaptionModel.of(model).eval(), self.context.progress)
        text = json.dumps(use.model_dump(mode="json"), indent=1, ensure_ascii=False)
        (directory / "images.json").write_text(text + "\n", encoding="utf-8")
        image_side = {
            f"{part}.{name}": tensor.contiguous()
            for part in IMAGE_PARTS
            if part in model.head
            for name, tensor in model.head[part].state_dict().items()
        }
        if image_side:
            save_file(image_side, directory / "visual.safetensors")

    def _order(self, split: str, asked: Captions, limits: Limits, work: JointWork) -> CaptionOrder:
        rows = self.captioned[split]
        data = caption_set(rows, self.languages, asked, work.seed)
        features = self._features(data.pictures)
        if features.missing:
            rows = [row for row in rows if row.id not in features.missing]
            data = caption_set(rows, self.languages, asked, work.seed)
            features = self._features(data.pictures)
        encoded = cached(data.captions, encode_sentences, self.tokenizer, (), limits, self.context.cache)
        visual = self.tower.tokens if any(name in PREFIXED for name in self.names) else 0
        order = Order(encoded.lengths + visual, encoded.widths, work.training.batch_tokens, work.seed)
        return CaptionOrder(data, encoded, features, asked, order)

    def _rows(self, split: str) -> list[Captioned]:
        loaded = [row for code in self.languages for row in self.context.load(self.asked.card, split, code).rows]
        return [row for row in loaded if isinstance(row, Captioned)]

    def _features(self, pictures: Sequence[tuple[str, Picture]]) -> Features:
        return build_features(
            pictures,
            self.tower,
            self.context.cache,
            opener=open_picture,
            batch=TOWER_BATCH,
            progress=self.context.progress,
            skip_damaged=self.asked.skip_damaged,
        )

    def parts(self, encoder: nn.Module) -> dict[str, nn.Module]:
        """New modules that the objectives need, from torch's seed."""
        made: dict[str, nn.Module] = {}
        if self.asked.tower_layers or any(name in PREFIXED for name in self.names):
            layers, languages = self.asked.tower_layers, len(self.languages)
            made[PREFIX] = VisualPrefix(self.tower.width, self.tower.tokens, encoder, layers, languages)
        size = width(encoder)
        if "contrastive" in self.names:
            sigmoid = self.asked.contrast == "sigmoid"
            seen = size if self.asked.tower_layers else self.tower.width
            made[SPACE] = CommonSpace(size, seen, self.asked.common_width, sigmoid=sigmoid)
        if "itm" in self.names:
            made[MATCH] = nn.Linear(size, 2)
        if "imagine" in self.names:
            made[IMAGINE] = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.Linear(size, self.tower.width))
        return made

    def use(self, model: CaptionModel, progress: Callable[[float, float, str], None]) -> ImageUse:
        """What the trained model makes of the held-out images."""
        held = self._held_out(model, self.asked.dev_captions)
        objective = measured_objective(self.names)
        scores: list[CaptionScore] = []
        samples: tuple[CaptionSample, ...] = ()
        if "ar_caption" in self.names and self.asked.written:
            few = self._held_out(model, min(self.asked.written, len(held.chosen)))
            texts = few.write(self.tokenizer, progress)
            scores += self._written_scores(few.chosen, texts)
            samples = self._samples(few.chosen, texts)
        found = held.similarities()
        if found is not None:
            scores += self._recall(held.chosen, found)
        return ImageUse(
            card=self.asked.card,
            split="dev",
            image=self.asked.image,
            tower=self.tower.name,
            objectives=self.names,
            measured=objective,
            losses=() if objective is None else tuple(held.losses(objective)),
            scores=tuple(scores),
            samples=samples,
            seen_languages=self.languages,
        )

    def _held_out(self, model: CaptionModel, count: int) -> HeldOutCaptions:
        chosen = held_out(self.held.data, count)
        return HeldOutCaptions(self.objectives, model, self.held, chosen, self.tokenizer.pad_token_id)

    def _written_scores(self, chosen: Array, texts: Sequence[str]) -> list[CaptionScore]:
        """chrF, BLEU and CIDEr-D by language; CIDEr-D only where 100 images tell rare words from frequent ones."""
        data, found = self.held.data, []
        for code in self.languages:
            given = {
                self.held.ids[int(data.image_of[at])]: text
                for at, text in zip(chosen.tolist(), texts, strict=True)
                if data.captions[at].language == code
            }
            gold = [row for row in self.captioned["dev"] if row.language == code and row.id in given]
            if not gold:
                continue
            known = [row for split in ("dev", "train") for row in self.captioned[split] if row.language == code]
            few = len({row.id for row in known}) < FEWEST_IMAGES
            predictions = {id: Prediction(id, code, text) for id, text in given.items()}
            scores = caption_scores(gold, predictions, documents=known, few_images=few)
            found += [_score(code, score) for score in scores if not (few and score.metric == "cider_d")]
        return found

    def _recall(self, chosen: Array, similarities_CN: Array) -> list[CaptionScore]:
        """How often a caption's image, and an image's caption, is found among the held-out ones of all languages."""
        images, owner = np.unique(self.held.data.image_of[chosen], return_inverse=True)
        scores = caption_retrieval(similarities_CN[:, images].T, owner.tolist())
        return [_score("all", score) for score in scores]

    def _samples(self, chosen: Array, texts: Sequence[str]) -> tuple[CaptionSample, ...]:
        """The first held-out images with their captions, small enough for a page."""
        data = self.held.data
        found = []
        for at, text in list(zip(chosen.tolist(), texts, strict=True))[:SAMPLES]:
            image = open_picture(data.pictures[int(data.image_of[at])][1])
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            file = io.BytesIO()
            image.save(file, format="PNG")
            uri = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
            caption = data.captions[at]
            found.append(CaptionSample(image=uri, language=caption.language, reference=caption.text, written=text))
        return tuple(found)


def _score(language: str, score: Score) -> CaptionScore:
    return CaptionScore(language=language, metric=score.metric, value=score.value, n=score.n, signature=score.signature)
