"""The score stage: predictions and gold rows in, `scores.json` out. Pure Python, the same bytes every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from viaduct.errors import DataError
from viaduct.metrics.score import Prediction
from viaduct.results.store import canonical
from viaduct.runs.stage import Context, ScoreWork, Spent
from viaduct.tasks.registry import task as card_of


def run(context: Context) -> Spent:
    """Writes `scores.json`: one entry per language and metric, in the work's order."""
    work = context.work
    if not isinstance(work, ScoreWork):
        raise TypeError(f"score was given {type(work).__name__}")
    metric = card_of(work.task).metric
    if metric is None:
        raise TypeError(f"{work.task} has no metric")
    found: list[dict[str, Any]] = []
    examples = 0
    for number, language in enumerate(work.languages):
        context.progress(number, len(work.languages), f"{work.task} {language}")
        rows = context.load(work.task, work.split, language).rows
        predictions = read_predictions(context.inputs["predictions"] / "predictions" / f"{language}.jsonl")
        examples += len(rows)
        found.extend(
            {
                "language": language,
                "metric": score.metric,
                "value": score.value,
                "n": score.n,
                "n_missing": score.n_missing,
                "signature": score.signature,
            }
            for score in metric(rows, predictions)
        )
    (context.directory / "scores.json").write_text(canonical(found), encoding="utf-8")
    context.progress(len(work.languages), len(work.languages), work.task)
    return Spent(examples=examples)


def read_predictions(path: Path) -> dict[str, Prediction]:
    """Predictions by id from a JSON Lines file. Raises DataError with the line for damaged lines and doubled ids."""
    if not path.is_file():
        raise DataError("no predictions for this language", path=path, fix="run the predict stage again")
    found: dict[str, Prediction] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            prediction = _prediction(line, path, number)
            if prediction.id in found:
                raise DataError(f"the id '{prediction.id}' occurs twice", path=path, line=number)
            found[prediction.id] = prediction
    return found


def _prediction(line: str, path: Path, number: int) -> Prediction:
    try:
        raw = json.loads(line)
        scores = raw.get("scores")
        return Prediction(
            id=str(raw["id"]),
            language=str(raw["language"]),
            prediction=raw["prediction"],
            scores=None if scores is None else tuple(float(value) for value in scores),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"not a prediction ({type(error).__name__}: {error})",
            path=path,
            line=number,
            fix='one JSON object per line with "id", "language" and "prediction"',
        ) from error
