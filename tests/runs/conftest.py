from __future__ import annotations

from pathlib import Path

import pytest
import small_world

from viaduct.runs.stage import kind_of


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The data folder of the small world, with its cards among the built-in ones and its stage function in place."""
    small_world.add_cards(monkeypatch.setattr, small_world.CARDS)
    for kind in small_world.FAKES:
        monkeypatch.setattr(kind_of(kind), "run", lambda context, _work: small_world.run(context))
    return small_world.write_data(tmp_path / "data")
