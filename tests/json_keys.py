"""Checks that the keys of a JSON document are those listed in docs/command_line.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parents[1] / "docs" / "command_line.md").read_text(encoding="utf-8")


def documented(command: str) -> list[list[str]]:
    """The command's keys, level by level; "<...>" stands for a name from the data, "[]" for the members of a list."""
    section = PAGE.partition(f"### `{command}`")[2].partition("\n##")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [key.replace("[]", ".[]").split(".") for cell in cells for key in re.findall(r"`([^`]+)`", cell)]


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every value that is neither an object nor a list, or is an empty one."""
    members = (
        value.items() if isinstance(value, dict) else [("[]", one) for one in value] if isinstance(value, list) else ()
    )
    for key, member in members:
        yield from leaves(member, (*path, key))
    if not members:
        yield path


def require_documented(command: str, *documents: Any) -> None:
    """Every key in the output must be listed, and every listed key must appear somewhere (a list may be empty)."""
    keys, seen = documented(command), set()
    for path in {path for document in documents for path in leaves(document)}:
        fitting = [key for key in keys if _fits(path, key)]
        assert fitting, f"{command} --json: {path} is not in docs/command_line.md"
        seen.update(tuple(key) for key in fitting if key[len(path) :] in ([], ["[]"]))
    absent = [".".join(key) for key in keys if tuple(key) not in seen]
    assert not absent, f"{command} --json: listed and not there: {absent}"


def _fits(path: tuple[str, ...], key: list[str]) -> bool:
    """Whether a path is that of a listed key or of a null or empty parent of it, or lies below a listed "<field>"."""
    alike = all(one == other or other.startswith("<") for one, other in zip(path, key, strict=False))
    return alike and (len(path) <= len(key) or key[-1] == "<field>")
