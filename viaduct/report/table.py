"""The report's tables as typed records, from result rows: main table, per language, transfer gap.

Means, spreads, differences and averages come from viaduct.metrics.summary; this file decides what stands in which row
and column, and says in words why a cell is empty. Values are fractions. Nothing here knows about HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from viaduct.errors import DataError
from viaduct.languages import ENGLISH, FAMILY_ORDER, LANGUAGES
from viaduct.metrics.summary import (
    BenchmarkAverage,
    Difference,
    Spread,
    TaskSummary,
    benchmark_averages,
    paired_difference,
    summarise,
)
from viaduct.results.record import BASELINE, About, ResultRow
from viaduct.tasks.registry import TASKS


@dataclass(frozen=True)
class Column:
    """One task of the main table."""

    task: str
    metric: str
    """The headline metric; "" when no arm has a result."""
    split: str
    """"" when no arm has a result."""
    substitution: str | None
    """In words, when another split stands in for the official one."""
    languages: tuple[str, ...]
    """Those the task should have, by family."""
    absent: tuple[str, ...]
    """Those without a result in any arm."""


@dataclass(frozen=True)
class Cell:
    """One arm and task; all metrics have a cell, `headline` marks the one that the main table shows."""

    arm: str
    task: str
    metric: str
    headline: bool
    score: Spread | None
    """Of the mean over languages, English included; None when there is no result."""
    difference: Difference | None
    """From the baseline, over the languages that both have."""
    languages: int
    """Languages with a result."""
    missing: tuple[str, ...]
    """Languages (or languages of one seed) without one, beyond those that no arm has."""
    seedless: bool
    """Whether nothing was trained, so that every seed gives the same score."""
    reason: str
    """Why there is no score; "" when there is."""


@dataclass(frozen=True)
class LanguageCell:
    """One arm, task, metric and language."""

    arm: str
    task: str
    metric: str
    headline: bool
    language: str
    score: Spread | None
    """None when the task has the language and no result was found."""
    difference: Difference | None


@dataclass(frozen=True)
class GapCell:
    """English against the mean of the other languages, for one arm and task (headline metric)."""

    arm: str
    task: str
    english: Spread
    others: Spread
    gap: Spread


@dataclass(frozen=True)
class Tables:
    """Everything the page shows about scores."""

    arms: tuple[str, ...]
    columns: tuple[Column, ...]
    cells: tuple[Cell, ...]
    averages: tuple[BenchmarkAverage, ...]
    """Over the tasks and languages in which at least one arm has a result, in the order of `arms`; an arm without any
    result has none."""
    per_language: tuple[LanguageCell, ...]
    gaps: tuple[GapCell, ...]
    seeds: tuple[int, ...]
    """As declared; a cell's score says which of them it has."""

    def cell(self, arm: str, task: str) -> Cell:
        """The main table's cell."""
        return next(cell for cell in self.cells if (cell.arm, cell.task) == (arm, task) and cell.headline)

    def average(self, arm: str) -> BenchmarkAverage | None:
        """The arm's average over tasks, None without any result."""
        return next((average for average in self.averages if average.arm == arm), None)

    @property
    def has_baseline(self) -> bool:
        """Whether the baseline arm has a result, so that there are differences at all."""
        return any(cell.arm == BASELINE and cell.score is not None for cell in self.cells)

    @property
    def repeated(self) -> bool:
        """Whether any difference is over two seeds or more, so that a spread is known."""
        return any(cell.difference is not None and len(cell.difference.seeds) > 1 for cell in self.cells)

    @property
    def complete(self) -> bool:
        """Whether every arm has every task in every language, so that the averages are not partial."""
        whole = all(column.metric and not column.absent for column in self.columns)
        return whole and len(self.averages) == len(self.arms) and not any(one.missing for one in self.averages)


def family_order(codes: Sequence[str]) -> tuple[str, ...]:
    """The codes by family and then by code; codes outside the language table come last."""
    known = {code: FAMILY_ORDER.index(LANGUAGES[code].family) for code in codes if code in LANGUAGES}
    return tuple(sorted(set(codes), key=lambda code: (known.get(code, len(FAMILY_ORDER)), code)))


def build(about: About, rows: Sequence[ResultRow], *, languages: Mapping[str, Sequence[str]] | None = None) -> Tables:
    """All tables. Arms and tasks stand in the order of `about`.

    `languages`: task -> the languages it should have; by default the card's, or for a task without a built-in card
    those that have a result or a data note. Raises DataError for no rows, and for rows that cannot be compared (see
    `viaduct.metrics.summary`).
    """
    seedless = _seedless(about, _of_one_encoder(about, rows))
    rows = comparable(about, rows)
    tasks = tuple(dict.fromkeys((*about.tasks, *(row.task for row in rows))))
    arms = tuple(dict.fromkeys((*about.arms, *(row.arm for row in rows))))
    expected = {task: _expected(task, about, rows, languages) for task in tasks}
    summaries = {(one.arm, one.task, one.metric): one for one in summarise(rows, languages=expected)}
    columns = tuple(_column(task, rows, expected[task]) for task in tasks)
    present = {
        column.task: tuple(code for code in column.languages if code not in column.absent)
        for column in columns
        if column.metric
    }
    averages = {one.arm: one for one in benchmark_averages(rows, languages=present, allow_partial=True)}
    return Tables(
        arms=arms,
        columns=columns,
        cells=tuple(
            _cell(arm, column, metric, summaries.get((arm, column.task, metric)), (arm, column.task) in seedless)
            for column in columns
            for metric in _metrics(column, summaries)
            for arm in arms
        ),
        averages=tuple(averages[arm] for arm in arms if arm in averages),
        per_language=tuple(_language_cells(arms, columns, summaries, rows)),
        gaps=tuple(_gaps(arms, columns, summaries)),
        seeds=about.seeds,
    )


