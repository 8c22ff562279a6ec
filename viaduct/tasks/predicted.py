"""What may be predicted for the rows of one language: one class per type of prediction that a row kind may name.

A prediction that could not be right for its row is refused, so that it is never silently scored as wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from viaduct.errors import DataError, unknown
from viaduct.metrics.score import Prediction, nearest_id, not_a_prediction
from viaduct.rows import Choice, Row, Sentence, Span, Tagged

_LONGEST = 60
"""Maximum number of characters of a given text that are shown or compared."""


class Predicted:
    """Any JSON value for each row; base class of the other types of prediction."""

    text = ""
    """What a prediction is, in words, if it must be text."""

    def __init__(self, task: str, language: str, labels: Sequence[str], rows: Sequence[Any]) -> None:
        """`labels`: those of the card; () allows any."""
        self.task, self.language, self.labels = task, language, frozenset(labels)
        self.rows = {row.id: row for row in self._asked(rows)}

    def _asked(self, rows: Sequence[Any]) -> Sequence[Any]:
        return rows

    def check(self, row_id: str, given: object) -> None:
        """Raise DataError or UsageError for a prediction that cannot be right for the row with this id."""
        if row_id not in self.rows:
            _unknown_id(row_id, self.rows, f"no row of {self.task} in '{self.language}' to predict")
        self._check_value(self.rows[row_id], given)

    def input(self, row: Any) -> tuple[str, ...]:
        """The texts of a row that a model reads, for display."""
        return tuple(row.texts)

    def words(self, row: Any, given: Any) -> str:
        """A prediction for a row, or the row's gold value, as text for display."""
        return "" if given is None else str(given)

    def is_right(self, row: Any, given: Any) -> bool | None:
        """Whether a prediction is the row's gold value; None if predictions are not right or wrong as a whole."""
        return None

    def distance(self, row: Any, given: Any) -> float | None:
        """Distance of a predicted number from the row's gold one; None if predictions are not numbers."""
        return None

    def _check_value(self, row: Any, given: object) -> None:
        if self.text and not isinstance(given, str):
            raise not_a_prediction(row.id, given, self.text)

    def _check_label(self, given: str) -> None:
        if self.labels and given not in self.labels:
            raise unknown(f"label of {self.task}", short(given)[1:-1], self.labels)


class PredictedLabel(Predicted):
    """A label of the card."""

    text = "the label as text"

    def is_right(self, row: Row, given: Any) -> bool:
        """Whether it is the gold label."""
        return bool(given == row.gold)

    def _check_value(self, row: Row, given: Any) -> None:
        super()._check_value(row, given)
        self._check_label(given)


class PredictedIndex(Predicted):
    """The index of a choice, from 0."""

    def _check_value(self, row: Choice, given: object) -> None:
        last = len(row.choices) - 1
        if isinstance(given, bool) or not isinstance(given, int):
            raise not_a_prediction(row.id, given, f"the index of the choice as a whole number, 0 to {last}")
        if not 0 <= given <= last:
            raise DataError(f"the prediction for row '{row.id}' is {given}", fix=f"write an index, 0 to {last}")

    def is_right(self, row: Choice, given: int) -> bool:
        """Whether it is the right choice."""
        return given == row.gold

    def words(self, row: Choice, given: int | None) -> str:
        """The choice itself."""
        return "" if given is None else row.choices[given]


class PredictedTags(Predicted):
    """One of the card's tags per token."""

    def input(self, row: Tagged) -> tuple[str, ...]:
        """The sentence."""
        return (row.group,)

    def words(self, row: Tagged, given: Sequence[str] | None) -> str:
        """Each token with its tag, except tokens tagged O."""
        return " ".join(f"{token}/{tag}" for token, tag in zip(row.tokens, given or (), strict=False) if tag != "O")

    def _check_value(self, row: Tagged, given: object) -> None:
        if not isinstance(given, list):
            raise not_a_prediction(row.id, given, "a list with one tag per token")
        for tag in given:
            if not isinstance(tag, str):
                raise not_a_prediction(row.id, tag, "tags as text")
            self._check_label(tag)
        if len(given) != len(row.tokens):
            raise DataError(
                f"the prediction for row '{row.id}' has {len(given)} tags, the sentence {len(row.tokens)} tokens",
                fix="write one tag per token ('O' where the model was cut off), or leave the row out (all wrong)",
            )


