"""Images with a text and a label, as a member of a joint stage: the text is judged against its premise, which is shown
as text, as an image, as both or not at all.

Batches are planned by the combined length of text, premise and image, regardless of what is shown, so that arms that
differ only in the premise have the same rows in the same order and the same number of steps. The weights of the last
step are kept: no checkpoint is selected on the held-out images that accuracy is measured on.

Shape letters: B texts, D width of the encoder, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from viaduct.encode.batch import moved
from viaduct.encode.cache import cached
from viaduct.encode.tokens import Limits, encode_sentences
from viaduct.errors import DataError
from viaduct.heads.head import HeadSpec, build_head
from viaduct.heads.pair import encode_pairs
from viaduct.models.encoder import dropout, width
from viaduct.models.joint import JointModel
from viaduct.models.numerics import prepare
from viaduct.rows import Pair, Sentence
from viaduct.runs.stage import Context
from viaduct.training.finetuning import require_labels
from viaduct.training.joint import JointWork
from viaduct.training.joint_training import write_record
from viaduct.training.member import Member
from viaduct.training.order import Order
from viaduct.vision.captioning import LABEL, CaptionBatch, CaptionOrder, CaptionSet
from viaduct.vision.image_use import HeldOut, Measured
from viaduct.vision.member import features_of, save_image_side
from viaduct.vision.objectives import PREFIX, CaptionModel, image_prefix, with_drops
from viaduct.vision.pictured import IN_WORDS, PICTURED
from viaduct.vision.prefix import VisualPrefix
from viaduct.vision.records import CaptionLoss, CaptionScore, ImageUse
from viaduct.vision.rows import Picture, Pictured
from viaduct.vision.towers import Tower, load_tower

ACCURACY = "accuracy"
AS_TRAINED = {"wrong_image": "wrong", "null_image": "null"}
"""Premise -> the image shown when a held-out text is judged as in training; for all other premises the true image."""


class LabelOrder(CaptionOrder):
    """The batch of every step; `gold` (texts,) holds the indices of the labels."""

    def __init__(self, gold: Sequence[int], *parts: Any) -> None:
        super().__init__(*parts)
        self.names, self.shares = [LABEL], np.ones(1)
        self.gold = torch.tensor(gold)


class LabelMember(Member):
    """The texts of a stage, their images' features and their losses."""

    name = "pictured"

    def __init__(self, context: Context, work: JointWork, tokenizer: Any, limits: Limits) -> None:
        asked = PICTURED.of(work)
        assert asked is not None  # noqa: S101  else this member is not asked for
        self.context, self.work, self.asked, self.tokenizer, self.limits = context, work, asked, tokenizer, limits
        self.seen, self.labels = asked.seen, context.task(asked.card).labels
        device = prepare(context.device, context.threads)
        tower = load_tower(asked.tower, asked.tower_revision, max_tokens=asked.tower_tokens, device=device)
        self.train, self.held = (self._order(self._rows(split), tower) for split in ("train", "dev"))
        self.rows, self.order = len(self.train.gold), self.train.order
        self.ids = (self.train.encoded.ids, self.held.encoded.ids)
        self.view: CaptionModel | None = None

    def _rows(self, split: str) -> list[Pictured]:
        card = self.asked.card
        loaded = [row for code in self.asked.languages for row in self.context.load(card, split, code).rows]
        require_labels(card, split, loaded)
        rows = [row for row in loaded if isinstance(row, Pictured) and row.image is not None]
        if not rows:
            raise DataError(f"{card} {split}: no row has an image", fix="put the images where `viaduct check` looks")
        return rows

    def _order(self, rows: Sequence[Pictured], tower: Tower) -> LabelOrder:
        """These rows with their images' features; unreadable images are left out if `skip_damaged` allows it."""
        pictures: dict[str, Picture] = {row.photo: row.image for row in rows if row.image is not None}
        features = features_of(self.context, list(pictures.items()), tower, skip_damaged=self.asked.skip_damaged)
        if features.missing:
            return self._order([row for row in rows if row.photo not in features.missing], tower)
        numbers = {photo: number for number, photo in enumerate(pictures)}
        texts = [Sentence(row.id, row.language, row.text) for row in rows]
        data = CaptionSet(
            captions=texts,
            image_of=np.array([numbers[row.photo] for row in rows]),
            language_of=np.zeros(len(rows), dtype=np.int64),
            pictures=list(pictures.items()),
            languages=self.asked.languages,
        )
        keep = partial(cached, tokenizer=self.tokenizer, labels=(), limits=self.limits, cache=self.context.cache)
        shown = planned = keep(texts, encode_sentences)
        if all(row.premise is not None for row in rows):
            pairs = [Pair(row.id, row.language, row.premise or "", row.text, None) for row in rows]
            planned = keep(pairs, encode_pairs)
            shown = planned if self.asked.premise in IN_WORDS else shown
        size = self.work.training.batch_tokens
        order = Order(planned, size, self.work.seed, beside=features.num_tokens)
        gold = [self.labels.index(row.label or "") for row in rows]
        return LabelOrder(gold, data, shown, features, self.seen, order)

    def parts(self, encoder: nn.Module) -> dict[str, nn.Module]:
        """The text-pair head, made first so that all arms start with the same one, and the prefix that shows images."""
        made: dict[str, nn.Module] = {
            LABEL: build_head(HeadSpec("pair", self.labels), width(encoder), dropout(encoder))
        }
        if self.seen.image != "none":
            features = self.train.features
            made[PREFIX] = VisualPrefix(features.width, features.num_tokens, encoder, self.asked.tower_layers, 0)
        return made

    def batch(self, own: int) -> CaptionBatch:
        """Texts, and what is shown with them."""
        return self.train.batch(own, self.tokenizer.pad_token_id)

    def loss(self, model: JointModel, batch: CaptionBatch) -> torch.Tensor:
        """Cross-entropy, scaled so that every text has the same weight and an average batch has weight 1."""
        if self.view is None:
            self.view = CaptionModel.of(model)
        losses_B = self._losses(self.view, self.train, batch, train=True)[0]
        return losses_B.sum() * (self.order.end(0) / self.rows)

    def cut(self, model: JointModel, batch: CaptionBatch, count: int) -> list[CaptionBatch]:
        """The batch in at most `count` parts. The loss is a sum, so they need no weights."""
        return with_drops(self.seen, batch).cut(count)

    def weight(self, batch: CaptionBatch) -> float:
        """The number of texts in the batch, scaled as in `loss`."""
        return len(batch.text.examples) * self.order.end(0) / self.rows

    def _losses(
        self, view: CaptionModel, order: LabelOrder, batch: CaptionBatch, *, train: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(nats_B, right_B bool): each text's loss, and whether its label is predicted."""
        hidden_BLD = view.states(batch.text, image_prefix(self.seen, view, batch, train=train))
        logits_BC = view.head[LABEL](hidden_BLD).float()
        gold_B = moved(order.gold[batch.text.examples], logits_BC.device)
        return cross_entropy(logits_BC, gold_B, reduction="none"), logits_BC.argmax(1) == gold_B

    def finish(self, model: JointModel, directory: Path) -> None:
        """Write how the held-out texts are judged with their own, a wrong and no image (images.json), and the image
        side, which is no longer needed."""
        view = CaptionModel.of(model).eval()

        def measure(batch: CaptionBatch) -> list[Measured]:
            nats_B, right_B = self._losses(view, self.held, batch, train=False)
            return [(nats, int(right), 1) for nats, right in zip(nats_B.tolist(), right_B.tolist(), strict=True)]

        held = HeldOut(view, self.held, np.arange(len(self.held.gold)), self.tokenizer.pad_token_id)
        losses = held.losses(measure)
        use = ImageUse(
            card=self.asked.card,
            split="dev",
            image=self.seen.image,
            tower=self.asked.tower,
            objectives=(f"{LABEL} (premise: {self.asked.premise})",),
            measured=LABEL,
            losses=tuple(losses),
            scores=tuple(self._accuracies(losses)),
            samples=(),
            seen_languages=self.asked.languages,
        )
        write_record(directory / "images.json", use)
        save_image_side(model, directory)

    def _accuracies(self, losses: Sequence[CaptionLoss]) -> list[CaptionScore]:
        """Accuracy with images shown as in training; in arms with images also with the true, a wrong and no image."""
        found = {
            shown: fmean(float(getattr(one, f"right_{shown}")) for one in losses) for shown in ("true", "wrong", "null")
        }
        values = {ACCURACY: found[AS_TRAINED.get(self.asked.premise, "true")]}
        if self.seen.image != "none":
            values |= {f"{ACCURACY}_{shown}_image": value for shown, value in found.items()}
        return [
            CaptionScore(language="all", metric=name, value=value, n=len(losses), signature=f"{name}|v1")
            for name, value in values.items()
        ]
