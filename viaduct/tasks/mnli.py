"""MultiNLI (English): does the premise entail the hypothesis, contradict it, or neither?

A row, in its original layout (JSON lines):
    {"gold_label": "neutral", "sentence1": "The kettle is on.", "sentence2": "Tea is ready.", "pairID": "7n", ...}

It is XNLI's English training set. XNLI and PAWS-X are not read here, nor is MultiNLI's mismatched dev set.
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.metrics.classification import accuracy
from viaduct.rows import Pair
from viaduct.tasks.card import Files, Hub, Source, Task
from viaduct.tasks.formats import columns, hub_pairs, json_lines, label_of, xtreme_pairs

LANGUAGES = ("en",)
LABELS = ("contradiction", "entailment", "neutral")
NAMES = {**{label: label for label in LABELS}, "contradictory": "contradiction"}
"""Label in any of the files -> ours; `contradictory` is how XNLI-MT-1.0 writes it."""
HUB_LABELS = ("entailment", "neutral", "contradiction")
"""By label id, as in huggingface/datasets datasets/xnli/xnli.py@2db2749 and the Hub's multi_nli."""

NO_MAJORITY = "-"


def read_json_lines(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of multinli_1.0_*.jsonl; those whose annotators found no majority are left out, as in the paper.

    The id is the number of the line from 0, so it stays the same whichever lines are left out.
    """
    path = files["rows"][0]
    for number, (label, first, second) in json_lines(path, ("gold_label", "sentence1", "sentence2")):
        if label != NO_MAJORITY:
            yield Pair(str(number - 1), language, first, second, label_of(label, NAMES, path, number))


def read_translated(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of XNLI-MT-1.0's multinli.train.*.tsv (columns premise, hypo, label; tokenised text, no quoting)."""
    path = files["rows"][0]
    for index, (line, (first, second, label)) in enumerate(columns(path, ("premise", "hypo", "label"))):
        yield Pair(str(index), language, first, second, label_of(label, NAMES, path, line))


def read_xtreme(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of XTREME's xnli/train-en.tsv."""
    return xtreme_pairs(files["rows"][0], language, NAMES)


def read_hub(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of the Hub's Parquet files."""
    return hub_pairs(files["rows"], language, ("premise", "hypothesis", "label"), HUB_LABELS)


_JSON_SPLITS = {"train": "train", "dev": "dev_matched"}
_TRAIN_ONLY = {"train": "train"}

CARD = Task(
    name="mnli",
    version=1,
    title="MultiNLI",
    kind="pair",
    languages=LANGUAGES,
    labels=LABELS,
    sources=(
        Source("official", {"rows": "multinli_1.0/multinli_1.0_{split}.jsonl"}, read_json_lines, _JSON_SPLITS),
        Source("official", {"rows": "mnli/multinli_1.0_{split}.jsonl"}, read_json_lines, _JSON_SPLITS),
        Source(
            "official", {"rows": "XNLI-MT-1.0/multinli/multinli.{split}.{language}.tsv"}, read_translated, _TRAIN_ONLY
        ),
        Source("official", {"rows": "mnli/multinli.{split}.{language}.tsv"}, read_translated, _TRAIN_ONLY),
        Source("xtreme", {"rows": "xnli/{split}-{language}.tsv"}, read_xtreme, _TRAIN_ONLY),
        Source(
            "hub",
            {"rows": "data/{split}-*.parquet"},
            read_hub,
            {"train": "train", "dev": "validation_matched"},
            hub=Hub("nyu-mll/multi_nli", "da70db2af9d09693783c3320c4249840212ee221"),
        ),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="mnli",
    expected={("en", "train"): 392_702, ("en", "dev"): 9_815},
    licence="MultiNLI terms: mostly OANC's licence, with parts under CC BY 3.0, CC BY-SA 3.0 and in the public domain",
    citation="Williams et al. 2018: A Broad-Coverage Challenge Corpus for Sentence Understanding through Inference",
    differs=(
        "Pairs without a majority label ('-') are skipped: 185 of the 10,000 in dev matched, none in train. "
        "MultiNLI's own files come first; XTREME trains on XNLI-MT-1.0's English file, the same pairs with tokenised "
        "text. There is no test split: its labels are not public. Revision of the Hub dataset: as pinned in public "
        "code that reads data/train-00000-of-00001.parquet there."
    ),
)
