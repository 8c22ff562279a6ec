"""Fixtures that several test folders share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Torch, where a collected test has imported it, keeps to one thread: small tensors gain nothing from more."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


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


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """The tokenizer of tests/tiny.py."""
    import tiny

    return tiny.tokenizer()


@pytest.fixture(scope="session")
def tiny_encoder(tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the encoder of tests/tiny.py, random weights, dropout 0.1."""
    import tiny

    from viaduct.models.encoder import save_encoder

    folder = tmp_path_factory.mktemp("tiny") / "encoder"
    save_encoder(tiny.encoder(tiny_tokenizer, dropout=0.1), tiny_tokenizer, folder)
    return folder
