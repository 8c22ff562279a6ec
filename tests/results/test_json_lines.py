"""JSON Lines predictions from any source are scored against the cards' gold, as documented."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from predicted_world import GOLD, RIGHT, command, line, scored

from viaduct import api
from viaduct.errors import DataError, UsageError
from viaduct.results.scores import Scores, TaskScores
from viaduct.results.xtreme_formats import read_lines
from viaduct.tasks.catalogue import Catalogue

task = Catalogue.builtin().task


def by_name(scores: Scores) -> dict[str, TaskScores]:
    return {one.name: one for one in scores.tasks}


def test_right_predictions_of_every_kind_of_task_score_one(world: Path) -> None:
    scores = scored(world)
    assert {one.name: one.task_score for one in scores.tasks} == dict.fromkeys(
        ("xnli", "panx", "xquad", "bucc", "tatoeba", "xcopa"), 1.0
    )
    assert not any("count as wrong" in note for note in scores.notes)
    assert any(note == "tatoeba test: rows found (published): de 4 (2,000)" for note in scores.notes)


def test_missing_predictions_count_as_wrong_and_are_shown(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, rows in RIGHT.items():
        (row, value), *_ = rows.items()
        (world / "mine" / f"{name}.jsonl").write_text(line(name, row, value), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        arguments = (world / "mine", "--data", world / "data", "--partial", "--evaluate-json", world / "scores.json")
        assert command(patch, *arguments) == 0
        shown, written = capsys.readouterr(), json.loads((world / "scores.json").read_text())
        assert command(patch, *arguments, "--json") == 0
    german = json.loads(capsys.readouterr().out)["systems"][0]["tasks"]["xnli"]["accuracy"]["languages"]["de"]
    assert (german["value"], german["n"], german["n_missing"]) == (pytest.approx(1 / 3), 3, 2)
    assert written["xnli"]["accuracy"] == {"de": pytest.approx(100 / 3)}
    assert written["panx"]["recall"] == {"de": 50.0}
    assert written["xquad"]["exact_match"] == {"de": 50.0}
    assert written["tatoeba"]["accuracy"] == {"de": 50.0}
    assert "note: xnli: no prediction for 2 of 3 examples, which count as wrong (de 2)" in shown.err
    assert "de       33.33  6.1-79.2  3        2" in shown.out


def test_a_second_direction_of_retrieval_has_its_own_count(world: Path) -> None:
    with (world / "mine" / "tatoeba" / "de.jsonl").open("a", encoding="utf-8") as file:
        file.write(line("tatoeba/de", "de-1", "en-1"))
    scores = scored(world)
    tatoeba = by_name(scores)["tatoeba"]
    assert tatoeba.means("accuracy_into_english").including_english == 0.5
    assert tatoeba.by_language["de"].counts("accuracy_into_english") == (2, 1)
    assert tatoeba.by_language["de"].counts("accuracy") == (2, 0)
    assert any(
        note.startswith("tatoeba accuracy_into_english: no prediction for 1 of 2 examples") for note in scores.notes
    )


def test_english_is_in_one_mean_and_not_in_the_other(world: Path) -> None:
    path = world / "mine" / "xnli" / "en.jsonl"
    path.write_text("".join(line("xnli/en", str(row), "neutral") for row in range(3)), encoding="utf-8")
    xnli = by_name(scored(world))["xnli"]
    assert xnli.means("accuracy").including_english == pytest.approx(2 / 3)
    assert xnli.means("accuracy").excluding_english == 1.0
    assert xnli.transfer_gap("accuracy") == pytest.approx(1 / 3 - 1)
    assert by_name(scored(world))["tatoeba"].transfer_gap("accuracy") is None
    assert len(xnli.missing) == 13


def test_averages_are_never_over_holes(world: Path) -> None:
    averages = {one.name: one for one in scored(world).averages()}
    assert {name: one.value for name, one in averages.items()} == dict.fromkeys(
        ("classification", "tagging", "qa", "retrieval", "all_task")
    )
    assert averages["classification"].missing["pawsx"] == task("pawsx").languages
    assert "de" not in averages["classification"].missing["xnli"]
    assert scored(world, task="xcopa").averages() == ()


def test_one_task_may_lie_in_the_folder_itself_or_below(world: Path) -> None:
    beside, below = (
        api.score(world / "mine" / "xnli", data=world / "data", task="xnli", partial=True),
        scored(world, task="xnli"),
    )
    assert beside.tasks == below.tasks
    assert [one.name for one in below.tasks] == ["xnli"]
    with pytest.raises(UsageError, match=r"which task is it\?(?s:.*)--task"):
        api.score(world / "mine" / "xnli", data=world / "data", partial=True)


def test_a_card_of_ones_own_whose_headline_is_token_accuracy_is_scored(tmp_path: Path) -> None:
    card = tmp_path / "chunks.yaml"
    card.write_text(
        "{name: chunks, kind: tagged, path: 'chunks.{split}.jsonl', languages: [de],"
        " columns: {tokens: words, tags: tags}, labels: {order: [A, B]}}",
        encoding="utf-8",
    )
    write(tmp_path / "data" / "chunks.test.jsonl", '{"words": ["ein", "Tee"], "tags": ["A", "B"]}\n')
    write(tmp_path / "mine" / "de.jsonl", line("chunks/de", "0", ["A", "A"]))
    (found,) = api.score(tmp_path / "mine", data=tmp_path / "data", task=str(card)).tasks
    assert (found.name, found.task_score, found.metrics) == ("chunks", 0.5, ("token_accuracy",))


def test_a_language_without_file_or_gold_is_refused_or_left_out_and_named(world: Path) -> None:
    (world / "mine" / "xnli" / "sw.jsonl").write_text(line("xnli/sw", "0", "neutral"), encoding="utf-8")
    (world / "mine" / "xnli" / "en.jsonl").write_text(line("xnli/en", "0", "neutral"), encoding="utf-8")
    (world / "data" / "xnli" / "test-en.tsv").write_text("a\tb\nc\td\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        api.score(world / "mine" / "xnli", data=world / "data", task="xnli")
    assert "12 files are missing: ar.jsonl bg.jsonl" in str(error.value)
    assert "no gold for en sw" in str(error.value) and "test-en.tsv: the file has no labels" in str(error.value)
    assert "--partial leaves out" in str(error.value)
    scores = scored(world, task="xnli")
    assert list(scores.tasks[0].by_language) == ["de"]
    assert scores.notes[0].startswith("xnli: no gold for en sw")
    (world / "mine" / "xnli" / "de.jsonl").unlink()
    with pytest.raises(UsageError, match=r"no language has both(?s:.*)no gold for en sw"):
        scored(world, task="xnli")


DOCUMENT = (Path(__file__).parents[2] / "docs" / "xtreme.md").read_text(encoding="utf-8")
COMMANDS = [text.partition("#")[0].split()[2:] for text in DOCUMENT.splitlines() if text.startswith("viaduct score ")]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_the_documented_commands_work(
    world: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    every = task("pawsx").languages
    for folder, languages in {"submission": every, "labels": every, "some": ("de",)}.items():
        for language in languages:
            write(world / folder / "pawsx" / f"test-{language}.tsv", "0\n1\n")
    write(world / "data" / "xnli" / "dev-de.tsv", GOLD["xnli/test-de.tsv"])
    write(world / "mine" / "xnli" / "de.jsonl", DOCUMENT.partition("```json\n")[2].partition("```")[0])
    shutil.copytree(world / "mine", world / "theirs")
    monkeypatch.chdir(world)
    assert command(monkeypatch, *arguments) == 0
    shown, name = capsys.readouterr().out, "pawsx" if "--gold" in arguments else "xnli"
    said = "paired by example" if "theirs" in arguments else "incl. English"
    assert name in (json.loads(shown)["systems"][0]["tasks"] if "--json" in arguments else shown)
    assert "--json" in arguments or said in shown
    if "--evaluate-json" in arguments:
        assert name in json.loads((world / arguments[arguments.index("--evaluate-json") + 1]).read_text())


def test_the_documented_ids_are_those_of_the_rows(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    found: dict[str, Any] = {}
    exec(DOCUMENT.partition("```python\n")[2].partition("```")[0], found)
    assert found["ids"] == list(RIGHT["xnli/de"])


def test_every_command_and_kind_of_prediction_is_documented() -> None:
    assert len(COMMANDS) == 9
    assert all(f"| {task(name.partition('/')[0]).kind} (" in DOCUMENT for name in RIGHT)


def test_scores_by_id_are_those_of_the_official_script(shared_oracles: Path, tmp_path: Path) -> None:
    """The official example submission, rewritten as data files and JSON Lines; the latter omit invalid labels."""
    folder = shared_oracles / "xtreme"
    expected = json.loads((folder / "expected.json").read_text())
    for name in ("xnli", "pawsx", "panx"):
        card = task(name)
        for language in card.languages:
            gold, guesses = (folder / kind / name / f"test-{language}.tsv" for kind in ("labels", "predictions"))
            if name == "panx":
                write_tags(tmp_path, name, language, read_lines(gold), read_lines(guesses))
            else:
                write_pairs(tmp_path, name, language, read_lines(gold), read_lines(guesses))
    for language in ("en", "de", "zh", "hi"):
        write_answers(tmp_path, folder, language)
    scores = api.score(tmp_path / "mine", data=tmp_path / "data", partial=True)
    for one in scores.tasks:
        for metric in one.metrics:
            found = {language: 100 * score.values[metric] for language, score in one.by_language.items()}
            official = {language: expected[one.name][metric][language] for language in found}
            assert found == pytest.approx(official, abs=1e-9, rel=0), (one.name, metric)
    averages = {one.name: one.value for one in scores.averages()}
    assert averages["classification"] == pytest.approx(expected["classification"] / 100, abs=1e-11, rel=0)
    assert averages["tagging"] is None


def write_pairs(root: Path, name: str, language: str, gold: list[str], guesses: list[str]) -> None:
    write(root / "data" / name / f"test-{language}.tsv", "".join(f"a\t{i}\t{one}\n" for i, one in enumerate(gold)))
    known = task(name).labels
    lines = [line(f"{name}/{language}", str(i), one) for i, one in enumerate(guesses) if one in known]
    write(root / "mine" / name / f"{language}.jsonl", "".join(lines))


def write_tags(root: Path, name: str, language: str, gold: list[str], guesses: list[str]) -> None:
    write(root / "data" / name / f"test-{language}.tsv", "".join(f"x\t{one}\n" if one else "\n" for one in [*gold, ""]))
    sentences = [block.split("\n") for block in "\n".join(guesses).strip("\n").split("\n\n")]
    lines = [line(f"{name}/{language}", str(i), tags) for i, tags in enumerate(sentences)]
    write(root / "mine" / name / f"{language}.jsonl", "".join(lines))


def write_answers(root: Path, folder: Path, language: str) -> None:
    """Writes XQuAD with contexts built from the gold answers, since the example has altered those answers."""
    raw = json.loads((folder / "labels" / "xquad" / f"test-{language}.json").read_text(encoding="utf-8-sig"))
    paragraphs: list[dict[str, Any]] = []
    for question in (one for article in raw["data"] for part in article["paragraphs"] for one in part["qas"]):
        context, answers = "", []
        for answer in question["answers"]:
            answers.append({"text": answer["text"], "answer_start": len(context)})
            context += answer["text"] + "\n"
        qas = [{"id": question["id"], "question": "?", "answers": answers}]
        paragraphs.append({"context": context, "qas": qas})
    write(root / "data" / "xquad" / f"xquad.{language}.json", json.dumps({"data": [{"paragraphs": paragraphs}]}))
    known = {one["qas"][0]["id"] for one in paragraphs}
    given = json.loads((folder / "predictions" / "xquad" / f"test-{language}.json").read_text(encoding="utf-8-sig"))
    lines = [line(f"xquad/{language}", row, text) for row, text in given.items() if row in known]
    write(root / "mine" / "xquad" / f"{language}.jsonl", "".join(lines))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
