"""The report's figures: heat maps of languages by family, transfer, differences and cost.

Every number in a figure is in a table of the page as well. Values come in as fractions and are drawn in percent. How
lines become SVG is in viaduct.report.drawing; what the numbers mean is in viaduct.report.table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from matplotlib.axes import Axes

from viaduct.languages import LANGUAGES
from viaduct.report.drawing import (
    Drawing,
    box,
    dot,
    finish,
    sheet,
    shortened,
    stroke,
    width_of,
    write_slanted,
    write_text,
)
from viaduct.report.number import duration, percent, points

_ROW = 17.0
_CELL = 37.0
_LEGEND = 144.0
_LEGEND_STEPS = 9
_WIDE = 780.0
_APART = 10.0
_HEAVIEST = 0.78
"""Opacity of the strongest colour: text in the page's ink stays readable on it in both themes."""


@dataclass(frozen=True)
class Panel:
    """One heat map."""

    name: str
    title: str
    languages: tuple[str, ...]
    """Row order; families that stand together share one label."""
    tasks: tuple[str, ...]
    values: Mapping[tuple[str, str], float | None]
    """(task, language) -> fraction; None: should be there and is missing; absent: the task has no such language."""
    signed: bool
    """True: differences, coloured in both directions from 0; False: scores, coloured upwards from `lowest`."""
    lowest: float
    highest: float
    """The values with no colour (scores only) and with the strongest one."""


@dataclass(frozen=True)
class GapPoint:
    """English and the mean of the other languages, for one arm and task, as fractions."""

    arm: str
    task: str
    english: float
    others: float


@dataclass(frozen=True)
class DifferencePoint:
    """Difference of one arm from the baseline on one task, as fractions."""

    arm: str
    task: str
    mean: float
    interval: tuple[float, float] | None
    """Its 95 % interval over seeds; None with one seed."""


def heat_map(panel: Panel) -> Drawing:
    """Languages down (families named at the left), tasks across, one number per cell."""
    names = {code: LANGUAGES[code].name if code in LANGUAGES else code for code in panel.languages}
    left = 186.0
    top = 16.0 + max((0.72 * width_of(shortened(task)) for task in panel.tasks), default=0) + 8
    width = left + max(_CELL * len(panel.tasks), _LEGEND) + 26  # one or two tasks are narrower than the legend
    height = top + _ROW * len(panel.languages) + 52
    axes = sheet(width, height)
    for column, task in enumerate(panel.tasks):
        write_slanted(axes, (left + _CELL * (column + 0.5) - 2, top - 7), shortened(task))
    row = 0
    for family, codes in groupby(panel.languages, key=_family):
        stroke(axes, (0, top + row * _ROW), (left + _CELL * len(panel.tasks), top + row * _ROW), width=0.75)
        write_text(axes, (0, top + row * _ROW + 12), family, size=10, colour="soft")
        for code in codes:
            y = top + row * _ROW
            write_text(axes, (90, y + 12), names[code], size=11)
            write_text(axes, (left - 8, y + 12), code, size=10, colour="soft", align="right")
            for column, task in enumerate(panel.tasks):
                if (task, code) in panel.values:
                    _heat_cell(axes, panel, (left + _CELL * column, y), panel.values[task, code])
            row += 1
    _heat_legend(axes, panel, left, top + row * _ROW + 18)
    return finish(axes, panel.name, panel.title)


def _family(code: str) -> str:
    return LANGUAGES[code].family if code in LANGUAGES else "other"


def _heat_cell(axes: Axes, panel: Panel, corner: tuple[float, float], value: float | None) -> None:
    middle = (corner[0] + _CELL / 2, corner[1] + 12)
    if value is None:
        write_text(axes, middle, "–", size=10, colour="soft", align="center")
        return
    colour, strength = _shade(panel, value)
    box(axes, (corner[0] + 0.5, corner[1] + 0.5), (_CELL - 1, _ROW - 1), colour, strength=strength)
    write_text(axes, middle, points(value) if panel.signed else percent(value), size=10, align="center")


def _shade(panel: Panel, value: float) -> tuple[str, float]:
    if panel.signed:
        share = min(1.0, abs(value) / panel.highest) if panel.highest else 0.0
        return ("up" if value >= 0 else "down"), _HEAVIEST * share
    span = panel.highest - panel.lowest
    return "level", _HEAVIEST * (min(1.0, max(0.0, (value - panel.lowest) / span)) if span else 0.5)


