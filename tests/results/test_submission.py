"""An XTREME submission is scored as the benchmark's own script scores it, oddities included where asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from viaduct.errors import ViaductError
from viaduct.results import submission
from viaduct.results.submission import FOLDERS, score_file, score_folder

BY_NAME = {folder.name: folder for folder in FOLDERS}

REFUSED = {
    "both_empty_panx",
    "both_empty_udpos",
    "both_empty_bucc2018",
    "one_token_too_few_panx",
    "one_token_too_many_udpos",
    "outside_scheme_panx",
    "token_and_tag_panx",
}
"""Cases that only --official scores: files that are empty, sentences of another length, labels that are no labels."""


def flat(values: Any, name: str = "") -> dict[str, float]:
    """Nested dictionaries as one: "xnli/accuracy/de" -> value."""
    if not isinstance(values, dict):
        return {name: values}
    return {key: value for part in values for key, value in flat(values[part], f"{name}/{part}").items()}


@pytest.mark.parametrize("official", [False, True])
def test_a_whole_submission_scores_as_in_evaluate(shared_oracles: Path, official: bool) -> None:
    folder = shared_oracles / "xtreme"
    scores = score_folder(folder / "predictions", folder / "labels", official=official)
    expected = json.loads((folder / "expected.json").read_text())
    assert flat(scores.official()) == pytest.approx(flat(expected), abs=1e-9, rel=0)
    said = ("examples have no prediction", "ids that no question has", "lines hold nothing that could be right")
    assert all(any(words in note for words in said) for note in scores.notes)
    written = scores.as_json()
    del written["viaduct"]
    assert written == scores.official()


def edge_cases(shared_oracles: Path) -> list[Path]:
    return sorted((shared_oracles / "xtreme" / "edge").iterdir())


def scored(folder: Path, case: dict[str, str], *, official: bool) -> dict[str, float]:
    predictions, labels = folder / "predictions", folder / "labels"
    if case["call"] == "evaluate":
        return flat(score_folder(predictions, labels, official=official).official())
    values = score_file(BY_NAME[case["task"]], case["language"], predictions, labels, official=official).values
    return {f"/{name}": 100 * value for name, value in values.items()}


def test_odd_files_score_as_in_evaluate(shared_oracles: Path) -> None:
    """Where the script stops with an exception, we explain; where we refuse what it scores, the case is named above."""
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
    """labels/ and predictions/ of PAWS-X, all right but one."""
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
    assert "test-de.tsv: 1 lines for 2 in the labels" in str(error.value)
    assert "test-ko.tsv: the file is not UTF-8" in str(error.value)


def test_an_answer_given_twice_is_refused_unless_official(tmp_path: Path) -> None:
    folder = BY_NAME["xquad"]
    for kind, text in (
        ("labels", '{"data": [{"paragraphs": [{"qas": [{"id": "q", "answers": [{"text": "tea"}]}]}]}]}'),
        ("predictions", '{"q": "coffee", "q": "tea"}'),
    ):
        folder.path(tmp_path / kind, "en").parent.mkdir(parents=True)
        folder.path(tmp_path / kind, "en").write_text(text)
    with pytest.raises(ViaductError, match="'q' occurs twice"):
        score_file(folder, "en", tmp_path / "predictions", tmp_path / "labels", official=False)
    official = score_file(folder, "en", tmp_path / "predictions", tmp_path / "labels", official=True)
    assert official.values["f1"] == 1.0


def test_answers_that_are_missing_or_belong_to_no_question_are_counted(shared_oracles: Path) -> None:
    for name, words in (
        ("one_answer_missing_xquad", "1 of 4 examples"),
        ("unknown_ids_xquad", "that no question has"),
    ):
        folder = shared_oracles / "xtreme" / "edge" / name
        notes = score_folder(folder / "predictions", folder / "labels", partial=True).notes
        assert any(words in note and note.startswith("xquad") for note in notes), notes


def test_folders_and_files_of_no_task_are_named(small: Path) -> None:
    shutil.copytree(small / "predictions" / "pawsx", small / "predictions" / "bucc")
    (small / "predictions" / "pawsx" / "test-xx.tsv").write_text("0\n")
    notes = score_folder(small / "predictions", small / "labels").notes
    assert len(notes) == 2
    assert "did you mean bucc2018" in notes[0]
    assert "test-xx.tsv" in notes[1]


def test_the_nine_tasks_have_the_languages_of_xtreme() -> None:
    assert {folder.name: len(folder.languages) for folder in submission.FOLDERS} == {
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
