"""A file of predictions: one language of one task as JSON Lines, as Viaduct's own Predict stages write it.

    {"id": "7", "language": "de", "prediction": "neutral", "scores": [0.1, 2.3, -0.4]}

`prediction` is a label (pair), an index (choice), a list of tags (tagged), an answer text (span), the id of the match
(retrieval), or the id, a list of ids or null (mining). `scores`, a list of numbers, may be left out; other keys are
ignored. Whatever could not be right for its row is refused with its line, never scored as wrong in silence.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from viaduct.errors import DataError, ViaductError, nearest, unknown
from viaduct.metrics.gold import json_type, nearest_id, not_a_prediction
from viaduct.metrics.score import Prediction
from viaduct.rows import Choice, Row, Sentence, Tagged
from viaduct.tasks.card import Kind, Task
from viaduct.tasks.formats import numbered_lines

KEYS = ("id", "language", "prediction")
SHAPE = 'write {"id": ..., "language": ..., "prediction": ...} on each line'


def read_predictions(path: Path, card: Task, language: str, rows: Sequence[Row]) -> dict[str, Prediction]:
    """Predictions by id, {} from an empty file.

    Raises DataError with the line for what is no JSON object with the three keys, another language, an id that the rows
    have not or that occurs twice, a prediction that cannot be right for its row, and scores that are not finite.
    """
    if not path.is_file():
        raise DataError("the file is missing", path=path, fix="predict this language, or run the predict stage again")
    if path.stat().st_size == 0:
        return {}
    asked = _Asked(card, language, rows)
    found: dict[str, Prediction] = {}
    lines: dict[str, int] = {}
    for number, line in numbered_lines(path):
        try:
            prediction = _prediction(_object(line), language)
            if prediction.id in found:
                raise DataError(
                    f"the id {_short(prediction.id)} occurs twice, first on line {lines[prediction.id]:,}",
                    fix="keep one prediction for each row",
                )
            asked.check(prediction)
        except ViaductError as error:
            raise DataError(str(error), path=path, line=number) from error
        found[prediction.id] = prediction
        lines[prediction.id] = number
    return found


def _object(line: str) -> dict[str, Any]:
    """The line's JSON object with at least the three keys."""
    if not line.strip():
        raise DataError("the line is blank", fix=f"remove it; {SHAPE}")
    try:
        raw = json.loads(line, parse_constant=_no_number, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg} at character {error.colno:,}", fix=SHAPE) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested without end
        raise DataError(f"not JSON that can be read: {error}", fix=SHAPE) from error
    if not isinstance(raw, dict):
        raise DataError(f"{json_type(raw)} where an object is due", fix=SHAPE)
    for key in KEYS:
        if key not in raw:
            close = nearest(key, raw)
            hint = f" Did you mean {_short(close)}?" if close else ""
            raise DataError(f'the object has no "{key}".{hint}', fix=SHAPE)
    return raw


def _no_number(name: str) -> float:
    raise DataError(f"{name} is not a finite number", fix='write finite numbers, or leave "scores" out')


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise DataError(f"the key {_short(max(names, key=names.count))} occurs twice in the object", fix=SHAPE)
    return made


def _prediction(raw: Mapping[str, Any], language: str) -> Prediction:
    for key in ("id", "language"):
        if not isinstance(raw[key], str):
            fix = f'write the {key} as text, "..."'
            raise DataError(f'"{key}" is {json_type(raw[key])}: {reprlib.repr(raw[key])}', fix=fix)
    if raw["language"] != language:
        raise DataError(
            f"a row of language {_short(raw['language'])} in the file of '{language}'",
            fix="write one file per language, named like it",
        )
    return Prediction(raw["id"], language, raw["prediction"], _scores(raw.get("scores")))


def _scores(given: object) -> tuple[float, ...] | None:
    fix = 'write a list of finite numbers, or leave "scores" out'
    if given is None:
        return None
    if not isinstance(given, list):
        raise DataError(f'"scores" is {json_type(given)}: {reprlib.repr(given)}', fix=fix)
    for number in given:
        # 1e999 is infinite, and an integer may be too long for a float
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= _LARGEST:
            raise DataError(f'"scores" holds {reprlib.repr(number)}', fix=fix)
    return tuple(map(float, given))


