"""The report's tables as CSV and JSON files, all scores as fractions.

The page and these files are made from the same typed tables, so they cannot disagree.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from viaduct.languages import LANGUAGES
from viaduct.metrics.summary import Spread
from viaduct.report.spending import Spending
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
            **_numbers(cell.score, cell.difference),
            "languages": cell.languages,
            "missing": "; ".join((*columns[cell.task].absent, *cell.missing) if cell.score else [cell.reason]) or None,
        }
        for cell in tables.cells
    ]
    for average in tables.averages:
        named = {"arm": average.arm, "task": "average", "metric": "mean over tasks", "headline": False}
        numbers = _numbers(average.score, average.difference)
        lines.append({**dict.fromkeys(lines[0]), **named, **numbers, "missing": "; ".join(average.missing) or None})
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
            **_numbers(cell.score, cell.difference),
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
            "seeds": seed_list(cell.gap.seeds),
        }
        for cell in tables.gaps
    ]


def cost_lines(spending: Spending) -> list[Line]:
    """Arm x stage, then one line for everything; an empty arm is work that several arms share."""
    return [asdict(line) for line in (*spending.lines, *([spending.total] if spending.total else []))]


def seed_list(seeds: Sequence[int]) -> str:
    """The seeds with blanks between."""
    return " ".join(map(str, seeds))


def _numbers(score: Spread | None, difference: Spread | None) -> Line:
    return {
        "value": score.mean if score else None,
        "standard_deviation": score.standard_deviation if score else None,
        "seeds": seed_list(score.seeds) if score else None,
        "difference": difference.mean if difference else None,
        "difference_standard_deviation": difference.standard_deviation if difference else None,
        "paired_seeds": seed_list(difference.seeds) if difference else None,
    }


def write_csv(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """A CSV file (UTF-8, one header line) of one or more lines."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that people read too; values that are no numbers are an error."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def write_all(
    directory: Path,
    about: About,
    records: tuple[Sequence[ResultRow], Sequence[StageCost]],
    tables: Tables,
    spending: Spending,
    more: Mapping[str, Sequence[Line]],
) -> list[str]:
    """A CSV file for every table that has lines, those named in `more` too, and `report.json`, which holds the same
    tables and every record; returns the CSV files' names. A file that an earlier report left of an empty table goes."""
    named = {
        "main_table": main_lines(tables),
        "per_language": language_lines(tables),
        "transfer_gap": gap_lines(tables),
        "cost": cost_lines(spending),
        **more,
    }
    for name, lines in named.items():
        if lines:
            write_csv(directory / f"{name}.csv", lines)
        else:
            (directory / f"{name}.csv").unlink(missing_ok=True)
    dumped = {
        name: [record.model_dump(mode="json") for record in own]
        for name, own in zip(("results", "costs"), records, strict=True)
    }
    write_json(directory / "report.json", {"about": about.model_dump(mode="json"), "tables": named, "records": dumped})
    return [f"{name}.csv" for name, lines in named.items() if lines]
