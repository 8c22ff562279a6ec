"""The report's tables as typed records, from result rows: main table, per language, transfer gap.

This module decides what goes into which row and column, and says in words why a cell is empty. No average hides a gap:
what is missing is named. Values are fractions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from viaduct.errors import DataError
from viaduct.languages import ENGLISH, families_in_order, family_of
from viaduct.metrics.summary import Spread, counted_metrics, mean, over_seeds
from viaduct.results.record import BASELINE, About, ResultRow, declared_seeds
from viaduct.tasks.catalogue import Catalogue

Values: TypeAlias = Mapping[int, Mapping[str, float]]
"""Seed -> language -> value; every seed has at least one language."""


@dataclass(frozen=True)
class Column:
    """One task of the main table."""

    task: str
    metric: str
    """The headline metric; "" if no arm has a result."""
    split: str
    """"" if no arm has a result."""
    substitution: str | None
    """In words, if another split is used in place of the official one; else None."""
    languages: tuple[str, ...]
    """Languages that the task should have, by family."""
    absent: tuple[str, ...]
    """Languages without a result in any arm."""

    @property
    def present(self) -> tuple[str, ...]:
        """Languages with a result in some arm."""
        return tuple(code for code in self.languages if code not in self.absent)


@dataclass(frozen=True)
class ScoreCell:
    """The score of one arm, task and metric, over the task's languages or in one of them; `headline` marks the metric
    that the main table shows. Or an arm's average over tasks."""

    arm: str
    task: str
    metric: str
    headline: bool
    score: Spread | None
    """Score of `language`, or of the mean over languages, English included; None if there is no result."""
    language: str = ""
    """"" for the mean over languages; the fields below apply only to that."""
    languages: int | None = None
    """Number of languages with a result."""
    missing: tuple[str, ...] = ()
    """Languages (or languages of one seed: "sw seed 2") without a result, beyond those that no arm has. For averages:
    "task", "task language", "task seed 2" or "task language seed 2"."""
    seedless: bool = False
    """Whether nothing was trained, so that every seed gives the same score."""
    reason: str = ""
    """Why there is no score; "" if there is one."""


class GapCell(NamedTuple):
    """English against the mean of the other languages, for one arm and task (headline metric)."""

    task: str
    arm: str
    english: Spread
    others: Spread
    gap: Spread


@dataclass(frozen=True)
class Tables:
    """Everything the page shows about scores."""

    arms: tuple[str, ...]
    columns: tuple[Column, ...]
    cells: tuple[ScoreCell, ...]
    averages: tuple[ScoreCell, ...]
    """Each arm's unweighted mean over the tasks and languages in which at least one arm has a result, in the order of
    `arms`; a question answering task counts as (F1 + exact match) / 2 (evaluate.py of XTREME at 838c13b). An arm
    without any result has no average."""
    per_language: tuple[ScoreCell, ...]
    gaps: tuple[GapCell, ...]

    def cell(self, arm: str, task: str) -> ScoreCell:
        """The main table's cell for this arm and task."""
        return next(cell for cell in self.cells if (cell.arm, cell.task) == (arm, task) and cell.headline)

    def average(self, arm: str) -> ScoreCell | None:
        """The arm's average over tasks; None without any result."""
        return next((average for average in self.averages if average.arm == arm), None)

    @property
    def shown_arms(self) -> tuple[str, ...]:
        """Arms with any result; a note names the others."""
        there = {cell.arm for cell in self.cells if cell.score is not None}
        return tuple(arm for arm in self.arms if arm in there)

    @property
    def complete(self) -> bool:
        """Whether every arm has every task in every language, so that the averages are not partial."""
        whole = all(column.metric and not column.absent for column in self.columns)
        return whole and len(self.averages) == len(self.arms) and not any(one.missing for one in self.averages)


def family_order(codes: Sequence[str]) -> tuple[str, ...]:
    """The codes sorted by family and then by code; unknown families come last."""
    order = families_in_order(map(family_of, codes))
    return tuple(sorted(set(codes), key=lambda code: (order.index(family_of(code)), code)))


def untrained_once(about: About, rows: Sequence[ResultRow], baseline: str = BASELINE) -> set[tuple[str, str]]:
    """(arm, task) that is untrained, so that seeds have no effect, and was evaluated once for several seeds: the
    baseline on some tasks, and arms that have its very score there."""
    seeds: dict[str, set[int]] = {}
    for row in rows:
        if row.arm == baseline and row.selection == "untrained":
            seeds.setdefault(row.task, set()).add(row.seed)
    once = {task for task, own in seeds.items() if len(own) == 1 < len(about.seeds + about.further_seeds)}
    scores = {row.fingerprint for row in rows if row.arm == baseline and row.task in once}
    return {(row.arm, row.task) for row in rows if row.fingerprint in scores}


