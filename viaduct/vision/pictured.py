"""An arm's field `pictured`: images with a text and a label as training data, and what a plan has to know of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel

from viaduct.errors import UsageError
from viaduct.languages import ENGLISH
from viaduct.runs.bounds import Count, Natural, Share, later
from viaduct.runs.census import Census
from viaduct.runs.chain import Chain
from viaduct.runs.field import RecipeField
from viaduct.runs.gaps import Gap, card_of_kind, there
from viaduct.runs.parts import RecipeParts, Spec
from viaduct.runs.rows import Need, source_of
from viaduct.runs.stage import Work
from viaduct.vision.fields import (
    CAPTION_SPLITS,
    CAPTIONS,
    RAW_PIXELS,
    Captions,
    ImageSource,
    tower_gaps,
    tower_identity,
)
from viaduct.vision.rows import Pictured

Premise = Literal["text", "image", "both", "none", "wrong_image", "null_image"]

SHOWN: Mapping[Premise, ImageSource] = {
    "text": "none",
    "image": "true",
    "both": "true",
    "none": "none",
    "wrong_image": "shuffled_image",
    "null_image": "null",
}
"""Premise -> what is shown as the image."""
IN_WORDS = ("text", "both")
"""Values of `premise` that show the premise as text."""


class PicturedTask(Spec):
    """Images with a text and a label each as training data, such as visual entailment or questions about pictures."""

    card: str
    """A card of kind "pictured"."""
    premise: Premise = "image"
    """What is shown with the text to be judged: "text" (a description of the image in words), "image", "both", "none"
    (neither), "wrong_image" (always the same wrong image) or "null_image" (one learned constant). Arms that differ only
    in this have the same rows, order and steps."""
    tower: str = RAW_PIXELS
    """A vision model's Hub name (`tower_revision` is its commit) or folder, or "patches" (raw pixels, no weights)."""
    tower_revision: str | None = None
    tower_tokens: Count = 64
    """Maximum number of visual tokens per image; finer patches are averaged."""
    tower_layers: Natural = 0
    """Number of convolutions over raw pixels that are trained with the stage; only for the tower without weights."""
    languages: tuple[str, ...] = (ENGLISH,)
    null_share: Share = 0.1
    """Share of the training rows whose image is replaced by the learned null image."""
    skip_damaged: bool = False
    """Leave out images that cannot be opened; otherwise the stage fails with an error that names the first few."""

    @property
    def seen(self) -> Captions:
        """How the images are shown, in the form that stages with captions use."""
        return Captions(
            card=self.card,
            image=SHOWN[self.premise],
            tower=self.tower,
            tower_revision=self.tower_revision,
            tower_tokens=self.tower_tokens,
            tower_layers=self.tower_layers,
            null_share=self.null_share,
            skip_damaged=self.skip_damaged,
        )


class PicturedField(RecipeField[PicturedTask]):
    """Images with a text and a label that the arm trains on, in one joint stage with all its other training data."""

    name = "pictured"
    owner = "arm"
    model = PicturedTask
    makes_joint = True
    member = "viaduct.vision.labelling:LabelMember"

    def check(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> None:
        """Raise UsageError for a card of another kind, and for captions in the same arm."""
        asked, where = self.of(owner), f"arm '{getattr(owner, 'name', '')}'"
        if asked is None:
            return
        card_of_kind(census, asked.card, "pictured", f"{where}: pictured")
        if CAPTIONS.of(owner) is not None:
            raise UsageError(f"{where} has both `captions` and `pictured`", fix="split it into two arms")

    def gaps(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> list[Gap]:
        """A tower that cannot be loaded, missing rows, and rows without the premise text that is to be shown."""
        asked = self.of(owner)
        if asked is None:
            return []
        found = tower_gaps(asked.tower, asked.tower_revision)
        found += there((asked.card,), asked.languages, CAPTION_SPLITS, recipe, census)[1]
        if found or asked.premise not in IN_WORDS:
            return found
        for split, code in ((split, code) for split in CAPTION_SPLITS for code in asked.languages):
            if census.count(*source_of(asked.card, split, recipe.substitutions), code).fewest_texts > 1:
                continue  # known without reading them
            rows = census.data.load(asked.card, split, code, recipe.substitutions).rows
            bare = [row for row in rows if isinstance(row, Pictured) and row.premise is None]
            if bare:
                why = f"{len(bare):,} of {len(rows):,} rows do not say in words what the image shows"
                found.append(Gap(f"{asked.card} {split}", code, f'{why}, but the premise is "{asked.premise}"'))
        return found

    def work_fields(self, kind: str) -> Mapping[str, tuple[Any, Any]]:
        """The field itself, in the work of joint stages."""
        return {self.name: (PicturedTask | None, later(None))} if kind == "joint" else {}

    def work_values(self, kind: str, chain: Chain) -> Mapping[str, object]:
        """The arm's value of the field, for joint stages."""
        return {self.name: self.of(chain.arm)} if kind == "joint" else {}

    def needs(self, work: Work, census: Census) -> list[Need]:
        """Train and dev rows."""
        asked = self.of(work)
        return (
            [] if asked is None else [(asked.card, split, code) for split in CAPTION_SPLITS for code in asked.languages]
        )

    def label(self, work: Work) -> str:
        """The card and the premise."""
        asked = self.of(work)
        return "" if asked is None else f"{asked.card} (premise: {asked.premise})"

    def identity(self, work: Work) -> Mapping[str, Any]:
        """What identifies the image tower, if it has weights."""
        asked = self.of(work)
        return {} if asked is None else tower_identity(asked.tower, asked.tower_revision)

    def words(self, owner: BaseModel) -> str:
        """The card, the premise and the tower."""
        asked = self.of(owner)
        return "" if asked is None else f"{asked.card} (premise: {asked.premise}; tower {asked.tower})"


PICTURED = PicturedField()
