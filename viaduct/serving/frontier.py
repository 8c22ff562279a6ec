"""Score against cost at inference: which of the measured models are shown to be dominated by another one.

Scores differ by chance, so they are compared only by the page's own contrasts: a point is dominated if it is "lower"
than another at no lower cost, or "equivalent" to it at a cost that is measured to be higher. Arms that the page does
not compare, or cannot tell apart, do not dominate each other. Models of the same shape cost the same by construction,
and differences between their measurements are noise: they are placed at the median, except that a model whose paired
rounds say faster or slower keeps its own latency. A latency is measured to be higher if the intervals of the two time
ratios do not overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

from viaduct.metrics.speed import Ratio
from viaduct.metrics.verdict import Verdict
from viaduct.report.contrast import Contrasts
from viaduct.report.cost_plot import DISK_AXIS, LATENCY_AXIS, MEMORY_AXIS, Dot, cost_plot
from viaduct.report.drawing import Drawing
from viaduct.report.number import plural
from viaduct.report.table import Tables
from viaduct.serving.comparison import Inference, InferenceLine

LATENCY, MEMORY, DISK = "latency_ms", "peak_bytes", "disk_bytes"
AXES = {LATENCY: LATENCY_AXIS, MEMORY: MEMORY_AXIS, DISK: DISK_AXIS}


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
    """Cost -> milliseconds or bytes; costs that the machine does not report are left out."""
    time: Ratio | None = None
    """Ratio of its time to that of the model that all are compared with; None with too few rounds."""


@dataclass(frozen=True)
class Frontier:
    """All points, and which of them are dominated."""

    points: tuple[Point, ...]
    without: tuple[str, ...]
    """Measured arms without a complete average, which therefore have no point."""
    contrasts: Contrasts

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs that every point has."""
        return tuple(cost for cost in AXES if all(cost in point.costs for point in self.points))

    def verdict(self, one: Point, other: Point) -> Verdict:
        """The verdict on the first one's score minus the other's; "no verdict" if the page does not compare them."""
        found = self.contrasts.of(one.arm, against=other.arm)
        if found is not None:
            return found.verdict
        back = self.contrasts.of(other.arm, against=one.arm)
        turned: dict[Verdict, Verdict] = {"higher": "lower", "lower": "higher"}
        return "no verdict" if back is None else turned.get(back.verdict, back.verdict)

    def dominated(self, costs: Sequence[str]) -> dict[str, str]:
        """Name of each point that another one dominates in score and all of these costs -> name of the other one."""
        found = {}
        for point in self.points:
            better = next((other for other in self.points if self._dominates(other, point, costs)), None)
            if better is not None:
                found[point.name] = better.name
        return found

    def _dominates(self, one: Point, other: Point, costs: Sequence[str]) -> bool:
        if one.arm == other.arm or any(other.costs[cost] < one.costs[cost] for cost in costs):
            return False
        said = self.verdict(other, one)
        return said == "lower" or (said == "equivalent" and any(_dearer(other, one, cost) for cost in costs))

    @property
    def words(self) -> tuple[str, ...]:
        """What was compared and found, in sentences."""
        pairs = [pair for pair in combinations(self.points, 2) if pair[0].arm != pair[1].arm]
        tested = [pair for pair in pairs if self.verdict(*pair) != "no verdict"]
        if not tested:
            return ("No difference in score between these points was tested, so none is called the worse choice.",)
        said = [self._sentence(name, other) for name, other in self.dominated(self.costs).items()]
        compared = ", ".join(f"{one.name} with {other.name}" for one, other in tested)
        count = f"{len(tested)} of {plural(len(pairs), 'pair')}"
        end = "" if said else " None of them is the worse choice in everything that was measured."
        return (*said, f"Scores were compared, with the page's correction, for {count} of points: {compared}.{end}")

    def _sentence(self, name: str, other: str) -> str:
        named = {point.name: point for point in self.points}
        if self.verdict(named[name], named[other]) == "lower":
            return f"{name} scores lower than {other} and costs no less in everything that was measured."
        more = ", ".join(AXES[cost].words for cost in self.costs if _dearer(named[name], named[other], cost))
        return f"{name} scores like {other}, within half a point, but costs more ({more}) and no less otherwise."


def _dearer(one: Point, other: Point, cost: str) -> bool:
    """Whether the first point's cost is measured to be higher."""
    if cost != LATENCY:
        return one.costs[cost] > other.costs[cost]
    return one.time is not None and other.time is not None and one.time.low > other.time.high


def frontier(inference: Inference, tables: Tables, contrasts: Contrasts) -> Frontier | None:
    """The points of all arms with a complete average; None if there are none, or if nothing is compared."""
    averages = {line.arm: tables.average(line.arm) for line in inference.lines}
    whole = {arm: one.score.mean for arm, one in averages.items() if one and one.score and not one.missing}
    found = [line for line in inference.lines if line.arm in whole]
    if not found:
        return None
    points = tuple(
        Point(line.name, line.arm, line.engine, line.precision, whole[line.arm], _costs(line, inference), line.ratio)
        for line in found
    )
    return Frontier(points, tuple(line.name for line in inference.lines if line.arm not in whole), contrasts)


def _costs(line: InferenceLine, inference: Inference) -> dict[str, float]:
    alike = [other for other in inference.lines if other.shape == line.shape]
    timed = [other for other in alike if not _apart(other, inference)]
    costs = {
        LATENCY: line.latency_ms_p50 if _apart(line, inference) else median(other.latency_ms_p50 for other in timed),
        DISK: float(median(other.disk_bytes for other in alike)),
    }
    peaks = [other.peak_bytes for other in alike if other.peak_bytes is not None]
    return costs | ({MEMORY: float(median(peaks))} if peaks else {})


def _apart(line: InferenceLine, inference: Inference) -> bool:
    """Whether paired rounds say that this model is faster or slower than the first one; False for the first itself."""
    return line.arm != inference.first and line.speed in ("faster", "slower")


def content(found: Frontier) -> dict[str, Any]:
    """The points and what dominates them, for a JSON file."""
    worse = {cost: found.dominated((cost,)) for cost in found.costs}
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
        "dominated_by": found.dominated(found.costs),
        "words": list(found.words),
        "without_a_whole_average": list(found.without),
    }


def frontier_plot(found: Frontier) -> Drawing:
    """One panel per cost: score upwards, cost to the right; dominated points are rings with softer names."""
    panels = {
        AXES[cost]: [Dot(one.name, one.costs[cost], one.score, one.name in worse) for one in found.points]
        for cost in found.costs
        for worse in (found.dominated((cost,)),)
    }
    return cost_plot(panels, "score", "Score against latency, memory and size; rings are dominated points")
