"""Predictions that cannot be scored are refused in one message with the file, the line and a fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predicted_world import command, line, scored

from viaduct import api
from viaduct.errors import DataError, UsageError, ViaductError
from viaduct.results.prediction_file import read_predictions
from viaduct.rows import Pair
from viaduct.tasks.catalogue import Catalogue

task = Catalogue.builtin().task

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
    "a match out of range": (
        "tatoeba/de",
        line("tatoeba/de", "en-0", "de-2"),
        "is not a sentence of the other side: 'de-2'",
    ),
    "a match of its own side": (
        "tatoeba/de",
        line("tatoeba/de", "en-0", "en-1"),
        "is not a sentence of the other side",
    ),
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
        "line 2: a row of language 'en' among those of 'de'",
    ),
    "no prediction": (
        "xnli/de",
        '{"id": "0", "language": "de", "predicton": "x"}\n',
        "no \"prediction\". Did you mean 'predicton'?",
    ),
    "invalid JSON": ("xnli/de", line("xnli/de", "0", "neutral") + '{"id": "1"\n', "line 2: not JSON: Expecting ','"),
    "no object": ("xnli/de", '["0", "neutral"]\n', "a list where an object belongs"),
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
    arguments = ("--data", world / "data", "--partial", "--evaluate-json", world / "scores.json")
    assert command(monkeypatch, world / "mine", *arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "Traceback" not in shown.err
    assert shown.err.startswith("viaduct: 1 file cannot be scored:") and shown.err.count("how to fix:") == 1
    assert f"{path}" in shown.err and words in shown.err
    assert len(shown.err) < 1000
    assert not list(world.glob("*scores.json*"))


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
    assert "notes.txt: not JSON Lines, ignored" in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--gold", "data"), "--gold and --official do not apply"),
        (("--official",), "--gold and --official do not apply"),
        (("--data", "nowhere"), "the data folder nowhere does not exist"),
        (("--data", "data", "--split", "tets"), "unknown split of xnli 'tets'. Did you mean 'test'?"),
        (("--data", "data", "--task", "xnly"), "unknown task 'xnly'. Did you mean 'xnli'?"),
        (("--data", "data", "--task", "text"), "text has no metric"),
        (("--data", "data", "--partial", "--evaluate-json", "data"), "data cannot be written: Is a directory"),
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
        (lambda root: (root / "mine").rename(root / "mine.d") and (root / "mine").write_text(""), "which task is it"),
        (
            lambda root: (root / "mine" / "xnli").rename(root / "mine" / "xmli"),
            "unknown task 'xmli'. Did you mean 'xnli'(?s:.*)FILE.py",
        ),
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
