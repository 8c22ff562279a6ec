"""XQuAD: 240 paragraphs and 1,190 questions of SQuAD's dev set, translated by people; answer with a span. Test only.

Span(id="q1", language="de", context="Der Tay fließt nach Perth.", question="Wohin fließt der Tay?",
     answers=(Answer("Perth", 20),))
"""

from __future__ import annotations

from viaduct.metrics.qa import squad_scores
from viaduct.tasks.card import Hub, Task, sources
from viaduct.tasks.published import REMBERT_PAPER, XTREME_PAPER, counts, published_scores
from viaduct.tasks.squad_json import squad_file, squad_table

LANGUAGES = ("en", "es", "de", "el", "ru", "tr", "ar", "vi", "th", "zh", "hi")
_SCORES = ("f1", "exact_match")
_HUB = Hub("google/xquad", "51adfef1c1287aab1d2d91b5bead9bcfb9c68583")
"""The revision that mteb's XQuADRetrieval task pins."""

CARD = Task(
    name="xquad",
    title="Question answering (XQuAD)",
    kind="span",
    languages=LANGUAGES,
    sources=(
        # first, because XTREME's stripped files have the folder and names of the official ones
        *sources(_HUB, squad_table, "xquad.{language}/{split}-*.parquet", splits="test=validation"),
        *sources("official", squad_file, "xquad/xquad.{language}.json", splits="test"),
    ),
    metric=squad_scores,
    metrics=_SCORES,
    trained_on="squad",
    expected=counts(LANGUAGES, test=1_190),
    published=(
        *published_scores(XTREME_PAPER, _SCORES, {"mBERT": (0.645, 0.494), "XLM-R large": (0.766, 0.608)}),
        *published_scores(REMBERT_PAPER, _SCORES, {"RemBERT": (0.796, 0.640)}),
    ),
    licence="CC BY-SA 4.0",
    citation="Artetxe et al. 2020, XQuAD (ACL, arXiv 1910.11856); task: Hu et al. 2020, XTREME (arXiv 2003.11080)",
    differs="Romanian, which the authors added later, is not part of XTREME and is not read.",
)
