"""The multiple-choice cards hellaswag, cosmosqa and commonsenseqa, in every layout, and what can go wrong."""

from __future__ import annotations

import bz2
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from viaduct.errors import DataError
from viaduct.tasks import commonsenseqa, cosmosqa, hellaswag
from viaduct.tasks.card import Task, read


def put(data: Path, name: str, content: str | bytes) -> Path:
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return data


def hub(data: Path, place: str, *rows: dict[str, Any]) -> Path:
    path = data / "hub" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return data


SWAG = {
    "ind": 7,
    "activity_label": "Food",
    "ctx_a": "[header] How to make tea [title] Boil water. [step] Use a kettle.",
    "ctx_b": "",
    "endings": ["Pour it. [substeps] Wait.", "[title] Sing.", "Keep it [dry].", "Go [title] Home."],
    "label": 2,
}
ENDINGS = ("Pour it. Wait.", "Sing.", "Keep it [dry].", "Go. Home.")


def test_hellaswag_lines_lose_their_marks_and_nothing_else(tmp_path: Path) -> None:
    activity = {**SWAG, "ctx_a": "A kettle boils.", "ctx_b": "the cook", "label": 0}
    put(tmp_path, "hellaswag/hellaswag_val.jsonl", "".join(json.dumps(row) + "\n" for row in (SWAG, activity)))
    how_to, video = read(hellaswag.CARD, tmp_path, "en", "dev").rows
    assert (how_to.id, how_to.context, how_to.question) == ("0", "How to make tea. Boil water. Use a kettle.", "")
    assert (how_to.choices, how_to.label) == (ENDINGS, 2)
    assert (video.id, video.context, video.question, video.label) == ("1", "A kettle boils.", "the cook", 0)


def test_hellaswag_test_has_no_labels(tmp_path: Path) -> None:
    unlabelled = {name: value for name, value in SWAG.items() if name != "label"}
    put(tmp_path, "hellaswag/data/hellaswag_test.jsonl", json.dumps(unlabelled) + "\n")
    assert not read(hellaswag.CARD, tmp_path, "en", "test").labelled


