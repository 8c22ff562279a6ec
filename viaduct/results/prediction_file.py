"""A file of predictions: one language of one task as JSON Lines, as Viaduct's own Predict stages write it.

    {"id": "7", "language": "de", "prediction": "neutral", "scores": [0.1, 2.3, -0.4]}

`prediction` is a label (pair), an index (choice), a list of tags (tagged), an answer text (span), the id of the match
(retrieval), or the id, a list of ids or null (mining). `scores`, a list of numbers, may be left out, as may `language`,
which the file name gives; other keys are ignored. A prediction that could not be right for its row (see
`tasks.predicted`) is refused with its line number.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from viaduct.errors import DataError, ViaductError, nearest
from viaduct.metrics.score import Prediction, json_type
from viaduct.rows import Row
from viaduct.tasks.card import Task
from viaduct.tasks.formats import numbered_lines
from viaduct.tasks.json_text import json_value
from viaduct.tasks.predicted import short

KEYS = ("id", "prediction")
_LARGEST = 1.7e308
SHAPE = 'write {"id": ..., "language": ..., "prediction": ...} on each line'


def read_predictions(path: Path, card: Task, language: str, rows: Sequence[Row]) -> dict[str, Prediction]:
    """Predictions by id, {} from an empty file.

    Raises DataError with the line number for anything but a JSON object with the two keys, another language, an id that
    is not in the rows or occurs twice, a prediction that cannot be right for its row, and scores that are not finite.
    """
    if not path.is_file():
        raise DataError("the file is missing", path=path, fix="predict this language, or run the predict stage again")
    if path.stat().st_size == 0:
        return {}
    expected = card.row_kind.predicted(card.name, language, card.labels, rows)
    found: dict[str, Prediction] = {}
    lines: dict[str, int] = {}
    for number, line in numbered_lines(path):
        try:
            prediction = _prediction(_object(line), language)
            if prediction.id in found:
                raise DataError(
                    f"the id {short(prediction.id)} occurs twice, first on line {lines[prediction.id]:,}",
                    fix="keep one prediction for each row",
                )
            expected.check(prediction.id, prediction.prediction)
        except ViaductError as error:
            raise DataError(str(error), path=path, line=number) from error
        found[prediction.id] = prediction
        lines[prediction.id] = number
    return found


def first_language(path: Path) -> str:
    """The language that the first line names. Raises DataError if it names none, or there is no line."""
    for number, line in numbered_lines(path):
        try:
            raw = _object(line)
            if "language" not in raw:
                raise DataError('the object has no "language"', fix="add it to each line, or name it with --language")
            return str(raw["language"])
        except ViaductError as error:
            raise DataError(str(error), path=path, line=number) from error
    raise DataError("there is no line", path=path, fix=SHAPE)


def _object(line: str) -> dict[str, Any]:
    """The line's JSON object with at least the two keys."""
    if not line.strip():
        raise DataError("the line is blank", fix=f"remove it; {SHAPE}")
    raw = json_value(line.strip(), fix=SHAPE)
    if not isinstance(raw, dict):
        raise DataError(f"{json_type(raw)} where an object belongs", fix=SHAPE)
    for key in KEYS:
        if key not in raw:
            close = nearest(key, raw)
            hint = f" Did you mean {short(close)}?" if close else ""
            raise DataError(f'the object has no "{key}".{hint}', fix=SHAPE)
    return raw


def _prediction(raw: Mapping[str, Any], language: str) -> Prediction:
    row_id, own = raw["id"], raw.get("language", language)
    for key, given in (("id", row_id), ("language", own)):
        if not isinstance(given, str):
            fix = f'write the {key} as text, "..."'
            raise DataError(f'"{key}" is {json_type(given)}: {reprlib.repr(given)}', fix=fix)
    if own != language:
        raise DataError(
            f"a row of language {short(own)} among those of '{language}'",
            fix="keep the rows of each language apart: one file, or one command, for each",
        )
    return Prediction(row_id, language, raw["prediction"], _scores(raw.get("scores")))


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
