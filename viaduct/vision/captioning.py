"""Captions as training data: which captions make up the batch of a step, and what is shown as their images.

The batches, the objective of each step and the masks depend only on the captions, the seed and the step, so arms that
differ only in the image are trained on the same captions, in the same order, with the same masks.

Shape letters: B captions, P visual tokens, L text tokens, V width of the features, N images, K further images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from viaduct.encode.batch import Batch, BatchSize, collate, moved, rows_of, split
from viaduct.encode.tokens import Array, Encoded
from viaduct.errors import DataError
from viaduct.models.numerics import derived_seed
from viaduct.rows import Sentence
from viaduct.training.masking import Masked
from viaduct.training.order import Order
from viaduct.vision.features import Features
from viaduct.vision.fields import Captions
from viaduct.vision.rows import Captioned, Picture

NOISE_IMAGES = 2000
"""Roughly how many images the mean and covariance of the noise are computed from (fewer than twice as many)."""


@dataclass(frozen=True)
class CaptionSet:
    """Single captions, and the images that they describe."""

    captions: list[Sentence]
    image_of: Array
    """(captions,) index of the image in `pictures`."""
    language_of: Array
    """(captions,) index of the language in `languages`."""
    pictures: list[tuple[str, Picture]]
    languages: tuple[str, ...]


def caption_set(rows: Sequence[Captioned], languages: Sequence[str], asked: Captions, seed: int) -> CaptionSet:
    """The captions of these rows, with the images in the order of their ids.

    With `train_images` a seeded sample of the images; with `one_language_per_image` each keeps one of its languages.
    Rows without an image are left out. Raises DataError if nothing is left.
    """
    pictures = {row.id: row.image for row in rows if row.image is not None}
    ids = sorted(pictures)
    generator = np.random.default_rng(derived_seed("images", seed))
    if asked.train_images is not None and asked.train_images < len(ids):
        ids = [ids[at] for at in sorted(generator.choice(len(ids), asked.train_images, replace=False))]
    kept = {id: number for number, id in enumerate(ids)}
    numbers = {code: number for number, code in enumerate(languages)}
    chosen = [row for row in rows if row.id in kept and row.captions]
    if asked.one_language_per_image:
        own: dict[str, list[Captioned]] = {}
        for row in chosen:
            own.setdefault(row.id, []).append(row)
        chosen = [members[int(generator.integers(len(members)))] for _, members in sorted(own.items())]
    flat = [(row, at) for row in chosen for at in range(len(row.captions))]
    if not flat:
        raise DataError(f"{asked.card}: no image with a caption is left", fix="see `viaduct check` for this card")
    return CaptionSet(
        captions=[Sentence(f"{row.id}/{at}", row.language, row.captions[at]) for row, at in flat],
        image_of=np.array([kept[row.id] for row, _ in flat]),
        language_of=np.array([numbers[row.language] for row, _ in flat]),
        pictures=[(id, picture) for id in ids if (picture := pictures[id]) is not None],
        languages=tuple(languages),
    )


@dataclass(frozen=True)
class CaptionBatch:
    """Captions of one step, and what is shown as their images; tensors of features are None if they are not needed."""

    objective: str
    text: Batch
    image_B: torch.Tensor
    """Index of each caption's own image, even if something else is shown."""
    language_B: torch.Tensor
    patches_BPV: torch.Tensor | None
    pooled_BV: torch.Tensor | None
    other: Batch | None
    """Another caption of each caption's image, if captions are shown as images."""
    bank_KV: torch.Tensor | None
    visual: int
    """Number of visual tokens before each text."""
    masked: Masked | None = None
    """The text with masks, once they are drawn."""
    dropped_B: torch.Tensor | None = None
    """bool: texts that lose their image, once drawn."""
    wrong: tuple[torch.Tensor, torch.Tensor] | None = None
    """(indices of the wrong images, of the wrong texts) for the batch's first texts, once drawn."""
    known: Known | None = None
    """In a part of a batch: the vectors of the whole step's texts and images."""
    share: float = 1.0
    """In a part of a batch: the weight of its mean in that of the whole batch."""

    @property
    def copies(self) -> int:
        """How often the encoder reads the text: a second time, as masks, if all tokens are predicted in one pass."""
        return 2 if self.objective == "ar_caption" else 1

    @property
    def size(self) -> BatchSize:
        """The size of what goes through the encoder, visual tokens and pseudo-masks included."""
        count, length = self.text.ids_BL.shape
        before, width = self.visual * count, self.visual + self.copies * length
        own = BatchSize(before + self.copies * self.text.tokens, count * width, count * width**2)
        return own if self.other is None else own + self.other.size

    def to(self, device: torch.device) -> CaptionBatch:
        """The same batch on a device."""
        parts = {name: part for name in self.__dataclass_fields__ if hasattr(part := getattr(self, name), "to")}
        sent: dict[str, Any] = {
            name: moved(part, device) if isinstance(part, torch.Tensor) else part.to(device)
            for name, part in parts.items()
        }
        return replace(self, **sent)

    def take(self, at: Array) -> CaptionBatch:
        """The batch's captions at these indices."""
        rows = torch.from_numpy(at)
        texts = {name: one and one.take(at) for name in ("text", "masked", "other") for one in [getattr(self, name)]}
        alike = ("image_B", "language_B", "patches_BPV", "pooled_BV", "dropped_B")
        return replace(self, **texts, **{name: rows_of(getattr(self, name), rows) for name in alike})

    def cut(self, count: int) -> list[CaptionBatch]:
        """The batch in at most `count` parts, each with its share of the captions."""
        whole = len(self.image_B)
        return [replace(self.take(at), share=len(at) / whole) for at in split(whole, count)]