class PredictedAnswer(Predicted):
    """Any text."""

    text = "the answer as text ('' for no answer)"

    def words(self, row: Span, given: Any) -> str:
        """The answer, or all different gold answers."""
        answers = [given] if isinstance(given, str) else [one.text for one in given or ()]
        return " | ".join(dict.fromkeys(answers)) or "(no answer)"


class PredictedMatch(Predicted):
    """The id of a sentence on the other side."""

    text = "the id of the chosen sentence as text"

    def __init__(self, task: str, language: str, labels: Sequence[str], rows: Sequence[Sentence]) -> None:
        super().__init__(task, language, labels, rows)
        sides = {side: {row.id for row in rows if row.side == side} for side in ("source", "target")}
        self.others = {"source": sides["target"], "target": sides["source"]}
        self.texts: dict[tuple[str, str], str] = {(row.side, row.id): row.text for row in rows}

    def words(self, row: Sentence, given: Any) -> str:
        """The predicted or gold sentences on the other side."""
        other = "target" if row.side == "source" else "source"
        ids = [given] if isinstance(given, str) else given or ()
        return " | ".join(self.texts[other, one] for one in ids)

    def _check_value(self, row: Sentence, given: Any) -> None:
        super()._check_value(row, given)
        if given not in self.others[row.side]:
            what = f"the match of row '{row.id}' is not a sentence of the other side"
            _unknown_id(given, self.others[row.side], what)


class PredictedPairs(PredictedMatch):
    """The ids of sentences on the other side: one, several or none; English sentences need no prediction."""

    text = "the id of the paired sentence as text, a list of ids, or null"

    def _asked(self, rows: Sequence[Sentence]) -> Sequence[Sentence]:
        return [row for row in rows if row.side == "source"]

    def _check_value(self, row: Sentence, given: Any) -> None:
        for one in given if isinstance(given, list) else [] if given is None else [given]:
            super()._check_value(row, one)


def commonest_answer(rows: Sequence[Row]) -> dict[str, Prediction]:
    """Predicts the most common gold label or index for every row; {} if no row has one."""
    return _everywhere(rows, Counter(row.gold for row in rows if row.is_labelled), lambda row, answer: answer)


def commonest_tag(rows: Sequence[Tagged]) -> dict[str, Prediction]:
    """Predicts the most common gold tag for every token; {} if no row has any."""
    return _everywhere(
        rows, Counter(tag for row in rows for tag in row.tags or ()), lambda row, tag: [tag] * len(row.tokens)
    )


def no_answer(rows: Sequence[Span]) -> dict[str, Prediction]:
    """Predicts that no question has an answer; {} if all have one."""
    return _everywhere(rows, Counter("" for row in rows if row.answers == ()), lambda row, answer: answer)


def _everywhere(rows: Sequence[Any], counts: Counter[Any], given: Callable[[Any, Any], Any]) -> dict[str, Prediction]:
    if not counts:
        return {}
    (answer, _), *_ = counts.most_common(1)
    return {row.id: Prediction(row.id, row.language, given(row, answer)) for row in rows}


def short(text: str) -> str:
    """The text in quotation marks, truncated, with unprintable characters escaped."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def _unknown_id(given: str, known: Collection[str], what: str) -> NoReturn:
    close = nearest_id(given[:_LONGEST], known)
    hint = f" Did you mean '{close}'?" if close else ""
    fix = f"use the ids of the gold rows, such as '{min(known, default='')}', of the same task and split"
    raise DataError(f"{what}: {short(given)}.{hint}", fix=fix)
