"""A target's field `fusion`: where its translations are, and how many layers read both languages."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Annotated, cast

from pydantic import AfterValidator, BaseModel, Field

from viaduct.errors import UsageError, nearest, shortened
from viaduct.languages import ENGLISH, is_language, language, name_of
from viaduct.rows import Pair, Span, Tagged
from viaduct.runs.bounds import Some
from viaduct.runs.census import Census
from viaduct.runs.chain import lineage
from viaduct.runs.encoder import cached_file, shape_of
from viaduct.runs.field import RecipeField
from viaduct.runs.parts import ArmParts, Pretrain, RecipeParts, Spec, TargetParts
from viaduct.runs.rows import source_of

FUSABLE = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert")
"""Model types whose only positions are in the embeddings, so that two texts keep their own when they are joined."""

_DISTANCES = "its layers score distances between tokens, and two texts have none between them"
OTHERS = "it is known to be exact for encoders of a few types only"
REASONS = {
    "modernbert": "its layers turn positions into rotations, and most of them see a window of neighbours only: tokens "
    "of two texts are not neighbours",
    "deberta": _DISTANCES,
    "deberta-v2": _DISTANCES,
    "albert": "all its layers are one module, so fusing only some of them is impossible",
}
"""Model type -> why it cannot be fused; `OTHERS` for types that are not listed."""

TEMPERATURES = {"pair": 0.1, "span": 6.0, "tagged": 1.0}
"""Kind -> default temperature of self-teaching: the defaults of the authors' code (yuwfan/FILTER at 6dac390)."""


def _as_known(code: str) -> str:
    return language(code).code if is_language(code) else code


Codes = Some[Annotated[str, AfterValidator(_as_known)]]
"""Language codes, normalised to those that cards use: "DE" and "deu" become "de"."""


class Fusion(Spec):
    """How a target is trained on rows and their translations together, in arms that ask for it (`fused`, `train`).

    The layers are those of FILTER (arXiv 2009.05166): `local` layers read each language separately, `fused` layers read
    both together, the rest read them separately again; all weights are shared. Its authors use 1 and 1 of 24 layers for
    pairs and tagging, 1 and 20 for questions.
    """

    local: int = Field(default=1, ge=0, le=10_000)
    """m: number of lowest layers, which read each language separately."""
    fused: int = Field(default=1, ge=0, le=10_000)
    """k: number of layers above them, which read both languages; 0: none, as in plain training."""
    train: str | None = None
    """Card with translations of the English train rows, by id; None: the card that the target is trained on."""
    test: str | None = None
    """Card with English translations of the rows to predict, by language and id; None: there are none."""
    languages: Codes | None = None
    """Languages whose translations are trained on; None: all that are available."""
    most_missing: float = Field(default=0.0, ge=0, le=1)
    """Share of a language's rows that may lack a translation; they are then left out of training, and predicted
    alone."""
    alpha: float = Field(default=0.5, gt=0, le=1)
    """Self-teaching: weight of the teacher's soft labels for translated text; the given labels have 1 - alpha. The
    default is ours: the paper's values are not published."""
    temperature: float | None = Field(default=None, gt=0, le=1_000)
    """Self-teaching: divisor of the logits; None: 0.1 for pairs, 6 for questions, 1 for tagging, the defaults of the
    authors' code."""


