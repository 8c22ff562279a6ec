"""The BUCC card: sentences with and without partners, and files that do not match."""

from __future__ import annotations

from pathlib import Path

import pytest

from viaduct.errors import DataError
from viaduct.metrics.score import Prediction
from viaduct.tasks.bucc import CARD
from viaduct.tasks.card import read

GERMAN = "de-1\tDer Tee ist kalt.\nde-2\tEs regnet.\nde-3\tGuten Tag.\n"
ENGLISH = "en-1\tHello.\nen-2\tThe tea is cold.\nen-3\tGood day.\n"
GOLD = "de-1\ten-2\nde-3\ten-1\nde-3\ten-3\n"


def put(data: Path, stem: str, german: str = GERMAN, english: str = ENGLISH, gold: str | None = GOLD) -> None:
    for ending, content in (("de", german), ("en", english), ("gold", gold)):
        if content is not None:
            path = data / f"{stem}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8", newline="")


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("bucc2018/de-en/de-en.sample", "dev"),
        ("bucc2018/de-en/de-en.training", "test"),
        ("download/bucc2018/de-en.dev", "dev"),
        ("download/bucc2018/de-en.test", "test"),
    ],
)
def test_matches_are_partners_and_nothing_is_unmatched_by_default(tmp_path: Path, stem: str, split: str) -> None:
    put(tmp_path, stem)
    dataset = read(CARD, tmp_path, "de", split)
    assert [(row.id, row.side, row.match) for row in dataset.rows] == [
        ("de-1", "source", ("en-2",)),
        ("de-2", "source", ()),
        ("de-3", "source", ("en-1", "en-3")),
        ("en-1", "target", ("de-3",)),
        ("en-2", "target", ("de-1",)),
        ("en-3", "target", ("de-3",)),
    ]
    assert dataset.labelled
    assert CARD.metric is not None
    scores = CARD.metric(dataset.rows, {"de-1": Prediction("de-1", "de", "en-2")})
    assert tuple(score.metric for score in scores) == CARD.metrics
    assert [score.value for score in scores] == pytest.approx([0.5, 1.0, 1 / 3])


def test_without_a_gold_file_no_match_is_claimed(tmp_path: Path) -> None:
    put(tmp_path, "bucc2018/de-en.test", gold=None)
    dataset = read(CARD, tmp_path, "de", "test")
    assert {row.match for row in dataset.rows} == {None}
    assert not dataset.labelled


def test_a_pair_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    put(tmp_path, "bucc2018/de-en.dev", gold="de-1\ten-2\nde-1\ten-2\n")
    assert read(CARD, tmp_path, "de", "dev").rows[0].match == ("en-2",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"gold": "de-1\ten-2\nde-3\ten-22\n"}, r"gold, line 2: no sentence has the id 'en-22'. Did you mean 'en-2'"),
        ({"gold": "en-2\tde-1\n"}, "gold, line 1: no sentence has the id 'en-2'"),
        ({"gold": "de-1\ten-2\nde-3"}, "gold, line 2: the last line has no line end"),
        ({"gold": "de-1\ten-2\n\n"}, "gold, line 2: the line is blank"),
        ({"gold": "de-1 en-2\n"}, "gold, line 1: two fields with a tab between are expected"),
        ({"gold": ""}, "gold: the file is empty"),
        ({"german": GERMAN + "de-4\n"}, "de, line 4: two fields with a tab between are expected"),
        ({"german": GERMAN + "de-4\t \n"}, "de, line 4: two fields"),
        ({"german": GERMAN + "de-1\tNoch einmal.\n"}, "de, line 4: the id 'de-1' occurs twice"),
        ({"english": ENGLISH + "en-4\tcut of"}, "en, line 4: the last line has no line end"),
        ({"english": ENGLISH + "de-1\tA foreign id.\n"}, "the id 'de-1' occurs twice"),
    ],
)
def test_files_that_do_not_fit_are_refused_with_the_line(tmp_path: Path, files: dict[str, str], message: str) -> None:
    put(tmp_path, "bucc2018/de-en.dev", **files)
    with pytest.raises(DataError, match=message):
        read(CARD, tmp_path, "de", "dev")
