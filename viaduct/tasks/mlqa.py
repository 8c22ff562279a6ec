"""MLQA: questions asked in English about parallel Wikipedia sentences, translated by people; answer with a span.

    Span(id="q1", language="es", context="El Tay fluye hacia Perth.", question="¿Hacia dónde fluye el Tay?",
         answers=(Answer("Perth", 19),))

Context and question are in the same language, as in XTREME; MLQA's mixed pairs are not read.
"""

from __future__ import annotations

from collections.abc import Iterable

from viaduct.metrics.qa import mlqa_scores
from viaduct.rows import Span
from viaduct.tasks.card import Files, Hub, Published, Source, Task
from viaduct.tasks.squad_json import hub_spans, read_squad

LANGUAGES = ("en", "es", "de", "ar", "hi", "vi", "zh")

_COUNTS = {
    "ar": (517, 5_335),
    "de": (512, 4_517),
    "en": (1_148, 11_590),
    "es": (500, 5_253),
    "hi": (507, 4_918),
    "vi": (511, 5_495),
    "zh": (504, 5_137),
}
"""(dev, test) questions by language, from the dataset card of google/xtreme."""

_FILE = "MLQA_V1/{split}/{split}-context-{language}-question-{language}.json"


def read_official(files: Files, language: str, split: str) -> Iterable[Span]:
    """Rows of the released JSON file; without answers where they were blanked."""
    return read_squad(files["rows"][0], language)


def read_hub(files: Files, language: str, split: str) -> Iterable[Span]:
    """Rows of the Hub's table."""
    return hub_spans(files["rows"], language)


CARD = Task(
    name="mlqa",
    version=1,
    title="Question answering (MLQA)",
    kind="span",
    languages=LANGUAGES,
    sources=(
        Source(layout="official", files={"rows": _FILE}, read=read_official, splits={"dev": "dev", "test": "test"}),
        # before XTREME's files, whose test sets are stripped
        Source(
            layout="hub",
            files={"rows": "MLQA.{language}.{language}/{split}-*.parquet"},
            read=read_hub,
            splits={"dev": "validation", "test": "test"},
            # google/xtreme and not facebook/mlqa, whose known revision holds a loading script, not Parquet. Named as
            # the head of `main` by the Hub's page of the folder PAN-X.af ("Convert dataset to Parquet (#9)").
            hub=Hub("google/xtreme", "ec5f1f46e9af79639a90684a7a70a956c4998f04"),
        ),
        Source(
            layout="xtreme", files={"rows": f"mlqa/{_FILE}"}, read=read_official, splits={"dev": "dev", "test": "test"}
        ),
    ),
    metric=mlqa_scores,
    metrics=("f1", "exact_match"),
    trained_on="squad",
    licence="CC BY-SA 3.0",
    citation="Lewis et al. 2020, MLQA (ACL, arXiv 1910.07475); task: Hu et al. 2020, XTREME (arXiv 2003.11080)",
    expected={
        (language, split): count
        for language, counts in _COUNTS.items()
        for split, count in zip(("dev", "test"), counts, strict=True)
    },
    published=(
        Published("mBERT", "f1", 0.614, "XTREME, arXiv 2003.11080"),
        Published("mBERT", "exact_match", 0.442, "XTREME, arXiv 2003.11080"),
        Published("XLM-R large", "f1", 0.716, "XTREME, arXiv 2003.11080"),
        Published("XLM-R large", "exact_match", 0.532, "XTREME, arXiv 2003.11080"),
        Published("RemBERT", "f1", 0.731, "Chung et al. 2021, arXiv 2010.12821"),
        Published("RemBERT", "exact_match", 0.550, "Chung et al. 2021, arXiv 2010.12821"),
    ),
)
