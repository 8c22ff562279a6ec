"""Score against cost at inference: which of the measured models nobody should choose.

A point is dominated when another one scores no less and costs no more, and is better in one of the two. Models of the
same shape cost the same by construction, and what their measurements differ by is noise: they stand at the median of
it, except that one whose paired rounds say faster or slower keeps its own latency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from viaduct.report.drawing import Drawing, dot, finish, sheet, shortened, stroke, write_text
from viaduct.report.number import percent
from viaduct.report.table import Tables
from viaduct.serving.comparison import Inference, InferenceLine

LATENCY, MEMORY, DISK = "latency_ms", "peak_bytes", "disk_bytes"
AXES = {
    LATENCY: ("latency of one sentence, ms (median)", 1.0),
    MEMORY: ("peak memory, MiB", 2.0**20),
    DISK: ("size on disk, MiB", 2.0**20),
}
"""Cost -> (its words, how many of its units make one on the axis)."""
_APART = 14.0
_TOP = 22.0
_WIDE, _NARROW = 480.0, 320.0


@dataclass(frozen=True)
class Point:
    """One arm with its engine and precision."""

    name: str
    arm: str
    engine: str
    precision: str
    score: float
    """The average of the report's main table, a fraction."""
    costs: Mapping[str, float]
    """Cost -> milliseconds or bytes; without those that the machine does not say."""


@dataclass(frozen=True)
class Frontier:
    """All points, and what is wrong with some."""

    points: tuple[Point, ...]
    without: tuple[str, ...]
    """Measured arms that have no whole average, and therefore no point."""

    @property
    def costs(self) -> tuple[str, ...]:
        """Those that every point has."""
        return tuple(cost for cost in AXES if all(cost in point.costs for point in self.points))

    def worse(self, cost: str) -> frozenset[str]:
        """Names of the points that are dominated in this cost."""
        return dominated(self.points, (cost,))

    @property
    def useless(self) -> tuple[str, ...]:
        """Names of the points that one other point dominates in all costs together."""
        found = dominated(self.points, self.costs)
        return tuple(point.name for point in self.points if point.name in found)


def frontier(inference: Inference, tables: Tables) -> Frontier | None:
    """The points of all arms with a whole average; None without any, or where nothing is compared."""
    averages = {line.arm: tables.average(line.arm) for line in inference.lines}
    whole = {arm: average.value.mean for arm, average in averages.items() if average and not average.missing}
    found = [line for line in inference.lines if line.arm in whole]
    if not found:
        return None
    points = tuple(
        Point(line.name, line.arm, line.engine, line.precision, whole[line.arm], _costs(line, inference))
        for line in found
    )
    return Frontier(points, tuple(line.name for line in inference.lines if line.arm not in whole))


def _costs(line: InferenceLine, inference: Inference) -> dict[str, float]:
    alike = [other for other in inference.lines if other.shape == line.shape]
    timed = [other for other in alike if not _apart(other, inference)]
    costs = {
        LATENCY: line.p50 if _apart(line, inference) else median(other.p50 for other in timed),
        DISK: float(median(other.disk_bytes for other in alike)),
    }
    peaks = [other.peak_bytes for other in alike if other.peak_bytes is not None]
    return costs | ({MEMORY: float(median(peaks))} if peaks else {})


def _apart(line: InferenceLine, inference: Inference) -> bool:
    """Whether paired rounds say that this model's time is not the first one's; of the first itself they cannot."""
    return line.arm != inference.first and line.speed in ("faster", "slower")


def dominated(points: Sequence[Point], costs: Sequence[str]) -> frozenset[str]:
    """Names of the points that another one dominates in score and these costs."""
    return frozenset(
        point.name for point in points if any(_dominates(other, point, costs) for other in points if other != point)
    )


def _dominates(one: Point, other: Point, costs: Sequence[str]) -> bool:
    gains = [one.score - other.score, *(other.costs[cost] - one.costs[cost] for cost in costs)]
    return min(gains) >= 0 and max(gains) > 0


def content(found: Frontier) -> dict[str, Any]:
    """The points for a file."""
    worse = {cost: found.worse(cost) for cost in found.costs}
    return {
        "points": [
            {
                "arm": point.arm,
                "engine": point.engine,
                "precision": point.precision,
                "score": point.score,
                **point.costs,
                "dominated_in": [cost for cost in found.costs if point.name in worse[cost]],
            }
            for point in found.points
        ],
        "nobody_should_choose": list(found.useless),
        "without_a_whole_average": list(found.without),
    }