class _Asked:
    """What may be predicted for the rows of one language."""

    def __init__(self, card: Task, language: str, rows: Sequence[Row]) -> None:
        self.card, self.language = card, language
        # In mining only the source side is asked; its predictions name the other side.
        mining = card.kind == "mining"
        self.rows = {row.id: row for row in rows if not (mining and isinstance(row, Sentence) and row.side == "target")}
        self.labels = frozenset(card.labels)
        self.sides: dict[str, set[str]] = {"source": set(), "target": set()}
        for row in rows:
            if isinstance(row, Sentence):
                self.sides[row.side].add(row.id)

    def check(self, prediction: Prediction) -> None:
        """Raises DataError or UsageError for a prediction that cannot be right."""
        row = self.rows.get(prediction.id)
        if row is None:
            self._unknown_id(prediction.id, self.rows, f"no row of {self.card.name} in '{self.language}' to predict")
        _CHECKS[self.card.kind](self, row, prediction.prediction)

    def label(self, row: Row, given: object) -> None:
        """A label of the card."""
        if not isinstance(given, str):
            raise not_a_prediction(row.id, given, "the label as text")
        self._known_label(given)

    def index(self, row: Row, given: object) -> None:
        """The index of a choice, from 0."""
        assert isinstance(row, Choice)  # noqa: S101  the card's kind says so
        last = len(row.choices) - 1
        if isinstance(given, bool) or not isinstance(given, int):
            raise not_a_prediction(row.id, given, f"the index of the choice as a whole number, 0 to {last}")
        if not 0 <= given <= last:
            raise DataError(f"the prediction for row '{row.id}' is {given}", fix=f"write an index, 0 to {last}")

    def tags(self, row: Row, given: object) -> None:
        """A tag of the card per token."""
        assert isinstance(row, Tagged)  # noqa: S101  the card's kind says so
        if not isinstance(given, list):
            raise not_a_prediction(row.id, given, "a list with one tag per token")
        for tag in given:
            if not isinstance(tag, str):
                raise not_a_prediction(row.id, tag, "tags as text")
            self._known_label(tag)
        if len(given) != len(row.tokens):
            raise DataError(
                f"the prediction for row '{row.id}' has {len(given)} tags, the sentence {len(row.tokens)} tokens",
                fix="write one tag per token ('O' where the model was cut off), or leave the row out (all wrong)",
            )

    def answer(self, row: Row, given: object) -> None:
        """Any text."""
        if not isinstance(given, str):
            raise not_a_prediction(row.id, given, "the answer as text ('' for no answer)")

    def match(self, row: Row, given: object) -> None:
        """The id of a sentence of the other side."""
        if not isinstance(given, str):
            raise not_a_prediction(row.id, given, "the id of the chosen sentence as text")
        self._known_sentence(row, given)

    def mined(self, row: Row, given: object) -> None:
        """The ids of sentences of the other side: one, several or none."""
        for one in given if isinstance(given, list) else [] if given is None else [given]:
            if not isinstance(one, str):
                raise not_a_prediction(row.id, one, "the id of the paired sentence as text, a list of ids, or null")
            self._known_sentence(row, one)

    def _known_label(self, given: str) -> None:
        if self.labels and given not in self.labels:
            raise unknown(f"label of {self.card.name}", _short(given)[1:-1], self.labels)

    def _known_sentence(self, row: Row, given: str) -> None:
        assert isinstance(row, Sentence)  # noqa: S101  the card's kind says so
        others = self.sides["target" if row.side == "source" else "source"]
        if given not in others:
            self._unknown_id(given, others, f"the match of row '{row.id}' is no sentence of the other side")

    def _unknown_id(self, given: str, known: Mapping[str, Row] | set[str], what: str) -> NoReturn:
        close = nearest_id(given[:_LONGEST], known)
        hint = f" Did you mean '{close}'?" if close else ""
        fix = f"use the ids of the gold rows, such as '{min(known, default='')}', of the same task and split"
        raise DataError(f"{what}: {_short(given)}.{hint}", fix=fix)


_CHECKS: dict[Kind, Callable[[_Asked, Any, object], None]] = {
    "pair": _Asked.label,
    "choice": _Asked.index,
    "tagged": _Asked.tags,
    "span": _Asked.answer,
    "retrieval": _Asked.match,
    "mining": _Asked.mined,
}
_LARGEST = 1.7e308
_LONGEST = 60
"""Characters of a given text that are shown and compared."""


def _short(text: str) -> str:
    """The text in quotation marks, cut and with what cannot be printed escaped."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")
