"""XCOPA: which of two sentences is the cause (or the effect) of a premise? 11 languages, and English COPA to train on.

A line of xcopa/data/et/test.et.jsonl:
    {"premise": "The tea is cold.", "choice1": "It stood for an hour.", "choice2": "It was drunk.",
     "question": "cause", "label": 0, "idx": 7, "changed": false}
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.errors import DataError
from viaduct.metrics.classification import accuracy
from viaduct.rows import Choice
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.formats import json_lines
from viaduct.tasks.published import Published, counts

LANGUAGES = ("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh")
_QUESTIONS = {"cause": "What was the cause?", "effect": "What happened as a result?"}
"""Word in the files -> the question that is asked, always in English (arXiv 2005.00333, section 4)."""
_FIELDS = ("idx", "premise", "question", "choice1", "choice2", "label")


def read(files: Files, language: str, _split: str) -> Iterator[Choice]:
    """The rows of a file; ids are its `idx`. Raises DataError for an unknown question, or a label other than 0 or 1."""
    path = files["rows"][0]
    for line, (given, premise, question, first, second, label) in json_lines(path, _FIELDS):
        if question not in _QUESTIONS:
            raise DataError(f"unknown question '{question}'", path=path, line=line, fix="use cause or effect")
        if label not in (0, 1) or isinstance(label, bool):
            raise DataError(f"unknown label {label!r}", path=path, line=line, fix="use 0 or 1")
        yield Choice(str(given), language, premise, _QUESTIONS[question], (first, second), label)


CARD = Task(
    name="xcopa",
    title="XCOPA",
    kind="choice",
    languages=LANGUAGES,
    sources=sources("official", read, "xcopa/data/{language}/{split}.{language}.jsonl", splits="dev=val test"),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="copa",
    expected=counts(LANGUAGES, dev=100, test=500),
    published=(Published("human", "accuracy", 0.976, "arXiv 2005.00333, average over the languages"),),
    licence="CC BY 4.0",
    citation="Ponti et al. 2020: XCOPA: A Multilingual Dataset for Causal Commonsense Reasoning",
    differs="Trained on English COPA alone; XTREME-R trains on Social IQa first, which is no card here.",
)

COPA = Task(
    name="copa",
    title="COPA",
    kind="choice",
    languages=("en",),
    sources=sources("official", read, "xcopa/copa_en/{split}-{language}.jsonl", splits="train dev=val"),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="copa",
    expected=counts(("en",), train=400, dev=100),
    licence="BSD 2-Clause",
    citation="Roemmele, Bejan, Gordon 2011: Choice of Plausible Alternatives",
    differs="Read as SuperGLUE splits it; its test labels are not public, so dev is the only split to evaluate on.",
)
