"""The cards of squad, xquad, mlqa and tydiqa: where their files are, their ids and splits, and the real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from viaduct.errors import DataError, UsageError
from viaduct.languages import LANGUAGES as TABLE
from viaduct.rows import Answer, Span
from viaduct.tasks import mlqa, squad, squad2, tydiqa, xquad
from viaduct.tasks.card import Task, read
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.squad_json import read_squad

CARDS = (squad.CARD, squad2.CARD, xquad.CARD, mlqa.CARD, tydiqa.CARD)
CONTEXT = "The Tay flows to Perth."
PERTH = (Answer("Perth", 17),)


def put(data: Path, place: str, *ids: str, answers: tuple[Answer, ...] = PERTH) -> None:
    path = data / place
    path.parent.mkdir(parents=True, exist_ok=True)
    given = [{"text": answer.text, "answer_start": answer.start} for answer in answers]
    qas = [{"id": question_id, "question": "Where?", "answers": given} for question_id in ids]
    path.write_text(json.dumps({"version": "1", "data": [{"paragraphs": [{"context": CONTEXT, "qas": qas}]}]}))


def hub(data: Path, place: str, *ids: str) -> None:
    path = data / "hub" / place
    path.parent.mkdir(parents=True)
    answers = {"text": ["Perth"], "answer_start": [17]}
    rows: list[dict[str, Any]] = [{"id": i, "context": CONTEXT, "question": "Where?", "answers": answers} for i in ids]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_cards_are_registered_and_whole(card: Task) -> None:
    assert Catalogue.builtin().task(card.name) is card
    assert all(code in TABLE for code in card.languages)
    assert card.trained_on is not None
    assert ("en", "train") in Catalogue.builtin().task(card.trained_on).expected
    assert {published.metric for published in card.published} <= set(card.metrics)


PLACES = [
    (squad.CARD, "en", "train", "squad/train-v1.1.json", "official"),
    (squad.CARD, "en", "dev", "download/squad/dev-v1.1.json", "official"),
    (squad2.CARD, "en", "train", "download/squad/train-v2.0.json", "official"),
    (xquad.CARD, "th", "test", "xquad/xquad.th.json", "official"),
    (mlqa.CARD, "hi", "dev", "MLQA_V1/dev/dev-context-hi-question-hi.json", "official"),
    (mlqa.CARD, "hi", "test", "download/mlqa/MLQA_V1/test/test-context-hi-question-hi.json", "xtreme"),
    (tydiqa.CARD, "en", "train", "tydiqa/tydiqa-goldp-v1.1-train.json", "official"),
    (tydiqa.CARD, "en", "test", "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-english.json", "official"),
    (tydiqa.CARD, "en", "dev", "tydiqa/tydiqa-goldp-v1.1-dev.json", "official"),
    (tydiqa.CARD, "en", "dev", "download/tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.en.dev.json", "xtreme"),
]


@pytest.mark.parametrize(("card", "language", "split", "place", "layout"), PLACES)
def test_files_are_found_where_they_are_published(
    tmp_path: Path, card: Task, language: str, split: str, place: str, layout: str
) -> None:
    put(tmp_path, place, "english-1-0")
    found = read(card, tmp_path, language, split)
    assert (found.layout, found.paths) == (layout, (tmp_path / place,))
    assert found.rows == (Span("english-1-0", language, CONTEXT, "Where?", PERTH),)
    assert len(found.rows) == 1 and found.expected not in (None, 1)


HUB = [
    (squad.CARD, "en", "dev", "rajpurkar/squad/plain_text/validation-00000-of-00001.parquet"),
    (squad2.CARD, "en", "dev", "rajpurkar/squad_v2/squad_v2/validation-00000-of-00001.parquet"),
    (xquad.CARD, "el", "test", "google/xquad/xquad.el/validation-00000-of-00001.parquet"),
    (mlqa.CARD, "vi", "test", "google/xtreme/MLQA.vi.vi/test-00000-of-00001.parquet"),
    (tydiqa.CARD, "te", "train", "google/xtreme/tydiqa/train-00000-of-00001.parquet"),
    (tydiqa.CARD, "te", "test", "google/xtreme/tydiqa/validation-00000-of-00001.parquet"),
]


@pytest.mark.parametrize(("card", "language", "split", "place"), HUB)
def test_hub_tables(tmp_path: Path, card: Task, language: str, split: str, place: str) -> None:
    hub(tmp_path, place, "telugu-1-0")
    assert read(card, tmp_path, language, split).rows == (Span("telugu-1-0", language, CONTEXT, "Where?", PERTH),)


def test_blanked_answers_are_unlabelled(tmp_path: Path) -> None:
    put(tmp_path, "xquad/xquad.zh.json", "a", "b", answers=(Answer("", 0),))
    assert not read(xquad.CARD, tmp_path, "zh", "test").labelled


def test_only_squad2_has_questions_without_an_answer(tmp_path: Path) -> None:
    put(tmp_path, "squad/dev-v2.0.json", "a", answers=())
    (row,) = read(squad2.CARD, tmp_path, "en", "dev").rows
    assert isinstance(row, Span) and row.answers == ()
    assert [card.name for card in CARDS if card.unanswerable] == ["squad2"]


def test_real_squad2_has_the_published_number_of_unanswerable_questions(shared_data: Path) -> None:
    rows = read(squad2.CARD, shared_data, "en", "dev").rows
    assert (len(rows), sum(row.answers == () for row in rows if isinstance(row, Span))) == (11_873, 5_945)


def test_wrong_answers_and_repeated_questions_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "xquad/xquad.zh.json", "a", answers=(Answer("Perth", 3),))
    with pytest.raises(DataError, match=r"xquad.zh.json: .*at character 3 of its context, but at 17"):
        read(xquad.CARD, tmp_path, "zh", "test")
    put(tmp_path, "xquad/xquad.zh.json", "a", "a")
    with pytest.raises(DataError, match="'a' occurs twice"):
        read(xquad.CARD, tmp_path, "zh", "test")


def test_missing_files_and_languages(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"looked for hub/.*, xquad/xquad.ar.json, download/xquad/xquad.ar.json"):
        read(xquad.CARD, tmp_path, "ar", "test")
    with pytest.raises(UsageError, match="language of xquad 'ro'"):
        read(xquad.CARD, tmp_path, "ro", "test")
    put(tmp_path, "xquad/xquad.ar.json")
    with pytest.raises(DataError, match="no rows"):
        read(xquad.CARD, tmp_path, "ar", "test")


def test_tydiqa_takes_one_language_of_the_official_file(tmp_path: Path) -> None:
    put(tmp_path, "tydiqa/tydiqa-goldp-v1.1-train.json", "english-1-0", "swahili--2-0", "english-3-1")
    assert [row.id for row in read(tydiqa.CARD, tmp_path, "en", "train").rows] == ["english-1-0", "english-3-1"]
    assert [row.id for row in read(tydiqa.CARD, tmp_path, "sw", "train").rows] == ["swahili--2-0"]
    with pytest.raises(DataError, match="no question's id begins with 'telugu-'"):
        read(tydiqa.CARD, tmp_path, "te", "train")


def test_tydiqa_numbers_xtremes_cut_ids(tmp_path: Path) -> None:
    put(tmp_path, "download/tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.sw.train.json", "0", "1", "0", "swahili-7-0")
    assert [row.id for row in read(tydiqa.CARD, tmp_path, "sw", "train").rows] == ["0-0", "1-1", "2-0", "swahili-7-0"]


def test_tydiqa_has_dev_in_english_only(tmp_path: Path) -> None:
    for language in ("en", "sw"):
        put(tmp_path, f"tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{language}.dev.json", f"{language}-1")
    test = read(tydiqa.CARD, tmp_path, "en", "test")
    assert read(tydiqa.CARD, tmp_path, "en", "dev").rows == test.rows
    assert read(tydiqa.CARD, tmp_path, "sw", "test").rows
    with pytest.raises(DataError, match="no files for tydiqa, split dev, language sw"):
        read(tydiqa.CARD, tmp_path, "sw", "dev")


REAL = [
    (squad.CARD, "dev", "en", True),
    (xquad.CARD, "test", "en es de el ru tr ar vi th zh hi", True),
    (mlqa.CARD, "dev", "en es de ar hi vi zh", True),
    (tydiqa.CARD, "train", "en ko sw", True),
    (tydiqa.CARD, "test", "bn en ko sw", False),
    (tydiqa.CARD, "dev", "en", False),
]


@pytest.mark.parametrize(("card", "split", "languages", "labelled"), REAL)
def test_real_files_have_the_published_counts(
    shared_data: Path, card: Task, split: str, languages: str, labelled: bool
) -> None:
    for language in languages.split():
        found = read(card, shared_data, language, split)
        assert found.expected in (None, len(found.rows))
        assert ("*" * bool(found.expected), found.labelled) == ("*", labelled)
        assert all(isinstance(row, Span) and bool(row.answers) is labelled for row in found.rows)


ALL_REAL = {
    "squad/cs224n/dev-v2.0.json": (6_078, 3_168),
    "squad/one_article_v1.1/train-v1.1.json": (269, 0),
    "squad/one_article_v1.1/dev-v1.1.json": (810, 0),
    "xquad/xquad.ro.json": (1_190, 0),
    "xtreme_download/mlqa/MLQA_V1/dev/dev-context-de-question-en.json": (512, 0),
    "xtreme_download/mlqa/MLQA_V1/dev/dev-context-en-question-de.json": (512, 0),
}
"""Real files that no card reads -> (number of questions, number of unanswerable ones)."""


@pytest.mark.parametrize("place", ALL_REAL)
def test_other_real_files_are_readable(shared_data: Path, place: str) -> None:
    rows = read_squad(shared_data / place, "en")
    assert (len(rows), sum(row.answers == () for row in rows)) == ALL_REAL[place]
    assert all(row.answers is not None for row in rows)


def test_the_hubs_answers_come_before_a_stripped_download(tmp_path: Path) -> None:
    put(tmp_path, "download/xquad/xquad.el.json", "a", answers=(Answer("", 0),))
    put(tmp_path, "download/mlqa/MLQA_V1/test/test-context-vi-question-vi.json", "a", answers=(Answer("", 0),))
    hub(tmp_path, "google/xquad/xquad.el/validation-00000-of-00001.parquet", "a")
    hub(tmp_path, "google/xtreme/MLQA.vi.vi/test-00000-of-00001.parquet", "a")
    assert read(xquad.CARD, tmp_path, "el", "test").labelled
    assert read(mlqa.CARD, tmp_path, "vi", "test").labelled
