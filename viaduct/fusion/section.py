"""The report's section on translations: how many rows have one, and what reading them gains and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median

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
from viaduct.report.contrast import Contrasts
from viaduct.report.cost_plot import LATENCY_AXIS, Axis, Dot, cost_plot
from viaduct.report.drawing import Drawing
from viaduct.report.section import Content, RunResults, Section, StageFile

TRAINED = StageFile("fused_training", "fuse", "fusion.json", StageTraining, "found")
TRANSLATED = StageFile("translated_training", "train_on", "translations.json", StageTranslated, "found")
PREDICTED = StageFile("fused_inference", "predict_fused", "fused_inference.json", StageInference, "found")

AXES = {
    "latency_ms": LATENCY_AXIS,
    "flops": Axis("operations of one row, GFLOP", 1e9),
    "tokens": Axis("tokens of one row", 1.0),
}


@dataclass(frozen=True)
class CostLine:
    """The cost of one way of reading a row, and the score that it gives."""

    arm: str
    task: str
    how: str
    score: float | None
    """Mean over seeds and languages, as in the main table; None if the arm has none yet."""
    way: Way
    times: float
    """FLOPs relative to reading the same rows alone."""


def _build(found: RunResults) -> Content | None:
    trained, plain, predicted = found.of(TRAINED), found.of(TRANSLATED), found.of(PREDICTED)
    if not (trained or plain or predicted):
        return None
    read: list[FusedTraining | Translated | FusedInference] = [one.found for one in trained]
    read += [one.found for one in plain]
    read += [one.found for one in predicted if not one.found.oracle]
    lines = [line for one in _first(predicted) for line in _lines(one, found)]
    oracles = [one for one in predicted if one.found.oracle]
    front = _front([one.found for one in _first(predicted)], found)
    values = {
        "front": front,
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
    return Content(values, figures=[front] if front else [], files={"fusion.csv": table} if table else {})


def _first(found: Sequence[StageInference]) -> list[StageInference]:
    """One seed per arm and task: sizes are the same for all seeds. Oracles are left out."""
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


def _front(predicted: Sequence[FusedInference], found: RunResults) -> Drawing | None:
    """Score against the cost of reading a row: with its translation in arms that use them, otherwise alone; models of
    one shape cost the same. Arms with their own encoder or compression are left out. None if no arm with translations
    remains."""
    about, scores = found.about, dict[str, float]()
    with_them = {arm for arm, marks in about.marks.items() if "translations at inference" in marks}
    for arm in about.arms:
        average = found.tables.average(arm)
        is_alike = not {f"{arm} begins with", f"compression of {arm}"} & about.settings.keys()
        if is_alike and average and average.score and not average.missing:
            scores[arm] = average.score.mean
    if not with_them & scores.keys() or not any(one.together for one in predicted):
        return None
    panels = {}
    for name, axis in AXES.items():
        alone, together = (_cost(predicted, way, name) for way in ("alone", "together"))
        costs = {arm: together if arm in with_them else alone for arm in scores}
        cheap = {arm: [one for one in scores if costs[one] <= costs[arm]] for arm in scores}
        panels[axis] = [
            Dot(arm, costs[arm], score, any(_is_lower(arm, other, found.contrasts) for other in cheap[arm]))
            for arm, score in scores.items()
        ]
    caption = "Score against cost per row; rings score lower than an arm that costs no more"
    return replace(cost_plot(panels, "score", caption), name="translations_frontier")


def _cost(predicted: Sequence[FusedInference], way: str, name: str) -> float:
    """The mean over tasks of the median over arms."""
    by_task: dict[str, list[float]] = {}
    for one in predicted:
        if getattr(one, way) is not None:
            by_task.setdefault(one.task, []).append(getattr(getattr(one, way), name))
    return fmean(map(median, by_task.values()))


def _is_lower(arm: str, other: str, contrasts: Contrasts) -> bool:
    """Whether the report's contrasts say that `arm` scores lower than `other`."""
    found, back = contrasts.of(arm, against=other), contrasts.of(other, against=arm)
    return (found is not None and found.verdict == "lower") or (back is not None and back.verdict == "higher")


def _coverage(
    found: Sequence[FusedTraining | Translated | FusedInference],
) -> list[tuple[str, str, str, int, int, int]]:
    """(what, task, language, rows, missing, unknown), without duplicates."""
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
    writes=("fusion.csv", "translations_frontier.svg"),
    claims=CLAIMS,
    roles=ROLES,
)
