"""The Score stage: predictions and gold rows in, `scores.json` out (a list of {language, metric, value, n, n_missing,
signature}). Pure Python, the same bytes every time."""

from __future__ import annotations

from typing import Any, Literal

from viaduct.results.prediction_file import read_predictions
from viaduct.results.store import canonical
from viaduct.runs.census import Census
from viaduct.runs.parts import Substitution
from viaduct.runs.rows import Need
from viaduct.runs.sizes import Estimate, Sizes
from viaduct.runs.stage import Context, Spent, StageKind, Work

WEIGHT = 0.01
"""Of a scored token, in forward passes, about."""


class ScoreWork(Work):
    """Score predictions against the gold rows."""

    kind: Literal["score"] = "score"
    task: str
    languages: tuple[str, ...]
    split: str
    substitutions: tuple[Substitution, ...] = ()


class ScoreKind(StageKind[ScoreWork]):
    """The kind."""

    name = "score"
    work = ScoreWork
    version = 1
    uses_torch = False

    def needs(self, work: ScoreWork, census: Census) -> list[Need]:
        """The gold rows."""
        return [(work.task, work.split, code) for code in work.languages]

    def label(self, work: ScoreWork) -> str:
        """The task."""
        return f"score {work.task}"

    def forecast(self, work: ScoreWork, sizes: Sizes) -> Estimate:
        """Next to nothing, and no encoder."""
        return Estimate(0.0, sizes.of(sizes.needs)[1] * WEIGHT)

    def run(self, context: Context, work: ScoreWork) -> Spent:
        """Write `scores.json`: one entry per language and metric, in the work's order."""
        card = context.task(work.task)
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


SCORE = ScoreKind()
