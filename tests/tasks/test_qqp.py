"""The two QQP cards: GLUE's files with rows torn by line breaks, and BiMPM's split."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from viaduct.errors import DataError
from viaduct.tasks.card import read
from viaduct.tasks.qqp import BIMPM, CARD

HEADER = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"


def put(data: Path, name: str, content: str) -> Path:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="")
    return data


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_torn_by_a_line_break_are_left_out_as_in_the_published_counts(tmp_path: Path, end: str) -> None:
    lines = [
        '1\t2\t3\t"Why" tea?\tWhy "coffee?\t0',
        "2\t4\t5\tHow do I",
        "boil it?\tHow?\t1",
        "3\t6\t7\tWhat?\tWhich?\t1",
    ]
    put(tmp_path, "QQP/train.tsv", HEADER.replace("\n", end) + "".join(line + end for line in lines))
    found = read(CARD, tmp_path, "en", "train")
    assert [(row.id, row.first, row.second, row.label) for row in found.rows] == [
        ("0", '"Why" tea?', 'Why "coffee?', "0"),
        ("3", "What?", "Which?", "1"),
    ]
    assert (len(found.rows), found.expected) == (2, 363_846)


def test_the_test_file_has_no_labels(tmp_path: Path) -> None:
    put(tmp_path, "qqp/test.tsv", "id\tquestion1\tquestion2\n0\tWhy?\tHow?\n")
    (row,) = read(CARD, tmp_path, "en", "test").rows
    assert (row.id, row.first, row.second, row.label) == ("0", "Why?", "How?", None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + "1\t2\t3\tWhy?\tHow?\t2\n", "line 2: unknown label '2'"),
        (HEADER + "1\t2\t3\tWhy?\tHow?\t1\tx\n", "line 2: 7 tab-separated fields, but the header has 6"),
        (HEADER + "1\t2\t3\tWhy?\tHow?\t1\n2\t3\t4\tWh", "line 3: the last row is cut off"),
        ("id\tqid1\tqid2\tquestion1\tquestions2\tis_duplicate\n", r"line 1: unknown column 'question2'. Did you mean"),
    ],
)
def test_damage_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    put(tmp_path, "QQP/dev.tsv", content)
    with pytest.raises(DataError, match=message):
        read(CARD, tmp_path, "en", "dev")


def test_the_hub(tmp_path: Path) -> None:
    folder = tmp_path / "hub/nyu-mll/glue/qqp"
    folder.mkdir(parents=True)
    rows = pyarrow.table({"question1": ["a", "b"], "question2": ["c", "d"], "label": [1, 0]})
    pyarrow.parquet.write_table(rows, folder / "validation-00000-of-00001.parquet")
    assert [row.label for row in read(CARD, tmp_path, "en", "dev").rows] == ["1", "0"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Quora_question_pair_partition/dev.tsv", "1\tWhy tea ?\tWhat for ?\t77\n"),
        ("quora/dev.txt", "Why tea ?\tWhat for ?\t1\n"),
        ("qqp/bimpm_split_tokenised/dev.txt", "Why tea ?\tWhat for ?\t1\n"),
    ],
)
def test_bimpm_files_with_three_and_four_columns(tmp_path: Path, name: str, line: str) -> None:
    (row,) = read(BIMPM, put(tmp_path, name, line), "en", "dev").rows
    assert (row.id, row.first, row.second, row.label) == ("0", "Why tea ?", "What for ?", "1")
    with pytest.raises(DataError, match=r"no files for qqp, split dev"):
        read(CARD, tmp_path, "en", "dev")


@pytest.mark.parametrize(
    ("content", "message"),
    [("a\tb\t1\nc\t0\n", "line 2: 2 tab-separated fields where 3"), ("a\tb\tx\n", "line 1: unknown label 'x'")],
)
def test_bimpm_damage_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(BIMPM, put(tmp_path, "quora/dev.txt", content), "en", "dev")


def test_real_glue_files_with_either_line_end(shared_data: Path, tmp_path: Path) -> None:
    sample = shared_data / "qqp" / "glue_format_sample10"
    for split in ("train", "dev", "test"):
        put(tmp_path, f"QQP/{split}.tsv", (sample / f"{split}.tsv").read_bytes().decode())
        found = read(CARD, tmp_path, "en", split)
        # the sample's first line is the header
        assert len(found.rows) in (9, 10) and found.labelled == (split != "test")
        assert not any(row.second.endswith("\r") for row in found.rows)
