"""MLQA: questions asked in English about parallel Wikipedia sentences, translated by people; answer with a span.

    Span(id="q1", language="es", context="El Tay fluye hacia Perth.", question="¿Hacia dónde fluye el Tay?",
         answers=(Answer("Perth", 19),))

Context and question are in the same language, as in XTREME; MLQA's mixed pairs are not read.
"""

from __future__ import annotations

from viaduct.metrics.qa import mlqa_scores
from viaduct.tasks.card import XTREME_HUB, Task, sources
from viaduct.tasks.published import REMBERT_PAPER, XTREME_PAPER, counts_of, published_scores
from viaduct.tasks.squad_json import squad_file, squad_table

LANGUAGES = ("en", "es", "de", "ar", "hi", "vi", "zh")
_SCORES = ("f1", "exact_match")

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
# google/xtreme and not facebook/mlqa, whose known revision holds a loading script, not Parquet
_TABLE = "MLQA.{language}.{language}/{split}-*.parquet"

CARD = Task(
    name="mlqa",
    title="Question answering (MLQA)",
    kind="span",
    languages=LANGUAGES,
    sources=(
        *sources("official", squad_file, _FILE, splits="dev test"),
        # before XTREME's files, whose test sets are stripped
        *sources(XTREME_HUB, squad_table, _TABLE, splits="dev=validation test"),
        *sources("xtreme", squad_file, f"mlqa/{_FILE}", splits="dev test"),
    ),
    metric=mlqa_scores,
    metrics=_SCORES,
    trained_on="squad",
    expected=counts_of(("dev", "test"), _COUNTS),
    published=(
        *published_scores(XTREME_PAPER, _SCORES, {"mBERT": (0.614, 0.442), "XLM-R large": (0.716, 0.532)}),
        *published_scores(REMBERT_PAPER, _SCORES, {"RemBERT": (0.731, 0.550)}),
    ),
    licence="CC BY-SA 3.0",
    citation="Lewis et al. 2020, MLQA (ACL, arXiv 1910.07475); task: Hu et al. 2020, XTREME (arXiv 2003.11080)",
)
