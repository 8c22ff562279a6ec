"""An arm's field `captions`: images with captions as training data, and what a plan has to know about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel

from viaduct.errors import UsageError
from viaduct.languages import ENGLISH
from viaduct.results.xtreme import INTERMEDIATES
from viaduct.runs.bounds import (
    Above,
    Count,
    Distinct,
    InnerShare,
    Natural,
    Share,
    ShareBelowAll,
    Some,
    Width,
    folder,
    later,
)
from viaduct.runs.census import Census
from viaduct.runs.chain import Chain
from viaduct.runs.encoder import encoder_identity
from viaduct.runs.field import RecipeField
from viaduct.runs.gaps import Gap, card_of_kind, model_gaps, there
from viaduct.runs.parts import ArmParts, RecipeParts, Spec
from viaduct.runs.rows import Need
from viaduct.runs.stage import Work

RAW_PIXELS = "patches"
"""Prefix of the names of towers without weights."""
CAPTION_SPLITS = ("train", "dev")
"""The split that is trained on, and the one on which the use of the image is measured."""


class Objective(Spec):
    """One training objective on images and captions, and the share of the steps that train it."""

    name: Literal["ar_caption", "mlm_caption", "contrastive", "itm", "imagine"]
    """ar_caption: write the caption. mlm_caption: fill in its masked words. contrastive: find the image among others.
    itm: tell whether image and caption belong together. imagine: predict the image's vector."""
    share: Above = 1.0
    """Share of the steps that train this objective, relative to the shares of the others."""


ImageSource = Literal["true", "null", "shuffled_caption", "shuffled_image", "noise", "text", "none"]


class Captions(Spec):
    """Images with captions as training data: which captions, which image tower, and which objectives."""

    card: str
    """A card of kind "captioned"."""
    objectives: tuple[Objective, ...] = (
        Objective(name="ar_caption", share=0.75),
        Objective(name="mlm_caption", share=0.25),
    )
    image: ImageSource = "true"
    """What is shown as the image: its own features ("true"), or as a control one learned constant ("null"), another
    image drawn anew for every caption and epoch ("shuffled_caption"), always the same wrong image ("shuffled_image"),
    Gaussian noise with the mean and covariance of the features ("noise"), another caption of the same image ("text",
    contrastive only) or nothing ("none")."""
    tower: str = folder("patches")
    """A vision model's Hub name (`tower_revision` is its commit) or folder, or "patches" (raw pixels, no weights)."""
    tower_revision: str | None = None
    tower_tokens: Count = 64
    """Maximum number of visual tokens per image; finer patches are averaged."""
    tower_layers: Natural = 0
    """Number of convolutions over raw pixels that are trained with the stage; only for the tower without weights."""
    languages: Some[str] | None = None
    """Languages of the captions; None: every language whose captions are available."""
    one_language_per_image: bool = False
    """Keep each image's captions in one language only (drawn by the seed), so that no parallel text is left."""
    train_images: Count | None = None
    """Number of training images used (a seeded sample); None: all."""
    dev_captions: Count = 300
    """Number of held-out captions on which the use of the image is measured (a fixed sample)."""
    written: Natural = 120
    """ar_caption: number of captions that the model writes for held-out images after training."""
    mask_fraction: InnerShare = 0.4
    """mlm_caption: share of tokens to mask, by whole words, rare words more often; at least one per caption."""
    label_smoothing: ShareBelowAll = 0.1
    """ar_caption: label smoothing of the loss."""
    null_share: Share = 0.1
    """Share of the captions whose image is replaced by the learned null image."""
    contrast: Literal["sigmoid", "softmax"] = "sigmoid"
    """contrastive: "sigmoid" (SigLIP's loss) or "softmax" (two-way InfoNCE). All captions of an image are positives."""
    negatives: Natural = 0
    """contrastive with softmax: number of extra images drawn for every step that belong to no caption of the batch."""
    common_width: Width = 256
    """contrastive: width of the space in which texts and images are compared."""
    retrieval_languages: Distinct[str] = later(())
    """contrastive: further languages in which held-out images are retrieved by their captions. Recall is then also
    reported by language: one caption per image, of images with captions in all of these and the training languages."""
    skip_damaged: bool = False
    """Leave out images that cannot be opened; otherwise the stage fails with an error that names the first few."""


ROLE_ENDINGS = {
    "true": "",
    "none": "_text_only",
    "text": "_text_only",
    "shuffled_caption": "_shuffled_caption",
    "shuffled_image": "_shuffled_image",
    "null": "_null_image",
}
"""What is shown as the image -> ending of the arm's role; noise has no role."""


