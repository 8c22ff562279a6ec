"""The score stage: predictions and gold rows in, `scores.json` out. Pure Python, the same bytes every time."""

from __future__ import annotations

from typing import Any

from viaduct.results.prediction_file import read_predictions
from viaduct.results.store import canonical
from viaduct.runs.stage import Context, ScoreWork, Spent
from viaduct.tasks.registry import task as card_of


def run(context: Context) -> Spent:
    """Writes `scores.json`: one entry per language and metric, in the work's order."""
    work = context.work
    if not isinstance(work, ScoreWork):
        raise TypeError(f"score was given {type(work).__name__}")
    card = card_of(work.task)
    if card.metric is None:
        raise TypeError(f"{work.task} has no metric")
    found: list[dict[str, Any]] = []
    examples = 0
    for number, language in enumerate(work.languages):
        context.progress(number, len(work.languages), f"{work.task} {language}")
        rows = context.load(work.task, work.split, language).rows
        path = context.inputs["predictions"] / "predictions" / f"{language}.jsonl"
        predictions = read_predictions(path, card, language, rows)
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
            for score in card.metric(rows, predictions)
        )
    (context.directory / "scores.json").write_text(canonical(found), encoding="utf-8")
    context.progress(len(work.languages), len(work.languages), work.task)
    return Spent(examples=examples)
