from __future__ import annotations

from pathlib import Path

import pytest
import small_world

from viaduct.runs import execute, rows
from viaduct.tasks import card, registry


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The data folder of the small world, with its cards registered and its stage functions in place."""
    for one in small_world.CARDS:
        monkeypatch.setitem(registry._BY_NAME, one.name, one)
    for kind, module in small_world.FAKES.items():
        monkeypatch.setitem(execute.FUNCTIONS, kind, module)
    for cached in (card._remembered, rows._groups, rows._contexts, rows._test_keys):
        cached.cache_clear()
    return small_world.write_data(tmp_path / "data")
