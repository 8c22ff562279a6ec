"""Imports go one way: each part may use the parts below it, and nobody uses another module's private names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import viaduct

ROOT = Path(viaduct.__file__).parent

BELOW: dict[str, set[str]] = {
    "errors": set(),
    "languages": {"errors"},
    "memory": set(),
    "paths": {"errors"},
    "rows": set(),
    "metrics": {"errors", "languages", "rows"},
    "tasks": {"errors", "languages", "paths", "rows", "metrics"},
    "results": {"errors", "languages", "paths", "rows", "metrics", "tasks"},
}
BELOW["runs"] = {*BELOW, "viaduct"}
BELOW["report"] = {"viaduct", "errors", "languages", "paths", "metrics", "results", "tasks"}
RECORDS = "results.record"
"""Plain records that use nothing themselves; any part may read them."""
CONTRACT = {"runs.spec", "runs.stage"}
"""What the stage functions below the torch line know of runs."""
TORCH = {
    name: set(BELOW) - {"runs", "report"} for name in ("encode", "models", "heads", "training", "inference", "measure")
}
TORCH["models"] |= {"encode"}
TORCH["heads"] |= {"encode", "models"}
TORCH["inference"] |= {"encode", "models", "heads", "viaduct"}
TORCH["training"] |= {"encode", "models", "heads", "inference"}
TORCH["measure"] |= {"encode", "models", "inference"}
TOP = ("api", "tables", "plans", "cli", "__main__", "miniature")
"""May use anything above the torch line."""
HEAVY = {"torch", "transformers", "tokenizers", "accelerate", "safetensors", "onnxruntime", "onnx", "openvino", "nncf"}

FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part_of(module: str) -> str:
    """ "viaduct.runs.plan" -> "runs"; the package itself -> "viaduct"."""
    return module.split(".")[1] if "." in module else "viaduct"


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """(module, name taken from it) for every import, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            for alias in node.names:
                is_module = (ROOT.parent / node.module.replace(".", "/") / f"{alias.name}.py").is_file() or (
                    ROOT.parent / node.module.replace(".", "/") / alias.name / "__init__.py"
                ).is_file()
                yield (f"{node.module}.{alias.name}", None) if is_module else (node.module, alias.name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downward(path: Path) -> None:
    own = path.relative_to(ROOT).with_suffix("").parts[0]
    for module, name in imports(path):
        package = module.split(".")[0]
        if own not in TORCH:
            assert package not in HEAVY, f"{path} is above the torch line and imports {module}"
        if package != "viaduct":
            continue
        assert name is None or not name.startswith("_") or name == "__version__", f"{path} takes {module}.{name}"
        part = part_of(module)
        if own == part or module.removeprefix("viaduct.") == RECORDS:
            continue
        if own in TORCH:
            allowed = part in TORCH[own] or module.removeprefix("viaduct.") in CONTRACT
        elif own in TOP:
            allowed = part not in TORCH
        else:
            allowed = part in BELOW[own]
        assert allowed, f"{path}: {own} must not import {module}"


def test_the_layers_have_no_circles_and_know_every_part() -> None:
    parts = {path.relative_to(ROOT).with_suffix("").parts[0] for path in FILES}
    assert parts <= {*BELOW, *TORCH, *TOP}, "a new part: say in this file what it may import"
    for name, below in {**BELOW, **TORCH}.items():
        for other in below - {"viaduct"}:
            assert name not in {**BELOW, **TORCH}[other], f"{name} and {other} import each other"
