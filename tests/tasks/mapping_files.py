"""A mapping file and its data, for the tests of mappings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from viaduct.tasks.mapping import load_mapping

PAIR: dict[str, Any] = {
    "name": "my_nli",
    "kind": "pair",
    "path": "files/{split}.jsonl",
    "languages": ["en"],
    "columns": {"first": "premise", "second": "hypothesis", "label": "gold"},
    "labels": {"order": ["no", "yes"]},
}
ROW = {"premise": "It rains.", "hypothesis": "It is wet.", "gold": "yes"}


def card(folder: Path, **changes: Any) -> Any:
    """The card of the mapping above with changes; None removes a field."""
    path = folder / "mine.yaml"
    content = {name: value for name, value in {**PAIR, **changes}.items() if value is not None}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_mapping(path)


def lines(data: Path, *rows: object, name: str = "files/train.jsonl") -> Path:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return data
