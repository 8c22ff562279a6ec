"""SQuAD v2.0: answer an English question with a span of a Wikipedia paragraph, or say that it has no answer there.

    Span(id="q1", language="en", context="The Tay flows to Perth.", question="Where does the Dee flow?", answers=())

The v1.1 questions and half as many again that look answerable but are not.
"""

from __future__ import annotations

from viaduct.metrics.qa import squad2_scores
from viaduct.tasks.card import Hub, Task, sources
from viaduct.tasks.published import counts
from viaduct.tasks.squad_json import squad_file, squad_table

_HUB = Hub("rajpurkar/squad_v2", "3ffb306f725f7d2ce8394bc1873b24868140c412")

CARD = Task(
    name="squad2",
    title="English questions about Wikipedia, some without an answer (SQuAD v2.0)",
    kind="span",
    languages=("en",),
    sources=(
        *sources("official", squad_file, "squad/{split}-v2.0.json", splits="train dev"),
        *sources(_HUB, squad_table, "squad_v2/{split}-*.parquet", splits="train dev=validation"),
    ),
    unanswerable=True,
    metric=squad2_scores,
    metrics=("f1", "exact_match"),
    trained_on="squad2",
    expected=counts(("en",), train=130_319, dev=11_873),
    licence="CC BY-SA 4.0",
    citation="Rajpurkar, Jia, Liang 2018: Know What You Don't Know (SQuAD 2.0, arXiv 1806.03822)",
    differs=(
        "In training the first token stands for 'no answer', as in windows of v1.1 that do not hold the answer. '' is "
        "predicted where its score, the lowest of any window, is above the best span's: the threshold is 0 and is not "
        "tuned. The predictions keep both scores. Dev has 5,945 questions without an answer, and the 240 paragraphs "
        "that XQuAD translates. Revision of the Hub dataset: as pinned in several public repositories, which read the "
        "same file names there."
    ),
)
