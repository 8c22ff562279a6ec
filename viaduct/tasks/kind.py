"""The kinds of rows: what a card's `kind` means, in one object that the rest of the program asks.

The core's kinds are here; all come through the door `row_kinds`. What trains and predicts a kind is named as
"module:NAME", because it lies below the torch line.
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
    """What `viaduct check` shows of one split of a kind that has something else to count than labels."""

    counted: str
    """What a row is called, such as "images"."""
    contents: Mapping[str, int]
    """Columns in the place of labels: header -> how many."""
    state: Mapping[str, int]
    """Columns on what is wrong: header -> how many."""
    named: Mapping[str, tuple[str, ...]]
    """What is wrong -> the rows or files that are told by name."""


@dataclass(frozen=True)
class RowKind:
    """A kind of rows."""

    name: str
    row: type[Row]
    tokens_per_row: int
    """Of rows that cannot be read because their files are not there, in XLM-R's vocabulary, about; choices all
    together."""
    version: int = 1
    """Of how rows become sequences and sequences predictions: part of the fingerprint of the stages that read such rows
    where it is above 1, raised with any change that can change what they leave."""
    cut_by_word: bool = False
    """Whether its words are cut one by one, which `viaduct.runs.words` tells from how it once was."""
    has_gold: bool = True
    """Whether rows can be labelled, or stripped of their labels; plain and parallel text and captions cannot."""
    label_set: Literal["none", "closed", "open"] = "none"
    """Whether a card of the kind lists labels; "open": where it lists none, they are those of the training rows."""
    is_target: bool = False
    """Whether a card of the kind that has a metric can be a target."""
    tuned_on: tuple[str, ...] = ()
    """Splits that predicting reads besides the one that is predicted, to tune something on."""
    head: str | None = None
    """The `Head` that is trained and predicts ("module:NAME"); None: no head is ever trained."""
    predict: str | None = None
    """The function that predicts rows of the kind ("module:function")."""
    mapped: type[Mapped] | None = None
    """Its rows in a mapping file; None: there are none."""
    predicted: type[Predicted] = Predicted
    """What a prediction may be; by default anything."""
    majority: Callable[[Sequence[Any]], Predictions] | None = None
    """Labelled rows -> the answer that is commonest among them, given everywhere ({} where none is); None: there is no
    such thing."""
    metrics: Mapping[str, tuple[MetricFunction, tuple[str, ...]]] = field(default_factory=dict)
    """What a mapping file may name -> metric and the scores that it gives, the default first."""
    metric_words: Mapping[str, str] = field(default_factory=dict)
    """Score -> what a table calls it, where its name says too little."""
    same_in_all_languages: bool = False
    """Whether rows of two languages can be the same example, as captions of one image are."""
    files: Callable[[Sequence[Row]], Sequence[Path | None]] | None = None
    """(rows) -> the file of each that is read when the row is used, such as its image, None for a row without one.
    None: rows are all that there is."""
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
"""The core's. Retrieval has one match per query; mining finds pairs in two sets of sentences, most of which have
none."""


def row_kinds() -> Mapping[str, RowKind]:
    """Name -> kind, the core's first. Raises UsageError for a name that two rooms have."""
    return offered("row_kinds", RowKind)


def row_kind(name: str) -> RowKind:
    """The kind of this name. Raises UsageError with the nearest name when there is none."""
    kinds = row_kinds()
    if name not in kinds:
        raise unknown("kind of rows", name, kinds)
    return kinds[name]
