"""The Score stage: reads predictions and gold rows, writes `scores.json` (a list of {language, metric, value, n,
n_missing, signature}) and, if the metric gives the outcome of each example, `outcomes.npz`. It runs on the CPU and
produces the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from viaduct.metrics.score import Scored, scored
from viaduct.results.outcomes import packed, write_outcomes
from viaduct.results.prediction_file import read_predictions
from viaduct.results.record import MADE_FROM
from viaduct.results.writing import canonical
from viaduct.rows import Row
from viaduct.runs.census import Census
from viaduct.runs.parts import Substitution
from viaduct.runs.rows import Need
from viaduct.runs.sizes import Estimate, Sizes
from viaduct.runs.stage import Context, Spent, StageKind, Work
from viaduct.tasks.card import Task

SCORES = "scores.json"
VECTORS = "vectors.json"
"""File of a Predict stage that says how sentences became vectors."""
WEIGHT = 0.01
"""Approximate cost of scoring a token, in forward passes."""


class ScoreWork(Work):
    """Score predictions against the gold rows."""

    kind: Literal["score"] = "score"
    task: str
    languages: tuple[str, ...]
    split: str
    substitutions: tuple[Substitution, ...] = ()


class ScoreKind(StageKind[ScoreWork]):
    """The kind of the Score stage."""

    name = "score"
    work = ScoreWork
    version = 1
    uses_torch = False

    def needs(self, work: ScoreWork, census: Census) -> list[Need]:
        """The gold rows."""
        return [(work.task, work.split, code) for code in work.languages]

    def label(self, work: ScoreWork) -> str:
        """The label, with the task's name."""
        return f"score {work.task}"

    def forecast(self, work: ScoreWork, sizes: Sizes) -> Estimate:
        """A very small cost, without an encoder."""
        return Estimate(0.0, sizes.of(sizes.needs)[1] * WEIGHT)

    def run(self, context: Context, work: ScoreWork) -> Spent:
        """Write `scores.json`, with one entry per language and metric in the work's order, and the outcomes."""
        card = context.task(work.task)
        found: dict[str, tuple[Sequence[Row], Scored]] = {}
        for number, language in enumerate(work.languages):
            context.progress(number, len(work.languages), f"{work.task} {language}")
            rows = context.load(work.task, work.split, language).rows
            found[language] = rows, examined(card, language, rows, context.inputs["predictions"])
        made = vectors_words(context.inputs["predictions"])
        (context.directory / SCORES).write_text(canonical(entries(found, made)), encoding="utf-8")
        if outcomes := packed(card, found):
            write_outcomes(context.directory, outcomes)
        context.progress(len(work.languages), len(work.languages), work.task)
        return Spent(examples=sum(len(rows) for rows, _ in found.values()))


def examined(card: Task, language: str, rows: Sequence[Row], predictions: Path) -> Scored:
    """The result of the card's metric in one language; `predictions` is the directory of a Predict stage."""
    if card.metric is None:
        raise TypeError(f"{card.name} has no metric")
    path = predictions / "predictions" / f"{language}.jsonl"
    return scored(card.metric, rows, read_predictions(path, card, language, rows))


def vectors_words(predictions: Path) -> str:
    """The part of a signature that says how sentences became vectors; "" if none did, and for older predictions."""
    path = predictions / VECTORS
    return MADE_FROM + json.loads(path.read_text(encoding="utf-8"))["words"] if path.is_file() else ""


def entries(found: Mapping[str, tuple[Sequence[Row], Scored]], made: str = "") -> list[dict[str, Any]]:
    """The content of `scores.json`; `made` is appended to every signature."""
    return [
        {
            "language": language,
            "metric": score.metric,
            "value": score.value,
            "n": score.n,
            "n_missing": score.n_missing,
            "signature": score.signature + made,
        }
        for language, (_, one) in found.items()
        for score in one.scores
    ]


SCORE = ScoreKind()
