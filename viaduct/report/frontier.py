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

from viaduct.report.drawing import Drawing, dot, finish, sheet, shortened, stroke, width_of, write_text
from viaduct.report.inference import Inference, InferenceLine
from viaduct.report.number import percent
from viaduct.report.table import Tables

LATENCY, MEMORY, DISK = "latency_ms", "peak_bytes", "disk_bytes"
AXES = {
    LATENCY: ("latency of one sentence, ms (median)", 1.0),
    MEMORY: ("peak memory, MiB", 2.0**20),
    DISK: ("size on disk, MiB", 2.0**20),
}
"""Cost -> (its words, how many of its units make one on the axis)."""
_APART = 14.0
_SHARED = ("unchanged", "cannot tell")


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
        Point(line.name, line.arm, line.engine, line.precision, whole[line.arm], _costs(line, inference.lines))
        for line in found
    )
    return Frontier(points, tuple(line.name for line in inference.lines if line.arm not in whole))


def _costs(line: InferenceLine, lines: Sequence[InferenceLine]) -> dict[str, float]:
    alike = [other for other in lines if other.shape == line.shape]
    timed = [other for other in alike if other.speed in _SHARED] if line.speed in _SHARED else [line]
    costs = {LATENCY: median(other.p50 for other in timed), DISK: float(median(other.disk_bytes for other in alike))}
    peaks = [other.peak_bytes for other in alike if other.peak_bytes is not None]
    return costs | ({MEMORY: float(median(peaks))} if peaks else {})


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


def frontier_plots(found: Frontier) -> tuple[Drawing, ...]:
    """One drawing per cost: score upwards, cost to the right; dominated points are rings with soft names."""
    return tuple(_plot(found, cost, 560.0 if cost == LATENCY else 400.0) for cost in found.costs)


def _plot(found: Frontier, cost: str, width: float) -> Drawing:
    words, unit = AXES[cost]
    values = [point.costs[cost] / unit for point in found.points]
    scores = [point.score for point in found.points]
    across = MaxNLocator(5).tick_values(0.0, max(values) * 1.02)
    upward = MaxNLocator(5).tick_values(min(scores), max(scores))
    named = max(width_of(shortened(point.name)) for point in found.points)
    left, right, top, bottom = 46.0, width - named - 16, 22.0, 300.0
    axes = sheet(width, bottom + 46)
    for tick in upward:
        y = bottom - (tick - upward[0]) / (upward[-1] - upward[0]) * (bottom - top)
        stroke(axes, (left, y), (right, y), width=0.75)
        write_text(axes, (left - 8, y + 4), percent(tick), size=10, colour="soft", align="right")
    for tick in across:
        x = left + tick / across[-1] * (right - left)
        stroke(axes, (x, top), (x, bottom), width=0.75)
        write_text(axes, (x, bottom + 16), f"{tick:g}", size=10, colour="soft", align="center")
    write_text(axes, (0, 12), "score, percent", size=10, colour="soft")
    write_text(axes, ((left + right) / 2, bottom + 36), words, size=10, colour="soft", align="center")
    places = [
        (
            left + value / across[-1] * (right - left),
            bottom - (score - upward[0]) / (upward[-1] - upward[0]) * (bottom - top),
        )
        for value, score in zip(values, scores, strict=True)
    ]
    _points(axes, found, cost, places)
    return finish(axes, f"frontier_{cost.partition('_')[0]}", f"Score against {words}; rings are dominated points")


def _points(axes: Axes, found: Frontier, cost: str, places: Sequence[tuple[float, float]]) -> None:
    """Dots with their names to the right, which are moved down where they would cover each other."""
    worse = found.worse(cost)
    lowest: list[tuple[float, float, float]] = []
    for (x, y), point in sorted(zip(places, found.points, strict=True), key=lambda one: (one[0][1], one[0][0])):
        size = width_of(shortened(point.name))
        base = y + 4
        while any(abs(base - other) < _APART and x < end and begin < x + size + 10 for begin, end, other in lowest):
            base += 1
        lowest.append((x, x + size + 10, base))
        if base - y - 4 > 2:
            stroke(axes, (x, y), (x + 8, base - 4), colour="soft", width=0.75)
        beaten = point.name in worse
        write_text(axes, (x + 10, base), shortened(point.name), colour="soft" if beaten else "ink", bold=not beaten)
        dot(axes, (x, y), colour="soft" if beaten else "series-1", filled=not beaten)
