"""MultiNLI (English): does the premise entail the hypothesis, contradict it, or neither?

A row, in its original layout (JSON lines):
    {"gold_label": "neutral", "sentence1": "The kettle is on.", "sentence2": "Tea is ready.", "pairID": "7n", ...}

It is XNLI's English training set; the other languages' rows are its machine translations. `mnli_mismatched` is the dev
set of genres that training has not got.
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.metrics.classification import accuracy
from viaduct.rows import Pair
from viaduct.tasks.card import Files, Hub, Source, Task
from viaduct.tasks.formats import columns, hub_pairs, json_lines, label_of, table, xtreme_pairs

LANGUAGES = ("en", "ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
ENGLISH = {"en": "en"}
TRANSLATED = {language: language for language in LANGUAGES if language not in ENGLISH}
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


def read_translate_train(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of XTREME's en-*-translated.tsv: English premise and hypothesis, their translations, label; no header,
    no quoting. The id is the row's number from 0."""
    path = files["rows"][0]
    for index, (line, (_, _, first, second, label)) in enumerate(table(path, widths=(5,))):
        yield Pair(str(index), language, first, second, label_of(label, NAMES, path, line))


def read_xtreme(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of XTREME's xnli/train-*.tsv."""
    return xtreme_pairs(files["rows"][0], language, NAMES)


def read_hub(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of the Hub's Parquet files."""
    return hub_pairs(files["rows"], language, ("premise", "hypothesis", "label"), HUB_LABELS)


_JSON_SPLITS = {"train": "train", "dev": "dev_matched"}
_MISMATCHED = {"dev": "dev_mismatched"}
_TRAIN_ONLY = {"train": "train"}
_TRANSLATE_TRAIN = "xtreme_translations/XNLI/translate-train/en-{language}-translated.tsv"
_HUB = Hub("nyu-mll/multi_nli", "da70db2af9d09693783c3320c4249840212ee221")

CARD = Task(
    name="mnli",
    version=1,
    title="MultiNLI",
    kind="pair",
    languages=LANGUAGES,
    labels=LABELS,
    sources=(
        Source("official", {"rows": "multinli_1.0/multinli_1.0_{split}.jsonl"}, read_json_lines, _JSON_SPLITS, ENGLISH),
        Source("official", {"rows": "mnli/multinli_1.0_{split}.jsonl"}, read_json_lines, _JSON_SPLITS, ENGLISH),
        Source(
            "official", {"rows": "XNLI-MT-1.0/multinli/multinli.{split}.{language}.tsv"}, read_translated, _TRAIN_ONLY
        ),
        Source("official", {"rows": "mnli/multinli.{split}.{language}.tsv"}, read_translated, _TRAIN_ONLY),
        Source("xtreme", {"rows": "xnli/{split}-{language}.tsv"}, read_xtreme, _TRAIN_ONLY),
        Source("xtreme", {"rows": _TRANSLATE_TRAIN}, read_translate_train, _TRAIN_ONLY, TRANSLATED),
        Source(
            "hub",
            {"rows": "data/{split}-*.parquet"},
            read_hub,
            {"train": "train", "dev": "validation_matched"},
            ENGLISH,
            hub=_HUB,
        ),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="mnli",
    expected={**{(language, "train"): 392_702 for language in LANGUAGES}, ("en", "dev"): 9_815},
    licence="MultiNLI terms: mostly OANC's licence, with parts under CC BY 3.0, CC BY-SA 3.0 and in the public domain",
    citation="Williams et al. 2018: A Broad-Coverage Challenge Corpus for Sentence Understanding through Inference",
    differs=(
        "Pairs without a majority label ('-') are skipped: 185 of the 10,000 in dev matched, none in train. "
        "MultiNLI's own files come first; XTREME trains on XNLI-MT-1.0's English file, the same pairs with tokenised "
        "text. There is no test split: its labels are not public. Of the translations XNLI-MT-1.0's come first, which "
        "the XNLI paper made; XTREME made its own (en-*-translated.tsv). Revision of the Hub dataset: as pinned in "
        "public code that reads data/train-00000-of-00001.parquet there."
    ),
)

MISMATCHED = Task(
    name="mnli_mismatched",
    version=1,
    title="MultiNLI, mismatched",
    kind="pair",
    languages=("en",),
    labels=LABELS,
    sources=(
        Source("official", {"rows": "multinli_1.0/multinli_1.0_{split}.jsonl"}, read_json_lines, _MISMATCHED),
        Source("official", {"rows": "mnli/multinli_1.0_{split}.jsonl"}, read_json_lines, _MISMATCHED),
        Source("hub", {"rows": "data/{split}-*.parquet"}, read_hub, {"dev": "validation_mismatched"}, hub=_HUB),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="mnli",
    expected={("en", "dev"): 9_832},
    licence=CARD.licence,
    citation=CARD.citation,
    differs="A dev split to evaluate on only; checkpoints are chosen on MNLI's matched dev. 168 pairs lack a majority.",
)
