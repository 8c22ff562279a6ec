"""The Tatoeba card: aligned files match line by line, sorted files do not match at all."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viaduct.errors import DataError
from viaduct.metrics.score import Prediction
from viaduct.tasks.card import read
from viaduct.tasks.tatoeba import CARD

PAIRS = [("Wedange adhem.", "The tea is cold."), ("Ayo.", "Come on."), ("Ayo.", "Let us go.")]


def put_pairs(source: Path, target: Path, pairs: list[tuple[str, str]]) -> None:
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text("".join(f"{first}\n" for first, _ in pairs), encoding="utf-8", newline="")
    target.write_text("".join(f"{second}\n" for _, second in pairs), encoding="utf-8", newline="")


def official(data: Path, code: str, pairs: list[tuple[str, str]] = PAIRS) -> None:
    folder = data / "tatoeba/v1"
    put_pairs(folder / f"tatoeba.{code}-eng.{code}", folder / f"tatoeba.{code}-eng.eng", pairs)


def test_line_i_matches_line_i_and_repeated_sentences_stay(tmp_path: Path) -> None:
    official(tmp_path, "jav")
    dataset = read(CARD, tmp_path, "jv", "test")
    assert [(row.id, row.side, row.text, row.match) for row in dataset.rows] == [
        ("jv-0", "source", "Wedange adhem.", ("en-0",)),
        ("jv-1", "source", "Ayo.", ("en-1",)),
        ("jv-2", "source", "Ayo.", ("en-2",)),
        ("en-0", "target", "The tea is cold.", ("jv-0",)),
        ("en-1", "target", "Come on.", ("jv-1",)),
        ("en-2", "target", "Let us go.", ("jv-2",)),
    ]
    assert {row.language for row in dataset.rows} == {"jv"}
    assert (len(dataset.rows), dataset.expected) == (6, 410)
    guesses = {f"en-{index}": Prediction(f"en-{index}", "jv", f"jv-{min(index, 1)}") for index in range(3)}
    assert CARD.metric is not None
    assert CARD.metric(dataset.rows, guesses)[0].value == pytest.approx(2 / 3)


def test_three_letter_codes_of_the_files(tmp_path: Path) -> None:
    for code, ours in (("pes", "fa"), ("cmn", "zh"), ("swh", "sw"), ("tgl", "tl")):
        official(tmp_path, code)
        assert read(CARD, tmp_path, ours, "test").rows[0].id == f"{ours}-0"


def test_the_sorted_xtreme_layout_has_no_matches_and_ids_of_its_own(tmp_path: Path) -> None:
    put_pairs(tmp_path / "tatoeba/jv-en.jv", tmp_path / "tatoeba/jv-en.en", PAIRS)
    dataset = read(CARD, tmp_path, "jv", "test")
    assert not dataset.labelled
    assert [row.id for row in dataset.rows if row.side == "target"] == ["en-sorted-0", "en-sorted-1", "en-sorted-2"]
    official(tmp_path, "jav")
    assert read(CARD, tmp_path, "jv", "test").labelled


def test_hub_rows_equal_the_official_ones(tmp_path: Path) -> None:
    official(tmp_path / "files", "jav")
    folder = tmp_path / "hub/google/xtreme/tatoeba.jav"
    folder.mkdir(parents=True)
    rows = {
        "source_sentence": [first + "\n" for first, _ in PAIRS],
        "target_sentence": [second + "\n" for _, second in PAIRS],
        "source_lang": ["jav"] * 3,
        "target_lang": ["eng"] * 3,
    }
    pyarrow.parquet.write_table(pyarrow.table(rows), folder / "validation-00000-of-00001.parquet")
    assert read(CARD, tmp_path, "jv", "test").rows == read(CARD, tmp_path / "files", "jv", "test").rows


def test_sides_of_different_length_are_refused(tmp_path: Path) -> None:
    official(tmp_path, "deu")
    (tmp_path / "tatoeba/v1/tatoeba.deu-eng.eng").write_text("Only one.\n")
    with pytest.raises(DataError, match=r"tatoeba.deu-eng.eng: 1 lines, but tatoeba.deu-eng.deu has 3"):
        read(CARD, tmp_path, "de", "test")


def test_one_side_alone_is_not_enough(tmp_path: Path) -> None:
    official(tmp_path, "deu")
    (tmp_path / "tatoeba/v1/tatoeba.deu-eng.eng").unlink()
    with pytest.raises(DataError, match=r"tatoeba/v1/tatoeba.deu-eng.eng"):
        read(CARD, tmp_path, "de", "test")


lines = st.text(st.characters(exclude_characters="\0\r\n\ufeff", codec="utf-8"), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(lines, lines), min_size=1, max_size=8))
def test_every_match_is_mutual(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    data = tmp_path_factory.mktemp("tatoeba")
    official(data, "deu", pairs)
    rows = {row.id: row for row in read(CARD, data, "de", "test").rows}
    assert [(row.text, rows[row.match[0]].text) for row in rows.values() if row.side == "source"] == pairs
    assert all(rows[row.match[0]].match == (row.id,) for row in rows.values())
