"""Two systems' predictions on the same rows: the difference by example, and what cannot be paired."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from json_keys import require_documented
from predicted_world import command, line
from scipy import stats

from viaduct import api
from viaduct.errors import DataError, UsageError
from viaduct.metrics.difference import TaskDifference, example_variance, of_predictions
from viaduct.metrics.official import label_scores, pair_scores
from viaduct.results.paired import MEAN, WITHOUT_ENGLISH, Line, paired
from viaduct.results.scores import Scores, TaskScores
from viaduct.tasks import bucc, xnli

LABELS = ("contradiction", "entailment", "neutral")
ROWS = 600


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """data/ with parallel test rows in two languages, and a/ and b/ with predictions: a is right more often."""
    draw = random.Random(4)
    gold = [draw.choice(LABELS) for _ in range(ROWS)]
    for code in ("en", "de"):
        text = "".join(f"{code} {at}\t{code} second {at}\t{label}\n" for at, label in enumerate(gold))
        _write(tmp_path / "data" / "xnli" / f"test-{code}.tsv", text)
        for name, share in {"a": 0.8, "b": 0.7}.items():
            own = random.Random(f"{name}{code}")
            given = [label if own.random() < share else own.choice(LABELS) for label in gold]
            lines = (line(f"xnli/{code}", str(at), label) for at, label in enumerate(given))
            _write(tmp_path / name / "xnli" / f"{code}.jsonl", "".join(lines))
    return tmp_path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def scored(two: Path, name: str) -> Scores:
    return api.score(two / name, data=two / "data", partial=True)


def right(two: Path, name: str, code: str) -> np.ndarray:
    gold = [row.rpartition("\t")[2] for row in (two / f"data/xnli/test-{code}.tsv").read_text().splitlines()]
    lines = map(json.loads, (two / name / "xnli" / f"{code}.jsonl").read_text().splitlines())
    found = {one["id"]: one["prediction"] for one in lines}
    return np.array([found.get(str(at)) == label for at, label in enumerate(gold)], float)


def by_place(lines: list[Line]) -> dict[str, Line]:
    return {one["over"]: one for one in lines if one["task"] == "xnli"}


def test_scores_of_both_and_the_difference_by_example(two: Path) -> None:
    lines, notes = paired(scored(two, "a"), scored(two, "b"), ("a", "b"))
    found = by_place(lines)
    assert list(found) == ["de", "en", MEAN, WITHOUT_ENGLISH]
    assert notes == ("xnli test: rows found (published): de 600 (5,010), en 600 (5,010)",)
    differences = []
    for code in ("en", "de"):
        one, mine, theirs = found[code], right(two, "a", code), right(two, "b", code)
        assert (one["first"], one["second"]) == (pytest.approx(mine.mean()), pytest.approx(theirs.mean()))
        assert one["difference"] == pytest.approx(mine.mean() - theirs.mean())
        expected = stats.ttest_rel(mine, theirs)
        assert one["p"] == pytest.approx(expected.pvalue, rel=0.3, abs=1e-5)
        assert (one["low"], one["high"]) == pytest.approx(expected.confidence_interval(0.95), abs=0.002)
        differences.append(mine - theirs)
    whole = stats.ttest_1samp(np.mean(differences, axis=0), 0)  # a row and its translation are one example
    assert (found[MEAN]["low"], found[MEAN]["high"]) == pytest.approx(whole.confidence_interval(0.95), abs=0.002)
    assert found[WITHOUT_ENGLISH] == found["de"] | {"over": WITHOUT_ENGLISH}
    back = by_place(paired(scored(two, "b"), scored(two, "a"), ("b", "a"))[0])
    assert (-back["de"]["high"], -back["de"]["low"]) == pytest.approx((found["de"]["low"], found["de"]["high"]))


def test_few_examples_that_differ_are_no_finding() -> None:
    """McNemar's exact test gives p = .0625 for five of a thousand, all in one direction, and .031 for six."""
    found = {}
    for count in (0, 1, 4, 7):
        values = np.zeros((1, 1000))
        values[0, :count] = 1
        examples = example_variance({"de": values}, {"de": np.arange(1000, dtype=np.int32)})
        found[count] = of_predictions([TaskDifference("xnli", ("de",), np.array([[count / 1000]]), examples)])
    assert (found[0].interval, found[0].why_not) == (None, "the difference is the same for all examples")
    assert found[1].p_value > 0.2 and found[4].p_value > 0.05 and found[7].p_value < 0.05


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    draw, held = np.random.default_rng(1), []
    for _ in range(1000):
        values = draw.choice([-1.0, 0.0, 1.0], size=(1, 300), p=[0.02, 0.93, 0.05])
        examples = example_variance({"de": values}, {"de": np.arange(300, dtype=np.int32)})
        found = of_predictions([TaskDifference("xnli", ("de",), values.mean(axis=1, keepdims=True), examples)])
        assert found.interval is not None
        held.append(found.interval[0] <= 0.03 <= found.interval[1])
    assert 0.93 < np.mean(held) < 0.97