def comparable(about: About, rows: Sequence[ResultRow], baseline: str = BASELINE) -> list[ResultRow]:
    """The rows of the report's encoder; those that were evaluated once without training (`untrained_once`) are repeated
    for each seed, so that differences can be paired.

    Raises DataError if there are no rows, for the same result twice, and for rows of one task and metric that cannot be
    compared (split, task version or signature differ).
    """
    encoders = sorted({row.encoder for row in rows})
    own = [row for row in rows if len(encoders) == 1 or row.encoder == about.encoder]
    if not own:
        found = f"results of {', '.join(encoders)}" if encoders else "no results"
        raise DataError(
            f"recipe {about.recipe}: {found}, but the report is about encoder {about.encoder}",
            fix="run at least one target to its score before asking for a report",
        )
    definitions: dict[tuple[str, str], tuple[str, int, str]] = {}
    for row in own:
        definition = (row.split, row.task_version, row.metric_signature)
        known = definitions.setdefault((row.task, row.metric), definition)
        if known != definition:
            raise DataError(
                f"{row.task} {row.metric}: results that cannot be compared (split, task version, signature): "
                f"{known} and {definition}",
                fix="summarise them separately, or rerun the older ones",
            )
    once, every = untrained_once(about, own, baseline), (*about.seeds, *about.further_seeds)
    repeated: dict[tuple[object, ...], ResultRow] = {}
    for row in own:
        for seed in every if (row.arm, row.task) in once else (row.seed,):
            key = (row.arm, row.task, row.metric, row.language, seed)
            if key in repeated:
                raise DataError(
                    f"two results for encoder {row.encoder}, arm '{row.arm}', {row.task} {row.metric} in "
                    f"{row.language}, seed {seed}",
                    fix="summarise one recipe at a time",
                )
            repeated[key] = row if row.seed == seed else row.model_copy(update={"seed": seed})
    return list(repeated.values())


def counted_by_task(rows: Iterable[ResultRow]) -> dict[str, tuple[str, ...]]:
    """Task -> the metrics whose mean is the task's score (`counted_metrics`)."""
    found: dict[str, dict[str, None]] = {}
    for row in sorted(rows, key=lambda row: not row.headline):
        found.setdefault(row.task, {})[row.metric] = None
    return {task: counted_metrics(tuple(metrics)) for task, metrics in found.items()}


def task_scores(
    rows: Iterable[ResultRow], counted: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, dict[int, dict[str, float]]]]:
    """Arm -> task -> seed -> language -> mean over the metrics that count for the task, if none of them is missing."""
    found: dict[tuple[str, str, int, str], list[float]] = {}
    for row in rows:
        if row.metric in counted.get(row.task, ()):
            found.setdefault((row.arm, row.task, row.seed, row.language), []).append(row.value)
    scores: dict[str, dict[str, dict[int, dict[str, float]]]] = {}
    for (arm, task, seed, code), values in found.items():
        if len(values) == len(counted[task]):
            scores.setdefault(arm, {}).setdefault(task, {}).setdefault(seed, {})[code] = mean(values)
    return scores


def build_tables(
    about: About, rows: Sequence[ResultRow], *, languages: Mapping[str, Sequence[str]] | None = None
) -> Tables:
    """All tables. Arms and tasks are in the order of `about`.

    `languages`: task -> the languages it should have; by default the card's, or for a task without a built-in card
    those that have a result or a data note. Raises DataError like `comparable`.
    """
    found = comparable(about, rows)
    if languages is None:
        languages = {card.name: card.languages for card in Catalogue.builtin()}
    arms = tuple(dict.fromkeys((*about.arms, *(row.arm for row in found))))
    tasks = dict.fromkeys((*about.tasks, *(row.task for row in found)))
    columns = tuple(_column(task, about, found, languages.get(task, ())) for task in tasks)
    results = _Results(about, found, untrained_once(about, rows))
    metrics = [(column, metric) for column in columns for metric in results.metrics(column)]
    return Tables(
        arms=arms,
        columns=columns,
        cells=tuple(results.cell(arm, column, metric) for column, metric in metrics for arm in arms),
        averages=results.averages(arms, [column for column in columns if column.metric]),
        per_language=tuple(
            results.language_cell(arm, column, metric, code)
            for column, metric in metrics
            for code in (column.languages if column.metric else ())
            for arm in arms
        ),
        gaps=tuple(gap for column in columns for arm in arms if (gap := results.gap(arm, column)) is not None),
    )


def _column(task: str, about: About, rows: Iterable[ResultRow], languages: Sequence[str]) -> Column:
    own = [row for row in rows if row.task == task]
    splits = {row.split for row in own}
    noted = {note.language for note in about.data if note.task == task and note.split in splits}
    expected = family_order((*(row.language for row in own), *noted, *languages))
    shown = [row for row in own if row.headline]
    if not shown:
        return Column(task, "", "", None, expected, expected)
    found = {row.language for row in shown}
    substitution = next((row.substitution for row in shown if row.substitution is not None), None)
    absent = tuple(code for code in expected if code not in found)
    return Column(task, shown[0].metric, shown[0].split, substitution, expected, absent)


