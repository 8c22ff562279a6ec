"""AfriXNLI: part of XNLI, human-translated into 16 African languages; the English and French rows are XNLI's own.

A row of data/hau/test.tsv, whose labels are 0 entailment, 1 neutral, 2 contradiction:
    premise="Ruwan yana tafasa."  hypothesis="Ruwan yana da zafi."  label=0
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from viaduct.metrics.classification import accuracy
from viaduct.tasks.card import Hub, Task, sources
from viaduct.tasks.formats import TableRow, columns
from viaduct.tasks.mnli import LABELS
from viaduct.tasks.pairs import pairs
from viaduct.tasks.published import counts

_WORDS = (
    "en=eng fr=fra am=amh ee=ewe ha=hau ig=ibo rw=kin ln=lin lg=lug om=orm sn=sna st=sot sw=swa ak=twi wo=wol xh=xho "
    "yo=yor zu=zul"
)
CODES = dict(one.split("=") for one in _WORDS.split())
"""Our language code -> the code used in file paths."""


def _records(path: Path) -> Iterable[TableRow]:
    return columns(path, ("premise", "hypothesis", "label"), quoting="detect")


CARD = Task(
    name="afrixnli",
    title="AfriXNLI",
    kind="pair",
    languages=tuple(CODES),
    labels=LABELS,
    sources=sources(
        Hub("masakhane/afrixnli", "e3ca06b30f3e7af2a86f6c8609ea76fee326bc56"),
        pairs(
            _records, {str(number): label for number, label in enumerate(("entailment", "neutral", "contradiction"))}
        ),
        "data/{language}/{split}.tsv",
        splits="dev test",
        languages=CODES,
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="mnli",
    expected=counts(CODES, dev=450, test=600),
    licence="Apache-2.0 by its Hub page; the English it translates is XNLI's, CC BY-NC 4.0",
    citation="Adelani et al. 2025: IrokoBench: A New Benchmark for African Languages in the Age of Large Language "
    "Models (arXiv 2406.03368)",
    differs=(
        "Twi is called by the code of Akan, ak. Order of the label numbers as in public evaluations that read the same "
        "files; revision of the Hub dataset: as pinned by one of them."
    ),
)
