"""The panx card: three layouts of one sentence, and the real files."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from viaduct.errors import DataError
from viaduct.languages import LANGUAGES as TABLE
from viaduct.rows import Tagged
from viaduct.tasks.card import locate, read
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.panx import CARD

ROWS = (
    Tagged("0", "sw", ("Ziwa", "Nyasa"), ("B-LOC", "I-LOC")),
    Tagged("1", "sw", (":", "Asha"), ("O", "B-PER")),
)


def put(data: Path, place: str, text: str) -> None:
    path = data / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_card_is_registered_and_whole() -> None:
    assert Catalogue.builtin().task("panx") is CARD
    assert all(code in TABLE for code in CARD.languages)
    assert (len(CARD.languages), len(CARD.expected)) == (40, 120)


@pytest.mark.parametrize("place", ["panx_dataset/sw/dev", "download/panx_dataset/sw-dev"])
def test_original_files_carry_the_language(tmp_path: Path, place: str) -> None:
    put(tmp_path, place, "sw:Ziwa\tB-LOC\nsw:Nyasa\tI-LOC\n\nsw::\tO\nsw:Asha\tB-PER\n\n")
    found = read(CARD, tmp_path, "sw", "dev")
    assert (found.layout, found.rows) == ("official", ROWS)
    assert (len(found.rows), found.expected) == (2, 1_000)


def test_xtremes_file(tmp_path: Path) -> None:
    put(tmp_path, "xtreme_download/panx/dev-sw.tsv", "Ziwa\tB-LOC\nNyasa\tI-LOC\n\n:\tO\nAsha\tB-PER\n")
    assert read(CARD, tmp_path, "sw", "dev").rows == ROWS
    put(tmp_path, "xtreme_download/panx/test-sw.tsv", "Ziwa\nNyasa\n\n:\nAsha\n")
    assert not read(CARD, tmp_path, "sw", "test").labelled


def test_hub_table(tmp_path: Path) -> None:
    path = tmp_path / "hub/google/xtreme/PAN-X.sw/validation-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    columns = {"tokens": [["Ziwa", "Nyasa"], [":", "Asha"]], "ner_tags": [[5, 6], [0, 1]], "langs": [["sw"] * 2] * 2}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    assert read(CARD, tmp_path, "sw", "dev").rows == ROWS


def test_files_of_another_language_or_label_set(tmp_path: Path) -> None:
    put(tmp_path, "panx_dataset/sw/dev", "rw:Ziwa\tB-LOC\n")
    with pytest.raises(DataError, match="line 1: the token 'rw:Ziwa' does not begin with 'sw:'"):
        read(CARD, tmp_path, "sw", "dev")
    put(tmp_path, "panx_dataset/sw/dev", "sw:Ziwa\tB-LOCATION\n")
    with pytest.raises(DataError, match="line 1: unknown tag 'B-LOCATION', did you mean 'B-LOC'"):
        read(CARD, tmp_path, "sw", "dev")
    put(tmp_path, "panx_dataset/sw/dev", "\n\n")
    with pytest.raises(DataError, match="no rows"):
        read(CARD, tmp_path, "sw", "dev")


def test_real_files_have_the_published_counts(shared_data: Path) -> None:
    files = sorted((shared_data / "xtreme_download/panx").glob("*.tsv"))
    assert len(files) == 31
    for path in files:
        split, language = path.stem.split("-")
        assert locate(CARD, shared_data, language, split).paths == (path,)
        found = read(CARD, shared_data, language, split)  # checks every label
        assert found.labelled == (split != "test") and found.expected in (None, len(found.rows))
