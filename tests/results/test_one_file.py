"""A single file or standard input is scored like a folder; scores come with intervals and signatures."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from predicted_world import RIGHT, command, scored
from programs import viaduct
from scipy.stats import binomtest

from viaduct import api
from viaduct.errors import DataError, UsageError, ViaductError


def test_a_file_is_told_its_language_by_its_name(world: Path) -> None:
    whole = {one.name: one for one in scored(world).tasks}
    for name in RIGHT:
        folder, _, code = name.partition("/")
        (one,) = api.score(world / "mine" / f"{name}.jsonl", data=world / "data").tasks
        assert one.by_language[code] == whole[folder].by_language[code]
    other = world / "my-xnli_de.jsonl"
    (world / "mine" / "xnli" / "de.jsonl").rename(other)
    assert api.score(other, data=world / "data", task="xnli").tasks[0].task_score == 1.0
    assert api.score(other, data=world / "data", task="xnli", language="de").tasks[0].task_score == 1.0


def test_standard_input_says_its_language(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (world / "mine" / "panx" / "de.jsonl").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    (one,) = api.score(Path("-"), data=world / "data", task="panx").tasks
    assert list(one.by_language) == ["de"] and one.task_score == 1.0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"[1]\n")))
    with pytest.raises(DataError, match="standard input, line 1: a list where an object belongs"):
        api.score(Path("-"), data=world / "data", task="panx")


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (b"", {"task": "panx"}, " is empty\n  how to fix: pipe the predictions of one language into it"),
        (b"[1]\n", {}, ": which task is it?\n  how to fix: name it with --task"),
        (b"[1]\n", {"task": "panx"}, ", line 1: a list where an object belongs\n  how to fix: write {"),
        (b"x\n", {"task": "xnli", "labels": Path()}, ": which language is it?\n  how to fix: name it with --language"),
        (b"x\n", {"task": "xnli", "language": "dd"}, ": unknown language of xnli 'dd'. Did you mean 'de'?\n"),
    ],
)
def test_mistakes_on_standard_input_name_it_and_no_file(
    content: bytes, options: dict[str, Any], words: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    data = {} if "labels" in options else {"data": world / "data"}
    with pytest.raises(ViaductError) as refused:
        api.score(Path("-"), **data, **options)
    assert str(refused.value).startswith(f"standard input{words}") and "/" not in str(refused.value)
    assert "file's name" not in str(refused.value)


def test_lines_need_no_language_where_it_is_told(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = "".join(f"{json.dumps({'id': key, 'prediction': value})}\n" for key, value in RIGHT["xnli/de"].items())
    path, how = world / "mine" / "xnli" / "de.jsonl", {"data": world / "data", "task": "xnli"}
    path.write_text(bare, encoding="utf-8")
    assert api.score(path, data=world / "data").tasks[0].task_score == 1.0
    assert {one.name: one for one in scored(world).tasks}["xnli"].by_language["de"].values["accuracy"] == 1.0
    mine = path.rename(world / "mine.jsonl")
    assert api.score(mine, **how, language="de").tasks[0].task_score == 1.0
    stream = lambda: io.TextIOWrapper(io.BytesIO(bare.encode()))  # noqa: E731
    monkeypatch.setattr(sys, "stdin", stream())
    assert api.score(Path("-"), **how, language="de").tasks[0].task_score == 1.0
    monkeypatch.setattr(sys, "stdin", stream())
    with pytest.raises(DataError, match=r'line 1: the object has no "language"(?s:.*)--language'):
        api.score(Path("-"), **how)
    mine.write_text(bare + '{"id": "3", "language": "en", "prediction": "neutral"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 4: a row of language 'en' among those of 'de'"):
        api.score(mine, **how, language="de")


def test_a_file_of_a_submission_is_scored_against_its_labels(tmp_path: Path) -> None:
    for folder, text in (("labels", "neutral\nentailment\ncontradiction\n"), ("mine", "neutral\nneutral\nneutral\n")):
        path = tmp_path / folder / "xnli" / "test-de.tsv"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    mine, gold = tmp_path / "mine" / "xnli" / "test-de.tsv", tmp_path / "labels"
    for labels in (gold, gold / "xnli" / "test-de.tsv"):
        (one,) = api.score(mine, labels).tasks
        assert one.series() == {"accuracy": {"de": pytest.approx(1 / 3)}}
    with pytest.raises(UsageError, match="--split is for JSON Lines"):
        api.score(mine, gold, split="dev")


def test_what_is_not_told_is_asked_for(world: Path) -> None:
    (world / "de.jsonl").write_bytes((world / "mine" / "xnli" / "de.jsonl").read_bytes())
    for path, options, words in (
        (world / "de.jsonl", (), "which task is it.*\n.*--task"),
        (world / "mine" / "none.jsonl", (), "none.jsonl does not exist"),
        (world / "mine" / "xnli", ("--task", "xnli", "--language", "de"), "--language is for one file"),
        (world / "de.jsonl", ("--task", "xnli", "--language", "xx"), "unknown language of xnli 'xx'"),
    ):
        done = viaduct("score", str(path), "--data", str(world / "data"), *options)
        assert done.status == 2
        with pytest.raises(AssertionError, match=words):
            raise AssertionError(done.errors)


def test_intervals_and_signatures_are_printed_and_written(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        assert command(patch, world / "mine", "--data", world / "data", "--partial") == 0
        shown = capsys.readouterr().out
        assert command(patch, world / "mine", "--data", world / "data", "--partial", "--json") == 0
    found = json.loads(capsys.readouterr().out)["systems"][0]["tasks"]
    low, high = binomtest(3, 3).proportion_ci(method="wilson")
    assert f"de      100.00  {100 * low:.1f}-100.0  3        0" in shown
    assert found["xnli"]["accuracy"]["languages"]["de"]["value_95"] == pytest.approx([low, high], abs=1e-5)
    assert found["panx"]["recall"]["mean_including_english_95"] is None
    for name, metric in (("xnli", "accuracy"), ("panx", "f1"), ("xquad", "exact_match")):
        signature = found[name][metric]["languages"]["de"]["signature"]
        assert f"{name}: {signature}\n" in shown and signature.startswith(metric)
