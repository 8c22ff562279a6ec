"""Types and marks for recipe fields. Numbers and lists have bounds, so that values no experiment can mean are rejected
when the recipe is written. That numbers must be finite is set once, in `Plain`. Bounds are not part of a stage's
identity; a mark says how a field counts towards it, or what the field names."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Item = TypeVar("Item")


def _once(given: tuple[Item, ...]) -> tuple[Item, ...]:
    if doubled := [one for number, one in enumerate(given) if one in given[:number]]:
        raise PydanticCustomError("twice", f"'{doubled[0]}' appears twice")
    return given


def _any(given: tuple[Item, ...]) -> tuple[Item, ...]:
    if not given:
        raise PydanticCustomError("none", "name at least one, or leave the field out")
    return given


Distinct = Annotated[tuple[Item, ...], AfterValidator(_once)]
"""Distinct items, possibly none."""
Some = Annotated[tuple[Item, ...], AfterValidator(_once), AfterValidator(_any)]
"""Distinct items, at least one."""


class Plain(BaseModel):
    """Base model that accepts booleans only in boolean fields, and validates copies again."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, revalidate_instances="always")

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth(cls, given: Any, info: ValidationInfo) -> Any:
        """Reject booleans in other fields: Python treats True as 1."""
        values = given if isinstance(given, list | tuple) else (given,)
        annotation = cls.model_fields[str(info.field_name)].annotation
        if any(isinstance(one, bool) for one in values) and bool not in (annotation, *get_args(annotation)):
            raise PydanticCustomError("truth", "write a number or a text")
        return given


def later(before: Any) -> Any:
    """A field that was added after stages had been run; its default is what held before. While it has that value it is
    left out of identities, so that those stages keep theirs."""
    return Field(default=before, json_schema_extra={"later": True})


def folder(default: Any = ...) -> Any:
    """A field that may name a model's folder; in a recipe file, the path is relative to that file."""
    return Field(default, json_schema_extra={"folder": True})


def wording() -> Any:
    """A field that holds text for people, which is not part of an identity."""
    return Field(json_schema_extra={"wording": True})


MOST = 10**9
"""Upper bound of all counts; fits in NumPy's and torch's 32-bit integers."""

Count = Annotated[int, Ge(1), Le(MOST)]
"""A count of at least one."""
Natural = Annotated[int, Ge(0), Le(MOST)]
"""A count, possibly zero; also a seed, or the number of a layer."""
Evaluations = Annotated[int, Ge(0), Le(10_000)]
"""Number of evaluations during a training run."""
Length = Annotated[int, Ge(8), Le(2**20)]
"""Length of an input in tokens: two texts with special tokens around them need seven."""
Layers = Annotated[int, Ge(1), Le(1000)]
Pieces = Annotated[int, Ge(20), Le(2**24)]
"""Size of a vocabulary: at least the special pieces and some characters."""
Width = Annotated[int, Ge(1), Le(2**16)]

Rate = Annotated[float, Ge(0), Le(10)]
"""A learning rate."""
Weight = Annotated[float, Ge(0), Le(10**6)]
"""Weight of one loss among several, or weight decay."""
Share = Annotated[float, Ge(0), Le(1)]
SomeShare = Annotated[float, Gt(0), Le(1)]
"""Greater than zero."""
InnerShare = Annotated[float, Gt(0), Lt(1)]
"""Strictly between zero and one."""
ShareBelowAll = Annotated[float, Ge(0), Lt(1)]
Above = Annotated[float, Gt(0), Le(10**6)]
"""Greater than zero: epochs, a norm, a temperature."""
