"""The MNLI card: its layouts and its skipped rows."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from viaduct.errors import DataError, UsageError
from viaduct.tasks.card import read
from viaduct.tasks.mnli import CARD


def json_line(label: str, first: str, second: str) -> str:
    return json.dumps({"gold_label": label, "sentence1": first, "sentence2": second, "pairID": "1n"}) + "\n"


def put(data: Path, name: str, content: str) -> None:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


@pytest.mark.parametrize("folder", ["multinli_1.0", "mnli"])
def test_json_lines_without_a_majority_are_skipped_and_ids_keep_their_place(tmp_path: Path, folder: str) -> None:
    lines = [
        json_line("neutral", 'He said "hi', "He spoke."),
        json_line("-", "Maybe.", "No."),
        json_line("entailment", "Two cats.", "Cats."),
    ]
    put(tmp_path, f"{folder}/multinli_1.0_dev_matched.jsonl", "".join(lines))
    dataset = read(CARD, tmp_path, "en", "dev")
    assert [(row.id, row.label, row.first) for row in dataset.rows] == [
        ("0", "neutral", 'He said "hi'),
        ("2", "entailment", "Two cats."),
    ]
    assert dataset.count_note == "mnli dev en: 2 rows found, 9,815 published"


@pytest.mark.parametrize("name", ["mnli/multinli.train.en.tsv", "download/XNLI-MT-1.0/multinli/multinli.train.en.tsv"])
def test_translated_layout_normalises_contradictory(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, 'premise\thypo\tlabel\n" unbalanced\tb\tcontradictory\nc\td " e\tneutral\n')
    rows = read(CARD, tmp_path, "en", "train").rows
    assert [(row.id, row.first, row.label) for row in rows] == [
        ("0", '" unbalanced', "contradiction"),
        ("1", "c", "neutral"),
    ]


def test_xtreme_layout_and_hub(tmp_path: Path) -> None:
    put(tmp_path, "download/xnli/train-en.tsv", "a\tb\tentailment\r\n")
    assert read(CARD, tmp_path, "en", "train").layout == "xtreme"
    folder = tmp_path / "hub/nyu-mll/multi_nli/data"
    folder.mkdir(parents=True)
    rows = pyarrow.table({"premise": ["a", "b", "c"], "hypothesis": ["d", "e", "f"], "label": [0, 1, 2]})
    pyarrow.parquet.write_table(rows, folder / "validation_matched-00000-of-00001.parquet")
    dataset = read(CARD, tmp_path, "en", "dev")
    assert [row.label for row in dataset.rows] == ["entailment", "neutral", "contradiction"]


def test_a_cut_off_or_foreign_line_is_named(tmp_path: Path) -> None:
    put(tmp_path, "multinli_1.0/multinli_1.0_train.jsonl", json_line("neutral", "a", "b") + '{"gold_label": "neu')
    with pytest.raises(DataError, match="line 2: not a JSON object with gold_label, sentence1, sentence2"):
        read(CARD, tmp_path, "en", "train")
    put(tmp_path, "multinli_1.0/multinli_1.0_train.jsonl", json_line("neutrl", "a", "b"))
    with pytest.raises(DataError, match=r"line 1: unknown label 'neutrl'. Did you mean 'neutral'"):
        read(CARD, tmp_path, "en", "train")


def test_only_english_and_no_test_split(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown language of mnli 'de'"):
        read(CARD, tmp_path, "de", "train")
    with pytest.raises(DataError, match="no source has this split"):
        read(CARD, tmp_path, "en", "test")
