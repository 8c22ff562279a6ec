from __future__ import annotations

import json
from pathlib import Path

import pytest

from viaduct.errors import DataError
from viaduct.languages import LANGUAGES, XTREME
from viaduct.tasks.card import read
from viaduct.tasks.xcopa import CARD, COPA

ROW = {
    "premise": "The tea is cold.",
    "choice1": "It stood there.",
    "choice2": "It was drunk.",
    "question": "cause",
    "label": 0,
    "idx": 7,
}


def put(data: Path, **changes: object) -> Path:
    path = data / "xcopa/data/et/test.et.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**ROW, **changes}) + "\n", encoding="utf-8")
    return data


def test_a_row_asks_for_cause_or_effect(tmp_path: Path) -> None:
    (row,) = read(CARD, put(tmp_path), "et", "test").rows
    assert (row.id, row.context, row.question) == ("7", "The tea is cold.", "What was the cause?")
    assert (row.choices, row.label) == (("It stood there.", "It was drunk."), 0)
    (row,) = read(CARD, put(tmp_path, question="effect"), "et", "test").rows
    assert row.question == "What happened as a result?"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"question": "why"}, "unknown question 'why'"),
        ({"label": 2}, "unknown label 2"),
        ({"label": True}, "label True"),
    ],
)
def test_other_values_are_refused_with_their_line(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=f"line 1: .*{words}"):
        read(CARD, put(tmp_path, **changes), "et", "test")


def test_real_counts(shared_data: Path) -> None:
    for language in CARD.languages:
        for split in ("dev", "test"):
            found = read(CARD, shared_data, language, split)
            assert found.expected == len(found.rows) and found.labelled
    for split in ("train", "dev"):
        found = read(COPA, shared_data, "en", split)
        assert found.expected in (None, len(found.rows))


def test_xtreme_has_40_languages_and_the_table_those_of_xtreme_r_too() -> None:
    assert len(XTREME) == 40 and len(LANGUAGES) == 51
    assert {"ht", "qu"} <= set(LANGUAGES) - set(XTREME)
