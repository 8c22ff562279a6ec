"""One small world for all tests in this folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from viaduct.miniature.world import write

SCALE = 0.05
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # holds what the world is compared with


@pytest.fixture(scope="session")
def small_world(made_once: Any) -> Path:
    folder: Path = made_once("world", lambda folder: write(folder, seed=1, scale=SCALE))
    return folder
