"""Reads YAML and TOML files written by people, and says in words what is wrong with them: the field, the given value,
what is allowed."""

from __future__ import annotations

import re
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
    """The content of a TOML file (by its suffix) or a YAML file. Raises UsageError with the line of a mistake."""
    form = "TOML" if path.suffix == ".toml" else "YAML"
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text) if form == "TOML" else yaml_value(text)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start:,} is not UTF-8", fix="save the file as text in UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        raise UsageError(f"{path}{where}: not YAML: {getattr(error, 'problem', error)}") from error
    except (ValueError, RecursionError) as error:  # a number with thousands of digits, deeply nested brackets
        raise UsageError(f"{path}: not {form}: {error}") from error


def yaml_value(text: str) -> object:
    """The content of YAML text. Raises yaml.YAMLError, or ValueError and RecursionError for what only looks like it."""
    return yaml.load(text, _Loader)  # noqa: S506  a safe one


class _Loader(yaml.SafeLoader):
    """Reads plain scalars by the core schema of YAML 1.2 (yaml.org/spec/1.2.2, 10.3.2): 010 is ten and not eight, 1:30
    is not a number, and `no` is a language. Refuses a duplicate key in a mapping, of which PyYAML silently takes the
    last one."""

    yaml_implicit_resolvers = {  # noqa: RUF012  as its parent has them
        first: [(tag, words) for tag, words in found if tag.endswith((":null", ":merge"))]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Like the parent's method, but raises ConstructorError for a duplicate key."""
        keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, (key, _) in enumerate(node.value):
            if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in keys[:number]:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' appears twice", key.start_mark)
        return super().construct_mapping(node, deep)


for _name, _words, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", "[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"(?:{_words})$"), [*_first])
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))


def explain(
    error: ValidationError, whole: type[BaseModel], raw: object, described: Callable[[object], str] = repr
) -> str:
    """All validation problems of `raw`, one line each; `described` puts a given value into words."""
    root = next((model for model in reachable(whole) if model.__name__ == error.title), whole)
    problems = [problem for problem in error.errors(include_url=False) if problem["loc"]]
    depths: dict[int | str, int] = {}
    for problem in problems:
        depths[problem["loc"][0]] = max(depths.get(problem["loc"][0], 0), _depth(problem))
    lines = [
        _in_words(problem, root, raw, described)
        for problem in problems
        if not (_is_other_branch(problem) and _depth(problem) < depths[problem["loc"][0]])
    ]
    return "\n    ".join(dict.fromkeys(lines or [str(error)]))


def _is_other_branch(problem: Mapping[str, Any]) -> bool:
    """Whether validation tried a mapping as the plain value that the field may also be, or a list as a word."""
    return _is_list(problem) or (isinstance(problem["input"], Mapping) and problem["type"] != "missing")


def _is_list(problem: Mapping[str, Any]) -> bool:
    return isinstance(problem["input"], list | tuple) and problem["type"] == "literal_error"


def _depth(problem: Mapping[str, Any]) -> int:
    """Depth of the problem; that a list is not a word ranks below what is wrong inside the list."""
    return len(problem["loc"]) - _is_list(problem)


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
    """The bounds of a field's numbers in words: "at least 0 and at most 1"; "" if it has none."""
    found = {mark: getattr(one, mark) for one in _constraints(info) for mark in _BOUNDS if hasattr(one, mark)}
    return " and ".join(f"{word} {found[mark]:,}" for mark, word in _BOUNDS.items() if mark in found)


def _constraints(annotation: object) -> Iterable[object]:
    """The constraints on the numbers of a field or of its type."""
    if isinstance(annotation, FieldInfo):
        yield from (*annotation.metadata, *_constraints(annotation.annotation))
    elif typing.get_origin(annotation) is typing.Annotated:
        yield from getattr(annotation, "__metadata__", ())
        yield from _constraints(typing.get_args(annotation)[0])
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
    """The model and all models in its fields, each as often as it is used."""
    yield model
    for info in model.model_fields.values():
        for inner in models_in(info.annotation):
            yield from reachable(inner)


def models_in(annotation: object) -> Iterable[type[BaseModel]]:
    """The models that occur in a field's type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        for inner in typing.get_args(annotation):
            yield from models_in(inner)
