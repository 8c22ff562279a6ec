"""Anybody's predictions as JSON Lines are scored against the cards' gold, or refused with file, line and a way out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viaduct import api, cli
from viaduct.errors import DataError, UsageError, ViaductError
from viaduct.results.prediction_file import read_predictions
from viaduct.results.scores import Scores, TaskScores
from viaduct.results.submission import read_lines
from viaduct.rows import Pair
from viaduct.tasks.registry import task

GOLD = {
    "xnli/test-de.tsv": "Der Tee ist kalt.\tEr wurde heiß serviert.\tneutral\na\tb\tentailment\nc\td\tcontradiction\n",
    "xnli/test-en.tsv": "The tea is cold.\tIt was served hot.\tneutral\na\tb\tentailment\nc\td\tcontradiction\n",
    "panx/test-de.tsv": "Ada\tB-PER\nLovelace\tI-PER\nin\tO\n\nOslo\tB-LOC\n\n",
    "xcopa/data/et/test.et.jsonl": json.dumps(
        {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": 1, "idx": 4}
    )
    + "\n",
    "tatoeba/v1/tatoeba.deu-eng.deu": "Der Tee ist kalt.\nGuten Tag.\n",
    "tatoeba/v1/tatoeba.deu-eng.eng": "The tea is cold.\nHello.\n",
    "bucc2018/de-en.test.de": "de-1\tDer Tee.\nde-2\tGuten Tag.\n",
    "bucc2018/de-en.test.en": "en-1\tHello.\nen-2\tThe tea.\n",
    "bucc2018/de-en.test.gold": "de-1\ten-2\n",
    "xquad/xquad.de.json": json.dumps(
        {
            "data": [
                {
                    "paragraphs": [
                        {
                            "context": "In Oslo.",
                            "qas": [
                                {"id": "q1", "question": "Wo?", "answers": [{"text": "Oslo", "answer_start": 3}]},
                                {"id": "q2", "question": "Und?", "answers": [{"text": "In", "answer_start": 0}]},
                            ],
                        }
                    ]
                }
            ]
        }
    ),
}

RIGHT: dict[str, dict[str, Any]] = {
    "xnli/de": {"0": "neutral", "1": "entailment", "2": "contradiction"},
    "panx/de": {"0": ["B-PER", "I-PER", "O"], "1": ["B-LOC"]},
    "xcopa/et": {"4": 1},
    "tatoeba/de": {"en-0": "de-0", "en-1": "de-1"},
    "bucc/de": {"de-1": "en-2", "de-2": None},
    "xquad/de": {"q1": "Oslo", "q2": "In"},
}
"""task/language -> id -> the prediction that is all right."""


def line(name: str, row: str, prediction: Any, **more: Any) -> str:
    return json.dumps({"id": row, "language": name.partition("/")[2], "prediction": prediction} | more) + "\n"


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> Path:
    """data/ with the gold rows and mine/ with right predictions for all of them."""
    for name, text in GOLD.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name, rows in RIGHT.items():
        path = tmp_path / "mine" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line(name, row, value) for row, value in rows.items()), encoding="utf-8")
    return tmp_path


def scored(world: Path, **options: Any) -> Scores:
    return api.score(world / "mine", data=world / "data", partial=True, **options)


def by_name(scores: Scores) -> dict[str, TaskScores]:
    return {one.name: one for one in scores.tasks}


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit status of the program."""
    monkeypatch.setattr(sys, "argv", ["viaduct", "score", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


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
        arguments = (world / "mine", "--data", world / "data", "--partial", "--json", world / "scores.json")
        assert command(patch, *arguments) == 0
    shown, written = capsys.readouterr(), json.loads((world / "scores.json").read_text())
    assert written["xnli"]["accuracy"] == {"de": pytest.approx(100 / 3)}
    assert written["viaduct"]["tasks"]["xnli"]["accuracy"]["n_missing"] == {"de": 2}
    assert written["viaduct"]["tasks"]["xnli"]["accuracy"]["n"] == {"de": 3}
    assert written["panx"]["recall"] == {"de": 50.0}
    assert written["xquad"]["exact_match"] == {"de": 50.0}
    assert written["tatoeba"]["accuracy"] == {"de": 50.0}
    assert "note: xnli: no prediction for 2 of 3 examples, which count as wrong (de 2)" in shown.err
    assert "de       33.33  3        2" in shown.out


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
    with pytest.raises(UsageError, match=r"of which task\?(?s:.*)--task"):
        api.score(world / "mine" / "xnli", data=world / "data", partial=True)


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


REFUSED: dict[str, tuple[str, str | bytes, str]] = {
    "an unknown id": ("xnli/de", line("xnli/de", "3", "neutral"), "line 1: no row of xnli in 'de' to predict: '3'"),
    "a near id": ("xquad/de", line("xquad/de", "q_1", "Oslo"), "Did you mean 'q1'?"),
    "an id as number": ("xnli/de", line("xnli/de", 0, "neutral"), '"id" is a number: 0'),  # type: ignore[arg-type]
    "an id twice": (
        "xnli/de",
        2 * line("xnli/de", "0", "neutral"),
        "line 2: the id '0' occurs twice, first on line 1",
    ),
    "a key twice": ("xnli/de", '{"id": "0", "id": "1", "language": "de", "prediction": "neutral"}\n', "key 'id'"),
    "a number for a label": ("xnli/de", line("xnli/de", "0", 1), "the prediction for row '0' is a number: 1"),
    "null for a label": ("xnli/de", line("xnli/de", "0", None), "the prediction for row '0' is null"),
    "another label": ("xnli/de", line("xnli/de", "0", "Neutral"), "unknown label of xnli 'Neutral'. Did you mean"),
    "text for tags": ("panx/de", line("panx/de", "0", "B-PER I-PER O"), "'0' is text: 'B-PER I-PER O'"),
    "numbers for tags": ("panx/de", line("panx/de", "0", [1, 2, 0]), "write tags as text"),
    "another tag": ("panx/de", line("panx/de", "0", ["B-PER", "I-PRE", "O"]), "Did you mean 'I-PER'?"),
    "a tag too few": ("panx/de", line("panx/de", "0", ["B-PER", "I-PER"]), "row '0' has 2 tags, the sentence 3 tokens"),
    "an index too high": ("xcopa/et", line("xcopa/et", "4", 2), "write an index, 0 to 1"),
    "an index below 0": ("xcopa/et", line("xcopa/et", "4", -1), "write an index, 0 to 1"),
    "true for an index": ("xcopa/et", line("xcopa/et", "4", True), "is true or false: True"),
    "text for an index": ("xcopa/et", line("xcopa/et", "4", "1"), "as a whole number, 0 to 1"),
    "a list for an answer": ("xquad/de", line("xquad/de", "q1", ["Oslo"]), "write the answer as text"),
    "an index for a match": ("tatoeba/de", line("tatoeba/de", "en-0", 0), "write the id of the chosen sentence"),
    "a match out of range": ("tatoeba/de", line("tatoeba/de", "en-0", "de-2"), "no sentence of the other side: 'de-2'"),
    "a match of its own side": ("tatoeba/de", line("tatoeba/de", "en-0", "en-1"), "no sentence of the other side"),
    "a mined id too many": ("bucc/de", line("bucc/de", "de-1", ["en-2", "en-3"]), "such as 'en-1'"),
    "mined from English": ("bucc/de", line("bucc/de", "en-2", "de-1"), "no row of bucc in 'de' to predict: 'en-2'"),
    "NaN": ("xnli/de", line("xnli/de", "0", "neutral", scores=[float("nan")]), "NaN is not a finite number"),
    "Infinity": ("xnli/de", line("xnli/de", "0", "neutral", scores=[float("-inf")]), "-Infinity is not a finite"),
    "a number too large": (
        "xnli/de",
        line("xnli/de", "0", "neutral", scores=[0]).replace("[0]", "[1e999]"),
        '"scores" holds inf',
    ),
    "text for a score": ("xnli/de", line("xnli/de", "0", "neutral", scores=["1"]), "\"scores\" holds '1'"),
    "a score alone": ("xnli/de", line("xnli/de", "0", "neutral", scores=1.5), '"scores" is a number: 1.5'),
    "another language": (
        "xnli/de",
        line("xnli/de", "0", "neutral") + line("xnli/en", "1", "neutral"),
        "line 2: a row of language 'en' in the file of 'de'",
    ),
    "no prediction": (
        "xnli/de",
        '{"id": "0", "language": "de", "predicton": "x"}\n',
        "no \"prediction\". Did you mean 'predicton'?",
    ),
    "invalid JSON": ("xnli/de", line("xnli/de", "0", "neutral") + '{"id": "1"\n', "line 2: not JSON: Expecting ','"),
    "no object": ("xnli/de", '["0", "neutral"]\n', "a list where an object is due"),
    "endless brackets": ("xnli/de", "[" * 100_000 + "\n", "line 1: not JSON that can be read"),
    "a blank line": ("xnli/de", line("xnli/de", "0", "neutral") + "\n", "line 2: the line is blank"),
    "invalid UTF-8": ("xnli/de", b'{"id": "0\xff"}\n', "line 1: the file is not UTF-8: byte 10 of the line is 0xff"),
    "an empty file": ("xnli/de", "", "the file is empty"),
    "a language that the card has not": (
        "xnli/ja",
        line("xnli/ja", "0", "neutral"),
        "unknown language of xnli 'ja'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_is_one_message_and_nothing_is_written(
    world: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, content, words = REFUSED[name]
    path = world / "mine" / f"{file}.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    arguments = ("--data", world / "data", "--partial", "--json", world / "scores.json")
    assert command(monkeypatch, world / "mine", *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "Traceback" not in shown.err
    assert shown.err.startswith("viaduct: 1 file cannot be scored:") and shown.err.count("how to fix:") == 1
    assert f"{path}" in shown.err and words in shown.err
    assert len(shown.err) < 1000
    assert not list(world.glob("*scores.json*"))


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
    monkeypatch.chdir(world)
    assert command(monkeypatch, *arguments) == 0
    shown = capsys.readouterr().out
    assert ("pawsx" if "--gold" in arguments else "xnli") in shown and "incl. English" in shown
    if "--json" in arguments:
        assert "viaduct" in json.loads((world / arguments[arguments.index("--json") + 1]).read_text())


def test_every_command_and_kind_of_prediction_is_documented() -> None:
    assert len(COMMANDS) == 7
    assert all(f"| {task(name.partition('/')[0]).kind} (" in DOCUMENT for name in RIGHT)


def test_every_bad_file_is_in_the_message(world: Path) -> None:
    for name in ("another label", "a tag too few", "a match out of range"):
        file, content, _ = REFUSED[name]
        assert isinstance(content, str)
        (world / "mine" / f"{file}.jsonl").write_text(content, encoding="utf-8")
    (world / "mine" / "xnli" / "notes.txt").write_text("x")
    with pytest.raises(DataError) as error:
        scored(world)
    assert "3 files cannot be scored" in str(error.value)
    assert all(REFUSED[name][2] in str(error.value) for name in ("another label", "a tag too few"))
    assert "notes.txt: no JSON Lines, ignored" in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--gold", "data"), "--gold and --official do not apply"),
        (("--official",), "--gold and --official do not apply"),
        (("--data", "nowhere"), "the data folder nowhere does not exist"),
        (("--data", "data", "--split", "tets"), "unknown split of xnli 'tets'. Did you mean 'test'?"),
        (("--data", "data", "--task", "xnly"), "unknown task 'xnly'. Did you mean 'xnli'?"),
        (("--data", "data", "--task", "text"), "text has no metric"),
        (("--data", "data", "--partial", "--json", "data"), "data cannot be written: Is a directory"),
    ],
)
def test_options_that_do_not_fit_are_explained(
    world: Path,
    options: tuple[str, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(world)
    assert command(monkeypatch, "mine", *options) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda root: (root / "mine").rename(root / "theirs"), "mine does not exist"),
        (lambda root: (root / "mine").rename(root / "mine.d") and (root / "mine").write_text(""), "mine is a file"),
        (lambda root: (root / "mine" / "xnli").rename(root / "mine" / "xmli"), "unknown task 'xmli'. Did you mean"),
    ],
)
def test_folders_that_do_not_fit_are_explained(world: Path, prepare: Callable[[Path], object], words: str) -> None:
    prepare(world)
    with pytest.raises(UsageError, match=words):
        scored(world)


def test_a_folder_without_json_lines_is_a_submission(world: Path) -> None:
    (world / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no JSON Lines(?s:.*)--gold"):
        api.score(world / "empty", data=world / "data")
    with pytest.raises(UsageError, match="--data, --task and --split are for JSON Lines"):
        api.score(world / "empty", world / "data", split="dev")


KEYS = st.sampled_from(["id", "language", "prediction", "scores", "other"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["0", "1", "de", "neutral", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)
LINES = st.one_of(
    st.dictionaries(KEYS, VALUES).map(lambda record: json.dumps(record).encode()),
    st.fixed_dictionaries({"id": VALUES, "language": st.just("de"), "prediction": VALUES, "scores": VALUES}).map(
        lambda record: json.dumps(record).encode()
    ),
    st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")),
)


@settings(max_examples=200, deadline=None)
@given(lines=st.lists(LINES, min_size=1, max_size=3))
def test_any_file_is_read_or_explained(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    rows = [Pair(str(number), "de", "a", "b", "neutral") for number in range(3)]
    try:
        found = read_predictions(path, task("xnli"), "de", rows)
    except ViaductError as error:
        assert str(path) in str(error)
        str(error).encode("utf-8")
    else:
        assert found.keys() <= {"0", "1", "2"}
        assert {one.prediction for one in found.values()} <= set(task("xnli").labels)


def test_scores_by_id_are_those_of_the_official_script(shared_oracles: Path, tmp_path: Path) -> None:
    """The official example submission, rewritten as data files and JSON Lines; what is no label is left out there."""
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
    """XQuAD with contexts made of the gold answers, which the example has altered."""
    raw = json.loads((folder / "labels" / "xquad" / f"test-{language}.json").read_text(encoding="utf-8-sig"))
    paragraphs = []
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
