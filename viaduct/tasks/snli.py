"""SNLI (English): does a sentence that describes a photograph entail, contradict or leave open another one?

A row, in its original layout (JSON lines):
    {"gold_label": "neutral", "sentence1": "A kettle is on the stove.", "sentence2": "Tea is made.", ...}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from viaduct.errors import DataError
from viaduct.metrics.classification import accuracy
from viaduct.rows import Pair, Row
from viaduct.tasks.card import Files, Hub, Task, sources
from viaduct.tasks.formats import aligned_lines, columns, text_lines
from viaduct.tasks.mnli import FIELDS, LABELS, NAMES, NO_MAJORITY, read_json
from viaduct.tasks.mnli import read_hub as read_all
from viaduct.tasks.pairs import label_of, pairs
from viaduct.tasks.published import counts

_HUB = Hub("stanfordnlp/snli", "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b")
read_table = pairs(partial(columns, names=FIELDS), NAMES, at=(1, 2, 0), without=NO_MAJORITY)
"""snli_1.0_*.txt, the same rows as the JSON lines."""


def read_three_files(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of InferSent's line-aligned files s1.*, s2.* and labels.*; whitespace around texts is stripped.

    These files already leave out pairs without a majority; any other label is refused.
    """
    path = files["labels"][0]
    labels = text_lines(path)
    pairs = aligned_lines(files["first"][0], files["second"][0])
    if len(labels) != len(pairs):
        raise DataError(f"{len(labels):,} labels for {len(pairs):,} pairs", path=path, fix="download all three again")
    for index, ((first, second), label) in enumerate(zip(pairs, labels, strict=True)):
        yield Pair(str(index), language, first.strip(), second.strip(), label_of(label, NAMES, path, index + 1))


def read_hub(files: Files, language: str, split: str) -> Iterable[Row]:
    """The pairs of the Hub's Parquet files; label id -1 means no majority here, and such pairs are left out."""
    return (row for row in read_all(files, language, split) if row.is_labelled)


def _three_files(folder: str) -> dict[str, str]:
    """Role -> path pattern of InferSent's files."""
    return {
        role: f"{folder}/{name}.{{split}}" for role, name in (("first", "s1"), ("second", "s2"), ("labels", "labels"))
    }


CARD = Task(
    name="snli",
    title="SNLI",
    kind="pair",
    languages=("en",),
    labels=LABELS,
    sources=(
        *sources("official", read_json, "snli_1.0/snli_1.0_{split}.jsonl", "snli/snli_1.0_{split}.jsonl"),
        *sources("official", read_table, "snli_1.0/snli_1.0_{split}.txt"),
        *sources("official", read_three_files, _three_files("snli"), _three_files("snli/infersent_format")),
        *sources(_HUB, read_hub, "plain_text/{split}-*.parquet"),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="snli",
    expected=counts(("en",), train=549_367, dev=9_842, test=9_824),
    licence="CC BY-SA 4.0",
    citation="Bowman et al. 2015: A large annotated corpus for learning natural language inference (arXiv 1508.05326)",
    differs=(
        "Pairs without a majority label ('-') are left out, as in the paper's experiments: 785 of 550,152 in train, "
        "158 and 176 of the 10,000 in dev and test. They are not unlabelled rows. Text is raw in SNLI's own files and "
        "on the Hub, and tokenised (blanks around punctuation) in InferSent's. Revision of the Hub dataset: as pinned "
        "in several public repositories, which read the same folder layout there."
    ),
)
