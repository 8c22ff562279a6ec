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

from viaduct.errors import UsageError, nearest


def parsed(path: Path) -> object:
    """What a TOML file (by its suffix) or a YAML file says. Raises UsageError with the line of a mistake."""
    text = path.read_text(encoding="utf-8")
    try:
        return tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        raise UsageError(f"{path}{where}: not YAML: {getattr(error, 'problem', error)}") from error


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
    """Whether a mapping was tried as the plain value that the same field may also be."""
    return isinstance(problem["input"], Mapping) and problem["type"] != "missing"


def _in_words(
    problem: Mapping[str, Any], root: type[BaseModel], raw: object, described: Callable[[object], str]
) -> str:
    names, known = _walk(problem["loc"], root, raw)
    field = ".".join(names) or root.__name__
    if problem["type"] == "extra_forbidden":
        close = nearest(names[-1], known)
        hint = f"did you mean '{close}'?" if close else f"known: {', '.join(known)}"
        return f"unknown field '{field}'; {hint}"
    if problem["type"] == "missing":
        return f"the field '{field}' is missing"
    message = str(problem["msg"]).replace("valid tuple", "list")
    return f"{field}: {described(problem['input'])} was given; {message[0].lower()}{message[1:]}"


def _walk(location: tuple[int | str, ...], root: type[BaseModel], raw: object) -> tuple[list[str], list[str]]:
    """(the location as a person would write it, field names of the innermost model on the way).

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
    return names, list(model.model_fields)


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
