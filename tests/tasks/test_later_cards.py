"""Belebele with RACE, AfriXNLI and MasakhaNER 2.0: how their rows are read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from viaduct.errors import DataError
from viaduct.tasks import afrixnli, belebele, masakhaner
from viaduct.tasks.card import read
from viaduct.tasks.catalogue import Catalogue

QUESTION: dict[str, Any] = {
    "link": "https://a.example/tea", "question_number": 1, "flores_passage": "Ruwan yana tafasa.",
    "question": "Me ke tafasa?", "mc_answer1": "Shayi", "mc_answer2": "Ruwa", "mc_answer3": "Madara",
    "mc_answer4": "Miya", "correct_answer_num": "2", "dialect": "hau_Latn", "ds": "2023-05-03",
}  # fmt: skip


def put(data: Path, name: str, content: str) -> None:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def questions(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(QUESTION | row) + "\n" for row in rows)


@pytest.mark.parametrize("place", ["hub/facebook/belebele/data/hau_Latn.jsonl", "Belebele/hau_Latn.jsonl"])
def test_belebele_has_four_answers_and_ids_that_translations_share(tmp_path: Path, place: str) -> None:
    put(tmp_path, place, questions({}, {"question_number": 2, "correct_answer_num": 4}, {"question": "Ina?"}))
    first, second, third = read(belebele.CARD, tmp_path, "ha", "test").rows
    assert (first.context, first.question, first.label) == ("Ruwan yana tafasa.", "Me ke tafasa?", 1)
    assert first.choices == ("Shayi", "Ruwa", "Madara", "Miya") and second.label == 3
    assert [row.id[-3:] for row in (first, second, third)] == ["a-1", "a-2", "1-2"]


@pytest.mark.parametrize("given", ["0", "5", "", "12", [1]])
def test_belebele_refuses_an_answer_that_is_none_of_the_four(tmp_path: Path, given: Any) -> None:
    put(tmp_path, "Belebele/hau_Latn.jsonl", questions({}, {"question_number": 2, "correct_answer_num": given}))
    with pytest.raises(DataError, match=r"hau_Latn.jsonl, line 2: unknown answer .*\n.*use one of 1 2 3 4"):
        read(belebele.CARD, tmp_path, "ha", "test")


def test_belebele_has_the_published_languages_and_reads_both_scripts() -> None:
    assert len(belebele.CODES) == len(set(belebele.CODES.values())) == 122
    assert {belebele.CODES[code] for code in ("zh", "zh-Hant", "hi", "hi-Latn", "ar", "fa", "ko")} == {
        "zho_Hans", "zho_Hant", "hin_Deva", "hin_Latn", "arb_Arab", "pes_Arab", "kor_Hang",
    }  # fmt: skip
    assert sum(belebele.CARD.expected.values()) == 109_800


def test_race_is_what_belebele_is_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "hub/ehovy/race/all/train-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    row = {"article": "Tea is hot.", "question": "What is hot?", "options": ["Ice", "Tea", "Snow", "Rain"]}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{**row, "answer": "B"}]), path)
    card = Catalogue.builtin().task(belebele.CARD.trained_on or "")
    (found,) = read(card, tmp_path, "en", "train").rows
    assert (found.context, found.choices[found.label]) == ("Tea is hot.", "Tea")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{**row, "answer": "E"}]), path)
    with pytest.raises(DataError, match="unknown answer 'E'"):
        read(card, tmp_path, "en", "train")


def test_afrixnli_has_xnlis_labels(tmp_path: Path) -> None:
    place = "hub/masakhane/afrixnli/data/orm/test.tsv"
    put(tmp_path, place, "premise\thypothesis\tlabel\nBishaan ni danfa.\tBishaan ho'aadha.\t0\na\tb\t2\n")
    first, second = read(afrixnli.CARD, tmp_path, "om", "test").rows
    assert (first.first, first.second, first.label, second.label) == (
        "Bishaan ni danfa.", "Bishaan ho'aadha.", "entailment", "contradiction",
    )  # fmt: skip
    assert set(afrixnli.CARD.labels) == set(Catalogue.builtin().task("mnli").labels)
    put(tmp_path, place, "premise\thypothesis\tlabel\na\tb\t3\n")
    with pytest.raises(DataError, match="unknown label '3'"):
        read(afrixnli.CARD, tmp_path, "om", "test")


def test_masakhaner_has_names_and_no_dates(tmp_path: Path) -> None:
    place = "MasakhaNER2.0/data/hau/test.txt"
    put(tmp_path, place, "jihar B-LOC\nKano I-LOC\nranar B-DATE\nLaraba I-DATE\n. O\n\nA O\n")
    first, second = read(masakhaner.CARD, tmp_path, "ha", "test").rows
    assert (first.tokens, first.tags) == (("jihar", "Kano", "ranar", "Laraba", "."), ("B-LOC", "I-LOC", "O", "O", "O"))
    assert second.tokens == ("A",)
    put(tmp_path, place, "jihar B-LOC\nKano I-PLACE\n")
    with pytest.raises(DataError, match=r"line 2: unknown tag 'I-PLACE'"):
        read(masakhaner.CARD, tmp_path, "ha", "test")
