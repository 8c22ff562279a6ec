"""This room's row kinds: a text with a label or a number, and two texts with a number."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

from pydantic import PlainValidator

from viaduct.metrics.classification import accuracy
from viaduct.metrics.score import not_a_prediction
from viaduct.rows import Row
from viaduct.tasks.kind import RowKind
from viaduct.tasks.mapped import Label, Mapped, Reading, Text, expected
from viaduct.tasks.predicted import Predicted, PredictedLabel, commonest_answer
from viaduct.texts.metrics import macro_f1, pearson, spearman
from viaduct.texts.rows import Labelled, Rated


def _value(value: object) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise expected("a number", value)
    return number


Value = Annotated[float | None, PlainValidator(_value)]


class MappedLabelled(Mapped):
    """A text and a label."""

    gold: ClassVar[tuple[str, ...]] = ("label",)
    text: Text
    label: Label = None

    def row(self, _reading: Reading) -> Row:
        """A labelled text."""
        return Labelled(self.id, self.language, self.text, self.label)


class MappedRated(Mapped):
    """One text or two, and a number."""

    gold: ClassVar[tuple[str, ...]] = ("value",)
    optional: ClassVar[tuple[str, ...]] = ("second",)
    first: Text
    second: Text | None = None
    value: Value = None

    def row(self, _reading: Reading) -> Row:
        """A rated text or pair."""
        return Rated(self.id, self.language, self.first, self.second, self.value)


class PredictedNumber(Predicted):
    """A finite number."""

    def distance(self, row: Rated, given: float) -> float | None:
        """Absolute difference from the row's number; None for a row without one."""
        return None if row.value is None else abs(given - row.value)

    def _check_value(self, row: Row, given: object) -> None:
        if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
            raise not_a_prediction(row.id, given, "a number")


KINDS = (
    RowKind(
        "classification",
        Labelled,
        tokens_per_row=30,
        label_set="closed",
        is_target=True,
        head="viaduct.heads.pair:PAIR",
        predict="viaduct.inference.prediction:predict",
        mapped=MappedLabelled,
        predicted=PredictedLabel,
        majority=commonest_answer,
        metrics={
            "accuracy": (accuracy, ("accuracy",)),
            "macro_f1": (macro_f1, ("macro_f1", "accuracy")),
        },
    ),
    RowKind(
        "regression",
        Rated,
        tokens_per_row=40,
        is_target=True,
        head="viaduct.texts.number:NUMBER",
        predict="viaduct.inference.prediction:predict",
        mapped=MappedRated,
        predicted=PredictedNumber,
        metrics={
            "spearman": (spearman, ("spearman", "pearson")),
            "pearson": (pearson, ("pearson", "spearman")),
        },
    ),
)
