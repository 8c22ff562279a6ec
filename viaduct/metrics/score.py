"""The inputs and outputs of a metric: predictions by id, signed scores, and how each example came out; and the checks
that all metrics make first: gold rows exist and are labelled, and predictions belong to them. Code that reads
predictions from a file adds path and line to errors.
"""

from __future__ import annotations

import reprlib
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import update_wrapper
from typing import Any, NamedTuple, TypeVar

from viaduct.errors import DataError, nearest
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
    """A value with what is needed to compare it: a fraction (never percent), the number of examples, and how many of
    these had no prediction."""

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
raise DataError: nothing is ever scored as zero because its label is absent. Predictions with ids that are not in the
gold rows raise DataError.
"""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """How each example of one language came out; all lists have the same order and length."""

    ids: Sequence[str]
    values: Mapping[str, Sequence[float]]
    """Either one list for each metric in the task's score, whose mean is the metric's value; or the integers "correct",
    "predicted" and "gold", if the score is F1 = 2 correct / (predicted + gold) of their sums."""
    chance: float | None = None
    """Score of answering at random; None: 1 / labels if the card lists them, else unknown."""
    same: Sequence[str] | None = None
    """Keys that are equal for the same example in two languages; None: the ids."""
    groups: Sequence[str] | None = None
    """The premise, paragraph or other text that tells an example's group (`Row.group`); chance draws the examples of
    one group together. None: every example is a group of its own."""
    influences: bool = False
    """Whether the values are each example's part in a score that is not a mean over examples, such as a correlation.
    They then say how the score varies, not whether an answer is right."""


class Scored(NamedTuple):
    """The result of a metric in one language."""

    scores: tuple[Score, ...]
    outcomes: Outcomes | None
    """None: the metric is only defined on a whole language."""


class ByExample:
    """A metric that also says how each example came out. Decorates a function that returns both; the result can be
    called like any other `MetricFunction`."""

    def __init__(self, examine: Callable[[Sequence[Row], Predictions], Scored]) -> None:
        self.examine = examine
        update_wrapper(self, examine)

    def __call__(self, rows: Sequence[Row], predictions: Predictions) -> tuple[Score, ...]:
        """The scores alone."""
        return self.examine(rows, predictions).scores


def scored(metric: MetricFunction, rows: Sequence[Row], predictions: Predictions) -> Scored:
    """The result of any metric, its outcomes with the groups of their rows; raises what the metric raises."""
    if not isinstance(metric, ByExample):
        return Scored(metric(rows, predictions), None)
    scores, outcomes = metric.examine(rows, predictions)
    if outcomes is None:
        return Scored(scores, None)
    groups = {row.id: row.group for row in rows}
    known = groups.keys() >= set(outcomes.ids)  # a user's metric may use other ids
    return Scored(scores, replace(outcomes, groups=[groups[one] for one in outcomes.ids] if known else None))


def f1_precision_recall(correct: int, found: int, wanted: int) -> tuple[float, float, float]:
    """(F1, precision, recall) from the numbers of correct, found and gold items; all 0 if none is correct."""
    if correct == 0:
        return 0.0, 0.0, 0.0
    precision, recall = correct / found, correct / wanted
    return 2 * precision * recall / (precision + recall), precision, recall


RowType = TypeVar("RowType", bound=Row)

_NEIGHBOURS = 200


def rows_of(rows: Sequence[Row], kind: type[RowType], metric: str) -> list[RowType]:
    """The same rows, checked to be of one type. Raises DataError if there are none or one is of another type."""
    if not rows:
        raise DataError(
            f"{metric}: there are no gold rows", fix="check that the split's file was read and is not empty"
        )
    typed = [row for row in rows if isinstance(row, kind)]
    if len(typed) < len(rows):
        other = next(row for row in rows if not isinstance(row, kind))
        raise DataError(
            f"{metric} scores rows of type {kind.__name__}, but row '{other.id}' is a {type(other).__name__}",
            fix="give the card a metric that fits its rows",
        )
    return typed


def labelled(rows: Sequence[RowType], metric: str) -> dict[str, RowType]:
    """Id -> row. Raises DataError for a row without gold value and for an id that occurs twice."""
    gold: dict[str, RowType] = {}
    for row in rows:
        if not row.is_labelled:
            raise unlabelled(row.id, metric)
        if row.id in gold:
            raise DataError(f"{metric}: the gold id '{row.id}' occurs twice", fix="remove the duplicate row")
        gold[row.id] = row
    return gold


def unlabelled(row_id: str, metric: str) -> DataError:
    """The error for a gold row without a label, which would otherwise make every prediction wrong."""
    return DataError(
        f"{metric}: row '{row_id}' has no gold label, so it cannot be scored",
        fix="use the labelled file of this split, or declare a substitution in the recipe",
    )


def not_a_prediction(row_id: str, given: object, wanted: str) -> DataError:
    """The error for a prediction of the wrong JSON type, such as a number in place of a label."""
    shown = "" if given is None else f": {reprlib.repr(given)}"
    return DataError(
        f"the prediction for row '{row_id}' is {json_type(given)}{shown}",
        fix=f"write {wanted}; leave the id out where the model gave no answer (it counts as wrong)",
    )


def json_type(value: object) -> str:
    """The JSON name for the type of a value.

    >>> json_type(None), json_type(["a"])
    ('null', 'a list')
    """
    if value is None:
        return "null"
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        ((int, float), "a number"),
        (str, "text"),
        ((list, tuple), "a list"),
        (dict, "an object"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)


def require_known_ids(ids: Collection[str], predictions: Predictions) -> None:
    """Raise DataError, with the nearest id, unless every prediction is for one of these gold ids."""
    known = ids if isinstance(ids, set | frozenset | dict) else set(ids)
    strange = [given for given in predictions if given not in known]
    if not strange:
        return
    close = nearest_id(strange[0], known)
    hint = f" Did you mean '{close}'?" if close else ""
    raise DataError(
        f"{len(strange):,} of {len(predictions):,} predictions are for ids that the gold rows do not have, "
        f"the first is '{strange[0]}'.{hint}",
        fix="check that predictions and gold are of the same task, language and split",
    )


def nearest_id(given: str, known: Collection[str]) -> str | None:
    """The closest known id. If there are many, only its alphabetical neighbours are compared, to stay fast."""
    ordered = sorted(known, key=str.lower)
    place = bisect_left(ordered, given.lower(), key=str.lower)
    return nearest(given, ordered[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS])
