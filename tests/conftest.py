"""Fixtures that several test folders share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; the test is skipped where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"real data are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_oracles() -> Path:
    """The outputs of the official scorers; the test is skipped where they are absent."""
    folder = SHARED / "oracles"
    if not folder.is_dir():
        pytest.skip(f"official scorers' outputs are not at {folder}")
    return folder
