"""The cards of snli, anli and anli_plus: labels, rows without a majority, ids, and cards made of other cards."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from holdings import languages_there

from viaduct.errors import DataError
from viaduct.tasks.anli import CARD as ANLI
from viaduct.tasks.anli import PLUS
from viaduct.tasks.card import locate, read, splits_of
from viaduct.tasks.mnli import CARD as MNLI
from viaduct.tasks.snli import CARD as SNLI


def put(data: Path, name: str, content: str) -> None:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="")


def snli_line(label: str, first: str, second: str) -> str:
    return json.dumps({"gold_label": label, "sentence1": first, "sentence2": second, "pairID": "1n"}) + "\n"


def anli_line(uid: str, label: object) -> str:
    return json.dumps({"uid": uid, "context": f"c {uid}", "hypothesis": "h", "label": label, "tag": None}) + "\n"


def hub(data: Path, place: str, labels: list[int]) -> None:
    path = data / "hub" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [f"text {number}" for number in range(len(labels))]
    pyarrow.parquet.write_table(pyarrow.table({"premise": texts, "hypothesis": texts, "label": labels}), path)


SNLI_ROWS = [("0", "A kettle.", "entailment"), ("2", "Tea.", "neutral")]


def test_snli_leaves_pairs_without_a_majority_out_in_both_of_its_own_forms(tmp_path: Path) -> None:
    lines = [("entailment", "A kettle.", "It."), ("-", "Maybe.", "No."), ("neutral", "Tea.", "Hot.")]
    header = "gold_label\tsentence1_binary_parse\tsentence1\tsentence2\tlabel1\n"
    put(tmp_path, "snli_1.0/snli_1.0_dev.jsonl", "".join(snli_line(*line) for line in lines))
    put(tmp_path, "snli_1.0/snli_1.0_test.txt", header + "".join(f"{a}\t( x )\t{b}\t{c}\t{a}\n" for a, b, c in lines))
    for split in ("dev", "test"):
        found = read(SNLI, tmp_path, "en", split)
        assert [(row.id, row.first, row.label) for row in found.rows] == SNLI_ROWS
        assert found.labelled and len(found.rows) == 2
        assert found.expected is not None and found.expected // 100 == 98


def test_snli_of_the_hub_leaves_label_minus_one_out(tmp_path: Path) -> None:
    hub(tmp_path, "stanfordnlp/snli/plain_text/train-00000-of-00001.parquet", [0, -1, 2])
    rows = read(SNLI, tmp_path, "en", "train").rows
    assert [(row.id, row.label) for row in rows] == [("0", "entailment"), ("2", "contradiction")]


def three_files(data: Path, labels: str) -> None:
    put(data, "snli/s1.dev", "A kettle sings . \nTea . \n")
    put(data, "snli/s2.dev", "It is hot . \nIt is cold . \n")
    put(data, "snli/labels.dev", labels)


def test_snli_in_three_files_loses_blanks_at_the_ends_only(tmp_path: Path) -> None:
    three_files(tmp_path, "neutral\ncontradiction\n")
    rows = read(SNLI, tmp_path, "en", "dev").rows
    assert [(row.id, row.first, row.second, row.label) for row in rows] == [
        ("0", "A kettle sings .", "It is hot .", "neutral"),
        ("1", "Tea .", "It is cold .", "contradiction"),
    ]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("neutral\n", "labels.dev: 1 labels for 2 pairs"),
        ("neutral\n-\n", "line 2: unknown label '-'"),
        ("neutral\nneutrl\n", r"line 2: unknown label 'neutrl'. Did you mean 'neutral'"),
        ("neutral\n\n", "line 2: the line is blank"),
    ],
)
def test_snli_in_three_files_must_fit_together(tmp_path: Path, labels: str, message: str) -> None:
    three_files(tmp_path, labels)
    with pytest.raises(DataError, match=message):
        read(SNLI, tmp_path, "en", "dev")


def test_anli_is_three_rounds_and_ids_say_which(tmp_path: Path) -> None:
    for number, label in (("R3", "c"), ("R1", "e"), ("R2", "neutral")):
        put(tmp_path, f"anli_v1.0/{number}/dev.jsonl", anli_line("7f", label))
    rows = read(ANLI, tmp_path, "en", "dev").rows
    assert [(row.id, row.label) for row in rows] == [
        ("R1-7f", "entailment"),
        ("R2-7f", "neutral"),
        ("R3-7f", "contradiction"),
    ]


def test_anli_needs_all_rounds_and_known_labels(tmp_path: Path) -> None:
    put(tmp_path, "anli_v1.0/R1/dev.jsonl", anli_line("a", "e") + anli_line("b", "x"))
    put(tmp_path, "anli_v1.0/R2/dev.jsonl", anli_line("a", "e"))
    with pytest.raises(DataError, match=r"no files for anli.*anli_v1.0/R3/dev.jsonl"):
        read(ANLI, tmp_path, "en", "dev")
    put(tmp_path, "anli_v1.0/R3/dev.jsonl", anli_line("a", 0))
    with pytest.raises(DataError, match=r"R1/dev.jsonl, line 2: unknown label 'x'"):
        read(ANLI, tmp_path, "en", "dev")
    put(tmp_path, "anli_v1.0/R1/dev.jsonl", anli_line("a", "e"))
    with pytest.raises(DataError, match=r"R3/dev.jsonl, line 1: unknown label '0'"):
        read(ANLI, tmp_path, "en", "dev")


def test_anli_of_the_hub(tmp_path: Path) -> None:
    for number in ("r1", "r2", "r3"):
        hub(tmp_path, f"facebook/anli/plain_text/train_{number}-00000-of-00001.parquet", [0, 1])
    rows = read(ANLI, tmp_path, "en", "train").rows
    assert [row.id for row in rows] == ["R1-0", "R1-1", "R2-0", "R2-1", "R3-0", "R3-1"]


@pytest.fixture
def all_three(tmp_path: Path) -> Path:
    for number in ("R1", "R2", "R3"):
        put(tmp_path, f"anli_v1.0/{number}/train.jsonl", anli_line("7f", "c"))
    put(tmp_path, "multinli_1.0/multinli_1.0_train.jsonl", snli_line("neutral", "a", "b"))
    hub(tmp_path, "stanfordnlp/snli/plain_text/train-00000-of-00001.parquet", [-1, 0])
    return tmp_path


def test_anli_plus_is_the_rows_of_three_cards(all_three: Path) -> None:
    found = read(PLUS, all_three, "en", "train")
    assert [(row.id, row.label) for row in found.rows] == [
        ("anli-R1-7f", "contradiction"),
        ("anli-R2-7f", "contradiction"),
        ("anli-R3-7f", "contradiction"),
        ("mnli-0", "neutral"),
        ("snli-1", "entailment"),
    ]
    assert (found.layout, len(found.paths), found.expected) == ("official+hub", 5, 1_104_934)
    assert splits_of(PLUS) == ("train", "dev")
    assert languages_there(PLUS, all_three, "train") == ("en",)


def test_anli_plus_names_the_card_whose_files_are_missing(all_three: Path) -> None:
    (all_three / "anli_v1.0/R2/train.jsonl").unlink()
    with pytest.raises(DataError, match="no files for anli, split train"):
        locate(PLUS, all_three, "en", "train")
    with pytest.raises(DataError, match="no files for anli, split dev"):
        locate(PLUS, all_three, "en", "dev")


def test_published_sizes_add_up() -> None:
    for split, total in (("train", 1_104_934), ("dev", 22_857)):
        assert sum(card.expected["en", split] for card in (ANLI, MNLI, SNLI)) == PLUS.expected["en", split] == total


def test_real_anli_lacks_two_rows(shared_data: Path) -> None:
    found = read(ANLI, shared_data, "en", "dev")
    assert (len(found.rows), found.expected) == (3_198, 3_200)
    assert Counter(row.id[:2] for row in found.rows) == {"R1": 1_000, "R2": 1_000, "R3": 1_198}


def test_real_snli_reads_alike_in_all_forms(shared_data: Path, tmp_path: Path) -> None:
    rows = read(SNLI, shared_data, "en", "dev").rows
    assert not any(text != text.strip() for row in rows for text in (row.first, row.second))
    sample = shared_data / "snli" / "snli_1.0_sample10"
    for name in ("snli_1.0_dev.jsonl", "snli_1.0_test.txt"):
        put(tmp_path, f"snli_1.0/{name}", (sample / name).read_text(encoding="utf-8"))
    first = read(SNLI, tmp_path, "en", "dev").rows[0]
    assert (first.first.replace(".", " ."), first.label) == (rows[0].first, rows[0].label)
    assert read(SNLI, tmp_path, "en", "test").labelled