def _heat_legend(axes: Axes, panel: Panel, left: float, y: float) -> None:
    low = -panel.highest if panel.signed else panel.lowest
    steps, wide = _LEGEND_STEPS, _LEGEND / _LEGEND_STEPS
    for step in range(steps):
        value = low + (panel.highest - low) * step / (steps - 1)
        colour, strength = _shade(panel, value)
        box(axes, (left + step * wide, y), (wide, 8), colour, strength=strength)
    ends = (low, (low + panel.highest) / 2, panel.highest)
    for place, value in zip((0.0, steps * wide / 2, steps * wide), ends, strict=True):
        label = points(value) if panel.signed else percent(value)
        write_text(axes, (left + place, y + 20), label, size=10, colour="soft", align="center")
    write_text(axes, (left - 20, y + 8), "points" if panel.signed else "percent", size=10, colour="soft", align="right")


@dataclass(frozen=True)
class MatrixCell:
    """A difference, as fractions."""

    mean: float
    interval: tuple[float, float] | None
    stars: str


@dataclass(frozen=True)
class Matrix:
    """Differences of arms by task, or by language family."""

    name: str
    title: str
    arms: tuple[str, ...]
    columns: tuple[str, ...]
    """The first one stands apart where `apart`: it is the mean of the others."""
    apart: bool
    cells: Mapping[tuple[str, str], MatrixCell]
    """(arm, column) -> difference; absent: there is none."""


def transfer_matrix(matrix: Matrix) -> Drawing:
    """Arms down, columns across: a difference per cell, coloured by its sign and size, its interval in small below it.
    Without any interval the cells are smaller.

    The strongest colour stands for the fifth of the differences that are largest, so that a column of large ones does
    not make all others pale.
    """
    sizes = sorted(abs(cell.mean) for cell in matrix.cells.values())
    reach = max(0.01, sizes[int(0.8 * (len(sizes) - 1))])
    panel = Panel(matrix.name, matrix.title, (), (), {}, signed=True, lowest=0.0, highest=reach)
    left = 14 + max(width_of(shortened(arm)) for arm in matrix.arms)
    top = 16.0 + max(0.72 * width_of(shortened(column)) for column in matrix.columns) + 8
    known = any(cell.interval is not None for cell in matrix.cells.values())
    wide, tall = (70.0, 34.0) if known else (46.0, 22.0)
    places = [left + wide * at + (_APART if matrix.apart and at else 0) for at in range(len(matrix.columns))]
    axes = sheet(places[-1] + wide + 40, top + tall * len(matrix.arms) + 52)
    for column, x in zip(matrix.columns, places, strict=True):
        write_slanted(axes, (x + wide / 2 - 2, top - 7), shortened(column))
    for row, arm in enumerate(matrix.arms):
        y = top + row * tall
        write_text(axes, (0, y + tall / 2 + 4), shortened(arm))
        for column, x in zip(matrix.columns, places, strict=True):
            _matrix_cell(axes, panel, (x, y), (wide, tall), matrix.cells.get((arm, column)))
    _heat_legend(axes, panel, left + 60, top + tall * len(matrix.arms) + 18)
    return finish(axes, matrix.name, matrix.title)


def _matrix_cell(
    axes: Axes, panel: Panel, corner: tuple[float, float], size: tuple[float, float], cell: MatrixCell | None
) -> None:
    (x, y), (wide, tall) = corner, size
    middle = x + wide / 2
    if cell is None:
        write_text(axes, (middle, y + tall / 2 + 4), "–", size=10, colour="soft", align="center")
        return
    colour, strength = _shade(panel, cell.mean)
    box(axes, (x + 0.5, y + 0.5), (wide - 1, tall - 1), colour, strength=strength)
    base = y + tall / 2 + (4 if cell.interval is None else -2)
    write_text(axes, (middle, base), f"{points(cell.mean)}{cell.stars}", align="center", bold=bool(cell.stars))
    if cell.interval is not None:
        between = f"{points(cell.interval[0])} to {points(cell.interval[1])}"
        write_text(axes, (middle, y + 27), between, size=8.5, align="center")