class CaptionsField(RecipeField[Captions]):
    """Images with captions that the arm trains on, in one joint stage with all its other training data."""

    name = "captions"
    owner = "arm"
    model = Captions
    makes_joint = True
    member = "viaduct.vision.member:CaptionMember"

    def check(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> None:
        """Raise UsageError for a card of another kind, and for settings that conflict."""
        asked, where = self.of(owner), f"arm '{getattr(owner, 'name', '')}'"
        if asked is not None:
            card_of_kind(census, asked.card, "captioned", f"{where}: captions")
            _check_captions(asked, where)

    def gaps(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> list[Gap]:
        """A tower that cannot be loaded, and missing captions."""
        asked = self.of(owner)
        if asked is None:
            return []
        found = tower_gaps(asked.tower, asked.tower_revision)
        found += there((asked.card,), asked.languages, CAPTION_SPLITS, recipe, census)[1]
        if asked.retrieval_languages:
            found += there((asked.card,), asked.retrieval_languages, CAPTION_SPLITS[1:], recipe, census)[1]
        return found

    def work_fields(self, kind: str) -> Mapping[str, tuple[Any, Any]]:
        """The captions, and the languages whose captions are available."""
        if kind != "joint":
            return {}
        return {"captions": (Captions | None, None), "caption_languages": (tuple[str, ...], ())}

    def work_values(self, kind: str, chain: Chain) -> Mapping[str, object]:
        """The captions, and the languages whose files are available."""
        asked = self.of(chain.arm)
        if kind != "joint" or asked is None:
            return {}
        languages, _ = there((asked.card,), asked.languages, CAPTION_SPLITS, chain.recipe, chain.census)
        return {"captions": asked, "caption_languages": languages}

    def needs(self, work: Work, census: Census) -> list[Need]:
        """Train and dev captions."""
        asked = self.of(work)
        if asked is None:
            return []
        read = [(asked.card, split, code) for split in CAPTION_SPLITS for code in languages_of(work)]
        return read + [(asked.card, CAPTION_SPLITS[1], code) for code in asked.retrieval_languages]

    def label(self, work: Work) -> str:
        """The card."""
        asked = self.of(work)
        return "" if asked is None else f"captions of {asked.card}"

    def identity(self, work: Work) -> Mapping[str, Any]:
        """What identifies the image tower, if it has weights."""
        asked = self.of(work)
        return {} if asked is None else tower_identity(asked.tower, asked.tower_revision)

    def words(self, owner: BaseModel) -> str:
        """The card, the objectives, what is shown as the image, and the tower."""
        asked = self.of(owner)
        if asked is None:
            return ""
        objectives = ", ".join(f"{one.name} {one.share:g}" for one in asked.objectives)
        return f"{asked.card} captions ({objectives}; image: {asked.image}; tower {asked.tower})"

    def role(self, arm: ArmParts, _recipe: RecipeParts) -> str | None:
        """The arm's role. Replayed text and retention do not affect it, because the controls have them too."""
        asked = self.of(arm)
        objectives = {one.name for one in asked.objectives} if asked is not None else set()
        if objectives and objectives <= {"ar_caption", "mlm_caption"}:
            stage = "caption"
        elif objectives == {"contrastive"}:
            stage = "contrastive"
        else:
            return None
        if asked is None or asked.image not in ROLE_ENDINGS or arm.languages != (ENGLISH,):
            return None
        if not arm.tasks:
            return stage + ROLE_ENDINGS[asked.image]
        alone = len(arm.tasks) == 1 and arm.tasks[0] in INTERMEDIATES and asked.image == "true"
        return f"{stage}+{arm.tasks[0]}" if alone else None


CAPTIONS = CaptionsField()


def languages_of(work: Work) -> tuple[str, ...]:
    """The languages whose captions a joint stage trains on."""
    found: tuple[str, ...] = getattr(work, "caption_languages", ())
    return found


def tower_identity(tower: str, revision: str | None) -> Mapping[str, Any]:
    """What identifies an image tower, if it has weights."""
    return {} if tower.startswith(RAW_PIXELS) else {"tower": encoder_identity(tower, revision)}


def tower_gaps(tower: str, revision: str | None) -> list[Gap]:
    """A gap for a tower that is not a local folder and cannot be downloaded because it has no revision."""
    return [] if tower.startswith(RAW_PIXELS) else model_gaps("the image tower", tower, revision, "tower_revision")


def _check_captions(captions: Captions, where: str) -> None:
    names = [one.name for one in captions.objectives]
    apart = {"contrastive", "itm", "imagine"} & set(names)
    if len(set(names)) < len(names) or not names:
        raise UsageError(f"{where}: objectives {', '.join(names) or 'none'}", fix="name each objective once")
    if captions.image == "none" and apart:
        fix = 'use another `image`, such as "null"'
        raise UsageError(f"{where}: not possible without images: {', '.join(sorted(apart))}", fix=fix)
    if captions.image == "text" and names != ["contrastive"]:
        fix = "use the objective contrastive alone"
        raise UsageError(f"{where}: captions can replace images only in contrastive", fix=fix)
    if captions.retrieval_languages and ("contrastive" not in names or captions.image == "text"):
        fix = "add the objective contrastive, or leave retrieval_languages out"
        raise UsageError(f"{where}: images can be retrieved by caption only in stages with contrastive", fix=fix)
    if captions.negatives and captions.tower_layers:
        fix = "set negatives=0, or tower_layers=0"
        raise UsageError(f"{where}: further negatives need features that are not trained", fix=fix)
    if captions.negatives and (captions.contrast != "softmax" or "contrastive" not in names):
        fix = 'set contrast="softmax", or negatives=0'
        raise UsageError(f"{where}: further negatives need contrastive with softmax", fix=fix)
