"""XQuAD: 240 paragraphs and 1,190 questions of SQuAD's dev set, translated by people; answer with a span. Test only.

Span(id="q1", language="de", context="Der Tay fließt nach Perth.", question="Wohin fließt der Tay?",
     answers=(Answer("Perth", 20),))
"""

from __future__ import annotations

from collections.abc import Iterable

from viaduct.metrics.qa import squad_scores
from viaduct.rows import Span
from viaduct.tasks.card import Files, Hub, Published, Source, Task
from viaduct.tasks.squad_json import hub_spans, read_squad

LANGUAGES = ("en", "es", "de", "el", "ru", "tr", "ar", "vi", "th", "zh", "hi")


def read_official(files: Files, language: str, split: str) -> Iterable[Span]:
    """Rows of the released JSON file; without answers where they were blanked."""
    return read_squad(files["rows"][0], language)


def read_hub(files: Files, language: str, split: str) -> Iterable[Span]:
    """Rows of the Hub's table."""
    return hub_spans(files["rows"], language)


CARD = Task(
    name="xquad",
    version=1,
    title="Question answering (XQuAD)",
    kind="span",
    languages=LANGUAGES,
    sources=(
        # first, because XTREME's stripped files have the folder and names of the official ones
        Source(
            layout="hub",
            files={"rows": "xquad.{language}/{split}-*.parquet"},
            read=read_hub,
            splits={"test": "validation"},
            # The revision that mteb's XQuADRetrieval task pins.
            hub=Hub("google/xquad", "51adfef1c1287aab1d2d91b5bead9bcfb9c68583"),
        ),
        Source(
            layout="official",
            files={"rows": "xquad/xquad.{language}.json"},
            read=read_official,
            splits={"test": "test"},
        ),
    ),
    metric=squad_scores,
    metrics=("f1", "exact_match"),
    trained_on="squad",
    licence="CC BY-SA 4.0",
    citation="Artetxe et al. 2020, XQuAD (ACL, arXiv 1910.11856); task: Hu et al. 2020, XTREME (arXiv 2003.11080)",
    expected={(language, "test"): 1_190 for language in LANGUAGES},
    published=(
        Published("mBERT", "f1", 0.645, "XTREME, arXiv 2003.11080"),
        Published("mBERT", "exact_match", 0.494, "XTREME, arXiv 2003.11080"),
        Published("XLM-R large", "f1", 0.766, "XTREME, arXiv 2003.11080"),
        Published("XLM-R large", "exact_match", 0.608, "XTREME, arXiv 2003.11080"),
        Published("RemBERT", "f1", 0.796, "Chung et al. 2021, arXiv 2010.12821"),
        Published("RemBERT", "exact_match", 0.640, "Chung et al. 2021, arXiv 2010.12821"),
    ),
    differs="Romanian, which the authors added later, is not part of XTREME and is not read.",
)
