"""Recipe fields: what a room adds to a recipe, an arm or a target, and what follows from it for the plan.

A field comes through the door `fields`. `viaduct.runs.spec` adds it to the models, so that it is validated, overridden
by `--set` and dumped like a built-in one; the hooks below are asked where the core checks, plans and describes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, create_model

from viaduct.doors import loaded, offered
from viaduct.errors import UsageError
from viaduct.languages import ENGLISH
from viaduct.runs.census import Census
from viaduct.runs.chain import Chain, GrowingPlan
from viaduct.runs.gaps import Gap
from viaduct.runs.parts import ArmParts, RecipeParts, Retention, TargetParts
from viaduct.runs.rows import Need, Trained
from viaduct.runs.stage import Stage, Work, kind_of
from viaduct.tasks.catalogue import Catalogue

Owner = Literal["recipe", "arm", "target"]

Value = TypeVar("Value")


class RecipeField(Generic[Value]):
    """A field that a room adds; its docstring is the field's description. All hooks do nothing unless overridden."""

    name: str
    owner: Owner
    model: type[Value]
    """Of its value, which may also be None."""
    default: Value | None = None
    generates_data = False
    """Whether a recipe with it runs on data that a room generates, which are no evidence."""
    makes_joint = False
    """Whether an arm that has it trains on everything in one joint stage."""
    member: str | None = None
    """What it adds to the members of a joint stage ("module:NAME", see `viaduct.training.joint`)."""
    predictor: str | None = None
    """What predicts in place of the model as it was trained ("module:NAME", see `viaduct.inference.predict`)."""

    def of(self, owner: BaseModel) -> Value | None:
        """Its value in a recipe, an arm, a target or a work that it was added to; else its default."""
        found: Value | None = getattr(owner, self.name, self.default)
        return found

    def is_set(self, owner: BaseModel) -> bool:
        """Whether it has another value than its default."""
        return self.of(owner) != self.default

    def generate(self, recipe: RecipeParts, cache: Path) -> Path | None:
        """Make the data of a recipe whose data are generated, below `cache`, unless they are there; their folder. None
        where this field says nothing of the kind."""
        return None

    def check(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> None:
        """Raise UsageError where the value makes no sense in this recipe. Called where it is not None."""

    def gaps(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> list[Gap]:
        """Data that it needs and that are not there. Called where it is not None."""
        return []

    def after_intermediate(self, chain: Chain) -> None:
        """Add stages after those of the arm's intermediate tasks."""

    def train_target(self, chain: Chain) -> Stage | None:
        """Add the stage that trains the target, in place of the core's; None leaves it to the core."""
        return None

    def predict_target(self, chain: Chain) -> Stage | None:
        """Add the stage that predicts the target, in place of the core's; None leaves it to the core."""
        return None

    def finish(self, plan: GrowingPlan) -> None:
        """Add stages that come after all arms and targets."""

    def trained_rows(self, recipe: RecipeParts, arm: ArmParts, target: TargetParts, census: Census) -> Trained:
        """Rows that the arm's training of a target reads and the core's does not, to compare with evaluated ones."""
        return {}

    def chosen_rows(self, recipe: RecipeParts, arm: ArmParts, target: TargetParts, census: Census) -> list[Need]:
        """Rows that choose the checkpoints of a target in place of English dev rows, to compare with evaluated ones."""
        return []

    def marks(self, arm: ArmParts, recipe: RecipeParts, catalogue: Catalogue) -> tuple[str, ...]:
        """What sets an arm's results apart, in words that stand beside them: "not zero-shot"."""
        return ()

    def chosen_on(self, arm: ArmParts) -> str | None:
        """What chooses the checkpoints of an arm's targets in place of English dev rows, in words."""
        return None

    def work_fields(self, kind: str) -> Mapping[str, tuple[Any, Any]]:
        """Fields that are added to the work of a kind of core stage: name -> (type, default). Kinds that have been run
        without the field get it with `parts.later(before)` as its default."""
        return {}

    def work_values(self, kind: str, chain: Chain) -> Mapping[str, object]:
        """The values of `work_fields` in the work of a core stage that is about to be added to the chain."""
        return {}

    def needs(self, work: Work, census: Census) -> list[Need]:
        """What a core stage with this work reads because of the field."""
        return []

    def label(self, work: Work) -> str:
        """What is added to the label of a core stage with this work."""
        return ""

    def is_at_work(self, work: Work) -> bool:
        """Whether `member` or `predictor` take part in a core stage with this work."""
        return self.of(work) is not None

    def on_cpu(self, work: Work) -> bool:
        """Whether a core stage with this work runs on the CPU because of the field."""
        return False

    def identity(self, work: Work) -> Mapping[str, Any]:
        """What is added to the identity of a stage: what its work names and does not hold, such as other models."""
        return {}

    def words(self, owner: BaseModel) -> str:
        """Its settings in words, for the report. Called where it is not None."""
        return ""

    def role(self, arm: ArmParts, recipe: RecipeParts) -> str | None:
        """What an arm of this recipe that has no other room's field does, in the words of the claims under test (see
        `viaduct.runs.description`)."""
        return None


@cache
def fields(*owners: Owner) -> tuple[RecipeField[Any], ...]:
    """The fields that rooms add to these owners; to any of them where none is named."""
    found = offered("fields", RecipeField).values()
    return tuple(field for field in found if not owners or field.owner in owners)


def set_fields(owner_name: Owner, owner: BaseModel) -> list[RecipeField[Any]]:
    """The fields of an owner that are not None."""
    return [field for field in fields(owner_name) if field.of(owner) is not None]


def generator(recipe: RecipeParts) -> RecipeField[Any] | None:
    """The field by which the data of a recipe are generated; None for real data."""
    return next((one for one in fields("recipe") if one.generates_data and one.of(recipe)), None)


@cache
def work_model(kind: str) -> type[Work]:
    """The model of a kind's work, with what rooms add to it."""
    model: type[Work] = kind_of(kind).work
    added = {name: given for field in fields() for name, given in field.work_fields(kind).items()}
    if not added:
        return model
    require_new(added, model)
    return create_model(model.__name__, __base__=model, __module__=model.__module__, **added)  # type: ignore[call-overload, no-any-return]


def require_new(names: Iterable[str], model: type[BaseModel]) -> None:
    """Raise UsageError where a room adds a field of a name that the model has."""
    for name in names:
        if name in model.model_fields:
            raise UsageError(f"a plug-in adds the field '{name}', which {model.__name__} has", fix="rename it")


def make_work(kind: str, **values: object) -> Work:
    """The work of a core stage."""
    return work_model(kind).model_validate(values)


def is_joint(arm: ArmParts) -> bool:
    """Whether everything that an arm trains on is one stage."""
    plain = arm.together is None and arm.replay is None and arm.retention == Retention() and arm.languages == (ENGLISH,)
    return not plain or any(field.makes_joint for field in set_fields("arm", arm))


def added_values(kind: str, chain: Chain) -> dict[str, object]:
    """What all fields add to the work of a core stage."""
    return {name: value for field in fields() for name, value in field.work_values(kind, chain).items()}


def added_needs(work: Work, census: Census) -> list[Need]:
    """What a core stage reads because of all fields."""
    return [need for field in fields() for need in field.needs(work, census)]


def added_labels(work: Work) -> list[str]:
    """What all fields add to the label of a core stage."""
    return [words for field in fields() if (words := field.label(work))]


def added_members(work: Work) -> list[Callable[..., Any]]:
    """What makes the members that fields add to a joint stage."""
    return [loaded(field.member) for field in fields() if field.member is not None and field.is_at_work(work)]


def predictor(work: Work) -> Callable[..., Any] | None:
    """What predicts in place of the model as it was trained; None where that does."""
    found = (field.predictor for field in fields() if field.predictor is not None and field.is_at_work(work))
    return next(map(loaded, found), None)
