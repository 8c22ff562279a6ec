"""An XTREME submission gets the scores of the benchmark's own script, including its oddities on request."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from viaduct import cli, tables
from viaduct.errors import ViaductError
from viaduct.results.scores import TOKEN_ACCURACY, Scores
from viaduct.results.submission import Submission
from viaduct.results.xtreme import FOLDERS

BY_NAME = {folder.name: folder for folder in FOLDERS}

REFUSED = {
    "both_empty_panx",
    "both_empty_udpos",
    "both_empty_bucc2018",
    "one_token_too_few_panx",
    "one_token_too_many_udpos",
    "outside_scheme_panx",
    "same_id_twice_xquad",
    "token_and_tag_panx",
}
"""Cases that only --official scores: empty files, sentences of another length, invalid labels, a repeated question."""


def score_folder(predictions: Path, labels: Path, *, official: bool = False, partial: bool = False) -> Scores:
    return Submission(predictions, labels, official=official).scores(partial=partial)


def flat(values: Any, name: str = "") -> dict[str, float]:
    """Flattens nested dictionaries: "/xnli/accuracy/de" -> value."""
    if not isinstance(values, dict):
        return {name: values}
    return {key: value for part in values for key, value in flat(values[part], f"{name}/{part}").items()}


@pytest.mark.parametrize("official", [False, True])
def test_a_whole_submission_scores_as_in_evaluate(shared_oracles: Path, official: bool) -> None:
    folder = shared_oracles / "xtreme"
    scores = score_folder(folder / "predictions", folder / "labels", official=official)
    expected = json.loads((folder / "expected.json").read_text())
    assert flat(scores.official()) == pytest.approx(flat(expected), abs=1e-9, rel=0)
    said = (
        "no prediction for",
        "ids that no question has",
        "lines that cannot be right",
        "gold pairs of",
        "labels come without texts",
    )
    assert all(any(words in note for words in said) for note in scores.notes)


def edge_cases(shared_oracles: Path) -> list[Path]:
    return sorted((shared_oracles / "xtreme" / "edge").iterdir())


def scored(folder: Path, case: dict[str, str], *, official: bool) -> dict[str, float]:
    predictions, labels = folder / "predictions", folder / "labels"
    if case["call"] == "evaluate":
        return flat(score_folder(predictions, labels, official=official).official())
    values = BY_NAME[case["task"]].score(predictions, labels, case["language"], official=official).values
    return {f"/{name}": 100 * value for name, value in values.items() if name != TOKEN_ACCURACY}


def test_odd_files_score_as_in_evaluate(shared_oracles: Path) -> None:
    """Where the script raises, we explain the error; cases that it scores and we refuse are listed in `REFUSED`."""
    refused = set()
    for folder in edge_cases(shared_oracles):
        case = json.loads((folder / "case.json").read_text())
        expected = json.loads((folder / "expected.json").read_text())["seqeval-0.0.12"]
        for official in (True, False):
            if "exception" in expected:
                with pytest.raises(ViaductError):
                    scored(folder, case, official=official)
                continue
            try:
                found = scored(folder, case, official=official)
            except ViaductError:
                assert not official, folder.name
                refused.add(folder.name)
                continue
            assert found == pytest.approx(flat(expected["result"]), abs=1e-9, rel=0), folder.name
    assert refused == REFUSED


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """labels/ and predictions/ of PAWS-X, all correct but one."""
    for kind in ("labels", "predictions"):
        for language in BY_NAME["pawsx"].languages:
            path = BY_NAME["pawsx"].path(tmp_path / kind, language)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("0\n1\n" if language != "de" or kind == "labels" else "0\n0\n")
    return tmp_path


def test_partial_scores_name_what_is_missing_and_have_no_average(small: Path) -> None:
    BY_NAME["pawsx"].path(small / "predictions", "fr").unlink()
    with pytest.raises(ViaductError, match=r"1 files? cannot be scored(?s:.*)test-fr.tsv: the file is missing"):
        score_folder(small / "predictions", small / "labels")
    scores = score_folder(small / "predictions", small / "labels", partial=True)
    assert scores.tasks[0].missing == ("fr",)
    assert scores.official()["pawsx"]["accuracy"]["de"] == 50.0
    assert "avg_accuracy" not in scores.official()["pawsx"]
    assert [(one.name, one.value) for one in scores.averages()] == [("classification", None), ("all_task", None)]
    assert scores.averages()[0].missing == {"xnli": BY_NAME["xnli"].languages, "pawsx": ("fr",)}


def test_every_malformed_file_is_explained(small: Path) -> None:
    folder = BY_NAME["pawsx"]
    folder.path(small / "predictions", "de").write_text("0\n")
    folder.path(small / "predictions", "ko").write_bytes(b"\xff\xfe")
    with pytest.raises(ViaductError) as error:
        score_folder(small / "predictions", small / "labels")
    assert "2 files cannot be scored" in str(error.value)
    assert "test-de.tsv: 1 line for 2 in the labels" in str(error.value)
    assert "test-ko.tsv: the file is not UTF-8" in str(error.value)


def written(root: Path, name: str, **texts: str | bytes) -> tuple[Path, Path]:
    """The folders (predictions, labels) with these files of one task: `de_labels="0\\n"` is the German labels file."""
    for place, text in texts.items():
        language, kind = place.split("_")
        path = BY_NAME[name].path(root / kind, language)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root / "predictions", root / "labels"


QUESTIONS = '{"data": [{"paragraphs": [{"qas": [{"id": "q", "answers": [{"text": "tea"}]}]}]}]}'
NO_ANSWERS = QUESTIONS.replace('{"text": "tea"}', "")

BAD: dict[str, tuple[str, str | bytes, str | bytes, str]] = {
    "labels: XTREME's stripped pairs": (
        "xnli",
        "neutral\n",
        "a\tb\n",
        "labels/xnli/test-de.tsv, line 1: 'a\\tb' is not",
    ),
    "labels: XTREME's stripped tokens": ("panx", "O\n\n", "Oslo\n\n", "labels/panx/test-de.tsv, line 1: 'Oslo' is not"),
    "labels: another task's": ("pawsx", "0\n", "neutral\n", "'neutral' is not 0 or 1."),
    "labels: no index": ("tatoeba", "0\n", "The tea.\n", "'The tea.' is not an index from 0."),
    "labels: one field": ("bucc2018", "de-1\ten-1\n", "de-1\n", "'de-1' is not two ids with a tab between."),
    "labels: empty": ("xnli", "neutral\n", "", "labels/xnli/test-de.tsv: there are no labels"),
    "labels: without answers": (
        "xquad",
        '{"q": "tea"}',
        NO_ANSWERS,
        "labels/xquad/test-de.json: question 'q' has no gold",
    ),
    "labels: without questions": ("xquad", "{}", '{"data": []}', "labels/xquad/test-de.json: there are no questions"),
    "labels: other JSON": ("xquad", "{}", '{"data": [1]}', "labels/xquad/test-de.json: not SQuAD's JSON"),
    "a line too few": ("xnli", "neutral\n", "neutral\nneutral\n", "1 line for 2 in the labels"),
    "a tag too few": ("panx", "O\nO\n\nO\n\n", "O\nO\n\nO\nO\n\n", "sentence 2 with 1 tags for 2 tokens"),
    "an empty file": ("xnli", "", "neutral\n", "0 lines for 1 in the labels"),
    "an empty JSON file": ("xquad", "", QUESTIONS, "predictions/xquad/test-de.json: the file is empty"),
    "broken JSON": ("xquad", '{"q":\n "tea"', QUESTIONS, "test-de.json, line 2: not JSON: Expecting ','"),
    "endless JSON": ("xquad", "[" * 100_000, QUESTIONS, "not JSON that can be read"),
    "a number too long": ("xquad", '{"q": ' + "1" * 5000 + "}", QUESTIONS, "not JSON that can be read"),
    "a list of answers": ("xquad", '["tea"]', QUESTIONS, "not a JSON object of question id to answer"),
    "a number for an answer": ("xquad", '{"q": NaN}', QUESTIONS, "line 1: NaN is not a finite number"),
    "labels: blank answers": ("xquad", '{"q": ""}', QUESTIONS.replace("tea", " "), "all answers are blank"),
    "labels: null for an answer": ("xquad", "{}", QUESTIONS.replace('"tea"', "null"), "question q: null in place of"),
    "labels: a list for an id": ("xquad", "{}", QUESTIONS.replace('"q"', "[1]"), "question [1]: a list in place of"),
    "labels: a question twice": (
        "xquad",
        "{}",
        '{"data": [%s, %s]}' % ((QUESTIONS[10:-2],) * 2),
        "id 'q' occurs twice",
    ),
    "labels: other answers too": (
        "xquad",
        "{}",
        QUESTIONS.replace('"q"', '"q", "answers": []'),
        "the key 'answers' occurs twice",
    ),
    "labels: more data": ("xquad", "{}", QUESTIONS[:-1] + ', "data": []}', "the key 'data' occurs twice"),
    "labels: a web page": ("xnli", "neutral\n", "<!DOCTYPE html>\n", "labels/xnli/test-de.tsv: the file is a web page"),
    "cut off: an index": (
        "tatoeba",
        "0\n1",
        "0\n12\n",
        "predictions/tatoeba/test-de.tsv, line 2: the last line has no",
    ),
    "cut off: labels": ("tatoeba", "0\n12\n", "0\n1", "labels/tatoeba/test-de.tsv, line 2: the last line has no"),
    "cut off: a pair": (
        "bucc2018",
        "a\tb\nc\td-1",
        "c\td-13\na\tb\n",
        "predictions/bucc2018/test-de.tsv, line 2: the last",
    ),
    "cut off: labels of pairs": (
        "bucc2018",
        "c\td-13\na\tb\n",
        "a\tb\nc\td-1",
        "labels/bucc2018/test-de.tsv, line 2: the",
    ),
    "a list for an answer": ("xquad", '{"q": ["tea"]}', QUESTIONS, "the prediction for row 'q' is a list"),
    "null for an answer": ("xquad", '{"q": null}', QUESTIONS, "the prediction for row 'q' is null"),
    "no UTF-8": ("xnli", b"neutral\n\xff\n", "neutral\nneutral\n", "the file is not UTF-8: byte 9 is 0xff"),
    "no UTF-8 in JSON": ("xquad", b'{"q": "\xe9"}', QUESTIONS, "the file is not UTF-8: byte 8 is 0xe9"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_message_and_nothing_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task, given, gold, words = BAD[name]
    predictions, labels = written(tmp_path, task, de_predictions=given, de_labels=gold)
    arguments = ["score", predictions, "--gold", labels, "--partial", "--evaluate-json", tmp_path / "scores.json"]
    monkeypatch.setattr(sys, "argv", ["viaduct", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    shown = capsys.readouterr()
    assert stop.value.code == 2
    assert shown.out == "" and shown.err.startswith("viaduct: 1 file cannot be scored:")
    assert words in shown.err and len(shown.err) < 1000
    assert not list(tmp_path.glob("*scores.json*"))


@pytest.mark.parametrize("kind", ["labels", "predictions"])
def test_a_pipe_is_not_waited_for(kind: str, tmp_path: Path) -> None:
    predictions, labels = written(tmp_path, "xnli", de_predictions="neutral\n", de_labels="neutral\n")
    path = tmp_path / kind / "xnli" / "test-de.tsv"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ViaductError, match=f"{kind}/xnli/test-de.tsv: is a pipe, a device or a socket, not a file"):
        score_folder(predictions, labels, partial=True)


@pytest.mark.parametrize(
    ("task", "given", "gold"), [("tatoeba", "0\n2", "0\n1\n"), ("bucc2018", "c\td\nc\te", "c\te\nc\td\n")]
)
def test_a_last_line_that_is_not_the_beginning_of_a_right_one_needs_no_end(
    task: str, given: str, gold: str, tmp_path: Path
) -> None:
    written_files = written(tmp_path, task, de_predictions=given, de_labels=gold)
    expected = 0.5 if task == "tatoeba" else 1.0
    assert score_folder(*written_files, partial=True).tasks[0].task_score == expected


def test_labels_that_are_none_of_the_task_are_compared_as_they_are_when_official_is_asked(tmp_path: Path) -> None:
    predictions, labels = written(tmp_path, "xnli", de_predictions="neutral\n", de_labels="The tea.\tTea.\n")
    assert score_folder(predictions, labels, partial=True, official=True).tasks[0].task_score == 0.0


@pytest.mark.parametrize(
    ("task", "given", "gold", "words"),
    [
        (
            "xnli",
            "Neutral\nneutral\n",
            "neutral\nneutral\n",
            r"xnli: .* 1 \(de 1\).*line 1: 'Neutral' is not .*mean 'neutral'",
        ),
        ("panx", "O\nB-MISC\n\n", "O\nO\n\n", r"panx: .* 1 \(de 1\).*line 2: 'B-MISC' is not O or"),
        ("tatoeba", "2\n-1\n", "1\n0\n", r"tatoeba: .* 2 \(de 2\).*line 1: '2' is not an index"),
        ("bucc2018", "de-1 en-1\n", "de-1\ten-1\n", r"bucc2018: .* 1 \(de 1\).*'de-1 en-1' is not two ids"),
    ],
)
def test_lines_that_cannot_be_right_are_named(task: str, given: str, gold: str, words: str, tmp_path: Path) -> None:
    notes = score_folder(*written(tmp_path, task, de_predictions=given, de_labels=gold), partial=True).notes
    *pairs, note = (note for note in notes if "labels come without texts" not in note)
    assert re.search(words, note), note
    lost = ["bucc2018: gold pairs of de: 1, published 9,580"]  # as if a gold file were cut off after a line
    assert pairs == (lost if task == "bucc2018" else [])


def test_a_note_may_explain_what_is_missing(tmp_path: Path) -> None:
    predictions, labels = written(tmp_path, "mlqa", fr_predictions="{}", de_labels=QUESTIONS)
    (predictions / "mlqa" / "test-de.jsn").write_text("{}")
    for partial in (False, True):
        with pytest.raises(ViaductError) as error:
            score_folder(predictions, labels, partial=partial)
        assert "test-fr.json: mlqa has no language 'fr', ignored" in str(error.value)
        assert "test-de.jsn: ignored (did you mean test-de.json?)" in str(error.value)
    with pytest.raises(ViaductError, match=f"how to fix: name {predictions}$"):
        score_folder(predictions / "mlqa", labels)
    shutil.rmtree(labels / "mlqa")
    with pytest.raises(ViaductError, match=r"labels/mlqa: there is no such folder, 7 files belong there"):
        score_folder(predictions, labels)


def test_means_are_with_and_without_english_and_the_gap_is_between(tmp_path: Path) -> None:
    texts = {"en_predictions": "0\n1\n", "de_predictions": "0\n0\n", "fr_predictions": "1\n0\n"}
    gold = {f"{language}_labels": "0\n1\n" for language in ("en", "de", "fr")}
    scores = score_folder(*written(tmp_path, "pawsx", **texts, **gold), partial=True)
    found = scores.as_json()
    accuracy = found["tasks"]["pawsx"]["accuracy"]
    assert {name: value for name, value in accuracy.items() if "95" not in name and name != "languages"} == {
        "mean_including_english": 0.5,
        "mean_excluding_english": 0.25,
        "transfer_gap": 0.75,
        "languages_missing": ("es", "ja", "ko", "zh"),
    }
    assert {(one["n"], one["n_missing"]) for one in accuracy["languages"].values()} == {(2, 0)}
    assert found["averages"]["classification"]["value"] is None
    assert found["averages"]["classification"]["languages_missing"]["pawsx"] == ("es", "ja", "ko", "zh")
    shown = tables.scores(scores)
    assert re.search(r"pawsx +accuracy +50\.00 +29\.0-71\.0 +25\.00 +6\.0-63\.5 +75\.00 +3 of 7 +0 +partial", shown)
    assert "pawsx: partial, without es ja ko zh" in shown
    assert re.search(r"classification +- +partial: without xnli, pawsx \(4 of 7 languages\)", shown)


def test_every_mean_of_the_official_example_can_be_recomputed_from_its_languages(shared_oracles: Path) -> None:
    folder = shared_oracles / "xtreme"
    scores = score_folder(folder / "predictions", folder / "labels")
    found, official = scores.as_json(), scores.official()
    for name, task in found["tasks"].items():
        for metric in set(task) & set(official[name]):
            values = {code: value / 100 for code, value in official[name][metric].items()}
            others = [value for language, value in values.items() if language != "en"]
            including, excluding = sum(values.values()) / len(values), sum(others) / len(others)
            assert task[metric]["mean_including_english"] == pytest.approx(including, abs=1e-9)
            assert task[metric]["mean_excluding_english"] == pytest.approx(excluding, abs=1e-9)
            gap = values["en"] - excluding if "en" in values else None
            assert task[metric]["transfer_gap"] == (None if gap is None else pytest.approx(gap, abs=1e-9))
    assert {name: one["languages_missing"] for name, one in found["averages"].items()} == {
        name: {} for name in ("classification", "tagging", "qa", "retrieval", "all_task")
    }


def test_an_answer_given_twice_is_refused_unless_official(tmp_path: Path) -> None:
    folder = BY_NAME["xquad"]
    for kind, text in (
        ("labels", '{"data": [{"paragraphs": [{"qas": [{"id": "q", "answers": [{"text": "tea"}]}]}]}]}'),
        ("predictions", '{"q": "coffee", "q": "tea"}'),
    ):
        folder.path(tmp_path / kind, "en").parent.mkdir(parents=True)
        folder.path(tmp_path / kind, "en").write_text(text)
    with pytest.raises(ViaductError, match="'q' occurs twice"):
        folder.score(tmp_path / "predictions", tmp_path / "labels", "en", official=False)
    official = folder.score(tmp_path / "predictions", tmp_path / "labels", "en", official=True)
    assert official.values["f1"] == 1.0


def test_answers_that_are_missing_or_belong_to_no_question_are_counted(shared_oracles: Path) -> None:
    for name, words in (
        ("one_answer_missing_xquad", "no prediction for 1 of 4 examples"),
        ("unknown_ids_xquad", "that no question has"),
    ):
        folder = shared_oracles / "xtreme" / "edge" / name
        notes = score_folder(folder / "predictions", folder / "labels", partial=True).notes
        assert any(words in note and note.startswith("xquad") for note in notes), notes


def test_folders_and_files_of_no_task_are_named(small: Path) -> None:
    shutil.copytree(small / "predictions" / "pawsx", small / "predictions" / "bucc")
    (small / "predictions" / "pawsx" / "test-xx.tsv").write_text("0\n")
    notes = score_folder(small / "predictions", small / "labels").notes
    assert len(notes) == 3 and "labels come without texts" in notes[2]
    assert "did you mean bucc2018" in notes[0]
    assert "test-xx.tsv" in notes[1]


def test_the_nine_tasks_have_the_languages_of_xtreme() -> None:
    assert {folder.name: len(folder.languages) for folder in FOLDERS} == {
        "xnli": 15,
        "pawsx": 7,
        "udpos": 33,
        "panx": 40,
        "xquad": 11,
        "mlqa": 7,
        "tydiqa": 9,
        "bucc2018": 4,
        "tatoeba": 36,
    }


def test_questions_of_a_submission_about_one_paragraph_are_drawn_together(tmp_path: Path) -> None:
    def questions(of_each: int) -> str:
        asked = [{"id": str(number), "answers": [{"text": "tea", "answer_start": 0}]} for number in range(200)]
        paragraphs = [{"context": f"tea {at}", "qas": asked[at : at + of_each]} for at in range(0, 200, of_each)]
        return json.dumps({"data": [{"paragraphs": paragraphs}]})

    given = json.dumps({str(number): "tea" if number // 10 % 2 else "coffee" for number in range(200)})
    widths = []
    for of_each in (1, 10):
        folders = written(tmp_path / str(of_each), "xquad", de_predictions=given, de_labels=questions(of_each))
        (task,) = score_folder(*folders, partial=True).tasks
        low, high = task.interval("f1") or (0.0, 0.0)
        widths.append(high - low)
    assert widths[1] > 3 * widths[0]  # about the square root of 10
