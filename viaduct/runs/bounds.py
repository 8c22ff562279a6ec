"""The types and the marks of a recipe's fields: numbers and lists have bounds, so that what no experiment can mean is
refused when it is written. That numbers are finite is said once, in `viaduct.runs.parts.Spec`. Bounds are no part of an
identity; a mark says how a field counts for it, or what it names."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Item = TypeVar("Item")


def _once(given: tuple[Item, ...]) -> tuple[Item, ...]:
    if doubled := [one for number, one in enumerate(given) if one in given[:number]]:
        raise PydanticCustomError("twice", f"'{doubled[0]}' is there twice")
    return given


def _any(given: tuple[Item, ...]) -> tuple[Item, ...]:
    if not given:
        raise PydanticCustomError("none", "name at least one, or leave the field out")
    return given


Distinct = Annotated[tuple[Item, ...], AfterValidator(_once)]
"""Each once, and perhaps none."""
Some = Annotated[tuple[Item, ...], AfterValidator(_once), AfterValidator(_any)]
"""Each once, and at least one."""


class Plain(BaseModel):
    """Takes true and false for what they are alone, and no copy unchecked."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, revalidate_instances="always")

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth(cls, given: Any, info: ValidationInfo) -> Any:
        """Python takes true for 1."""
        values = given if isinstance(given, list | tuple) else (given,)
        annotation = cls.model_fields[str(info.field_name)].annotation
        if any(isinstance(one, bool) for one in values) and bool not in (annotation, *get_args(annotation)):
            raise PydanticCustomError("truth", "write a number or a text")
        return given


def later(before: Any) -> Any:
    """A field that was added after stages had been run, with what held before as its default: while it has that value
    it is left out of an identity, so that those stages stay what they were."""
    return Field(default=before, json_schema_extra={"later": True})


def folder(default: Any = ...) -> Any:
    """A field that may name a model's folder: in a recipe's file, relative to that file."""
    return Field(default, json_schema_extra={"folder": True})


def wording() -> Any:
    """A field that holds words for people; they are no part of an identity."""
    return Field(json_schema_extra={"wording": True})


MOST = 10**9
"""Of anything that is counted; NumPy and torch hold it in their smaller whole numbers."""

Count = Annotated[int, Ge(1), Le(MOST)]
"""How many, at least one."""
Natural = Annotated[int, Ge(0), Le(MOST)]
"""How many, and perhaps none; also a seed, or the number of a layer."""
Evaluations = Annotated[int, Ge(0), Le(10_000)]
"""In the course of a training."""
Length = Annotated[int, Ge(8), Le(2**20)]
"""Tokens of an input: two texts with special tokens around them need seven."""
Layers = Annotated[int, Ge(1), Le(1000)]
Pieces = Annotated[int, Ge(20), Le(2**24)]
"""Of a vocabulary: special ones, and some characters."""
Width = Annotated[int, Ge(1), Le(2**16)]

Rate = Annotated[float, Ge(0), Le(10)]
"""Of learning."""
Weight = Annotated[float, Ge(0), Le(10**6)]
"""Of a loss beside others, or of decay."""
Share = Annotated[float, Ge(0), Le(1)]
SomeShare = Annotated[float, Gt(0), Le(1)]
"""More than nothing."""
InnerShare = Annotated[float, Gt(0), Lt(1)]
"""Neither nothing nor all."""
ShareBelowAll = Annotated[float, Ge(0), Lt(1)]
Above = Annotated[float, Gt(0), Le(10**6)]
"""More than nothing: passes over data, a norm, a temperature."""