class _Results:
    """A run's values by (arm, task, metric)."""

    def __init__(self, about: About, rows: Sequence[ResultRow], seedless: set[tuple[str, str]]) -> None:
        self._about, self._rows, self._seedless = about, rows, seedless
        self._values: dict[tuple[str, str, str], dict[int, dict[str, float]]] = {}
        for row in rows:
            by_seed = self._values.setdefault((row.arm, row.task, row.metric), {})
            by_seed.setdefault(row.seed, {})[row.language] = row.value

    def metrics(self, column: Column) -> tuple[str, ...]:
        """The task's metrics, headline first; ("",) without results, so that the task still gets its empty cells."""
        own = {metric for _, task, metric in self._values if task == column.task}
        return (column.metric, *sorted(own - {column.metric}))

    def cell(self, arm: str, column: Column, metric: str) -> ScoreCell:
        """A cell of the main table."""
        key = (arm, column.task, metric)
        named = (*key, metric == column.metric)
        if key not in self._values:
            reason = f"{'this arm has no' if column.metric else 'no arm has a'} result for this task"
            return ScoreCell(*named, None, languages=0, reason=reason)
        values = self._values[key]
        there = {code for own in values.values() for code in own}
        return ScoreCell(
            *named,
            score=_spread(values),
            languages=sum(code in there for code in column.languages),
            missing=tuple(hole for hole in _holes(values, column.languages) if hole not in column.absent),
            seedless=(arm, column.task) in self._seedless,
        )

    def language_cell(self, arm: str, column: Column, metric: str, code: str) -> ScoreCell:
        """A cell of the tables by language."""
        key = (arm, column.task, metric)
        score = _spread(_in(code, self._values.get(key, {})))
        return ScoreCell(*key, metric == column.metric, score, code)

    def gap(self, arm: str, column: Column) -> GapCell | None:
        """The transfer gap; None without results, or if any seed has no English score (as in retrieval) or no other."""
        values = self._values.get((arm, column.task, column.metric), {})
        if not values or not all(ENGLISH in own and len(own) > 1 for own in values.values()):
            return None
        others = {seed: mean(own[code] for code in own if code != ENGLISH) for seed, own in values.items()}
        english = {seed: own[ENGLISH] for seed, own in values.items()}
        gaps = {seed: english[seed] - others[seed] for seed in values}
        return GapCell(column.task, arm, *map(over_seeds, (english, others, gaps)))

    def averages(self, arms: Sequence[str], columns: Sequence[Column]) -> tuple[ScoreCell, ...]:
        """The averages over tasks of the arms that have any; what is missing is named for these columns."""
        counted = counted_by_task(self._rows)
        totals = {arm: total for arm in arms if (total := self._totals(arm, counted))}
        return tuple(
            ScoreCell(
                arm,
                "average",
                "mean over tasks",
                False,
                _spread(total),
                missing=tuple(
                    hole for column in columns for hole in self._task_holes(arm, column, counted[column.task])
                ),
            )
            for arm, total in totals.items()
        )

    def _totals(self, arm: str, counted: Mapping[str, Sequence[str]]) -> dict[int, dict[str, float]]:
        """Seed -> mean over the tasks that have all metrics that count, as the seed's only value; only for the seeds
        that have the most tasks."""
        found: dict[int, list[float]] = {}
        for task, metrics in counted.items():
            halves = [self._values.get((arm, task, metric), {}) for metric in metrics]
            for seed in halves[0]:
                if all(seed in half for half in halves):
                    found.setdefault(seed, []).append(mean(mean(half[seed].values()) for half in halves))
        most = max(map(len, found.values()), default=0)
        return {seed: {"": mean(scores)} for seed, scores in found.items() if len(scores) == most}

    def _task_holes(self, arm: str, column: Column, metrics: Sequence[str]) -> list[str]:
        """What one arm's score on a task lacks: everything, seeds, languages, or languages of single seeds."""
        found = [self._values.get((arm, column.task, metric)) for metric in metrics]
        if not all(found):
            return [column.task]
        ran = {row.seed for row in self._rows if row.arm == arm}
        seeds = [seed for seed in declared_seeds(self._about, arm, column.task) if seed in ran]
        holes: dict[str, None] = {}
        for values in filter(None, found):
            holes |= {f"seed {seed}": None for seed in seeds if seed not in values}
            holes |= dict.fromkeys(_holes(values, column.present))
        return [f"{column.task} {hole}" for hole in holes]


def _in(code: str, values: Values) -> Values:
    return {seed: {code: own[code]} for seed, own in values.items() if code in own}


def _spread(values: Values) -> Spread | None:
    """The spread over seeds of the means over languages; None without values."""
    return over_seeds({seed: mean(own.values()) for seed, own in values.items()}) if values else None


def _holes(values: Values, languages: Sequence[str]) -> list[str]:
    """The languages without a value; "sw seed 2" if only some seeds have none."""
    holes = []
    for code in languages:
        absent = [seed for seed in sorted(values) if code not in values[seed]]
        holes += [code] if len(absent) == len(values) else [f"{code} seed {seed}" for seed in absent]
    return holes
