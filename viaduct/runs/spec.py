"""A recipe: a declared experiment, as frozen models that a Python file builds or a YAML file is parsed into.

The models are those of the core (`viaduct.runs.parts`) with the fields that rooms add (`viaduct.runs.field`). Recipes
import them from here, and a room's own models from the room; rooms themselves import `parts` and `field`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, create_model

from viaduct.results.record import BASELINE
from viaduct.runs.field import Owner, fields, require_new
from viaduct.runs.parts import (
    Architecture,
    ArmParts,
    Mixture,
    Pretrain,
    RecipeParts,
    Replay,
    Retention,
    Retrieval,
    Saw,
    Substitution,
    TargetParts,
    Training,
)

__all__ = [
    "Architecture",
    "Intermediate",
    "Mixture",
    "Pretrain",
    "Recipe",
    "Replay",
    "Retention",
    "Retrieval",
    "Saw",
    "Substitution",
    "Target",
    "Training",
]


def _added(owner: Owner, model: type[BaseModel]) -> dict[str, Any]:
    """The fields that rooms add to one of the models."""
    require_new((field.name for field in fields(owner)), model)
    return {
        field.name: (field.model | None, Field(default=field.default, description=field.__doc__))
        for field in fields(owner)
    }


if TYPE_CHECKING:

    class Intermediate(ArmParts):
        """An arm; see `ArmParts`."""

        def __init__(self, **fields: Any) -> None: ...

    class Target(TargetParts):
        """A target; see `TargetParts`."""

        def __init__(self, **fields: Any) -> None: ...

    class Recipe(RecipeParts):
        """A recipe; see `RecipeParts`."""

        def __init__(self, **fields: Any) -> None: ...

else:
    Intermediate = create_model(
        "Intermediate", __base__=ArmParts, __module__=__name__, __doc__=ArmParts.__doc__, **_added("arm", ArmParts)
    )
    Target = create_model(
        "Target",
        __base__=TargetParts,
        __module__=__name__,
        __doc__=TargetParts.__doc__,
        **_added("target", TargetParts),
    )
    Recipe = create_model(
        "Recipe",
        __base__=RecipeParts,
        __module__=__name__,
        __doc__=RecipeParts.__doc__,
        intermediates=(tuple[Intermediate, ...], (Intermediate(name=BASELINE),)),
        targets=(tuple[Target, ...], ...),
        **_added("recipe", RecipeParts),
    )