class FusionField(RecipeField[Fusion]):
    """Where a target's translations are, and how arms that read both languages together do so; has no effect by
    itself."""

    name = "fusion"
    owner = "target"
    model = Fusion

    def check(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> None:
        """Raise UsageError for more layers than the encoder has, and for cards that cannot be translations."""
        target = cast(TargetParts, owner)
        asked, where = fusion_of(target), f"target '{target.task}': fusion"
        _require_layers(asked, recipe.encoder, recipe.revision, where)
        card = census.task(target.task)
        originals = census.task(asked.train or card.trained_on or card.name)
        others = [code for code in originals.languages if code != ENGLISH]
        require_languages(asked.languages or (), others, f"{where}: {originals.name} has no translations in")
        for name in (asked.train, asked.test):
            other = card if name is None else census.task(name)
            if other.kind != card.kind:
                raise UsageError(f"{where} names {name}, of kind '{other.kind}'", fix=f"name one of kind '{card.kind}'")
            if {*other.labels} != {*card.labels} and other.labels and card.labels:
                raise UsageError(
                    f"{where} names {name}, which has the labels {', '.join(other.labels)}: no translations of"
                    f" {card.name}",
                    fix=f"name a card with the labels {', '.join(card.labels)}",
                )
        if asked.test == target.task:
            raise UsageError(f"{where}.test names {target.task} itself", fix="name a card of translations of its rows")

    def words(self, owner: BaseModel) -> str:
        """The layers, and where the translations are, in words."""
        target = cast(TargetParts, owner)
        one = fusion_of(target)
        where = f"; translations of train rows: {one.train}" * (one.train is not None)
        where += f"; of rows to predict: {one.test}" * (one.test is not None)
        return f"{one.local} local and {one.fused} fused layers{where}; {one.most_missing:.0%} may be missing"


FUSION = FusionField()


def fusion_of(target: TargetParts) -> Fusion:
    """The target's `fusion`, or the defaults."""
    return FUSION.of(target) or Fusion()


def require_languages(given: Iterable[str], allowed: Collection[str], lacks: str) -> None:
    """Raise UsageError for a language that is not allowed; `lacks` begins the message: "mnli has no language"."""
    for code in given:
        if code not in allowed:
            names = {name_of(one): one for one in allowed}
            close = None if is_language(code) else names.get(nearest(code, names) or "")
            meant = f"; did you mean '{close}'?" if close else ""
            raise UsageError(f"{lacks} '{shortened(code)}'{meant}", fix=f"use some of: {', '.join(allowed)}")


def require_fusable(recipe: RecipeParts, arm: ArmParts, target: TargetParts, census: Census) -> None:
    """Raise UsageError, with the reason, for an encoder (the arm's own, or else the recipe's) or a kind of row that
    cannot be fused."""
    first = lineage(arm, recipe)[0]
    own = first.encoder is not None
    encoder, revision = (first.encoder or recipe.encoder), (first.revision if own else recipe.revision)
    where = f"arm '{arm.name}': fused"
    found = model_type(encoder, revision)
    if found not in (None, *FUSABLE):
        which = f"its `encoder`, of type '{found}'," if own else f"an encoder of type '{found}'"
        raise UsageError(
            f"{where}: {which} cannot be fused: {REASONS.get(found, OTHERS)}", fix=f"use one of {', '.join(FUSABLE)}"
        )
    _require_layers(fusion_of(target), encoder, revision, f"{where}: `fusion` of {target.task}")
    if not issubclass(census.task(target.task).row_kind.row, (Pair, Span, Tagged)):
        kind = census.task(target.task).kind
        raise UsageError(
            f"{where}: {target.task} has rows of kind '{kind}', but only pairs, spans and tagged rows can be fused",
            fix="leave it out",
        )


def _require_layers(asked: Fusion, encoder: str | Pretrain, revision: str | None, where: str) -> None:
    shape = shape_of(encoder, revision)
    if shape is not None and asked.local + asked.fused > shape.layers:
        name = encoder.name if isinstance(encoder, Pretrain) else encoder
        raise UsageError(
            f"{where} has {asked.local} local and {asked.fused} fused layers; the encoder has {shape.layers} ({name})",
            fix=f"set local + fused to {shape.layers} or less",
        )


def model_type(encoder: str | Pretrain, revision: str | None) -> str | None:
    """The encoder's model type; None if no local file states it."""
    if isinstance(encoder, Pretrain):
        return "xlm-roberta"
    path = cached_file(encoder, revision, "config.json")
    if path is None or not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    return found if isinstance(found, str) else None


def translated_languages(target: TargetParts, recipe: RecipeParts, census: Census) -> tuple[str, tuple[str, ...]]:
    """(the card with translations of the train rows, the requested languages or else those it has files for)."""
    asked = fusion_of(target)
    card = census.task(asked.train or census.task(target.task).trained_on or target.task)
    if asked.languages is not None:
        return card.name, asked.languages
    source = source_of(card.name, "train", recipe.substitutions)
    codes = [code for code in census.task(source[0]).languages if code != ENGLISH and code in card.languages]
    return card.name, tuple(code for code in codes if census.problem(*source, code, labelled=False) is None)
