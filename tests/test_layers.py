"""Imports go one way: each part may use the parts below it, rooms plug into the core, and there are no cycles.

Imports inside functions and under TYPE_CHECKING count like all other imports.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import get_args

import pytest

import viaduct
from viaduct import doors

ROOT = Path(viaduct.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if "recipes" not in path.relative_to(ROOT).parts)

ABOVE_TORCH = (
    "viaduct", "errors", "system", "interruption", "memory", "paths", "rows", "languages", "hub", "doors", "command",
    "metrics", "tasks", "results", "report", "runs", "fetching",
)  # fmt: skip
"""The core's parts above the torch line, each listed after those that it may use."""
BELOW_TORCH = ("encode", "models", "heads", "inference", "training")
"""The core's parts below the torch line, in the same order; they may also use all parts above it."""
TOP = ("api", "several", "tables", "plans", "scoring", "judging", "upkeep", "cli", "__main__")
"""The core's top: each may use the parts above the torch line, and those listed before it here."""
ROOMS = tuple(sorted({module.split(".")[1] for module in doors.ROOMS} - {*ABOVE_TORCH, *BELOW_TORCH}))
"""Rooms, which may use all of the core except its top, and no other room."""
HEAVY = {"torch", "transformers", "tokenizers", "accelerate", "safetensors", "onnxruntime", "onnx", "openvino", "nncf"}
SLOW = HEAVY | {"pandas", "scipy", "matplotlib", "PIL", "babel", "emoji", "ray"}
"""Packages that no door may load, as `viaduct --help` and `plan` open the doors."""


def name_of(path: Path) -> str:
    """viaduct/runs/plan.py -> "viaduct.runs.plan"."""
    return ".".join(("viaduct", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


def part_of(module: str) -> str:
    """ "viaduct.runs.plan" -> "runs"; the package itself -> "viaduct"."""
    return module.split(".")[1] if "." in module else "viaduct"


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """(module, name taken from it) for every import."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole, None) if whole in MODULES else (node.module, alias.name)


def allowed(part: str) -> set[str]:
    """The parts that a part may use, besides itself."""
    core = (*ABOVE_TORCH, *BELOW_TORCH)
    if part in core:
        return set(core[: core.index(part)])
    return {*ABOVE_TORCH, *TOP[: TOP.index(part)]} if part in TOP else set(core)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downward(path: Path) -> None:
    own = part_of(name_of(path))
    for module, name in imports(path):
        if own in (*ABOVE_TORCH, *TOP):
            assert module.split(".")[0] not in HEAVY, f"{path} is above the torch line and imports {module}"
        if module.split(".")[0] == "viaduct":
            assert name is None or not name.startswith("_") or name == "__version__", f"{path} takes {module}.{name}"
            part = part_of(module)
            assert part == own or part in allowed(own), f"{path}: {own} must not import {module}"


def test_every_part_has_its_place() -> None:
    assert {part_of(module) for module in MODULES} == {*ABOVE_TORCH, *BELOW_TORCH, *TOP, *ROOMS}


def test_no_import_goes_in_a_circle() -> None:
    uses: Mapping[str, set[str]] = {
        module: {used for used, _ in imports(path) if used in MODULES and used != module}
        for module, path in MODULES.items()
    }
    try:
        TopologicalSorter(uses).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' <- '.join(error.args[1])}")


def test_the_core_names_no_room() -> None:
    for module, path in MODULES.items():
        if part_of(module) not in ROOMS and module != "viaduct.doors":
            text = path.read_text(encoding="utf-8")
            named = [room for room in ROOMS if f"viaduct.{room}." in text]
            assert not named, f"{path} names {', '.join(named)}"


def test_all_doors_open_without_anything_slow() -> None:
    code = f"""
import sys
from viaduct.doors import offered
counts = [len(offered(door, object)) for door in {get_args(doors.Door)!r}]
print(all(counts), *sorted({SLOW!r} & {{name.split(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True"], done.stdout + done.stderr
