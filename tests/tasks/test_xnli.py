"""The XNLI card: one official file for all languages, XTREME's files per language, the Hub's folders."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from holdings import languages_there

from viaduct.errors import DataError
from viaduct.tasks.card import read
from viaduct.tasks.xnli import CARD

HEADER = [
    "language",
    "gold_label",
    "sentence1_binary_parse",
    "sentence2_binary_parse",
    "sentence1_parse",
    "sentence2_parse",
    "sentence1",
    "sentence2",
    "promptID",
    "pairID",
    "genre",
    "label1",
    "label2",
    "label3",
    "label4",
    "label5",
    "sentence1_tokenized",
    "sentence2_tokenized",
    "match",
]


def line(language: str, label: str, first: str, second: str, pair: str) -> str:
    known = {"language": language, "gold_label": label, "sentence1": first, "sentence2": second, "pairID": pair}
    return "\t".join(known.get(name, "") for name in HEADER) + "\n"


def put(data: Path, name: str, content: str) -> None:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="")


OFFICIAL = (
    "\t".join(HEADER)
    + "\n"
    + line("de", "neutral", '"Ja', "Er sprach.", "1")
    + line("de", "contradiction", "Es regnet.", "Es ist trocken.", "2")
    + line("sw", "entailment", "Paka wawili.", "Paka.", "1")
    + line("sw", "neutral", "Mvua inanyesha.", 'Ni "usiku', "2")
)


def test_a_language_is_picked_from_the_official_file_and_ids_agree_between_languages(tmp_path: Path) -> None:
    put(tmp_path, "XNLI-1.0/xnli.test.tsv", OFFICIAL)
    german, swahili = (read(CARD, tmp_path, code, "test") for code in ("de", "sw"))
    assert [(row.id, row.first, row.label) for row in german.rows] == [
        ("0", '"Ja', "neutral"),
        ("1", "Es regnet.", "contradiction"),
    ]
    assert [row.id for row in swahili.rows] == ["0", "1"]
    assert swahili.rows[1].second == 'Ni "usiku'
    assert (len(german.rows), german.expected) == (2, 5_010)


def test_a_language_that_the_official_file_has_not_got_is_a_message(tmp_path: Path) -> None:
    put(tmp_path, "XNLI-1.0/xnli.test.tsv", OFFICIAL)
    with pytest.raises(DataError, match="has no rows of language 'ur'"):
        read(CARD, tmp_path, "ur", "test")


def test_a_language_that_xnli_has_not_got_is_refused_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, "XNLI-1.0/xnli.dev.tsv", OFFICIAL + line("dE", "neutral", "a", "b", "9"))
    with pytest.raises(DataError, match=r"line 6: unknown language of xnli 'dE'. Did you mean 'de'"):
        read(CARD, tmp_path, "de", "dev")


def test_a_pair_that_a_language_has_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, "XNLI-1.0/xnli.dev.tsv", OFFICIAL + line("sw", "neutral", "a", "b", "2"))
    with pytest.raises(DataError, match="line 6: the pairID '2' occurs twice in 'sw'"):
        read(CARD, tmp_path, "sw", "dev")


@pytest.mark.parametrize("label", ["contradictory", "contradiction"])
def test_both_spellings_of_contradiction_are_one_label(tmp_path: Path, label: str) -> None:
    put(tmp_path, "XNLI-MT-1.0/multinli/multinli.train.sw.tsv", f"premise\thypo\tlabel\na\tb\t{label}\n")
    assert read(CARD, tmp_path, "sw", "train").rows[0].label == "contradiction"


def test_the_labelled_official_test_file_comes_before_the_stripped_one(tmp_path: Path) -> None:
    put(tmp_path, "xnli/test-de.tsv", '"""Ja"\tEr sprach.\r\nEs regnet.\tEs ist trocken.\r\n')
    stripped = read(CARD, tmp_path, "de", "test")
    assert not stripped.labelled
    assert languages_there(CARD, tmp_path, "test") == ()
    put(tmp_path, "XNLI-1.0/xnli.test.tsv", OFFICIAL)
    labelled = read(CARD, tmp_path, "de", "test")
    assert labelled.layout == "official"
    assert labelled.labelled
    assert [(row.id, row.first, row.second) for row in stripped.rows] == [
        (row.id, row.first, row.second) for row in labelled.rows
    ]


def test_the_labelled_hub_comes_before_the_stripped_test_file_too(tmp_path: Path) -> None:
    put(tmp_path, "xnli/test-fr.tsv", "a\tb\r\n")
    folder = tmp_path / "hub/facebook/xnli/fr"
    folder.mkdir(parents=True)
    rows = pyarrow.table({"premise": ["a", "b", "c"], "hypothesis": ["d", "e", "f"], "label": [2, 1, 0]})
    pyarrow.parquet.write_table(rows, folder / "test-00000-of-00001.parquet")
    dataset = read(CARD, tmp_path, "fr", "test")
    assert dataset.layout == "hub"
    assert [row.label for row in dataset.rows] == ["contradiction", "neutral", "entailment"]


def test_nothing_found_lists_every_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"XNLI-1.0/xnli.dev.tsv.*hub/facebook/xnli/el/validation.*xnli/dev-el.tsv"):
        read(CARD, tmp_path, "el", "dev")
