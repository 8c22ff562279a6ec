"""The section on translations: how many rows have one, and what reading with them gives and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from viaduct.fusion.claims import CLAIMS, ROLES
from viaduct.fusion.records import (
    FusedInference,
    FusedTraining,
    StageInference,
    StageTraining,
    StageTranslated,
    Translated,
    Way,
)
from viaduct.report.section import Content, RunResults, Section, StageFile

TRAINED = StageFile("fused_training", "fuse", "fusion.json", StageTraining, "found")
TRANSLATED = StageFile("translated_training", "train_on", "translations.json", StageTranslated, "found")
PREDICTED = StageFile("fused_inference", "predict_fused", "fused_inference.json", StageInference, "found")


@dataclass(frozen=True)
class CostLine:
    """What reading a row costs in one way, beside the score that it gives."""

    arm: str
    task: str
    how: str
    score: float | None
    """Mean over seeds and languages, as in the main table; None where the arm has none yet."""
    way: Way
    times: float
    """Of the operations that reading the same rows alone takes."""


def _build(found: RunResults) -> Content | None:
    trained, plain, predicted = found.of(TRAINED), found.of(TRANSLATED), found.of(PREDICTED)
    if not (trained or plain or predicted):
        return None
    read: list[FusedTraining | Translated | FusedInference] = [one.found for one in trained]
    read += [one.found for one in plain]
    read += [one.found for one in predicted if not one.found.oracle]
    lines = [line for one in _first(predicted) for line in _lines(one, found)]
    oracles = [one for one in predicted if one.found.oracle]
    values = {
        "coverage": _coverage(read),
        "lines": lines,
        "oracles": oracles,
        "oracle_means": [fmean(one.found.scores.values()) for one in oracles],
        "about": predicted[0].found if predicted else None,
        "taught": sorted({(one.found.alpha, one.found.temperature) for one in trained if one.found.alpha}),
    }
    table = [
        {"arm": line.arm, "task": line.task, "how": line.how, "score": line.score, **dict(line.way)} for line in lines
    ]
    return Content(values, files={"fusion.csv": table} if table else {})


def _first(found: Sequence[StageInference]) -> list[StageInference]:
    """One seed of each arm and task: sizes are the same for all."""
    kept = {(one.arm, one.found.task, one.found.oracle): one for one in reversed(found)}
    return [one for one in reversed(kept.values()) if not one.found.oracle]


def _lines(one: StageInference, found: RunResults) -> list[CostLine]:
    cell = found.tables.cell(one.arm, one.found.task)
    score = None if cell.score is None else cell.score.mean
    alone, together = one.found.alone, one.found.together
    if alone is None or together is None:
        return []
    times = together.flops / alone.flops
    return [
        CostLine(one.arm, one.found.task, "the same rows alone", None, alone, 1.0),
        CostLine(one.arm, one.found.task, "with translations", score, together, times),
    ]


def _coverage(
    found: Sequence[FusedTraining | Translated | FusedInference],
) -> list[tuple[str, str, str, int, int, int]]:
    """(what, task, language, rows, missing, unknown), without repetitions."""
    rows = [
        ("predicted" if isinstance(one, FusedInference) else "train", one.task, *dict(part).values())
        for one in found
        for part in one.coverage
    ]
    return list(dict.fromkeys(rows))


SECTION = Section(
    name="translations",
    title="Translations",
    place=610,
    template=Path(__file__).with_name("fusion.html.j2"),
    build=_build,
    reads=(TRAINED, TRANSLATED, PREDICTED),
    writes=("fusion.csv",),
    claims=CLAIMS,
    roles=ROLES,
)
