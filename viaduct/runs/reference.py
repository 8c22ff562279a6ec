"""The reference of all recipe fields, made from the models: `viaduct recipes --fields` prints it, and it is stored as
docs/recipe_fields.md. Also the JSON Schema of recipes, for editors."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
import typing
from types import NoneType, UnionType
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from viaduct.runs.spec import Recipe
from viaduct.tasks.written import bounds_of, reachable

_INTRODUCTION = """# The fields of a recipe

Made from the models by `viaduct recipes --fields`. A YAML recipe has these fields; a Python recipe gives the models of
these names. Any field can be changed for one run: `--set targets.xnli.training.epochs=1`. All numbers are finite, and
what is outside of a field's bounds is refused.

A Python recipe is a program: whatever reads it runs it, `viaduct plan` too, as do cards in Python that a recipe names.
Look into such a file before you use somebody else's. A YAML recipe runs nothing.
"""


def reference() -> str:
    """All models and their fields as Markdown, starting with the recipe, in the order in which they are first used."""
    return "\n".join([_INTRODUCTION, *(_section(model) for model in dict.fromkeys(reachable(Recipe)))])


def schema_text() -> str:
    """The JSON Schema of recipes (draft 2020-12, as pydantic generates it), with each field's description."""
    made = Recipe.model_json_schema()
    for model in dict.fromkeys(reachable(Recipe)):
        words = _attribute_docstrings(model)
        properties = (made if model is Recipe else made["$defs"][model.__name__])["properties"]
        for name, info in model.model_fields.items():
            if said := words.get(name) or inspect.cleandoc(info.description or ""):
                properties[name]["description"] = said
    return json.dumps(made, indent=1, ensure_ascii=False)


def _section(model: type[BaseModel]) -> str:
    words = _attribute_docstrings(model)
    lines = [f"## {model.__name__}", "", *_wrapped(inspect.cleandoc(model.__doc__ or "")), ""]
    for name, info in model.model_fields.items():
        said = words.get(name) or inspect.cleandoc(info.description or "")
        bounds = bounds_of(info)
        head = f"* `{name}`: {_type(info.annotation)}{f' ({bounds})' if bounds else ''}, {_default(info)}."
        lines += _wrapped(f"{head} {' '.join(said.split())}".rstrip(), hanging="  ")
    return "\n".join([*lines, ""])


def _wrapped(text: str, hanging: str = "") -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()), 116, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )


def _attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Field -> the string below it in the source, for the fields of a model and of its base classes."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if not issubclass(one, BaseModel) or one is BaseModel or one.__name__ not in _source(one):
            continue
        body = ast.parse(textwrap.dedent(_source(one))).body[0]
        assert isinstance(body, ast.ClassDef)  # noqa: S101  it is the source of a class
        for field, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
                found[field.target.id] = " ".join(str(ast.literal_eval(after.value)).split())
    return found


def _source(model: type[BaseModel]) -> str:
    """The source of a class; "" for one that was created at run time."""
    try:
        return inspect.getsource(model)
    except (OSError, TypeError):
        return ""


def _type(annotation: object) -> str:
    """The type in plain words."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(inner[0])
    if origin in (typing.Union, UnionType):
        return " or ".join("nothing" if one is NoneType else _type(one) for one in inner)
    if origin is typing.Literal:
        return " or ".join(f"`{one}`" for one in inner)
    if origin is tuple:
        repeated = inner[-1] is Ellipsis
        return f"list of {_type(inner[0])}" if repeated else f"({', '.join(map(_type, inner))})"
    if origin is dict:
        return f"mapping of {_type(inner[0])} to {_type(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    names: dict[object, str] = {str: "text", int: "whole number", float: "number", bool: "yes or no", Any: "value"}
    return names.get(annotation, str(annotation))


def _default(info: FieldInfo) -> str:
    if info.default is PydanticUndefined:
        return "required"
    if isinstance(info.default, BaseModel):
        changed = info.default.model_dump(exclude_defaults=True)
        return "its defaults" + (f" but {_plain(changed)}" if changed else "")
    if isinstance(info.default, tuple) and info.default and isinstance(info.default[0], BaseModel):
        return "; ".join(_plain(one.model_dump(exclude_defaults=True)) for one in info.default)
    return f"default {_plain(info.default)}"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items()) or "none"
    if isinstance(value, tuple | list):
        return ", ".join(map(_plain, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "yes", False: "no"}[value]
    return f"`{value}`"
