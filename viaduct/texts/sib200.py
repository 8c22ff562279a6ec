"""SIB-200: what is a FLORES-200 sentence about? Seven topics; each language has translations of the same sentences.

A row of data/annotated/deu_Latn/test.tsv:
    index_id=12  category=travel  text="Der Zug nach Ulm faehrt um acht ."
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.languages import LANGUAGES as TABLE
from viaduct.languages import flores_code
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.formats import columns
from viaduct.tasks.pairs import label_of
from viaduct.tasks.published import counts
from viaduct.texts.metrics import macro_f1
from viaduct.texts.rows import Labelled

LABELS = ("science/technology", "travel", "politics", "sports", "health", "entertainment", "geography")
_NAMES = {label: label for label in LABELS}
CODES = {code: flores_code(code) for code in TABLE}


def read(files: Files, language: str, _split: str) -> Iterator[Labelled]:
    """The sentences of a file, with FLORES-200's own ids, which all translations share."""
    path = files["rows"][0]
    for line, (given, label, text) in columns(path, ("index_id", "category", "text"), quoting="detect"):
        yield Labelled(given, language, text, label_of(label, _NAMES, path, line))


CARD = Task(
    name="sib200",
    title="SIB-200",
    kind="classification",
    languages=tuple(CODES),
    labels=LABELS,
    sources=(
        *sources("official", read, "sib-200/data/annotated/{language}/{split}.tsv", languages=CODES),
        *sources("official", read, "sib200/{language}/{split}.tsv", languages=CODES),
    ),
    metric=macro_f1,
    metrics=("macro_f1", "accuracy"),
    trained_on="sib200",
    expected=counts(tuple(CODES), train=701, dev=99, test=204),
    licence="CC BY-SA 4.0",
    citation="Adelani et al. 2024: SIB-200: A Simple, Inclusive, and Big Evaluation Dataset for Topic Classification "
    "in 200+ Languages and Dialects (arXiv 2309.07445)",
)
