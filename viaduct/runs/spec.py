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


def _extended(name: str, core: type[BaseModel], owner: Owner, **changed: Any) -> Any:
    """One of the core's models, under a name of its own, with `changed` fields and those that rooms add to it."""
    require_new((field.name for field in fields(owner)), core)
    added: dict[str, Any] = {
        field.name: (field.model | None, Field(default=field.default, description=field.__doc__))
        for field in fields(owner)
    }
    return create_model(name, __base__=core, __module__=__name__, __doc__=core.__doc__, **changed, **added)


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
    Intermediate = _extended("Intermediate", ArmParts, "arm")
    Target = _extended("Target", TargetParts, "target")
    Recipe = _extended(
        "Recipe",
        RecipeParts,
        "recipe",
        intermediates=(tuple[Intermediate, ...], (Intermediate(name=BASELINE),)),
        targets=(tuple[Target, ...], ...),
    )
