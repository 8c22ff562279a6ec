"""MultiNLI (English): does the premise entail the hypothesis, contradict it, or neither?

A row, in its original layout (JSON lines):
    {"gold_label": "neutral", "sentence1": "The kettle is on.", "sentence2": "Tea is ready.", "pairID": "7n", ...}

It is XNLI's English training set; the other languages' rows are its machine translations. `mnli_mismatched` is the dev
set of genres that do not occur in training.
"""

from __future__ import annotations

from functools import partial

from viaduct.metrics.classification import accuracy
from viaduct.tasks.card import Hub, Task, sources
from viaduct.tasks.formats import columns, json_lines
from viaduct.tasks.pairs import hub_pairs, pairs, translated_pairs, xtreme_pairs
from viaduct.tasks.published import counts

LANGUAGES = ("en", "ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
_TRANSLATED = LANGUAGES[1:]
LABELS = ("contradiction", "entailment", "neutral")
NAMES = {**{label: label for label in LABELS}, "contradictory": "contradiction"}
"""Label in any of the files -> ours; `contradictory` is how XNLI-MT-1.0 writes it."""
HUB_LABELS = ("entailment", "neutral", "contradiction")
"""Labels by id, as in huggingface/datasets datasets/xnli/xnli.py@2db2749 and the Hub's multi_nli."""

NO_MAJORITY = "-"
_HUB = Hub("nyu-mll/multi_nli", "da70db2af9d09693783c3320c4249840212ee221")
_FOLDERS = ("multinli_1.0/multinli_1.0_{split}.jsonl", "mnli/multinli_1.0_{split}.jsonl")
_TRANSLATIONS = ("XNLI-MT-1.0/multinli/multinli.{split}.{language}.tsv", "mnli/multinli.{split}.{language}.tsv")

FIELDS = ("gold_label", "sentence1", "sentence2")
read_json = pairs(partial(json_lines, names=FIELDS), NAMES, at=(1, 2, 0), without=NO_MAJORITY)
"""multinli_1.0_*.jsonl; pairs without a majority among annotators are left out, as in the paper."""
read_translated = pairs(partial(columns, names=("premise", "hypo", "label"), closed=("label",)), NAMES)
"""XNLI-MT-1.0's multinli.train.*.tsv (tokenised text, no quoting)."""
read_translate_train = translated_pairs(NAMES, 5)
"""XTREME's en-*-translated.tsv: English premise and hypothesis, their translations, label."""
read_hub = hub_pairs(("premise", "hypothesis", "label"), HUB_LABELS)

CARD = Task(
    name="mnli",
    title="MultiNLI",
    kind="pair",
    languages=LANGUAGES,
    labels=LABELS,
    sources=(
        *sources("official", read_json, *_FOLDERS, splits="train dev=dev_matched", languages=("en",)),
        *sources("official", read_translated, *_TRANSLATIONS, splits="train"),
        *sources("xtreme", xtreme_pairs(NAMES), "xnli/{split}-{language}.tsv", splits="train"),
        *sources(
            "xtreme",
            read_translate_train,
            "xtreme_translations/XNLI/translate-train/en-{language}-translated.tsv",
            splits="train",
            languages=_TRANSLATED,
        ),
        *sources(_HUB, read_hub, "data/{split}-*.parquet", splits="train dev=validation_matched", languages=("en",)),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="mnli",
    translated=True,
    expected={**counts(LANGUAGES, train=392_702), ("en", "dev"): 9_815},
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
    title="MultiNLI, mismatched",
    kind="pair",
    languages=("en",),
    labels=LABELS,
    sources=(
        *sources("official", read_json, *_FOLDERS, splits="dev=dev_mismatched"),
        *sources(_HUB, read_hub, "data/{split}-*.parquet", splits="dev=validation_mismatched"),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="mnli",
    expected={("en", "dev"): 9_832},
    licence=CARD.licence,
    citation=CARD.citation,
    differs="A dev split to evaluate on only; checkpoints are chosen on MNLI's matched dev. 168 pairs lack a majority.",
)