@dataclass(frozen=True)
class _Panel:
    """One cost's place on the sheet: its axes from their first tick to their last."""

    cost: str
    left: float
    right: float
    bottom: float
    across: Sequence[float]
    upward: Sequence[float]

    def place(self, point: Point) -> tuple[float, float]:
        """Where a point stands."""
        cost = point.costs[self.cost] / AXES[self.cost][1]
        return self.x(cost), self.y(point.score)

    def x(self, cost: float) -> float:
        """In the axis' units."""
        return self.left + cost / self.across[-1] * (self.right - self.left)

    def y(self, score: float) -> float:
        """Of a fraction."""
        share = (score - self.upward[0]) / (self.upward[-1] - self.upward[0])
        return self.bottom - share * (self.bottom - _TOP)


def frontier_plot(found: Frontier) -> Drawing:
    """A panel per cost: score upwards, cost to the right; dominated points are rings with soft names."""
    bottom = _TOP + max(240.0, _APART * len(found.points) + 40)
    scores = [point.score for point in found.points]
    upward = _ticks(min(scores), max(scores))
    widths = [_WIDE, *[_NARROW] * (len(found.costs) - 1)]
    axes = sheet(sum(widths), bottom + 46)
    for number, (cost, width) in enumerate(zip(found.costs, widths, strict=True)):
        start = sum(widths[:number])
        most = max(point.costs[cost] for point in found.points) / AXES[cost][1]
        panel = _Panel(cost, start + 46, start + width - 24, bottom, _ticks(0.0, 1.02 * most), upward)
        _ground(axes, panel)
        _points(axes, panel, found)
    return finish(axes, "frontier", "Score against latency, memory and size; rings are dominated points")


def _ticks(low: float, high: float) -> list[float]:
    """Round values that enclose the range."""
    return [float(tick) for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)]


def _ground(axes: Axes, panel: _Panel) -> None:
    digits = 1 if panel.upward[1] - panel.upward[0] > 0.00099 else 2
    for tick in panel.upward:
        stroke(axes, (panel.left, panel.y(tick)), (panel.right, panel.y(tick)), width=0.75)
        at = (panel.left - 8, panel.y(tick) + 4)
        write_text(axes, at, percent(tick, digits), size=10, colour="soft", align="right")
    for tick in panel.across:
        stroke(axes, (panel.x(tick), _TOP), (panel.x(tick), panel.bottom), width=0.75)
        write_text(axes, (panel.x(tick), panel.bottom + 16), f"{tick:g}", size=10, colour="soft", align="center")
    write_text(axes, (panel.left - 40, 12), "score, percent", size=10, colour="soft")
    middle = (panel.left + panel.right) / 2
    write_text(axes, (middle, panel.bottom + 36), AXES[panel.cost][0], size=10, colour="soft", align="center")


def _points(axes: Axes, panel: _Panel, found: Frontier) -> None:
    """Dots with their names beside them, towards the middle, at heights where no name covers another."""
    worse = found.worse(panel.cost)
    points = sorted(found.points, key=lambda point: (-point.score, point.costs[panel.cost]))
    for point, base in zip(points, _heights([panel.place(point)[1] for point in points], panel.bottom), strict=True):
        x, y = panel.place(point)
        beaten = point.name in worse
        side = 1 if x < (panel.left + panel.right) / 2 else -1
        colour = "soft" if beaten else "ink"
        if abs(base - y) > 2:
            stroke(axes, (x, y), (x + 10 * side, base), colour="soft", width=0.75)
        align = "left" if side == 1 else "right"
        write_text(axes, (x + 12 * side, base + 4), shortened(point.name), colour=colour, align=align, bold=not beaten)
        dot(axes, (x, y), colour="soft" if beaten else "series-1", filled=not beaten)


def _heights(wanted: Sequence[float], lowest: float) -> list[float]:
    """Heights near these (ascending) that are apart, none below `lowest` unless there are too many."""
    heights: list[float] = []
    for at in wanted:
        heights.append(max(at, heights[-1] + _APART) if heights else at)
    limit = lowest
    for number in reversed(range(len(heights))):
        heights[number] = min(heights[number], limit)
        limit = heights[number] - _APART
    return heights
