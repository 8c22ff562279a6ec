"""SQuAD v1.1: answer an English question with a span of a Wikipedia paragraph. XQuAD and MLQA are trained on it.

    Span(id="q1", language="en", context="The Tay flows to Perth.", question="Where does the Tay flow?",
         answers=(Answer("Perth", 17),))

Dev questions have the answers of several annotators, train questions one.
"""

from __future__ import annotations

from viaduct.metrics.qa import squad_scores
from viaduct.tasks.card import Hub, Task, sources
from viaduct.tasks.published import counts
from viaduct.tasks.squad_json import squad_file, squad_table

_HUB = Hub("rajpurkar/squad", "7b6d24c440a36b6815f21b70d25016731768db1f")
"""The revision under which `datasets` caches squad/plain_text; several public repositories pin it."""

CARD = Task(
    name="squad",
    title="English question answering (SQuAD v1.1)",
    kind="span",
    languages=("en",),
    sources=(
        # XTREME's download has the same folder and names
        *sources("official", squad_file, "squad/{split}-v1.1.json", splits="train dev"),
        *sources(_HUB, squad_table, "plain_text/{split}-*.parquet", splits="train dev=validation"),
    ),
    metric=squad_scores,
    metrics=("f1", "exact_match"),
    trained_on="squad",
    expected=counts(("en",), train=87_599, dev=10_570),
    licence="CC BY-SA 4.0",
    citation="Rajpurkar et al. 2016, SQuAD (EMNLP, arXiv 1606.05250)",
    differs=(
        "XTREME's table gives 34,726 dev examples: that counts annotators, the distinct questions are 10,570. "
        "Dev holds the 240 paragraphs that XQuAD translates: selection on it has seen XQuAD's English side, and "
        "training on it would make XQuAD meaningless."
    ),
)
