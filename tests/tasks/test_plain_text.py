"""The text card: what the user's own files must look like."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from holdings import languages_there

from viaduct.errors import DataError
from viaduct.languages import XTREME
from viaduct.tasks.card import read
from viaduct.tasks.text import CARD


def put(data: Path, language: str, content: bytes) -> Path:
    path = data / "text" / f"{language}.txt.gz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_lines_become_rows_and_languages_without_files_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "yo", gzip.compress("Tíì náà ti tutù.\nẸ kú àárọ̀.\n".encode()))
    rows = read(CARD, tmp_path, "yo", "train").rows
    assert [(row.id, row.text) for row in rows] == [("0", "Tíì náà ti tutù."), ("1", "Ẹ kú àárọ̀.")]
    assert CARD.languages == tuple(XTREME)
    assert languages_there(CARD, tmp_path, "train") == ("yo",)


def test_a_cut_off_archive_is_one_message(tmp_path: Path) -> None:
    put(tmp_path, "yo", gzip.compress(b"one\ntwo\n" * 400)[:-9])
    with pytest.raises(DataError, match=r"yo.txt.gz: the archive is damaged"):
        read(CARD, tmp_path, "yo", "train")


def test_there_is_only_a_train_split(tmp_path: Path) -> None:
    put(tmp_path, "yo", b"one\n")
    with pytest.raises(DataError, match="no files for text, split test"):
        read(CARD, tmp_path, "yo", "test")
