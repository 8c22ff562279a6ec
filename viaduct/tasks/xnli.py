"""XNLI: does the premise entail the hypothesis, contradict it, or neither? In 15 languages, trained on MultiNLI.

A row of XNLI-1.0/xnli.test.tsv, shortened to the columns that are read (one file holds all languages):
    language=sw  gold_label=neutral  sentence1="Birika liko motoni."  sentence2="Chai iko tayari."  pairID=7

Its train split is MultiNLI, machine-translated (XNLI-MT-1.0), for translate-train; zero-shot training reads `mnli`.
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.errors import DataError, NoRowsError, unknown
from viaduct.metrics.classification import accuracy
from viaduct.rows import Pair
from viaduct.tasks.card import Files, Hub, Task, sources
from viaduct.tasks.formats import columns
from viaduct.tasks.mnli import LABELS, NAMES, read_hub, read_translated
from viaduct.tasks.pairs import label_of, xtreme_pairs
from viaduct.tasks.published import counts, published_scores

LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
_HUB = Hub("facebook/xnli", "b8dd5d7af51114dbda02c0e3f6133f332186418e")


def read_official(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """One language's pairs of xnli.dev.tsv or xnli.test.tsv; ids are row numbers within the language, from 0.

    Raises DataError if the file has no rows of the language, or if a pairID occurs twice in the language.
    """
    path = files["rows"][0]
    seen: set[str] = set()
    for line, fields in columns(path, ("language", "gold_label", "sentence1", "sentence2", "pairID")):
        code, label, first, second, pair = fields
        if code not in LANGUAGES:
            raise DataError(str(unknown("language of xnli", code, LANGUAGES)), path=path, line=line)
        if code != language:
            continue
        if pair in seen:
            raise DataError(f"the pairID '{pair}' occurs twice in '{language}'", path=path, line=line)
        yield Pair(str(len(seen)), language, first, second, label_of(label, NAMES, path, line))
        seen.add(pair)
    if not seen:
        raise NoRowsError(f"the file has no rows of language '{language}'", path=path, fix="download the file again")


CARD = Task(
    name="xnli",
    title="XNLI",
    kind="pair",
    languages=LANGUAGES,
    labels=LABELS,
    sources=(
        *sources("official", read_official, "XNLI-1.0/xnli.{split}.tsv", splits="dev test"),
        *sources("official", read_translated, "XNLI-MT-1.0/multinli/multinli.{split}.{language}.tsv", splits="train"),
        *sources(_HUB, read_hub, "{language}/{split}-*.parquet"),
        *sources("xtreme", xtreme_pairs(NAMES), "xnli/{split}-{language}.tsv"),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="mnli",
    translated=True,
    expected=counts(LANGUAGES, train=392_702, dev=2_490, test=5_010),
    published=published_scores(
        "arXiv 2003.11080, average over the 15 languages",
        ("accuracy",),
        {"XLM-R large": (0.792,), "mBERT": (0.654,)},
    ),
    licence="CC BY-NC 4.0",
    citation="Conneau et al. 2018: XNLI: Evaluating Cross-lingual Sentence Representations",
    differs=(
        "XTREME strips the labels of its test files, so the labelled originals and the Hub's come before that layout. "
        "The raw text of sentence1 and sentence2 is read, as XTREME does, not the tokenised columns. Revision of the "
        "Hub dataset: as pinned in several public evaluations, which read the same folder layout there."
    ),
)
