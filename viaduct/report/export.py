"""The report's tables as CSV and JSON files, all scores as fractions.

The page and these files are made from the same typed tables, so they cannot disagree.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from viaduct.languages import family_of
from viaduct.report.contrast import OVERALL, Contrast, Contrasts
from viaduct.report.number import seed_list
from viaduct.report.table import ScoreCell, Tables
from viaduct.results.record import About, Record

Line = dict[str, Any]
"""One line of a table; None is an empty field in CSV and null in JSON."""


def main_lines(tables: Tables, differences: Contrasts) -> list[Line]:
    """Lines by arm, task and metric, then the averages over tasks; differences are of task scores without English."""
    columns = {column.task: column for column in tables.columns}
    lines = []
    for cell in (*tables.cells, *tables.averages):
        column = columns.get(cell.task)
        compared = differences.of(cell.arm, cell.task if column else OVERALL) if cell.headline or not column else None
        holes = (*(column.absent if column else ()), *cell.missing) if cell.score else (cell.reason,)
        lines.append(
            {
                "arm": cell.arm,
                "task": cell.task,
                "metric": cell.metric or None,
                "headline": cell.headline,
                "split": (column and column.split) or None,
                "substitution": column and column.substitution,
                **_numbers(cell),
                **_difference(compared),
                "languages": cell.languages,
                "missing": "; ".join(holes) or None,
            }
        )
    return lines


def language_lines(tables: Tables, differences: Contrasts) -> list[Line]:
    """Lines by arm, task, metric and language; differences are on the lines of the headline metric."""
    compared = {(one.arm, one.task): one.by_code for one in differences.with_baseline()}
    return [
        {
            "task": cell.task,
            "metric": cell.metric,
            "headline": cell.headline,
            "language": cell.language,
            "family": family_of(cell.language),
            "arm": cell.arm,
            **_numbers(cell),
            "difference": compared.get((cell.arm, cell.task), {}).get(cell.language) if cell.headline else None,
        }
        for cell in tables.per_language
    ]


def _numbers(cell: ScoreCell) -> Line:
    score = cell.score
    return {
        "value": score and score.mean,
        "standard_deviation": score and score.standard_deviation,
        "seeds": score and seed_list(score.seeds),
    }


def _difference(one: Contrast | None) -> Line:
    low, high = (one and one.estimate.interval) or (None, None)
    return {"difference": one and one.mean, "low": low, "high": high, "verdict": one and one.verdict}


def gap_lines(tables: Tables) -> list[Line]:
    """Lines by task and arm: English, the mean of the other languages, the gap."""
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


def write_csv(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write one or more lines as a CSV file (UTF-8, one header line)."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def write_csvs(directory: Path, tables: Mapping[str, Sequence[Line]]) -> list[str]:
    """Write a CSV file for every table that has lines; returns the files' names."""
    held = {f"{name}.csv": lines for name, lines in tables.items() if lines}
    for name, lines in held.items():
        write_csv(directory / name, lines)
    return list(held)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that is also readable by people; NaN and infinities are an error."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def tried_lines(about: About) -> list[Line]:
    """Lines by arm, task and setting, for arms and tasks with several settings tried."""
    return [{**one.model_dump(), "seeds": seed_list(one.seeds)} for one in about.tried]


def write_tables(
    directory: Path, about: About, tables: Mapping[str, Sequence[Line]], records: Mapping[str, Sequence[Record]]
) -> list[str]:
    """Write a CSV file for every table that has lines, and `report.json` with the same tables and every record; returns
    the names of the CSV files."""
    names = write_csvs(directory, tables)
    dumped = {name: [record.model_dump(mode="json") for record in own] for name, own in records.items()}
    write_json(directory / "report.json", {"about": about.model_dump(mode="json"), "tables": tables, "records": dumped})
    return names
