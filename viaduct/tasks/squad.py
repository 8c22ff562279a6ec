"""SQuAD v1.1: answer an English question with a span of a Wikipedia paragraph. It trains XQuAD and MLQA.

    Span(id="q1", language="en", context="The Tay flows to Perth.", question="Where does the Tay flow?",
         answers=(Answer("Perth", 17),))

Dev questions have the answers of several annotators, train questions one.
"""

from __future__ import annotations

from collections.abc import Iterable

from viaduct.metrics.qa import squad_scores
from viaduct.rows import Span
from viaduct.tasks.card import Files, Hub, Source, Task
from viaduct.tasks.squad_json import hub_spans, read_squad

LANGUAGES = ("en",)


def read_official(files: Files, language: str, split: str) -> Iterable[Span]:
    """Rows of the released JSON file."""
    return read_squad(files["rows"][0], language)


def read_hub(files: Files, language: str, split: str) -> Iterable[Span]:
    """Rows of the Hub's table."""
    return hub_spans(files["rows"], language)


CARD = Task(
    name="squad",
    version=1,
    title="English question answering (SQuAD v1.1)",
    kind="span",
    languages=LANGUAGES,
    sources=(
        # XTREME's download has the same folder and names
        Source(
            layout="official",
            files={"rows": "squad/{split}-v1.1.json"},
            read=read_official,
            splits={"train": "train", "dev": "dev"},
        ),
        Source(
            layout="hub",
            files={"rows": "plain_text/{split}-*.parquet"},
            read=read_hub,
            splits={"train": "train", "dev": "validation"},
            # The revision under which `datasets` caches squad/plain_text; several public repositories pin it.
            hub=Hub("rajpurkar/squad", "7b6d24c440a36b6815f21b70d25016731768db1f"),
        ),
    ),
    metric=squad_scores,
    metrics=("f1", "exact_match"),
    trained_on="squad",
    licence="CC BY-SA 4.0",
    citation="Rajpurkar et al. 2016, SQuAD (EMNLP, arXiv 1606.05250)",
    expected={("en", "train"): 87_599, ("en", "dev"): 10_570},
    differs=(
        "XTREME's table gives 34,726 dev examples: that counts annotators, the distinct questions are 10,570. "
        "Dev holds the 240 paragraphs that XQuAD translates: selection on it has seen XQuAD's English side, and "
        "training on it would make XQuAD meaningless."
    ),
)
