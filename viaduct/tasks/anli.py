"""Adversarial NLI (English): premises and hypotheses written so that a model of the time got them wrong; three rounds.

A line of anli_v1.0/R1/dev.jsonl (labels are e, n, c):
    {"uid": "7f", "context": "Ada Lovelace wrote notes.", "hypothesis": "Ada could write.", "label": "e", ...}

`anli` is the three rounds concatenated. `anli_plus` is what arXiv 2005.13013 trains on: ANLI, MNLI and SNLI under one
head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from viaduct.metrics.classification import accuracy
from viaduct.rows import Pair, Row
from viaduct.tasks import mnli, snli
from viaduct.tasks.card import Files, Hub, Task, sources
from viaduct.tasks.formats import json_lines
from viaduct.tasks.mnli import LABELS
from viaduct.tasks.pairs import label_of
from viaduct.tasks.published import counts

_ROUNDS = ("R1", "R2", "R3")
_NAMES = {**{label: label for label in LABELS}, **{label[0]: label for label in LABELS}}
_HUB = Hub("facebook/anli", "8e4813d81f46d313dac7892e1c28076917cfcdf9")


def read_rounds(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of the three rounds in order; ids combine the round and the file's uid: "R1-7f"."""
    for number in _ROUNDS:
        path = files[number][0]
        for line, (uid, first, second, label) in json_lines(path, ("uid", "context", "hypothesis", "label")):
            yield Pair(f"{number}-{uid}", language, first, second, label_of(label, _NAMES, path, line))


def read_hub(files: Files, language: str, split: str) -> Iterator[Row]:
    """The same pairs from the Hub's Parquet files; ids combine the round and the row number, counted from 0."""
    for number in _ROUNDS:
        for row in mnli.read_hub({"rows": files[number]}, language, split):
            yield replace(row, id=f"{number}-{row.id}")


CARD = Task(
    name="anli",
    title="Adversarial NLI",
    kind="pair",
    languages=("en",),
    labels=LABELS,
    sources=(
        *sources(
            "official",
            read_rounds,
            *(
                {one: f"{folder}/{one}/{{split}}.jsonl" for one in _ROUNDS}
                for folder in ("anli_v1.0", "anli/anli_v1.0")
            ),
        ),
        *sources(
            _HUB,
            read_hub,
            {one: f"plain_text/{{split}}_{one.lower()}-*.parquet" for one in _ROUNDS},
            splits="train dev test",
        ),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="anli",
    expected=counts(("en",), train=16_946 + 45_460 + 100_459, dev=1_000 + 1_000 + 1_200, test=1_000 + 1_000 + 1_200),
    licence="CC BY-NC 4.0",
    citation="Nie et al. 2020: Adversarial NLI: A New Benchmark for Natural Language Understanding (arXiv 1910.14599)",
    differs=(
        "Papers report the rounds apart; here they are one data set, and the row's id says the round. Revision of the "
        "Hub dataset: as pinned in several public repositories, which read the same file names there."
    ),
)

PLUS = Task(
    name="anli_plus",
    title="ANLI+ (ANLI, MNLI and SNLI)",
    kind="pair",
    languages=("en",),
    labels=LABELS,
    parts=(CARD, mnli.CARD, snli.CARD),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="anli_plus",
    expected=counts(("en",), train=1_104_934, dev=22_857),
    licence="CC BY-NC 4.0 (ANLI), MultiNLI's terms, CC BY-SA 4.0 (SNLI)",
    citation="Phang et al. 2020: English Intermediate-Task Training Improves Zero-Shot Transfer Too (arXiv 2005.13013)",
    differs=(
        "The rows of the three cards, one after the other, shuffled together when they are trained on. The paper's "
        "code (jiant) instead draws from five sets under one head, in proportion to their size, which is the same in "
        "expectation. MNLI's dev is the matched one. There is no test split: MultiNLI's labels are not public."
    ),
)
