"""Files that people write as YAML or TOML, and what is wrong with them in words: the field, what was given, what is
allowed."""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from viaduct.errors import UsageError, nearest


def parsed(path: Path) -> object:
    """What a TOML file (by its suffix) or a YAML file says. Raises UsageError with the line of a mistake."""
    text = path.read_text(encoding="utf-8")
    try:
        return tomllib.loads(text) if path.suffix == ".toml" else yaml.load(text, _UniqueKeys)  # noqa: S506  a safe one
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        raise UsageError(f"{path}{where}: not YAML: {getattr(error, 'problem', error)}") from error


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, of which YAML takes the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As its parent does."""
        keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, (key, _) in enumerate(node.value):
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in keys[:number]:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is there twice", key.start_mark)
        return super().construct_mapping(node, deep)


def explain(
    error: ValidationError, whole: type[BaseModel], raw: object, described: Callable[[object], str] = repr
) -> str:
    """All problems of what was `raw`, one line each; `described`: a value that was given, in words."""
    root = next((model for model in reachable(whole) if model.__name__ == error.title), whole)
    problems = [problem for problem in error.errors(include_url=False) if problem["loc"]]
    depths: dict[int | str, int] = {}
    for problem in problems:
        depths[problem["loc"][0]] = max(depths.get(problem["loc"][0], 0), len(problem["loc"]))
    lines = [
        _in_words(problem, root, raw, described)
        for problem in problems
        if not (_is_other_branch(problem) and len(problem["loc"]) < depths[problem["loc"][0]])
    ]
    return "\n    ".join(dict.fromkeys(lines or [str(error)]))


def _is_other_branch(problem: Mapping[str, Any]) -> bool:
    """Whether a mapping was tried as the plain value that the same field may also be, or a list as a word."""
    is_list = isinstance(problem["input"], list | tuple) and problem["type"] == "literal_error"
    return is_list or (isinstance(problem["input"], Mapping) and problem["type"] != "missing")


def _in_words(
    problem: Mapping[str, Any], root: type[BaseModel], raw: object, described: Callable[[object], str]
) -> str:
    names, model = _walk(problem["loc"], root, raw)
    known = list(model.model_fields)
    field = ".".join(names) or root.__name__
    if problem["type"] == "extra_forbidden":
        close = nearest(names[-1], known)
        hint = f"did you mean '{close}'?" if close else f"known: {', '.join(known)}"
        return f"unknown field '{field}'; {hint}"
    if problem["type"] == "missing":
        return f"the field '{field}' is missing"
    message = str(problem["msg"]).replace("valid tuple", "list")
    if problem["type"] in _OUT_OF_BOUNDS:
        named = next(name for name in reversed(names) if name in model.model_fields)
        message = f"allowed is {bounds_of(model.model_fields[named])}"
    return f"{field}: {described(problem['input'])} was given; {message[0].lower()}{message[1:]}"


_OUT_OF_BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number")
_BOUNDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def bounds_of(info: FieldInfo) -> str:
    """The bounds of a field's numbers in words: "at least 0 and at most 1"; "" where it has none."""
    found = {mark: getattr(one, mark) for one in _constraints(info) for mark in _BOUNDS if hasattr(one, mark)}
    return " and ".join(f"{word} {found[mark]:,}" for mark, word in _BOUNDS.items() if mark in found)


def _constraints(annotation: object) -> Iterable[object]:
    """What restricts the numbers of a field or of its type."""
    if isinstance(annotation, FieldInfo):
        yield from (*annotation.metadata, *_constraints(annotation.annotation))
    elif typing.get_origin(annotation) is typing.Annotated:
        yield from getattr(annotation, "__metadata__", ())
    else:
        for inner in typing.get_args(annotation):
            yield from _constraints(inner)


def _walk(location: tuple[int | str, ...], root: type[BaseModel], raw: object) -> tuple[list[str], type[BaseModel]]:
    """(the location as a person would write it, the innermost model on the way).

    List items are named by their `name` or `task`; Pydantic's names of the branches of a union are left out.
    """
    names: list[str] = []
    model, value = root, raw
    for number, part in enumerate(location):
        is_last = number == len(location) - 1
        if isinstance(part, int):
            value = value[part] if isinstance(value, (list, tuple)) and part < len(value) else None
            label = (value.get("name") or value.get("task")) if isinstance(value, Mapping) else None
            names.append(str(label or part))
        elif part in model.model_fields or (isinstance(value, Mapping) and part in value):
            names.append(part)
            value = value.get(part) if isinstance(value, Mapping) else None
            if part in model.model_fields:
                model = next(iter(models_in(model.model_fields[part].annotation)), model)
        elif is_last and "[" not in part and part not in ("str", "int", "float", model.__name__):
            names.append(part)
    return names, model


def reachable(model: type[BaseModel]) -> Iterable[type[BaseModel]]:
    """The model and all that its fields hold, each as often as it is used."""
    yield model
    for info in model.model_fields.values():
        for inner in models_in(info.annotation):
            yield from reachable(inner)


def models_in(annotation: object) -> Iterable[type[BaseModel]]:
    """The models that a field's type names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        for inner in typing.get_args(annotation):
            yield from models_in(inner)
