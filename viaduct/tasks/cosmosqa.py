"""Cosmos QA (English): a question about a blog post whose answer has to be inferred; four answers.

A row of train.csv, whose fields are csv-quoted (test.jsonl has the same fields without `label`):
    id=7##q1  context="The kettle sang."  question="What may happen next ?"  answer0="Tea ."  ...  label=0
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from viaduct.errors import DataError
from viaduct.metrics.classification import accuracy
from viaduct.rows import Choice
from viaduct.tasks.card import Files, Hub, Source, Task
from viaduct.tasks.formats import csv_columns, json_lines, parquet

LANGUAGES = ("en",)
ANSWERS = ("answer0", "answer1", "answer2", "answer3")
FIELDS = ("id", "context", "question", *ANSWERS)


def read_csv(files: Files, language: str, _split: str) -> Iterator[Choice]:
    """The rows of a csv file, whose quoted fields may hold line ends; ids are the file's."""
    path = files["rows"][0]
    for line, (given, context, question, *answers, label) in csv_columns(path, (*FIELDS, "label")):
        yield Choice(given, language, context, question, tuple(answers), _label(label, path, line))


def read_json_lines(files: Files, language: str, _split: str) -> Iterator[Choice]:
    """The rows of the test file, which has no labels."""
    for _, (given, context, question, *answers) in json_lines(files["rows"][0], FIELDS):
        yield Choice(given, language, context, question, tuple(answers), None)


def read_hub(files: Files, language: str, _split: str) -> Iterator[Choice]:
    """The rows of the Hub's Parquet files; label -1 means that it was stripped."""
    path = files["rows"][0]
    for given, context, question, *answers, label in parquet(files["rows"], (*FIELDS, "label")):
        choice = None if label == -1 else _label(str(label), path, None)
        yield Choice(given, language, context, question, tuple(answers), choice)


def _label(given: str, path: Path, line: int | None) -> int:
    if given not in {str(number) for number in range(len(ANSWERS))}:
        raise DataError(f"unknown label {given!r}", path=path, line=line, fix=f"use 0 to {len(ANSWERS) - 1}")
    return int(given)


_LABELLED = {"train": "train", "dev": "valid"}

CARD = Task(
    name="cosmosqa",
    version=1,
    title="Cosmos QA",
    kind="choice",
    languages=LANGUAGES,
    sources=(
        Source("official", {"rows": "cosmosqa/{split}.csv"}, read_csv, _LABELLED),
        Source("official", {"rows": "cosmosqa/data/{split}.csv"}, read_csv, _LABELLED),
        Source("official", {"rows": "cosmosqa/{split}.jsonl"}, read_json_lines, {"test": "test"}),
        Source("official", {"rows": "cosmosqa/data/{split}.jsonl"}, read_json_lines, {"test": "test"}),
        Source(
            "hub",
            {"rows": "default/{split}/*.parquet"},
            read_hub,
            {"train": "train", "dev": "validation", "test": "test"},
            hub=Hub("allenai/cosmos_qa", None),
        ),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="cosmosqa",
    expected={("en", "train"): 25_262, ("en", "dev"): 2_985, ("en", "test"): 6_963},
    licence="CC BY 4.0",
    citation="Huang et al. 2019: Cosmos QA: Machine Reading Comprehension with Contextual Commonsense Reasoning",
    differs=(
        "The papers print 25,588 / 3,000 / 7,000 questions; the files as released have fewer. The text is tokenised. "
        "The Hub holds a script, and Parquet files on the branch refs/convert/parquet, of which no commit is pinned "
        "here. The labels of test are not public."
    ),
)
