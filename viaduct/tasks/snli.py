"""SNLI (English): does a sentence that describes a photograph entail, contradict or leave open another one?

A row, in its original layout (JSON lines):
    {"gold_label": "neutral", "sentence1": "A kettle is on the stove.", "sentence2": "Tea is made.", ...}
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.errors import DataError
from viaduct.metrics.classification import accuracy
from viaduct.rows import Pair
from viaduct.tasks.card import Files, Hub, Source, Task
from viaduct.tasks.formats import aligned_lines, columns, hub_pairs, label_of, text_lines
from viaduct.tasks.mnli import HUB_LABELS, LABELS, NAMES, NO_MAJORITY, read_json_lines

LANGUAGES = ("en",)


def read_table(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of snli_1.0_*.txt, the same rows as the JSON lines; pairs without a majority are left out."""
    path = files["rows"][0]
    rows = columns(path, ("gold_label", "sentence1", "sentence2"))
    for index, (line, (label, first, second)) in enumerate(rows):
        if label != NO_MAJORITY:
            yield Pair(str(index), language, first, second, label_of(label, NAMES, path, line))


def read_three_files(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of InferSent's files s1.*, s2.* and labels.*, whose lines i belong together; blanks at the ends of
    texts go.

    Its pairs without a majority are left out already; what else is in `labels` is refused.
    """
    path = files["labels"][0]
    labels = text_lines(path)
    pairs = aligned_lines(files["first"][0], files["second"][0])
    if len(labels) != len(pairs):
        raise DataError(f"{len(labels):,} labels for {len(pairs):,} pairs", path=path, fix="download all three again")
    for index, ((first, second), label) in enumerate(zip(pairs, labels, strict=True)):
        yield Pair(str(index), language, first.strip(), second.strip(), label_of(label, NAMES, path, index + 1))


def read_hub(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of the Hub's Parquet files; label id -1 means no majority here, and such pairs are left out."""
    for row in hub_pairs(files["rows"], language, ("premise", "hypothesis", "label"), HUB_LABELS):
        if row.label is not None:
            yield row


def _three_files(folder: str) -> Source:
    roles = {role: f"{folder}/{name}.{{split}}" for role, name in (("first", "s1"), ("second", "s2"))}
    return Source("official", {**roles, "labels": f"{folder}/labels.{{split}}"}, read_three_files)


CARD = Task(
    name="snli",
    version=1,
    title="SNLI",
    kind="pair",
    languages=LANGUAGES,
    labels=LABELS,
    sources=(
        Source("official", {"rows": "snli_1.0/snli_1.0_{split}.jsonl"}, read_json_lines),
        Source("official", {"rows": "snli/snli_1.0_{split}.jsonl"}, read_json_lines),
        Source("official", {"rows": "snli_1.0/snli_1.0_{split}.txt"}, read_table),
        _three_files("snli"),
        _three_files("snli/infersent_format"),
        Source(
            "hub",
            {"rows": "plain_text/{split}-*.parquet"},
            read_hub,
            {"train": "train", "dev": "validation", "test": "test"},
            hub=Hub("stanfordnlp/snli", "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b"),
        ),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="snli",
    expected={("en", "train"): 549_367, ("en", "dev"): 9_842, ("en", "test"): 9_824},
    licence="CC BY-SA 4.0",
    citation="Bowman et al. 2015: A large annotated corpus for learning natural language inference (arXiv 1508.05326)",
    differs=(
        "Pairs without a majority label ('-') are left out, as in the paper's experiments: 785 of 550,152 in train, "
        "158 and 176 of the 10,000 in dev and test. They are not unlabelled rows. Text is raw in SNLI's own files and "
        "on the Hub, and tokenised (blanks around punctuation) in InferSent's. Revision of the Hub dataset: as pinned "
        "in several public repositories, which read the same folder layout there."
    ),
)