class Known(NamedTuple):
    """Vectors of a whole step, without gradient; a part recomputes its own, which start at index `begin`."""

    texts_NE: torch.Tensor
    images_NE: torch.Tensor
    image_N: torch.Tensor
    """Indices of the images."""
    begin: int

    def around(self, texts_BE: torch.Tensor, images_BE: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The vectors of all texts and of all images, with the given ones in their places."""
        end = self.begin + len(texts_BE)
        pairs = ((self.texts_NE, texts_BE), (self.images_NE, images_BE))
        texts_NE, images_NE = (torch.cat([whole[: self.begin], own, whole[end:]]) for whole, own in pairs)
        return texts_NE, images_NE


LABEL = "label"
"""Objective of a batch whose texts have a label each."""
PREFIXED = ("ar_caption", "mlm_caption", "itm", LABEL)
"""Objectives that put the image before the text."""


class CaptionOrder:
    """The batch of every step."""

    def __init__(self, data: CaptionSet, encoded: Encoded, features: Features, asked: Captions, order: Order) -> None:
        self.data, self.encoded, self.features, self.asked, self.order = data, encoded, features, asked, order
        self.ids = [id for id, _ in data.pictures]
        self.names: list[str] = [one.name for one in asked.objectives]
        shares = np.array([one.share for one in asked.objectives])
        self.shares = shares / shares.sum()
        self._by_image = np.argsort(data.image_of, kind="stable")
        self._starts = np.searchsorted(data.image_of[self._by_image], np.arange(len(self.ids) + 1))

    def batch(self, step: int, pad_id: int) -> CaptionBatch:
        """The captions of this step, and what is shown as their images."""
        asked, seed = self.asked, self.order.seed
        generator = np.random.default_rng(derived_seed("captions", seed, step))
        objective = self.names[int(generator.choice(len(self.names), p=self.shares))]
        examples = self.order.batch(step)
        image_B = self.data.image_of[examples]
        shown_B = self._shown(image_B, examples, self.order.epoch_of(step))
        has_images = asked.image not in ("none", "null", "text")
        before, compared = objective in PREFIXED, objective in ("contrastive", "itm")
        patches = has_images and (before or (compared and asked.tower_layers > 0))
        pooled = has_images and (objective == "imagine" or (compared and not asked.tower_layers))
        bank = has_images and objective == "contrastive" and asked.contrast == "softmax" and asked.negatives > 0
        # Always draw in this order: arms that draw less then share the earlier draws with the others.
        return CaptionBatch(
            objective=objective,
            text=collate(self.encoded, examples, pad_id),
            image_B=torch.from_numpy(image_B),
            language_B=torch.from_numpy(self.data.language_of[examples]),
            patches_BPV=self._seen(shown_B, generator, self.features.tokens) if patches else None,
            pooled_BV=self._seen(shown_B, generator, self.features.pooled) if pooled else None,
            other=collate(self.encoded, self._others(examples, generator), pad_id) if asked.image == "text" else None,
            bank_KV=self._bank(image_B, generator) if bank else None,
            visual=0 if asked.image == "none" or not before else self.features.num_tokens,
        )

    def _shown(self, image_B: Array, examples: Array, epoch: int) -> Array:
        """The index of the image that is shown for each caption."""
        count, seed = len(self.ids), self.order.seed
        if self.asked.image == "shuffled_caption" and count > 1:
            generator = np.random.default_rng(derived_seed("shuffled", seed, epoch))
            shown_B: Array = (image_B + generator.integers(1, count, len(self.data.captions))[examples]) % count
            return shown_B
        return deranged(count, seed)[image_B] if self.asked.image == "shuffled_image" else image_B

    def _seen(self, shown_B: Array, generator: np.random.Generator, read: Callable[[Array], Array]) -> torch.Tensor:
        """Features of the images that are shown, or noise of the same shape."""
        if self.asked.image != "noise":
            return torch.from_numpy(read(shown_B))
        mean, root = self._noise
        shape = (len(shown_B), *read(shown_B[:1]).shape[1:])
        return torch.from_numpy((mean + generator.standard_normal(shape) @ root.T).astype(np.float32))

    @cached_property
    def _noise(self) -> tuple[Array, Array]:
        """(mean, square root of the covariance) of the patches of some images."""
        sample = np.arange(len(self.ids))[:: max(1, len(self.ids) // NOISE_IMAGES)]
        known = self.features.tokens(sample).reshape(-1, self.features.width).astype(np.float64)
        values, vectors = np.linalg.eigh(np.cov(known, rowvar=False).reshape(known.shape[1], known.shape[1]))
        return known.mean(0), vectors * np.sqrt(values.clip(min=0))

    def _others(self, examples: Array, generator: np.random.Generator) -> Array:
        """Another caption of the same image for each caption (the caption itself if there is no other)."""
        return np.array([self._another(int(example), generator) for example in examples])

    def _another(self, example: int, generator: np.random.Generator) -> int:
        image = int(self.data.image_of[example])
        siblings = self._by_image[self._starts[image] : self._starts[image + 1]]
        siblings = siblings[siblings != example]
        return int(siblings[int(generator.integers(len(siblings)))]) if len(siblings) else example

    def _bank(self, image_B: Array, generator: np.random.Generator) -> torch.Tensor:
        """Features of further images, to which no caption of the step belongs."""
        others = np.setdiff1d(np.arange(len(self.ids)), image_B)
        drawn = generator.choice(others, min(self.asked.negatives, len(others)), replace=False)
        return torch.from_numpy(self.features.pooled(drawn))


def deranged(count: int, seed: int) -> Array:
    """A fixed wrong image for every image: the previous one in a seeded order."""
    order = np.random.default_rng(derived_seed("wrong image", seed)).permutation(count)
    wrong = np.empty(count, dtype=np.int64)
    wrong[order] = np.roll(order, 1)
    return wrong
