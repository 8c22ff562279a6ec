"""The report's tables as CSV and JSON files, all scores as fractions.

The page and these files are made from the same typed tables, so they cannot disagree.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from viaduct.languages import LANGUAGES
from viaduct.metrics.summary import Difference, Spread
from viaduct.report.spending import CostLine, Spending
from viaduct.report.table import Tables
from viaduct.results.record import About, ResultRow, StageCost

Line = dict[str, Any]
"""One line of a table; None is an empty field in CSV and null in JSON."""


def main_lines(tables: Tables) -> list[Line]:
    """Arm x task x metric, then the averages over tasks (task "average")."""
    columns = {column.task: column for column in tables.columns}
    lines = [
        {
            "arm": cell.arm,
            "task": cell.task,
            "metric": cell.metric or None,
            "headline": cell.headline,
            "split": columns[cell.task].split or None,
            "substitution": columns[cell.task].substitution,
            **_spread(cell.score),
            **_difference(cell.difference),
            "languages": cell.languages,
            "missing": "; ".join((*columns[cell.task].absent, *cell.missing) if cell.score else [cell.reason]) or None,
        }
        for cell in tables.cells
    ]
    lines += [
        {
            "arm": average.arm,
            "task": "average",
            "metric": "mean over tasks",
            "headline": False,
            "split": None,
            "substitution": None,
            **_spread(average.value),
            **_difference(average.difference),
            "languages": None,
            "missing": "; ".join(average.missing) or None,
        }
        for average in tables.averages
    ]
    return lines


def language_lines(tables: Tables) -> list[Line]:
    """Arm x task x metric x language."""
    return [
        {
            "task": cell.task,
            "metric": cell.metric,
            "headline": cell.headline,
            "language": cell.language,
            "family": LANGUAGES[cell.language].family if cell.language in LANGUAGES else None,
            "arm": cell.arm,
            **_spread(cell.score),
            **_difference(cell.difference),
        }
        for cell in tables.per_language
    ]


def gap_lines(tables: Tables) -> list[Line]:
    """Task x arm: English, the others' mean, the gap."""
    return [
        {
            "task": cell.task,
            "arm": cell.arm,
            "english": cell.english.mean,
            "mean_of_others": cell.others.mean,
            "gap": cell.gap.mean,
            "gap_standard_deviation": cell.gap.standard_deviation,
            "seeds": " ".join(map(str, cell.gap.seeds)),
        }
        for cell in tables.gaps
    ]


def cost_lines(spending: Spending) -> list[Line]:
    """Arm x stage, then one line for everything; an empty arm is work that several arms share."""
    total = spending.total
    return [_cost(line) for line in (*spending.lines, *([total] if total else []))]


def _cost(line: CostLine) -> Line:
    return asdict(line)


def _spread(spread: Spread | None) -> Line:
    return {
        "value": spread.mean if spread else None,
        "standard_deviation": spread.standard_deviation if spread else None,
        "seeds": " ".join(map(str, spread.seeds)) if spread else None,
    }


def _difference(difference: Difference | None) -> Line:
    return {
        "difference": difference.mean if difference else None,
        "difference_standard_deviation": difference.standard_deviation if difference else None,
        "paired_seeds": " ".join(map(str, difference.seeds)) if difference else None,
    }


def write_csv(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """A CSV file (UTF-8, one header line); without lines the file is empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]) if lines else [], lineterminator="\n")
        if lines:
            writer.writeheader()
        writer.writerows(lines)


def write_all(
    directory: Path,
    about: About,
    records: tuple[Sequence[ResultRow], Sequence[StageCost]],
    tables: Tables,
    spending: Spending,
    more: Mapping[str, Sequence[Line]],
) -> tuple[Path, ...]:
    """A CSV file for every table, those named in `more` too, and `report.json`, which holds the same tables and every
    record; returns their paths."""
    named = {
        "main_table": main_lines(tables),
        "per_language": language_lines(tables),
        "transfer_gap": gap_lines(tables),
        "cost": cost_lines(spending),
        **more,
    }
    paths = []
    for name, lines in named.items():
        paths.append(directory / f"{name}.csv")
        write_csv(paths[-1], lines)
    content = {"about": about.model_dump(mode="json"), "tables": named, "records": _dumped(*records)}
    paths.append(directory / "report.json")
    write_json(paths[-1], content)
    return tuple(paths)


def _dumped(rows: Iterable[ResultRow], costs: Iterable[StageCost]) -> dict[str, list[Line]]:
    return {
        "results": [row.model_dump(mode="json") for row in rows],
        "costs": [cost.model_dump(mode="json") for cost in costs],
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that people read too; values that are no numbers are an error."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")
