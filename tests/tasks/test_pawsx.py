"""The PAWS-X card: official folders, XTREME's quoted and unquoted files, the Hub's folders."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from viaduct.errors import DataError
from viaduct.tasks.card import read
from viaduct.tasks.pawsx import CARD

HEADER = "id\tsentence1\tsentence2\tlabel\n"


def put(data: Path, name: str, content: str) -> None:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="")


def test_english_train_is_the_original_and_the_others_are_translated(tmp_path: Path) -> None:
    put(tmp_path, "x-final/en/train.tsv", HEADER + "1\tAda met Bo .\tBo met Ada .\t1\n")
    put(tmp_path, "x-final/de/translated_train.tsv", HEADER + "1\tAda traf Bo .\tBo traf Ada .\t1\n")
    put(tmp_path, "x-final/de/dev_2k.tsv", HEADER + "1\t`` Ada '' \" traf\tNS\t0\n")
    assert read(CARD, tmp_path, "en", "train").rows[0].first == "Ada met Bo ."
    assert read(CARD, tmp_path, "de", "train").rows[0].first == "Ada traf Bo ."
    row = read(CARD, tmp_path, "de", "dev").rows[0]
    assert (row.id, row.first, row.second, row.label) == ("0", "`` Ada '' \" traf", "NS", "0")
    with pytest.raises(DataError, match=r"x-final/en/dev_2k.tsv"):
        read(CARD, tmp_path, "en", "dev")


def test_an_id_that_is_there_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, "x-final/fr/test_2k.tsv", HEADER + "1\ta\tb\t0\n2\tc\td\t1\n1\te\tf\t1\n")
    with pytest.raises(DataError, match="line 4: the id '1' occurs twice"):
        read(CARD, tmp_path, "fr", "test")


@pytest.mark.parametrize(
    "content",
    ['"Dijo ""no"""\tCallo.\t0\r\nUno\tDos\t1\r\n', 'Dijo "no"\tCallo.\t0\nUno\tDos\t1\n'],
    ids=["as csv writes it", "as it stands"],
)
def test_xtreme_files_read_the_same_with_and_without_quoting(tmp_path: Path, content: str) -> None:
    put(tmp_path, "download/pawsx/dev-es.tsv", content)
    dataset = read(CARD, tmp_path, "es", "dev")
    assert [(row.first, row.label) for row in dataset.rows] == [('Dijo "no"', "0"), ("Uno", "1")]
    assert (len(dataset.rows), dataset.expected) == (2, 2_000)


def test_a_stripped_test_file_has_no_labels(tmp_path: Path) -> None:
    put(tmp_path, "pawsx/test-ko.tsv", "하나\t둘\r\n")
    dataset = read(CARD, tmp_path, "ko", "test")
    assert dataset.rows[0].label is None
    assert not dataset.labelled


def test_hub_label_ids_are_the_labels(tmp_path: Path) -> None:
    folder = tmp_path / "hub/google-research-datasets/paws-x/ja"
    folder.mkdir(parents=True)
    rows = pyarrow.table({"id": [1, 2], "sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [1, 0]})
    pyarrow.parquet.write_table(rows, folder / "test-00000-of-00001.parquet")
    assert [row.label for row in read(CARD, tmp_path, "ja", "test").rows] == ["1", "0"]
