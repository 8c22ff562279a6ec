"""The MNLI card: its layouts and its skipped rows."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from viaduct.errors import DataError, UsageError
from viaduct.tasks.card import read
from viaduct.tasks.mnli import CARD, LANGUAGES, MISMATCHED
from viaduct.tasks.xnli import LANGUAGES as XNLI_LANGUAGES


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
    assert (len(dataset.rows), dataset.expected) == (2, 9_815)


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
    with pytest.raises(DataError, match="line 2: not JSON: Unterminated string"):
        read(CARD, tmp_path, "en", "train")
    put(tmp_path, "multinli_1.0/multinli_1.0_train.jsonl", json_line("neutrl", "a", "b"))
    with pytest.raises(DataError, match=r"line 1: unknown label 'neutrl'. Did you mean 'neutral'"):
        read(CARD, tmp_path, "en", "train")


@pytest.mark.parametrize(
    ("name", "content", "layout"),
    [
        ("XNLI-MT-1.0/multinli/multinli.train.sw.tsv", "premise\thypo\tlabel\na\tb\tcontradictory\n", "official"),
        (
            "download/xtreme_translations/XNLI/translate-train/en-sw-translated.tsv",
            "x\ty\ta\tb\tcontradictory\n",
            "xtreme",
        ),
        ("download/xnli/train-sw.tsv", "a\tb\tcontradiction\n", "xtreme"),
    ],
)
def test_machine_translations_are_languages_of_the_card(tmp_path: Path, name: str, content: str, layout: str) -> None:
    put(tmp_path, name, content)
    found = read(CARD, tmp_path, "sw", "train")
    assert [(row.id, row.language, row.first, row.second, row.label) for row in found.rows] == [
        ("0", "sw", "a", "b", "contradiction")
    ]
    assert (found.layout, found.expected) == (layout, 392_702)
    with pytest.raises(DataError, match="no files for mnli, split dev, language sw"):
        read(CARD, tmp_path, "sw", "dev")


def test_a_translated_line_with_too_few_columns_is_named(tmp_path: Path) -> None:
    put(tmp_path, "xtreme_translations/XNLI/translate-train/en-de-translated.tsv", "x\ty\ta\tb\tneutral\nx\ty\ta\n")
    with pytest.raises(DataError, match="line 2: 3 tab-separated fields where 5 are expected"):
        read(CARD, tmp_path, "de", "train")


def test_english_files_are_no_other_language(tmp_path: Path) -> None:
    put(tmp_path, "multinli_1.0/multinli_1.0_train.jsonl", json_line("neutral", "a", "b"))
    assert read(CARD, tmp_path, "en", "train").rows
    with pytest.raises(DataError, match="no files for mnli, split train, language de"):
        read(CARD, tmp_path, "de", "train")
    assert set(LANGUAGES) == set(XNLI_LANGUAGES)


def test_mismatched_dev_is_a_card_of_its_own(tmp_path: Path) -> None:
    put(tmp_path, "multinli_1.0/multinli_1.0_dev_mismatched.jsonl", json_line("neutral", "a", "b"))
    mismatched = read(MISMATCHED, tmp_path, "en", "dev")
    assert (len(mismatched.rows), mismatched.expected) == (1, 9_832)
    assert MISMATCHED.trained_on == "mnli"


def test_no_test_split_and_no_other_languages(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown language of mnli 'fi'"):
        read(CARD, tmp_path, "fi", "train")
    with pytest.raises(DataError, match="no source has this split"):
        read(CARD, tmp_path, "en", "test")
