"""CommonsenseQA (English): a question that needs common sense, with five answers.

A line of train_rand_split.jsonl (the test file has no `answerKey`):
    {"id": "7f", "answerKey": "A", "question": {"stem": "Where does tea stand?", "question_concept": "tea",
     "choices": [{"label": "A", "text": "table"}, {"label": "B", "text": "roof"}, ...]}}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from viaduct.errors import DataError
from viaduct.metrics.classification import accuracy
from viaduct.rows import Choice
from viaduct.tasks.card import Files, Hub, Task, sources
from viaduct.tasks.formats import json_objects, parquet
from viaduct.tasks.published import counts

LETTERS = ("A", "B", "C", "D", "E")
_HUB = Hub("tau/commonsense_qa", "94630fe30dad47192a8546eb75f094926d47e155")


def read_json_lines(files: Files, language: str, _split: str) -> Iterator[Choice]:
    """The rows of a released file; ids are the file's. Raises DataError with the line unless the answers are A to E in
    this order and the answer key, if any, is one of them."""
    path = files["rows"][0]
    for line, record in json_objects(path, ("id", "question")):
        try:
            stem = record["question"]["stem"]
            letters = tuple(choice["label"] for choice in record["question"]["choices"])
            choices = tuple(choice["text"] for choice in record["question"]["choices"])
        except (KeyError, TypeError) as error:
            raise DataError(f"the question has no {error}", path=path, line=line) from error
        yield _choice((record["id"], stem, letters, choices), record.get("answerKey"), language, path, line)


def read_hub(files: Files, language: str, _split: str) -> Iterator[Choice]:
    """The rows of the Hub's Parquet files; an empty answer key means that it was stripped."""
    path = files["rows"][0]
    for given, stem, choices, key in parquet(files["rows"], ("id", "question", "choices", "answerKey")):
        yield _choice((given, stem, tuple(choices["label"]), tuple(choices["text"])), key or None, language, path, None)


def _choice(fields: tuple[Any, ...], key: str | None, language: str, path: Path, line: int | None) -> Choice:
    given, stem, letters, choices = fields
    if letters != LETTERS:
        message = f"question '{given}' has the answers {', '.join(map(str, letters))}"
        raise DataError(message, path=path, line=line, fix=f"they are {', '.join(LETTERS)}, in this order")
    if key is not None and key not in LETTERS:
        raise DataError(f"unknown answer key {key!r}", path=path, line=line, fix=f"use one of {', '.join(LETTERS)}")
    return Choice(given, language, stem, "", choices, None if key is None else LETTERS.index(key))


CARD = Task(
    name="commonsenseqa",
    title="CommonsenseQA",
    kind="choice",
    languages=("en",),
    sources=(
        *sources(
            "official",
            read_json_lines,
            "commonsenseqa/{split}.jsonl",
            splits="train=train_rand_split dev=dev_rand_split test=test_rand_split_no_answers",
        ),
        *sources(_HUB, read_hub, "data/{split}-*.parquet"),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="commonsenseqa",
    expected=counts(("en",), train=9_741, dev=1_221, test=1_140),
    licence="MIT",
    citation="Talmor et al. 2019: CommonsenseQA: A Question Answering Challenge Targeting Commonsense Knowledge",
    differs=(
        "Version 1.11, the random split. The question is the first segment, an answer the second; the concept it was "
        "written from is not read. The answers of test are not public. Revision of the Hub dataset: as pinned in "
        "several public repositories, which read the same file names there."
    ),
)