def test_what_only_one_has_is_left_out_and_missing_predictions_are_wrong(two: Path) -> None:
    (two / "b" / "xnli" / "en.jsonl").unlink()
    german = two / "b" / "xnli" / "de.jsonl"
    german.write_text("".join(german.read_text().splitlines(keepends=True)[10:]), encoding="utf-8")
    lines, notes = paired(scored(two, "a"), scored(two, "b"), ("a", "b"))
    assert list(by_place(lines)) == ["de"] and by_place(lines)["de"]["second"] == pytest.approx(
        right(two, "b", "de").mean()
    )
    assert notes[2:] == (
        "b: xnli: no prediction for 10 of 600 examples, which count as wrong (de 10)",
        "only a has xnli in en: left out",
    )
    (two / "a" / "xnli" / "de.jsonl").unlink()
    with pytest.raises(UsageError, match=r"no task and language in common(.|\n)*  only a has xnli in en"):
        paired(scored(two, "a"), scored(two, "b"), ("a", "b"))


def test_a_task_that_only_one_has_is_left_out_whichever_comes_first() -> None:
    scores = TaskScores("xnli", xnli.CARD, {"de": label_scores(["neutral"] * 3, ["neutral"] * 3)})
    one, more = Scores((scores,), ()), Scores((scores, replace(scores, name="pawsx")), ())
    for names, pair in {("more", "one"): (more, one), ("one", "more"): (one, more)}.items():
        lines, notes = paired(*pair, names)
        assert {line["task"] for line in lines} == {"xnli"} and notes == ("only more has pawsx in de: left out",)
    with pytest.raises(UsageError, match="no task and language in common"):
        paired(Scores(more.tasks[1:], ()), one, ("a", "b"))


def test_pairs_that_only_one_system_found_count_for_both() -> None:
    gold = [(f"de-{at}", f"en-{at}") for at in range(50)]
    wrong = [(f"de-{at}", f"en-{at + 1}") for at in range(10)]
    both = [
        Scores((TaskScores("bucc", bucc.CARD, {"de": pair_scores(gold, given)}),), ())
        for given in (gold[:40], gold[:40] + wrong)
    ]
    one = paired(*both, ("a", "b"))[0][0]
    assert (one["first"], one["second"]) == (pytest.approx(80 / 90), pytest.approx(0.8))
    assert one["difference"] == pytest.approx(8 / 9 - 0.8) and 0 < one["low"] < one["difference"] < one["high"] < 0.2


def test_other_rows_are_refused() -> None:
    both = [
        Scores((TaskScores("xnli", xnli.CARD, {"de": label_scores(gold, gold)}),), ())
        for gold in (["neutral"] * 3, ["neutral"] * 4)
    ]
    with pytest.raises(DataError, match="xnli in 'de': the two were scored on different rows"):
        paired(*both, ("a", "b"))


def test_the_command_takes_two(two: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data", two / "data", "--partial"]
    assert command(monkeypatch, two / "a", two / "b", *options) == 0
    printed = capsys.readouterr().out
    assert f"first:  {two / 'a'}\nsecond: {two / 'b'}" in printed and "mean without English" in printed
    assert command(monkeypatch, two / "a", two / "b", *options, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    require_documented("score", found)
    one = next(one for one in found["differences"] if one["over"] == "de")
    assert one["difference"] == pytest.approx(one["first"] - one["second"]) and one["low"] < one["difference"]
    assert [one["predictions"] for one in found["systems"]] == [str(two / "a"), str(two / "b")]
    german = found["systems"][0]["tasks"]["xnli"]["accuracy"]["languages"]["de"]
    assert german["value"] == pytest.approx(one["first"])
    files = [two / name / "xnli" / "de.jsonl" for name in ("a", "b")]
    assert command(monkeypatch, *files, "--data", two / "data") == 0
    assert f"{100 * one['difference']:+.2f}" in capsys.readouterr().out
    assert command(monkeypatch, two / "a", "--data", two / "data", "--partial") == 0
    assert "transfer gap" not in (told := capsys.readouterr().out) and "excl. English" in told
    assert command(monkeypatch, two / "a", two / "b", *options, "--evaluate-json", two / "found.json") == 2
    assert "--evaluate-json is for one system" in capsys.readouterr().err
    for wrong in ((two / "a", two / "a"), (two / "a", two / "b", two / "c"), ("-", "-")):
        assert command(monkeypatch, *wrong, *options) == 2
        assert "not one system's predictions, or two" in capsys.readouterr().err
    capsys.readouterr()
    assert command(monkeypatch, two / "a", two / "b" / ".." / "a", *options) == 2
    assert "not one system's predictions, or two" in capsys.readouterr().err
