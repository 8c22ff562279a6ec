"""SQuAD v2.0: answer an English question with a span of a Wikipedia paragraph, or say that it has no answer there.

    Span(id="q1", language="en", context="The Tay flows to Perth.", question="Where does the Dee flow?", answers=())

The v1.1 questions and half as many again that look answerable and are not.
"""

from __future__ import annotations

from viaduct.metrics.qa import squad2_scores
from viaduct.tasks.card import Hub, Source, Task
from viaduct.tasks.squad import read_hub, read_official

CARD = Task(
    name="squad2",
    version=1,
    title="English questions about Wikipedia, some without an answer (SQuAD v2.0)",
    kind="span",
    languages=("en",),
    sources=(
        Source(
            "official", {"rows": "squad/{split}-v2.0.json"}, read_official, {split: split for split in ("train", "dev")}
        ),
        Source(
            "hub",
            {"rows": "squad_v2/{split}-*.parquet"},
            read_hub,
            {"train": "train", "dev": "validation"},
            hub=Hub("rajpurkar/squad_v2", "3ffb306f725f7d2ce8394bc1873b24868140c412"),
        ),
    ),
    unanswerable=True,
    metric=squad2_scores,
    metrics=("f1", "exact_match"),
    trained_on="squad2",
    expected={("en", "train"): 130_319, ("en", "dev"): 11_873},
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
