"""Cosmos QA (English): a question about a blog post whose answer has to be inferred; four answers.

A row of train.csv, whose fields are csv-quoted (test.jsonl has the same fields without `label`):
    id=7##q1  context="The kettle sang."  question="What may happen next ?"  answer0="Tea ."  ...  label=0
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from viaduct.metrics.classification import accuracy
from viaduct.rows import Choice
from viaduct.tasks.card import Files, Hub, Reader, Task, sources
from viaduct.tasks.formats import csv_columns, index_of, json_lines, parquet
from viaduct.tasks.published import counts

_FIELDS = ("id", "context", "question", "answer0", "answer1", "answer2", "answer3")
_LABELLED = (*_FIELDS, "label")
ANSWERS = 4


def choices(
    records: Callable[[Path, Sequence[str]], Iterable[tuple[int, Sequence[Any]]]], names: Sequence[str]
) -> Reader:
    """A reader of these fields of every record; a field after the answers is the label. Ids are the file's."""

    def read(files: Files, language: str, _split: str) -> Iterator[Choice]:
        path = files["rows"][0]
        for line, (given, context, question, *rest) in records(path, names):
            label = index_of(rest[ANSWERS], ANSWERS, path, line) if len(rest) > ANSWERS else None
            yield Choice(given, language, context, question, tuple(rest[:ANSWERS]), label)

    return read


def read_hub(files: Files, language: str, _split: str) -> Iterator[Choice]:
    """The rows of the Hub's Parquet files; label -1 means that it was stripped."""
    path = files["rows"][0]
    for given, context, question, *answers, label in parquet(files["rows"], _LABELLED):
        index = None if label == -1 else index_of(str(label), ANSWERS, path, None)
        yield Choice(given, language, context, question, tuple(answers), index)


read_csv = choices(partial(csv_columns, closed=("label",)), _LABELLED)
read_test = choices(json_lines, _FIELDS)

CARD = Task(
    name="cosmosqa",
    title="Cosmos QA",
    kind="choice",
    languages=("en",),
    sources=(
        *sources(
            "official",
            read_csv,
            "cosmosqa/{split}.csv",
            "cosmosqa/data/{split}.csv",
            splits="train dev=valid",
        ),
        *sources("official", read_test, "cosmosqa/{split}.jsonl", "cosmosqa/data/{split}.jsonl", splits="test"),
        *sources(Hub("allenai/cosmos_qa", None), read_hub, "default/{split}/*.parquet"),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="cosmosqa",
    expected=counts(("en",), train=25_262, dev=2_985, test=6_963),
    licence="CC BY 4.0",
    citation="Huang et al. 2019: Cosmos QA: Machine Reading Comprehension with Contextual Commonsense Reasoning",
    differs=(
        "The papers print 25,588 / 3,000 / 7,000 questions; the files as released have fewer. The text is tokenised. "
        "The Hub holds a script, and Parquet files on the branch refs/convert/parquet, of which no commit is pinned "
        "here. The labels of test are not public."
    ),
)