@dataclass(frozen=True)
class _Scale:
    """A horizontal axis: values to pixels."""

    ticks: tuple[float, ...]
    left: float
    right: float

    def across(self, value: float) -> float:
        """Where this value stands; beyond the ends it stands at the end."""
        share = (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return self.left + min(1.0, max(0.0, share)) * (self.right - self.left)


def transfer_plot(gap_points: Sequence[GapPoint]) -> Drawing:
    """For each task and arm a line from the mean of the other languages (ring) to English (dot): the gap."""
    values = [value for point in gap_points for value in (point.english, point.others)]
    axes, scale, places = _strips([(point.task, point.arm) for point in gap_points], values, "gap")
    for tick in scale.ticks:
        write_text(axes, (scale.across(tick), 13), percent(tick, 0), size=10, colour="soft", align="center")
    for point, y in zip(gap_points, places, strict=True):
        others, english = (scale.across(point.others), y), (scale.across(point.english), y)
        stroke(axes, others, english, colour="series-1", width=2.5)
        dot(axes, others, colour="series-1", filled=False)
        dot(axes, english, colour="series-1")
        write_text(axes, (_WIDE, y + 4), percent(point.english - point.others), align="right")
    return finish(axes, "transfer_gap", "English score and mean of the other languages, by task and arm")


def difference_plot(all_points: Sequence[DifferencePoint]) -> Drawing:
    """For each task and arm the difference from the baseline with its interval over seeds, around a line at zero.

    Ends of intervals far beyond the differences themselves are cut at the edge of the drawing.
    """
    reach = 2.5 * max(0.004, *(abs(point.mean) for point in all_points))
    ends = [end for point in all_points for end in point.interval or ()]
    values = [0.0, *(point.mean for point in all_points), *(min(reach, max(-reach, end)) for end in ends)]
    axes, scale, places = _strips([(point.task, point.arm) for point in all_points], values, "points")
    digits = 0 if scale.ticks[1] - scale.ticks[0] >= 0.0099 else 1
    for tick in scale.ticks:
        write_text(axes, (scale.across(tick), 13), points(tick, digits), size=10, colour="soft", align="center")
    stroke(axes, (scale.across(0), 20), (scale.across(0), places[-1] + 14), colour="soft", width=1.25)
    for point, y in zip(all_points, places, strict=True):
        colour = "up" if point.mean >= 0 else "down"
        at = scale.across(point.mean)
        if point.interval is not None:
            low, high = (scale.across(end) for end in point.interval)
            stroke(axes, (low, y), (high, y), colour=colour, width=2)
            dot(axes, (at, y), colour=colour, filled=point.interval[0] > 0 or point.interval[1] < 0)
        else:
            dot(axes, (at, y), colour=colour, filled=False)
        write_text(axes, (_WIDE, y + 4), points(point.mean), align="right")
    return finish(axes, "differences", "Difference from the baseline by task and arm, in points")


def _strips(
    keys: Sequence[tuple[str, str]], values: Sequence[float], heading: str
) -> tuple[Axes, _Scale, tuple[float, ...]]:
    """Axes with one line per (task, arm), labelled and with grid lines; the scale; the middle of each line."""
    task_width = max(width_of(shortened(task, 16), 12) for task, _ in keys) + 14
    left = task_width + max(width_of(shortened(arm)) for _, arm in keys) + 18
    ticks = _ticks(min(values), max(values))
    height = 30 + 19.0 * len(keys) + 10.0 * len({task for task, _ in keys})
    axes = sheet(_WIDE, height)
    scale = _Scale(tuple(ticks), left, _WIDE - 62)
    for tick in ticks:
        stroke(axes, (scale.across(tick), 20), (scale.across(tick), height - 6), width=0.75)
    write_text(axes, (_WIDE, 13), heading, size=10, colour="soft", align="right")
    y, places = 26.0, []
    for task, members in groupby(keys, key=lambda key: key[0]):
        write_text(axes, (0, y + 14), shortened(task, 16), size=11, bold=True)
        for _, arm in members:
            write_text(axes, (task_width, y + 14), shortened(arm), size=11)
            places.append(y + 10)
            y += 19
        y += 10
    return axes, scale, tuple(places)


def cost_bars(bars: Sequence[tuple[str, Mapping[str, float]]], stages: Sequence[str]) -> Drawing:
    """One bar per arm (and one for shared work) in minutes, cut by stage; `bars` holds seconds."""
    labels = max(width_of(shortened(label)) for label, _ in bars)
    left, right, width = labels + 16, 70.0, _WIDE
    longest = max((sum(parts.values()) for _, parts in bars), default=0.0) or 1.0
    height = 40 + 28.0 * len(bars)
    axes = sheet(width, height)
    x = left
    for number, stage in enumerate(stages):
        box(axes, (x, 4), (11, 11), f"series-{number % 4 + 1}")
        write_text(axes, (x + 16, 14), stage, size=11, colour="soft")
        x += 16 + width_of(stage) + 24
    for row, (label, parts) in enumerate(bars):
        y = 32 + 28.0 * row
        write_text(axes, (0, y + 14), shortened(label))
        x = left
        for number, stage in enumerate(stages):
            length = parts.get(stage, 0.0) / longest * (width - left - right)
            if length > 0:
                box(axes, (x, y), (length, 18), f"series-{number % 4 + 1}")
            x += length
        write_text(axes, (x + 7, y + 14), duration(sum(parts.values())), colour="soft")
    return finish(axes, "cost", "Time spent by arm and stage")


def _ticks(low: float, high: float) -> list[float]:
    """Round values that enclose the range: at most about seven steps of 1, 2 or 5 times a power of ten."""
    step = next((step for step in _STEPS if (high - low) / step <= 7), _STEPS[-1])
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * number for number in range(first, max(last, first + 1) + 1)]


_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
