"""One page for several encoders: their main tables and their costs side by side, from what each run's report wrote.

Each encoder has a run and a report of its own, where arms are compared and tested. Encoders differ in everything, so
nothing is tested between them here: the page shows numbers, and which points no other point dominates.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from viaduct.report import table_files
from viaduct.report.cost_plot import DISK_AXIS, LATENCY_AXIS, MEMORY_AXIS, Dot, cost_plot
from viaduct.report.drawing import Drawing
from viaduct.report.export import write_csvs, write_json
from viaduct.report.no_result import NoResult
from viaduct.report.templates import environment
from viaduct.results.working import new_files

COSTS = {"latency_ms_p50": LATENCY_AXIS, "peak_bytes": MEMORY_AXIS, "disk_bytes": DISK_AXIS}
"""Column of a run's `inference.csv` -> its axis."""
SHAPE = ("engine", "precision", "parameters_embedding", "parameters_rest", "flops_per_sentence")
"""Columns that are the same for models that differ only in the values of their weights."""
PAGE, LAST = "report.html", "report.json"


@dataclass(frozen=True)
class Line:
    """One arm of one encoder."""

    encoder: str
    arm: str
    run: str
    """Name of the run's directory, which is next to this page's."""
    scores: Mapping[str, Mapping[str, Any]]
    """Task -> its line of the run's main table."""
    average: Mapping[str, Any] | None
    costs: Mapping[str, float]
    """The costs that were measured."""
    marks: Sequence[str]
    """What sets its results apart, in words."""

    @property
    def name(self) -> str:
        """The label of the line in the figure."""
        return f"{self.encoder} {self.arm}"

    def point(self) -> tuple[float, ...] | None:
        """The costs and the negated average, so that less is better in all; None unless all are known."""
        if self.average is None or self.average["missing"] or len(self.costs) < len(COSTS):
            return None
        return (*(self.costs[cost] for cost in COSTS), -float(self.average["value"]))


def write(directory: Path, name: str, hypothesis: str, runs: Sequence[Path]) -> Path:
    """Write the page into `directory`, with its tables as CSV and everything as JSON, from the reports in the
    directories of these runs; returns its path."""
    written = [json.loads((run / LAST).read_text(encoding="utf-8")) for run in runs]
    lines = [line for run, own in zip(runs, written, strict=True) for line in _lines(run, own)]
    tasks = list(dict.fromkeys(task for line in lines for task in line.scores))
    undominated = best(lines)
    front = frontier_plot(lines, undominated)
    records = {kind: [one for run in written for one in run["records"][kind]] for kind in ("results", "costs")}
    table = [_dumped(line, tasks, line.name in undominated) for line in lines]
    languages = [
        {"encoder": run["about"]["encoder"], **line} for run in written for line in run["tables"]["per_language"]
    ]
    limits = {one for run in written if (one := run["about"]["limit"]) is not None}
    no_result = NoResult(any(run["about"]["miniature"] for run in written), tuple(sorted(limits)))
    values = {
        "name": name,
        "hypothesis": hypothesis,
        "no_result": no_result,
        "lines": lines,
        "tasks": tasks,
        "costs": COSTS,
        "best": undominated,
        "front": front,
    }
    html = environment(no_result.prefix).get_template("joint.html.j2").render(values)
    tables = {"encoders": table, "per_language": languages}
    with new_files(directory, LAST, (*(f"{kind}.csv" for kind in tables), "*frontier.svg", PAGE)) as folder:
        write_csvs(folder, tables)
        if front is not None:
            (folder / f"{no_result.prefix}frontier.svg").write_text(front.svg, encoding="utf-8")
        table_files.write(html, folder / table_files.FOLDER, no_result)
        (folder / PAGE).write_text(html, encoding="utf-8")
        write_json(folder / LAST, {"runs": [run.name for run in runs], "tables": tables, "records": records})
    return directory / PAGE


def _lines(run: Path, written: Mapping[str, Any]) -> list[Line]:
    """The arms of one run; `written`: what its report wrote."""
    main = written["tables"]["main_table"]
    measured = run / "inference.csv"
    costs: Mapping[str, Mapping[str, float]] = {}
    if measured.is_file():
        with measured.open(encoding="utf-8", newline="") as file:
            costs = _costs(list(csv.DictReader(file)))
    averages = {line["arm"]: line for line in main if line["task"] == "average"}
    arms = dict.fromkeys(line["arm"] for line in main)
    return [
        Line(
            written["about"]["encoder"],
            arm,
            run.name,
            {line["task"]: line for line in main if line["arm"] == arm and line["headline"]},
            averages.get(arm),
            costs.get(arm, {}),
            written["about"]["marks"].get(arm, ()),
        )
        for arm in arms
    ]


def _costs(measured: Sequence[Mapping[str, str]]) -> dict[str, dict[str, float]]:
    """Arm -> its costs. Models of one shape cost the same, and measured differences between them are noise, so each
    gets the median."""
    shapes = [tuple(one[name] for name in SHAPE) for one in measured]
    found: dict[str, dict[str, float]] = {}
    for one, shape in zip(measured, shapes, strict=True):
        alike = [other for other, its in zip(measured, shapes, strict=True) if its == shape]
        known = {cost: [float(other[cost]) for other in alike if other[cost]] for cost in COSTS}
        found[one["arm"]] = {cost: median(values) for cost, values in known.items() if values}
    return found


def best(lines: Sequence[Line]) -> set[str]:
    """Names of the points that no other point dominates (no worse in the average and all costs, and better in one)."""
    points = {line.name: point for line in lines if (point := line.point()) is not None}
    return {
        name
        for name, own in points.items()
        if not any(
            other != own and all(theirs <= ours for theirs, ours in zip(other, own, strict=True))
            for other in points.values()
        )
    }


def frontier_plot(lines: Sequence[Line], undominated: set[str]) -> Drawing | None:
    """A panel per cost: the average on the y axis, the cost on the x axis; None without any point."""
    points = {line.name: (line, point) for line in lines if (point := line.point()) is not None}
    if not points:
        return None
    panels = {
        axis: [
            Dot(name, line.costs[cost], -point[-1], name not in undominated) for name, (line, point) in points.items()
        ]
        for cost, axis in COSTS.items()
    }
    caption = "Average against latency, memory and size; rings: another point is at least as good in all of them"
    return cost_plot(panels, "average over tasks", caption)


def _dumped(line: Line, tasks: Sequence[str], on: bool) -> dict[str, Any]:
    """The line as written to files."""
    scores = {task: line.scores.get(task, {}).get("value") for task in tasks}
    average = line.average and line.average["value"]
    costs = {cost: line.costs.get(cost) for cost in COSTS}
    return {
        "encoder": line.encoder,
        "arm": line.arm,
        "run": line.run,
        **scores,
        "average": average,
        **costs,
        "best": on,
    }
