"""SQuAD's JSON: labelled, stripped and unanswerable are three different things, and errors name the place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viaduct.errors import DataError
from viaduct.rows import Answer, Span
from viaduct.tasks.squad_json import read_squad, squad_table

CONTEXT = "Perth lies on the Tay. 𝔓erth is old."


def qa(answers: list[tuple[str, int]] | None, question_id: str = "q") -> dict[str, Any]:
    question: dict[str, Any] = {"id": question_id, "question": "Where?"}
    if answers is not None:
        question["answers"] = [{"text": text, "answer_start": start} for text, start in answers]
    return question


def write(folder: Path, *questions: dict[str, Any], context: str = CONTEXT) -> Path:
    path = folder / "made.json"
    content = {"version": 1.1, "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(questions)}]}]}
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def test_offsets_are_characters_and_equal_answers_stay(tmp_path: Path) -> None:
    path = write(tmp_path, qa([("erth", 24), ("Tay", 18), ("Tay", 18)]))
    assert read_squad(path, "en") == (
        Span("q", "en", CONTEXT, "Where?", (Answer("erth", 24), Answer("Tay", 18), Answer("Tay", 18))),
    )


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ([None, None], [None, None]),
        ([[("", 0)], [("", 0)]], [None, None]),
        ([[], [("Tay", 18)]], [(), (Answer("Tay", 18),)]),
        ([[], []], [(), ()]),
        ([None, [("Tay", 18)]], [None, (Answer("Tay", 18),)]),
    ],
    ids=["no answers", "blanked", "one unanswerable", "all unanswerable", "one unlabelled"],
)
def test_stripped_is_not_unanswerable(tmp_path: Path, given: list[Any], read: list[Any]) -> None:
    path = write(tmp_path, *(qa(answers, f"q{n}") for n, answers in enumerate(given)))
    assert [row.answers for row in read_squad(path, "en")] == read


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([("Tay", 17)], "the answer 'Tay' to question 'q' is not at character 17 of its context, but at 18"),
        ([("erth", 20)], "but at 24"),
        ([("Tay", -4)], "but at 18"),
        ([("Dee", 3)], "it does not occur there"),
        ([("Tay", 18), ("", 0)], "blank answer"),
    ],
)
def test_answers_must_stand_where_they_say(tmp_path: Path, answers: list[tuple[str, int]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_squad(write(tmp_path, qa(answers)), "en")


def test_a_blank_answer_among_real_ones_is_damage(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"qas\[1\].*question 'b' has a blank answer"):
        read_squad(write(tmp_path, qa([("Tay", 18)], "a"), qa([("", 0)], "b")), "en")


def test_repeated_ids(tmp_path: Path) -> None:
    path = write(tmp_path, qa([("Tay", 18)]), qa([("Perth", 0)]))
    with pytest.raises(DataError, match=r"'q' occurs twice: data\[0\].paragraphs\[0\].qas\[0\] and .*qas\[1\]"):
        read_squad(path, "en")
    assert [row.id for row in read_squad(path, "en", repeated_ids=True)] == ["q", "q"]


def test_truncated_json_names_line_and_column(tmp_path: Path) -> None:
    path = write(tmp_path, qa([("Tay", 18)]))
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[:5]) + '\n  "con', encoding="utf-8")
    with pytest.raises(DataError, match=r"made.json, line 6: not JSON: .* at character 3"):
        read_squad(path, "en")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = write(tmp_path, qa([("Tay", 18)]))
    good = read_squad(path, "en")
    content = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
    assert read_squad(path, "en") == good
    path.write_bytes(content.replace("𝔓".encode(), b"\xe9"))
    with pytest.raises(DataError, match=r"line .*UTF-8"):
        read_squad(path, "en")
    path.write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        read_squad(path, "en")
    with pytest.raises(DataError, match=r"none.json"):
        read_squad(tmp_path / "none.json", "en")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"q1": "an answer"}, "the file has no 'data'"),
        ([1], "the file has no 'data'"),
        ({"data": {}}, "'data' is dict, but must be list"),
        ({"data": [{}]}, r"data\[0\] has no 'paragraphs'"),
        ({"data": [{"paragraphs": [{"context": None, "qas": []}]}]}, "'context' is NoneType"),
        ({"data": [{"paragraphs": [{"context": "", "qas": [{"id": 1, "question": ""}]}]}]}, "'id' is int"),
        (
            {"data": [{"paragraphs": [{"context": "", "qas": [{"id": "", "answers": [{"text": ""}]}]}]}]},
            r"answers\[0\] has no 'answer_start'",
        ),
    ],
)
def test_json_of_another_shape(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_squad(path, "en")


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 29), st.integers(1, 5)), min_size=1, max_size=4),
)
def test_every_span_of_any_text_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, context: str, places: list[tuple[int, int]]
) -> None:
    answers = [(context[start % len(context) :][:length], start % len(context)) for start, length in places]
    (row,) = read_squad(write(tmp_path_factory.mktemp("squad"), qa(answers), context=context), "xx")
    assert row.context == context
    assert row.answers == tuple(Answer(text, start) for text, start in answers)


def hub(folder: Path, texts: list[str], starts: list[int]) -> Path:
    path = folder / "validation-00000-of-00001.parquet"
    row = {"id": "q", "context": CONTEXT, "question": "Where?", "answers": {"text": texts, "answer_start": starts}}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{**row, "title": "t"}]), path)
    return path


def test_hub_table(tmp_path: Path) -> None:
    (row,) = squad_table({"rows": (hub(tmp_path, ["Tay", "Perth"], [18, 0]),)}, "en", "dev")
    assert row == Span("q", "en", CONTEXT, "Where?", (Answer("Tay", 18), Answer("Perth", 0)))
    with pytest.raises(DataError, match=r"row 0: the answer 'Tay'.*but at 18"):
        squad_table({"rows": (hub(tmp_path, ["Tay"], [1]),)}, "en", "dev")
    with pytest.raises(DataError, match="row 0: 1 answer texts, but 2 starts"):
        squad_table({"rows": (hub(tmp_path, ["Tay"], [18, 18]),)}, "en", "dev")
