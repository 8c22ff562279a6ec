"""Published numbers beside a run's: each with where it stands, and with what keeps it from being compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from viaduct.report.table import Column, Tables
from viaduct.tasks.registry import known, task


@dataclass(frozen=True)
class Baseline:
    """One model's published scores on the run's tasks."""

    model: str
    values: Mapping[str, float]
    """Task -> fraction, in the metric that the task's column shows."""
    sources: tuple[str, ...]
    """Paper and table of each, without repeats."""


@dataclass(frozen=True)
class Published:
    """All of them, and what is different about this run's columns."""

    baselines: tuple[Baseline, ...]
    reservations: Mapping[str, str]
    """Task -> why its column is not the published experiment; tasks that are not here can be compared."""


def published(tables: Tables, *, miniature: bool) -> Published:
    """The published scores of these tables' columns, by model in the order of the tasks."""
    columns = [column for column in tables.columns if column.metric and known(column.task)]
    values: dict[str, dict[str, float]] = {}
    sources: dict[str, list[str]] = {}
    for column in columns:
        for one in task(column.task).published:
            if one.metric == column.metric:
                values.setdefault(one.model, {})[column.task] = one.value
                sources.setdefault(one.model, []).append(one.source)
    found = tuple(Baseline(model, scores, tuple(dict.fromkeys(sources[model]))) for model, scores in values.items())
    shown = {name for one in found for name in one.values}
    reasons = {column.task: _reservation(column, miniature) for column in columns if column.task in shown}
    return Published(found, {name: why for name, why in reasons.items() if why})


def _reservation(column: Column, miniature: bool) -> str:
    if miniature:
        return "generated data"
    reasons = [f"another split ({column.split})"] if column.split != "test" or column.substitution else []
    missing = [code for code in task(column.task).languages if code not in column.languages or code in column.absent]
    reasons += [f"{len(missing)} of {len(task(column.task).languages)} languages missing"] if missing else []
    return ", ".join(reasons)
