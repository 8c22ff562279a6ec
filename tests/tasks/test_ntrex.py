"""The NTREX card: aligned files under other language codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from holdings import languages_there

from viaduct.errors import DataError, UsageError
from viaduct.rows import Pair
from viaduct.tasks.card import read
from viaduct.tasks.ntrex import CARD


def put(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / f"newstest2019-{name.replace('_', '.', 1).replace('_', '-')}.txt"
        path.write_text(content, encoding="utf-8", newline="")


@pytest.mark.parametrize("folder", ["NTREX-128", "ntrex/NTREX-128"])
def test_english_is_first_and_lines_belong_together(tmp_path: Path, folder: str) -> None:
    put(tmp_path / folder, src_eng="Tea.\r\nRain.\r\n", ref_fil="Tsaa.\r\nUlan.\r\n", ref_zho_CN="茶。\r\n雨。\r\n")
    dataset = read(CARD, tmp_path, "tl", "train")
    assert dataset.rows == (Pair("0", "tl", "Tea.", "Tsaa.", None), Pair("1", "tl", "Rain.", "Ulan.", None))
    assert read(CARD, tmp_path, "zh", "train").rows[1].second == "雨。"
    assert languages_there(CARD, tmp_path, "train") == ("tl", "zh")
    assert (len(dataset.rows), dataset.expected) == (2, 1_997)


def test_a_shorter_translation_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "NTREX-128", src_eng="Tea.\nRain.\n", ref_deu="Tee.\n")
    with pytest.raises(DataError, match=r"ref.deu.txt: 1 lines, but newstest2019-src.eng.txt has 2"):
        read(CARD, tmp_path, "de", "train")


def test_javanese_and_english_are_not_languages_of_it(tmp_path: Path) -> None:
    assert len(CARD.languages) == 38
    for code in ("jv", "en"):
        with pytest.raises(UsageError, match="unknown language of ntrex"):
            read(CARD, tmp_path, code, "train")
