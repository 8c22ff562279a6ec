"""Finds a recipe that ships with Viaduct by its name, or reads a user's Python or YAML file, and applies `--set`; every
error says where the mistake is."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError

from viaduct.errors import UsageError, ViaductError, line_in, nearest, shortened, unknown
from viaduct.runs.encoder import may_be_on_hub
from viaduct.runs.spec import Recipe
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.written import explain, models_in, parsed, yaml_value

SHIPPED = Path(__file__).parents[1] / "recipes"
"""The folder of the recipes that ship with Viaduct."""
LONGEST_VALUE = 300
"""Maximum number of characters of a given value that a message repeats."""
_NOT_RECIPES = ("__init__", "pieces")


class Shipped(NamedTuple):
    """A recipe that ships with Viaduct, as `viaduct recipes` lists it."""

    name: str
    question: str
    hypothesis: str
    cost: str


def shipped() -> tuple[Shipped, ...]:
    """The recipes that ship with Viaduct, by name. Nothing is imported: the texts are read from their docstrings."""
    return tuple(
        _described_by(path.stem, ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
        for path in sorted(SHIPPED.glob("*.py"))
        if path.stem not in _NOT_RECIPES
    )


def _described_by(name: str, words: str) -> Shipped:
    question, *parts = (" ".join(part.split()) for part in words.split("\n\n"))
    hypothesis = next(part for part in parts if part.startswith("Hypothesis")).partition(":")[2].strip()
    cost = re.search(r"^Cost:\s+(.*?)(?=^\w+:|\Z|\n\n)", words, re.MULTILINE | re.DOTALL)
    return Shipped(name, question, hypothesis, " ".join(cost[1].split()) if cost else "")


def recipe_file(given: str | Path) -> Path:
    """The file of a recipe, given its path or the name of one that ships with Viaduct; an existing file has precedence.

    Raises UsageError with the nearest name.
    """
    path, known = Path(given), [one.name for one in shipped()]
    if path.is_file():
        return path
    if str(given) in known:
        return SHIPPED / f"{given}.py"
    close = nearest(str(given), known)
    raise UsageError(
        f"there is no recipe file {given}, and no recipe of that name{f'; did you mean {close}?' if close else ''}",
        fix=f"name a .py or .yaml file, or one of: {', '.join(known)}",
    )


def load_recipe(given: str | Path, *, overrides: Iterable[str] = (), seeds: tuple[int, ...] | None = None) -> Recipe:
    """The recipe in this file, or of this name, with `--set` and `--seeds` applied.

    A Python file has a function `recipe()` or a value `RECIPE`, and may import Python files in its folder; a YAML file
    has the recipe's fields. Folders and files named in it are relative to it. Raises UsageError.
    """
    path = recipe_file(given)
    if path.suffix == ".py":
        recipe = _from_python(path)
    elif path.suffix in (".yaml", ".yml"):
        recipe = _from_yaml(path)
    else:
        raise UsageError(f"{path}: a recipe is a .py, .yaml or .yml file, not '{path.suffix}'")
    if path.parent != SHIPPED:
        recipe = _validated(_beside(recipe, path.parent), str(path))
    recipe = apply(recipe, overrides)
    if recipe.cards:
        recipe = recipe.model_copy(update={"cards": tuple(str((path.parent / one).resolve()) for one in recipe.cards)})
        Catalogue.builtin().with_files(recipe.cards)  # raises if something is wrong with them
    if seeds is not None:
        recipe = _validated({**recipe.model_dump(), "seeds": seeds}, "--seeds")
    return recipe


def _beside(model: BaseModel, base: Path) -> dict[str, Any]:
    """The fields of a recipe, or of a part of it, with absolute paths for the folders that it names relative to `base`;
    a value that is no folder there and may be a name on the Hub is left as it is."""
    found: dict[str, Any] = {}
    for name, info in type(model).model_fields.items():
        value, marks = getattr(model, name), info.json_schema_extra
        if isinstance(value, str) and isinstance(marks, dict) and "folder" in marks:
            there = base / Path(value).expanduser()
            found[name] = str(there.absolute()) if there.is_dir() or not may_be_on_hub(value) else value
        elif isinstance(value, BaseModel):
            found[name] = _beside(value, base)
        elif isinstance(value, tuple):
            found[name] = tuple(_beside(one, base) if isinstance(one, BaseModel) else one for one in value)
        else:
            found[name] = value
    return found


def _from_python(path: Path) -> Recipe:
    try:
        with _importing_beside(path):
            names = runpy.run_path(str(path), run_name="viaduct_recipe")
        made = names["recipe"]() if callable(names.get("recipe")) else names.get("RECIPE")
    except ViaductError as error:
        raise UsageError(f"{path}{line_in(error, path)}: {error}") from error
    except ValidationError as error:
        raise UsageError(f"{path}{line_in(error, path)}: {explain(error, Recipe, None, _described)}") from error
    except (Exception, SystemExit) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else line_in(error, path)
        raise UsageError(f"{path}{where}: {type(error).__name__}: {error}", fix="correct the recipe file") from error
    if not isinstance(made, Recipe):
        given = "nothing" if made is None else f"a {type(made).__name__}"
        fix = "define recipe() -> Recipe, or RECIPE = Recipe(...)"
        raise UsageError(f"{path}: the file gives {given}, not a Recipe", fix=fix)
    return made


@contextmanager
def _importing_beside(path: Path) -> Iterator[None]:
    """While this is open, files in the same folder can be imported by name, as they can from a script.

    Raises UsageError if a module of such a name is already loaded from another folder: Python would use that one.
    """
    folder = path.resolve().parent
    for beside in (folder / f"{name}.py" for name in _imported(path)):
        file = getattr(sys.modules.get(beside.stem), "__file__", None)
        if file is not None and beside.is_file() and Path(file).resolve() != beside:
            raise UsageError(f"{beside}: a module '{beside.stem}' is loaded from {file}", fix="give it another name")
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _imported(path: Path) -> set[str]:
    """The top-level names of the modules that a Python file imports; none if the file is not valid Python."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return set()  # reported when it is run
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def _from_yaml(path: Path) -> Recipe:
    raw = parsed(path)
    if not isinstance(raw, Mapping):
        raise UsageError(f"{path}: a recipe is a mapping of fields, not {_described(raw)}")
    return _validated(raw, str(path))