def comparable(about: About, rows: Sequence[ResultRow]) -> tuple[ResultRow, ...]:
    """The rows of the report's encoder, with those that no seed enters repeated for each seed, so that differences can
    be paired. Raises DataError for no rows."""
    own = _of_one_encoder(about, rows)
    return _for_every_seed(about, own, _seedless(about, own))


def _of_one_encoder(about: About, rows: Sequence[ResultRow]) -> tuple[ResultRow, ...]:
    encoders = sorted({row.encoder for row in rows})
    kept = tuple(row for row in rows if len(encoders) == 1 or row.encoder == about.encoder)
    if not kept:
        found = f"results of {', '.join(encoders)}" if encoders else "no results"
        raise DataError(
            f"recipe {about.recipe}: {found}, and the report is about encoder {about.encoder}",
            fix="run at least one target to its score before asking for a report",
        )
    return kept


def _seedless(about: About, rows: Sequence[ResultRow]) -> set[tuple[str, str]]:
    """(arm, task) that saw no training with a seed: there is one result, and every seed would give the same."""
    seeds: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        if row.selection == "untrained":
            seeds.setdefault((row.arm, row.task), set()).add(row.seed)
    return {key for key, found in seeds.items() if len(found) == 1 < len(about.seeds) and key[0] == BASELINE}


def _for_every_seed(about: About, rows: Sequence[ResultRow], seedless: set[tuple[str, str]]) -> tuple[ResultRow, ...]:
    """The rows, with those that no seed enters repeated for each seed, so that differences can be paired."""
    repeated = []
    for row in rows:
        seeds = about.seeds if (row.arm, row.task) in seedless else (row.seed,)
        repeated += [row if seed == row.seed else row.model_copy(update={"seed": seed}) for seed in seeds]
    return tuple(repeated)


def _expected(
    task: str, about: About, rows: Sequence[ResultRow], languages: Mapping[str, Sequence[str]] | None
) -> tuple[str, ...]:
    codes = {row.language for row in rows if row.task == task}
    splits = {row.split for row in rows if row.task == task}
    codes |= {note.language for note in about.data if note.task == task and note.split in splits}
    if languages is not None:
        codes |= set(languages.get(task, ()))
    else:
        codes |= {code for card in TASKS if card.name == task for code in card.languages}
    return family_order(tuple(codes))


def _column(task: str, rows: Sequence[ResultRow], expected: tuple[str, ...]) -> Column:
    members = [row for row in rows if row.task == task and row.headline]
    found = {row.language for row in members}
    return Column(
        task=task,
        metric=members[0].metric if members else "",
        split=members[0].split if members else "",
        substitution=next((row.substitution for row in members if row.substitution), None),
        languages=expected,
        absent=tuple(code for code in expected if code not in found) if members else expected,
    )


def _metrics(column: Column, summaries: Mapping[tuple[str, str, str], TaskSummary]) -> tuple[str, ...]:
    """The task's metrics, headline first; ("",) for a task without results, which still has its row of empty cells."""
    found = {metric for _, task, metric in summaries if task == column.task}
    return (column.metric, *sorted(found - {column.metric}))


def _cell(arm: str, column: Column, metric: str, summary: TaskSummary | None, seedless: bool) -> Cell:
    headline = metric == column.metric
    if summary is None:
        reason = "no arm has a result for this task" if not column.metric else "this arm has no result for this task"
        return Cell(arm, column.task, metric, headline, None, None, 0, (), False, reason)
    return Cell(
        arm=arm,
        task=column.task,
        metric=metric,
        headline=headline,
        score=summary.including_english,
        difference=summary.difference,
        languages=len(summary.by_language),
        missing=tuple(hole for hole in summary.missing if hole not in column.absent),
        seedless=seedless,
        reason="",
    )


def _language_cells(
    arms: Sequence[str],
    columns: Sequence[Column],
    summaries: Mapping[tuple[str, str, str], TaskSummary],
    rows: Sequence[ResultRow],
) -> list[LanguageCell]:
    values: dict[tuple[str, str, str, str], dict[int, float]] = {}
    for row in rows:
        values.setdefault((row.arm, row.task, row.metric, row.language), {})[row.seed] = row.value
    cells = []
    for column in columns:
        for metric in _metrics(column, summaries):
            for language in column.languages if column.metric else ():
                baseline = values.get((BASELINE, column.task, metric, language))
                for arm in arms:
                    summary = summaries.get((arm, column.task, metric))
                    own = values.get((arm, column.task, metric, language))
                    difference = paired_difference(own, baseline) if own and baseline and arm != BASELINE else None
                    score = summary.by_language.get(language) if summary else None
                    headline = metric == column.metric
                    cells.append(LanguageCell(arm, column.task, metric, headline, language, score, difference))
    return cells


def _gaps(
    arms: Sequence[str], columns: Sequence[Column], summaries: Mapping[tuple[str, str, str], TaskSummary]
) -> list[GapCell]:
    cells = []
    for column in columns:
        for arm in arms:
            summary = summaries.get((arm, column.task, column.metric))
            if summary is not None and summary.transfer_gap is not None and summary.excluding_english is not None:
                english = summary.by_language[ENGLISH]
                cells.append(GapCell(arm, column.task, english, summary.excluding_english, summary.transfer_gap))
    return cells