@pytest.mark.parametrize("pack", [lambda text: text, bz2.compress])
def test_hellaswag_text_has_six_lines_per_row(tmp_path: Path, pack: Any) -> None:
    lines = ["Food: A kettle boils. the cook", "3", "a.", "b.", "c.", "d."]
    content = pack("".join(f"{line}\n" for line in lines * 2).encode())
    put(tmp_path, "hellaswag/hellaswag_val_full.txt" + (".bz2" if pack is bz2.compress else ""), content)
    rows = read(hellaswag.CARD, tmp_path, "en", "dev").rows
    assert [(row.id, row.context, row.choices, row.label) for row in rows] == [
        (number, "Food: A kettle boils. the cook", ("a.", "b.", "c.", "d."), 3) for number in ("0", "1")
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("val.jsonl", json.dumps({**SWAG, "label": 4}), "line 1: unknown label '4'"),
        ("val.jsonl", json.dumps({**SWAG, "label": True}), "line 1: unknown label 'True'"),
        ("val.jsonl", json.dumps({**SWAG, "endings": ["a"]}), "line 1: 'endings' is not a list of 4"),
        ("val.jsonl", json.dumps({"ctx": "a"}), "line 1: not a JSON object with ctx_a, ctx_b, endings"),
        ("val_full.txt", "a\n1\nb\nc\nd\ne\na\n7\nb\nc\nd\ne\n", "line 8: unknown label '7'"),
        ("val_full.txt", "a\n1\nb\nc\nd\ne\na\n1\nb\n", "line 9: the last row has 3 lines where 6 are expected"),
        ("val_full.txt", "a\n1\nb\n\nd\ne\n", "line 4: the line is blank"),
        ("val_full.txt.bz2", bz2.compress(b"a\n1\n" * 99)[:-9], "the archive is damaged"),
    ],
)
def test_hellaswag_damage_is_named(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    put(tmp_path, f"hellaswag/hellaswag_{name}", content)
    with pytest.raises(DataError, match=message):
        read(hellaswag.CARD, tmp_path, "en", "dev")


def test_real_hellaswag_is_the_same_in_both_forms(shared_data: Path, tmp_path: Path) -> None:
    """At least 495 of the 500 rows with marks are found, without them, among the 10,042 rows of the text form."""
    lines = (shared_data / "hellaswag/hellaswag_val_500_en.jsonl").read_text(encoding="utf-8").splitlines()
    given = [json.loads(line) for line in lines]
    named = [{**row, "ctx_a": f"{row['activity_label']}: {row['context']}", "ctx_b": ""} for row in given]
    put(tmp_path, "hellaswag/hellaswag_val.jsonl", "".join(json.dumps(row) + "\n" for row in named))
    marked = read(hellaswag.CARD, tmp_path, "en", "dev").rows
    text = {(row.context, row.choices, row.label) for row in read(hellaswag.CARD, shared_data, "en", "dev").rows}
    assert len(marked) == 500
    assert sum((row.context, row.choices, row.label) in text for row in marked) >= 495


COSMOS = "id,context,question,answer0,answer1,answer2,answer3,label\r\n"


def test_cosmosqa_fields_may_hold_commas_marks_and_line_ends(tmp_path: Path) -> None:
    content = COSMOS + 'a,"He said ""tea"", \r\nthen left .",Why ?,None of the above choices .,"b, c",d,e,1\r\n'
    put(tmp_path, "cosmosqa/train.csv", content + "b,x,y,1,2,3,4,0\r\n")
    first, second = read(cosmosqa.CARD, tmp_path, "en", "train").rows
    assert (first.id, first.question, first.label) == ("a", "Why ?", 1)
    assert first.context.split() == ["He", "said", '"tea",', "then", "left", "."]
    assert first.choices == ("None of the above choices .", "b, c", "d", "e")
    assert (second.id, second.choices) == ("b", ("1", "2", "3", "4"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (COSMOS + '"a\nb",x,y,1,2,3,4,0\nb,x,y,1,2,3,4,9\n', "line 4: unknown label '9'"),
        (COSMOS + "a,x,y,1,2,3,4\n", "line 2: 7 comma-separated fields, but the header has 8"),
        (COSMOS + 'a,"x,y,1,2,3,4,0\n', "line 2: the quoting of this line is broken"),
        (COSMOS.replace("answer3", "answer_3"), r"line 1: unknown column 'answer3'. Did you mean"),
    ],
)
def test_cosmosqa_damage_is_named(tmp_path: Path, content: str, message: str) -> None:
    put(tmp_path, "cosmosqa/valid.csv", content)
    with pytest.raises(DataError, match=message):
        read(cosmosqa.CARD, tmp_path, "en", "dev")


def test_cosmosqa_test_lines_have_no_labels(tmp_path: Path) -> None:
    row = {"id": "a", "context": "x", "question": "y", **{f"answer{number}": str(number) for number in range(4)}}
    put(tmp_path, "cosmosqa/test.jsonl", json.dumps(row) + "\n")
    found = read(cosmosqa.CARD, tmp_path, "en", "test")
    assert found.rows[0].choices == ("0", "1", "2", "3") and not found.labelled


def csqa(**changes: Any) -> str:
    choices = [{"label": letter, "text": letter.lower()} for letter in changes.pop("letters", "ABCDE")]
    question = {"question_concept": "tea", "choices": choices, "stem": "Where does tea stand?"}
    return json.dumps({"answerKey": "B", "id": "7f", "question": question} | changes) + "\n"


def test_commonsenseqa_letters_become_indices_and_test_has_none(tmp_path: Path) -> None:
    put(tmp_path, "commonsenseqa/dev_rand_split.jsonl", csqa())
    (row,) = read(commonsenseqa.CARD, tmp_path, "en", "dev").rows
    assert (row.id, row.context, row.question) == ("7f", "Where does tea stand?", "")
    assert (row.choices, row.label) == (("a", "b", "c", "d", "e"), 1)
    unlabelled = json.loads(csqa())
    del unlabelled["answerKey"]
    put(tmp_path, "commonsenseqa/test_rand_split_no_answers.jsonl", json.dumps(unlabelled) + "\n")
    assert not read(commonsenseqa.CARD, tmp_path, "en", "test").labelled


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (csqa(answerKey="F"), "line 2: unknown answer key 'F'"),
        (csqa(letters="ABDCE"), "line 2: question '7f' has the answers A, B, D, C, E"),
        (csqa(letters="ABCD"), "line 2: question '7f' has the answers A, B, C, D"),
        (csqa(question={"stem": "x"}), "line 2: the question has no 'choices'"),
        ("[]\n", "line 2: not a JSON object with id, question"),
    ],
)
def test_commonsenseqa_damage_is_named(tmp_path: Path, line: str, message: str) -> None:
    put(tmp_path, "commonsenseqa/train_rand_split.jsonl", csqa() + line)
    with pytest.raises(DataError, match=message):
        read(commonsenseqa.CARD, tmp_path, "en", "train")


HUB: list[tuple[Task, str, dict[str, Any], tuple[str, ...], int | None]] = [
    (hellaswag.CARD, "Rowan/hellaswag/data/{}-00000-of-00001.parquet", {**SWAG, "label": "2"}, ENDINGS, 2),
    (hellaswag.CARD, "Rowan/hellaswag/data/{}-00000-of-00001.parquet", {**SWAG, "label": ""}, ENDINGS, None),
    (
        cosmosqa.CARD,
        "allenai/cosmos_qa/default/{}/0000.parquet",
        {"id": "a", "context": "x", "question": "y", **{f"answer{n}": str(n) for n in range(4)}, "label": 3},
        ("0", "1", "2", "3"),
        3,
    ),
    (
        commonsenseqa.CARD,
        "tau/commonsense_qa/data/{}-00000-of-00001.parquet",
        {"id": "a", "question": "x", "choices": {"label": list("ABCDE"), "text": list("vwxyz")}, "answerKey": "E"},
        tuple("vwxyz"),
        4,
    ),
]


@pytest.mark.parametrize(("card", "place", "row", "choices", "label"), HUB)
def test_hub_tables(
    tmp_path: Path, card: Task, place: str, row: dict[str, Any], choices: tuple[str, ...], label: int | None
) -> None:
    hub(tmp_path, place.format("validation"), row)
    (found,) = read(card, tmp_path, "en", "dev").rows
    assert (found.choices, found.label) == (choices, label)