def _validated(raw: Mapping[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"{where}: {explain(error, Recipe, raw, _described)}") from error
    except ViaductError as error:
        raise UsageError(f"{where}: {error}") from error


def _described(value: object) -> str:
    return "nothing" if value is None else f"{shortened(repr(value), LONGEST_VALUE)} ({type(value).__name__})"


def apply(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """The recipe with each "field=value" applied in order.

    Fields are dotted paths; items of a list are selected by name ("targets.xnli.training.epochs=1"), "*" selects all;
    values are YAML. Raises UsageError for unknown fields, with the nearest one, and for values of the wrong type.
    """
    for whole in overrides:
        field, equals, value = whole.partition("=")
        override = shortened(whole, LONGEST_VALUE)
        if not equals or not field:
            example = "--set targets.xnli.training.epochs=1"
            raise UsageError(f"--set {override}: not of the form field=value", fix=example)
        try:
            given = yaml_value(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UsageError(f"--set {override}: the value is not YAML") from error
        recipe = changed(recipe, field, given, f"--set {override}")
    return recipe


def changed(recipe: Recipe, field: str, value: object, where: str) -> Recipe:
    """The recipe with one field, named as for `--set`, changed to a value; `where`: what error messages start with."""
    raw = recipe.model_dump()
    _set(raw, Recipe, tuple(field.split(".")), value, where)
    return _validated(raw, where)


def _set(node: Any, model: type[BaseModel], parts: tuple[str, ...], value: object, where: str) -> None:
    name, rest = parts[0], parts[1:]
    if name not in model.model_fields:
        raise UsageError(f"{where}: {unknown('field', name, model.model_fields)}")
    if not rest:
        node[name] = value
        return
    inner = next(iter(models_in(model.model_fields[name].annotation)), None)
    child = node[name]
    if inner is not None and isinstance(child, dict):
        _set(child, inner, rest, value, where)
        return
    if inner is None or not isinstance(child, (list, tuple)):
        raise UsageError(f"{where}: '{name}' is {_described(child)}, it has no '{rest[0]}'")
    key = "name" if "name" in inner.model_fields else "task"
    chosen = [item for item in child if rest[0] in ("*", item[key])]
    if not chosen:
        known = [item[key] for item in child]
        raise UsageError(f"{where}: {unknown(name.rstrip('s'), rest[0], known)}")
    if len(rest) == 1:
        raise UsageError(f"{where}: name a field of '{rest[0]}'", fix=f"one of: {', '.join(inner.model_fields)}")
    for item in chosen:
        _set(item, inner, rest[1:], value, where)
