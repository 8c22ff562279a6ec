"""What a metric takes and gives: predictions by id, and signed scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from viaduct.rows import Row


@dataclass(frozen=True, slots=True)
class Prediction:
    """One model output. `prediction` is JSON: a label, a list of tags, an answer text, or the id of the match.

    `scores` are the numbers behind it in the order the writer documents (class logits, n-best scores, a margin).
    """

    id: str
    language: str
    prediction: Any
    scores: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A value with what is needed to compare it: a fraction (never percent), how many examples, how many had no
    prediction."""

    metric: str
    value: float
    n: int
    n_missing: int
    signature: str
    unit: str = "fraction"


Predictions = Mapping[str, Prediction]

MetricFunction = Callable[[Sequence[Row], Predictions], tuple[Score, ...]]
"""(gold rows of one language, predictions by id) -> scores, the headline metric first.

A missing prediction counts as wrong and is counted in `n_missing`. Gold rows without labels, or no gold rows at all,
raise DataError: nothing is ever scored as zero because its label is absent. Predictions with ids that the gold does not
have raise DataError.
"""
