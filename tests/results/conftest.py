from __future__ import annotations

from pathlib import Path

import pytest
from predicted_world import GOLD, RIGHT, line


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> Path:
    """data/ with the gold rows and mine/ with correct predictions for all of them."""
    for name, text in GOLD.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name, rows in RIGHT.items():
        path = tmp_path / "mine" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line(name, row, value) for row, value in rows.items()), encoding="utf-8")
    return tmp_path
