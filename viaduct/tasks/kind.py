"""Row kinds: what a card's `kind` means, in one object that the rest of the program uses.

The core's kinds are defined here; all kinds are offered through the door `row_kinds`. The code that trains and predicts
a kind is given as "module:NAME", because it imports torch, which this module must not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from viaduct.doors import offered
from viaduct.errors import unknown
from viaduct.metrics.classification import accuracy, paraphrase_scores
from viaduct.metrics.qa import mlqa_scores, squad2_scores, squad_scores
from viaduct.metrics.score import MetricFunction, Predictions
from viaduct.metrics.tagging import panx_scores, tag_accuracy
from viaduct.rows import Choice, Pair, Row, Sentence, Span, Tagged
from viaduct.tasks.mapped import (
    Mapped,
    MappedChoice,
    MappedPair,
    MappedParallel,
    MappedSpan,
    MappedTagged,
    MappedText,
)
from viaduct.tasks.predicted import (
    Predicted,
    PredictedAnswer,
    PredictedIndex,
    PredictedLabel,
    PredictedMatch,
    PredictedPairs,
    PredictedTags,
    commonest_answer,
    commonest_tag,
    no_answer,
)


@dataclass(frozen=True)
class Inspection:
    """What `viaduct check` shows for one split of a kind in which other things than labels are counted."""

    counted: str
    """What a row is called, such as "images"."""
    contents: Mapping[str, int]
    """Columns shown instead of labels: header -> count."""
    state: Mapping[str, int]
    """Columns about problems: header -> count."""
    named: Mapping[str, tuple[str, ...]]
    """Problem -> the rows or files that are listed by name."""


@dataclass(frozen=True)
class RowKind:
    """A kind of rows, and how they are read, trained on, predicted and scored."""

    name: str
    row: type[Row]
    tokens_per_row: int
    """Approximate number of tokens in XLM-R's vocabulary, assumed for rows whose files are missing; for choices, of all
    together."""
    version: int = 1
    """Version of how rows become sequences and sequences predictions. If above 1, it is part of the fingerprint of the
    stages that read such rows; bump it with any change that can change their output."""
    cut_by_word: bool = False
    """Whether its words are tokenised one by one; if so, `viaduct.runs.words` raises the version where that changed."""
    has_gold: bool = True
    """Whether rows can be labelled, or stripped of their labels; plain and parallel text and captions cannot."""
    label_set: Literal["none", "closed", "open"] = "none"
    """Whether a card of the kind lists labels; "open": if it lists none, they are those of the training rows."""
    is_target: bool = False
    """Whether a card of the kind that has a metric can be a target."""
    tuned_on: tuple[str, ...] = ()
    """Splits that prediction reads besides the predicted one, to tune something on."""
    head: str | None = None
    """The `Head` that is trained and predicts ("module:NAME"); None: no head is ever trained."""
    predict: str | None = None
    """The function that predicts rows of the kind ("module:function")."""
    mapped: type[Mapped] | None = None
    """The model of its rows in a mapping file; None: mapping files cannot have this kind."""
    predicted: type[Predicted] = Predicted
    """What a prediction may be; anything by default."""
    majority: Callable[[Sequence[Any]], Predictions] | None = None
    """(labelled rows) -> the baseline that predicts their most common answer everywhere ({} if there is none); None:
    the kind has no such baseline."""
    metrics: Mapping[str, tuple[MetricFunction, tuple[str, ...]]] = field(default_factory=dict)
    """Name in a mapping file -> metric and the scores that it returns, the default first."""
    metric_words: Mapping[str, str] = field(default_factory=dict)
    """Score -> its name in tables, if its own name says too little."""
    same_in_all_languages: bool = False
    """Whether rows of two languages can be the same example, as captions of one image are."""
    files: Callable[[Sequence[Row]], Sequence[Path | None]] | None = None
    """(rows) -> for each row the file that is read when the row is used, such as its image; None for a row without one.
    None instead of a function: rows have no such files."""
    inspect: Callable[[Sequence[Row], Collection[str]], Inspection] | None = None
    """(rows, ids of those that are also in the training rows) -> what `viaduct check` shows instead of labels."""

    @property
    def is_searched(self) -> bool:
        """Whether targets of the kind are predicted by search among sentences, without a head."""
        return self.is_target and self.head is None


_SPAN_SCORES = ("f1", "exact_match")

KINDS = (
    RowKind(
        "pair",
        Pair,
        tokens_per_row=45,
        label_set="closed",
        is_target=True,
        head="viaduct.heads.pair:PAIR",
        predict="viaduct.inference.prediction:predict",
        mapped=MappedPair,
        predicted=PredictedLabel,
        majority=commonest_answer,
        metrics={
            "accuracy": (accuracy, ("accuracy",)),
            "paraphrase": (paraphrase_scores, ("accuracy", "f1")),
        },
    ),
    RowKind(
        "choice",
        Choice,
        tokens_per_row=250,
        is_target=True,
        head="viaduct.heads.choice:CHOICE",
        predict="viaduct.inference.prediction:predict",
        mapped=MappedChoice,
        predicted=PredictedIndex,
        majority=commonest_answer,
        metrics={"accuracy": (accuracy, ("accuracy",))},
    ),
    RowKind(
        "tagged",
        Tagged,
        tokens_per_row=30,
        cut_by_word=True,
        label_set="open",
        is_target=True,
        head="viaduct.heads.tagged:TAGGED",
        predict="viaduct.inference.prediction:predict",
        mapped=MappedTagged,
        predicted=PredictedTags,
        majority=commonest_tag,
        metrics={
            "accuracy": (tag_accuracy, ("token_accuracy",)),
            "entities": (panx_scores, ("f1", "precision", "recall", "token_accuracy")),
        },
        metric_words={"f1": "span F1"},
    ),
    RowKind(
        "span",
        Span,
        tokens_per_row=200,
        version=3,  # 1: a stride was cut to a quarter of the window; 2: answers with dropped edges were in no window
        is_target=True,
        head="viaduct.heads.span:SPAN",
        predict="viaduct.inference.prediction:predict",
        mapped=MappedSpan,
        predicted=PredictedAnswer,
        majority=no_answer,
        metrics={
            "squad": (squad_scores, _SPAN_SCORES),
            "squad2": (squad2_scores, _SPAN_SCORES),
            "mlqa": (mlqa_scores, _SPAN_SCORES),
        },
    ),
    RowKind(
        "retrieval",
        Sentence,
        tokens_per_row=20,
        is_target=True,
        predict="viaduct.inference.retrieve:match_sentences",
        predicted=PredictedMatch,
    ),
    RowKind(
        "mining",
        Sentence,
        tokens_per_row=30,
        is_target=True,
        tuned_on=("dev",),
        predict="viaduct.inference.retrieve:mine_pairs",
        predicted=PredictedPairs,
    ),
    RowKind("text", Sentence, tokens_per_row=30, has_gold=False, mapped=MappedText),
    RowKind("parallel", Pair, tokens_per_row=60, has_gold=False, mapped=MappedParallel),
)
"""The core's row kinds. Retrieval has one match per query; mining finds pairs in two sets of sentences, most of which
have none."""


def row_kinds() -> Mapping[str, RowKind]:
    """Name -> kind, the core's first. Raises UsageError if two rooms offer kinds of the same name."""
    return offered("row_kinds", RowKind)


def row_kind(name: str) -> RowKind:
    """The kind with this name. Raises UsageError with the nearest name if there is none."""
    kinds = row_kinds()
    if name not in kinds:
        raise unknown("kind of rows", name, kinds)
    return kinds[name]
