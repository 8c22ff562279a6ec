"""The section on how each training went: loss and dev score by step, one panel per stage with all its seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from viaduct.report.drawing import COLOURS, SERIES, SOFT, Drawing, canvas, finish, shortened
from viaduct.report.number import percent, plural
from viaduct.report.section import Content, RunResults, Section, StageFile
from viaduct.results.record import Record

MOST_DRAWN, MOST_LISTED = 12, 120
"""Maximum number of trainings in the figure, and in the table of the page; the file has all."""
LINE_POINTS = 34
"""Maximum number of points per line in the figure; neighbouring points of the curve are averaged."""
ACROSS = 2
"""Trainings drawn side by side."""


class Curve(Record):
    """One number of each kind for every point of a training's curve (`viaduct.training.state`)."""

    step: tuple[int, ...]
    loss: tuple[float, ...]
    """Mean over the units (rows; for tagging, words) since the previous point."""
    learning_rate: tuple[float, ...]
    """Learning rate of the encoder, or of the head if no part of the encoder is trained."""
    tokens: tuple[int, ...]
    """Real (non-padding) tokens since the beginning."""
    score: tuple[float | None, ...]
    """Score on English dev; None at points without an evaluation."""

    @property
    def dev(self) -> dict[int, float]:
        """Step -> dev score, for points with an evaluation."""
        return {step: one for step, one in zip(self.step, self.score, strict=True) if one is not None}

    def mean(self, begin: float, end: float) -> float:
        """The mean loss between these steps; points at the edges count in proportion to their share."""
        points = zip((0, *self.step), self.step, self.loss, strict=False)
        parts = [(max(0.0, min(step, end) - max(before, begin)), loss) for before, step, loss in points]
        return sum(share * loss for share, loss in parts) / (end - begin)

    @property
    def smooth(self) -> dict[float, float]:
        """Step -> loss, of at most `LINE_POINTS` points: means of neighbours."""
        count = -(-len(self.step) // LINE_POINTS)
        parts = [slice(at, at + count) for at in range(0, len(self.step), count)]
        return {fmean(self.step[part]): fmean(self.loss[part]) for part in parts}


class StageCurve(Record):
    """The curve of one stage."""

    path: str
    seed: int
    curve: Curve


CURVES = StageFile("curves", "", "curve.json", StageCurve, "curve", committed=False)


@dataclass(frozen=True)
class Training:
    """One training with all of its seeds."""

    name: str
    curves: Mapping[int, Curve]
    """Seed -> curve."""
    speed: float | None
    """Tokens per second over all seeds; None if unknown."""

    @property
    def steps(self) -> int:
        """The number of steps of the longest curve."""
        return max(one.step[-1] for one in self.curves.values())

    @property
    def ends(self) -> tuple[float, float]:
        """The loss in the first and in the last tenth of the steps, means over seeds."""
        ends = [(one, one.step[-1]) for one in self.curves.values()]
        return fmean(one.mean(0, 0.1 * end) for one, end in ends), fmean(one.mean(0.9 * end, end) for one, end in ends)

    @property
    def best(self) -> float | None:
        """The best score on English dev, mean over seeds; None without scores."""
        scores = [max(one.dev.values()) for one in self.curves.values() if one.dev]
        return fmean(scores) if scores else None


def _build(found: RunResults) -> Content | None:
    costs = {cost.path: cost for cost in found.costs}
    told = [one for one in found.of(CURVES) if one.curve.step and one.path in costs]
    told.sort(key=lambda one: costs[one.path].task != "")  # stages shared by several targets come first
    groups: dict[str, list[StageCurve]] = {}
    for one in told:
        groups.setdefault(re.sub(r"/seed-\d+/", "/", one.path), []).append(one)
    if not groups:
        return None
    trainings = [
        Training(
            " · ".join(path.split("/")[1:]),  # without the encoder, which is the same for all
            {one.seed: one.curve for one in sorted(members, key=lambda one: one.seed)},
            _speed([(one.curve.tokens, costs[one.path].speed) for one in members]),
        )
        for path, members in groups.items()
    ]
    drawing = curve_plot(trainings[:MOST_DRAWN])
    values = {"trainings": trainings, "drawing": drawing, "drawn": MOST_DRAWN, "listed": MOST_LISTED}
    lines = [line for members in groups.values() for one in members for line in _lines(one, costs[one.path].speed)]
    return Content(values, [drawing], {"curves.csv": lines}, gist=plural(len(trainings), "training run"))


def _speed(given: Sequence[tuple[Sequence[int], Sequence[int]]]) -> float | None:
    """Tokens per second, from (tokens up to each point, tokens per second before it); None if no speed is known."""
    tokens = seconds = 0.0
    for until, speeds in given:
        for before, after, speed in zip((0, *until), until, speeds, strict=False):
            tokens += after - before
            seconds += (after - before) / max(speed, 0.5)  # the recorded speed was rounded: 0 is below 0.5
    return tokens / seconds if seconds else None


def _lines(one: StageCurve, speed: Sequence[int]) -> list[dict[str, Any]]:
    """One line per point, for a file."""
    columns: dict[str, Sequence[Any]] = dict(one.curve)
    columns["tokens_per_second"] = speed or [None] * len(one.curve.step)
    points = zip(*columns.values(), strict=True)
    return [{"stage": one.path, "seed": one.seed, **dict(zip(columns, point, strict=True))} for point in points]


def curve_plot(trainings: Sequence[Training]) -> Drawing:
    """For each training its loss by step and, next to it, its dev score if there is one; one line per seed."""
    from matplotlib.ticker import FuncFormatter

    across = min(ACROSS, len(trainings))
    down = -(-len(trainings) // across)
    figure, panels = canvas(390.0 * across, 134.0 * down + 24, down, 2 * across)
    for axes in panels[2 * len(trainings) :]:
        axes.set_visible(False)
    seeds = sorted({seed for one in trainings for seed in one.curves})
    for one, losses, scores in zip(trainings, panels[::2], panels[1::2], strict=False):
        losses.set_title(shortened(one.name, 50), loc="left", weight="bold", fontsize=10)
        for seed, its in one.curves.items():
            style: dict[str, Any] = {"color": COLOURS[f"series-{seeds.index(seed) % SERIES + 1}"], "linewidth": 1.25}
            losses.plot(*zip(*its.smooth.items(), strict=True), **style)
            scores.plot(list(its.dev), list(its.dev.values()), marker="o", markersize=3, **style)
        for axes, label in ((losses, "loss"), (scores, "dev score")):
            axes.set_ylabel(label)
            axes.locator_params(axis="y", nbins=4)
            axes.locator_params(axis="x", nbins=3)
            axes.set_xlim(0, 1.04 * one.steps)
            axes.tick_params(labelcolor=SOFT, labelsize=9)
            axes.grid(axis="y")
        scores.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
        scores.set_visible(one.best is not None)
    return finish(figure, "curves", "Training loss and English dev score, in percent, by step")


SECTION = Section(
    name="curves",
    title="Training curves",
    place=820,
    template=Path(__file__).with_name("curves.html.j2"),
    build=_build,
    reads=(CURVES,),
    writes=("curves.csv", "curves.svg"),
)
