"""One small world for all tests of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from viaduct.miniature.world import write

SCALE = 0.05
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # where what the world is compared with lies


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature") / "world"
    write(folder, seed=1, scale=SCALE)
    return folder
