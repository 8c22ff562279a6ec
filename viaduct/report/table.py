"""The report's tables as typed records, from result rows: main table, per language, transfer gap.

This file decides what stands in which row and column, and says in words why a cell is empty. No average hides a hole:
what is missing is named. Values are fractions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viaduct.errors import DataError
from viaduct.languages import ENGLISH, FAMILY_ORDER, LANGUAGES
from viaduct.metrics.summary import Spread, counted_metrics, mean, over_seeds
from viaduct.results.record import BASELINE, About, ResultRow
from viaduct.tasks.catalogue import Catalogue

if TYPE_CHECKING:
    import pandas as pd

SCORE = ["arm", "task", "metric"]


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

    @property
    def present(self) -> tuple[str, ...]:
        """Those with a result in some arm."""
        return tuple(code for code in self.languages if code not in self.absent)


@dataclass(frozen=True)
class ScoreCell:
    """One arm, task and metric, over the task's languages or in one of them; `headline` marks the metric that the main
    table shows."""

    arm: str
    task: str
    metric: str
    headline: bool
    score: Spread | None
    """Of the mean over languages, English included; None when there is no result."""
    difference: Spread | None
    """From the baseline, paired by seed, over the languages that both have."""
    language: str = ""
    """"" for the mean over languages, of which alone the following speak."""
    languages: int = 0
    """Languages with a result."""
    missing: tuple[str, ...] = ()
    """Languages (or languages of one seed: "sw seed 2") without one, beyond those that no arm has."""
    seedless: bool = False
    """Whether nothing was trained, so that every seed gives the same score."""
    reason: str = ""
    """Why there is no score; "" when there is."""


@dataclass(frozen=True)
class GapCell:
    """English against the mean of the other languages, for one arm and task (headline metric)."""

    arm: str
    task: str
    english: Spread
    others: Spread
    gap: Spread


@dataclass(frozen=True)
class ArmAverage:
    """One arm's unweighted mean over tasks, each the mean over its languages, English included; a question answering
    task counts (F1 + exact match) / 2 (evaluate.py of XTREME at 838c13b)."""

    arm: str
    value: Spread
    difference: Spread | None
    """From the baseline, paired by seed; None for itself, when there is none, or when either has holes."""
    missing: tuple[str, ...]
    """"task", "task language", "task seed 2" or "task language seed 2"; () when complete."""


@dataclass(frozen=True)
class Tables:
    """Everything the page shows about scores."""

    arms: tuple[str, ...]
    columns: tuple[Column, ...]
    cells: tuple[ScoreCell, ...]
    averages: tuple[ArmAverage, ...]
    """Over the tasks and languages in which at least one arm has a result, in the order of `arms`; an arm without any
    result has none."""
    per_language: tuple[ScoreCell, ...]
    gaps: tuple[GapCell, ...]
    seeds: tuple[int, ...]
    """As declared; a cell's score says which of them it has."""

    def cell(self, arm: str, task: str) -> ScoreCell:
        """The main table's cell."""
        return next(cell for cell in self.cells if (cell.arm, cell.task) == (arm, task) and cell.headline)

    def average(self, arm: str) -> ArmAverage | None:
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


def build_tables(
    about: About, rows: Sequence[ResultRow], *, languages: Mapping[str, Sequence[str]] | None = None
) -> Tables:
    """All tables. Arms and tasks stand in the order of `about`.

    `languages`: task -> the languages it should have; by default the card's, or for a task without a built-in card
    those that have a result or a data note. Raises DataError as `tidy`.
    """
    frame = tidy(about, rows)
    if languages is None:
        languages = {card.name: card.languages for card in Catalogue.builtin()}
    arms = tuple(dict.fromkeys((*about.arms, *frame["arm"])))
    tasks = dict.fromkeys((*about.tasks, *frame["task"]))
    columns = tuple(_column(task, about, frame[frame["task"] == task], languages.get(task, ())) for task in tasks)
    results = _Results(frame)
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
        seeds=about.seeds,
    )


def tidy(about: About, rows: Sequence[ResultRow]) -> pd.DataFrame:
    """The rows of the report's encoder, a line each with the fields of `ResultRow`, in their order.

    Those of the untrained baseline, which no seed enters, are there once for each seed and marked in the column
    "seedless", so that differences can be paired. Raises DataError for no rows, the same result twice, and rows of one
    task and metric that cannot be compared (split, task version or signature differ).
    """
    import pandas as pd

    encoders = sorted({row.encoder for row in rows})
    own = [row for row in rows if len(encoders) == 1 or row.encoder == about.encoder]
    if not own:
        found = f"results of {', '.join(encoders)}" if encoders else "no results"
        raise DataError(
            f"recipe {about.recipe}: {found}, and the report is about encoder {about.encoder}",
            fix="run at least one target to its score before asking for a report",
        )
    _require_one_definition(own)
    frame = pd.DataFrame([dict(row) for row in own])
    untrained = frame[(frame["arm"] == BASELINE) & (frame["selection"] == "untrained")]
    count = untrained.groupby("task")["seed"].nunique()
    once = set(count.index[count == 1]) if len(about.seeds) > 1 else set()
    frame["seedless"] = (frame["arm"] == BASELINE) & frame["task"].isin(once)
    frame["seed"] = [about.seeds if row.arm == BASELINE and row.task in once else (row.seed,) for row in own]
    frame = frame.explode("seed", ignore_index=True).astype({"seed": int})
    for row in frame[frame.duplicated([*SCORE, "language", "seed"])].itertuples():
        raise DataError(
            f"two results for encoder {row.encoder}, arm '{row.arm}', {row.task} {row.metric} in {row.language}, "
            f"seed {row.seed}",
            fix="summarise one recipe at a time",
        )
    return frame


def _require_one_definition(rows: Sequence[ResultRow]) -> None:
    """Raise DataError where rows of one task and metric differ in split, task version or signature."""
    definitions: dict[tuple[str, str], tuple[str, int, str]] = {}
    for row in rows:
        definition = (row.split, row.task_version, row.signature)
        known = definitions.setdefault((row.task, row.metric), definition)
        if known != definition:
            raise DataError(
                f"{row.task} {row.metric}: results that cannot be compared (split, task version, signature): "
                f"{known} and {definition}",
                fix="summarise them apart, or run the older ones again",
            )


def counted_by_task(frame: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Task -> those of its metrics whose mean is its score (`counted_metrics`)."""
    headline_first = frame.sort_values("headline", ascending=False, kind="stable")
    return {str(task): counted_metrics(own.tolist()) for task, own in headline_first.groupby("task")["metric"]}


def task_scores(values: pd.Series[float], counted: Mapping[str, Sequence[str]]) -> pd.Series[float]:
    """The means over the metrics that count for a task, where all are there; the index loses its level "metric"."""
    levels = [name for name in values.index.names if name != "metric"]
    pairs = zip(values.index.get_level_values("task"), values.index.get_level_values("metric"), strict=True)
    own = values[[metric in counted[task] for task, metric in pairs]].groupby(levels, sort=False)
    there = own.size()
    return own.agg(mean)[there == [len(counted[task]) for task in there.index.get_level_values("task")]]


class _Results:
    """A run's results over seeds. Keys are (arm, task, metric), with the language where a value is of one language."""

    def __init__(self, frame: pd.DataFrame) -> None:
        place = [*SCORE, "language", "seed"]
        values = frame.set_index(place)["value"]
        is_english = values.index.get_level_values("language") == ENGLISH
        self._by_seed = _over_languages(values)
        others = _over_languages(values[~is_english]).reindex(self._by_seed.index)
        english = values[is_english].droplevel("language").reindex(self._by_seed.index)
        baseline = frame[frame["arm"] == BASELINE].set_index(place[1:])["value"].rename("baseline")
        pairs = frame[frame["arm"] != BASELINE].join(baseline, on=place[1:], how="inner").set_index(place)
        differences = pairs["value"] - pairs["baseline"]
        self._frame = frame
        self._means, self._others, self._gaps, self._differences, self._scores, self._language_differences = map(
            _over_seeds,
            (self._by_seed, others, english - others, _over_languages(differences), values, differences),
        )
        self._seedless = set(zip(frame["arm"][frame["seedless"]], frame["task"][frame["seedless"]], strict=True))

    def metrics(self, column: Column) -> tuple[str, ...]:
        """The task's metrics, headline first; ("",) without results: the task still has its row of empty cells."""
        own = self._frame["metric"][self._frame["task"] == column.task]
        return (column.metric, *sorted({*own} - {column.metric}))

    def cell(self, arm: str, column: Column, metric: str) -> ScoreCell:
        """Of the main table."""
        key = (arm, column.task, metric)
        if key not in self._means:
            reason = f"{'this arm has no' if column.metric else 'no arm has a'} result for this task"
            return ScoreCell(arm, column.task, metric, metric == column.metric, None, None, reason=reason)
        return ScoreCell(
            arm=arm,
            task=column.task,
            metric=metric,
            headline=metric == column.metric,
            score=self._means[key],
            difference=self._differences.get(key),
            languages=sum((*key, code) in self._scores for code in column.languages),
            missing=tuple(hole for hole in self._holes(key, column.languages) if hole not in column.absent),
            seedless=(arm, column.task) in self._seedless,
        )

    def language_cell(self, arm: str, column: Column, metric: str, code: str) -> ScoreCell:
        """Of the tables by language."""
        key = (arm, column.task, metric, code)
        score, difference = self._scores.get(key), self._language_differences.get(key)
        return ScoreCell(arm, column.task, metric, metric == column.metric, score, difference, code)

    def gap(self, arm: str, column: Column) -> GapCell | None:
        """None where a seed has no English score, or nothing else (retrieval has no English)."""
        key = (arm, column.task, column.metric)
        if key not in self._gaps:
            return None
        return GapCell(arm, column.task, self._scores[*key, ENGLISH], self._others[key], self._gaps[key])

    def averages(self, arms: Sequence[str], columns: Sequence[Column]) -> tuple[ArmAverage, ...]:
        """Of the arms that have any, over these columns."""
        counted = counted_by_task(self._frame)
        totals = task_scores(self._by_seed, counted).groupby(["arm", "seed"]).agg(mean)
        baseline = totals[totals.index.get_level_values("arm") == BASELINE].droplevel("arm")
        values = _over_seeds(totals)
        differences = _over_seeds((totals - baseline.reindex(totals.index, level="seed")).dropna())
        found = []
        missing = {
            arm: tuple(hole for column in columns for hole in self._task_holes(arm, column, counted[column.task]))
            for arm in arms
            if (arm,) in values
        }
        for arm, holes in missing.items():
            comparable = arm != BASELINE and not holes and not missing.get(BASELINE)
            found.append(ArmAverage(arm, values[arm,], differences.get((arm,)) if comparable else None, holes))
        return tuple(found)

    def _task_holes(self, arm: str, column: Column, metrics: Sequence[str]) -> list[str]:
        """What one arm's score of a task lacks: all of it, seeds, languages, or languages of single seeds."""
        keys = [(arm, column.task, metric) for metric in metrics]
        if any(key not in self._means for key in keys):
            return [column.task]
        seeds = sorted(set(self._frame["seed"][self._frame["arm"] == arm]))
        holes: dict[str, None] = {}
        for key in keys:
            holes |= {f"seed {seed}": None for seed in seeds if seed not in self._means[key].seeds}
            holes |= dict.fromkeys(self._holes(key, column.present))
        return [f"{column.task} {hole}" for hole in holes]

    def _holes(self, key: tuple[str, ...], languages: Sequence[str]) -> list[str]:
        """Those of the languages without a result, "sw seed 2" where only some seeds have none."""
        holes = []
        for code in languages:
            own = self._scores.get((*key, code))
            absent = [seed for seed in self._means[key].seeds if own and seed not in own.seeds]
            holes += [f"{code} seed {seed}" for seed in absent] if own else [code]
        return holes


def _over_languages(values: pd.Series[float]) -> pd.Series[float]:
    """Means by (arm, task, metric, seed)."""
    return values.groupby([*SCORE, "seed"], sort=False).agg(mean)


def _over_seeds(values: pd.Series[float]) -> dict[tuple[str, ...], Spread]:
    """Key -> spread over seeds, of values by (*key, seed); not there where the value of any seed is no number."""
    found: dict[tuple[str, ...], dict[int, float]] = {}
    for (*key, seed), value in zip(values.index.tolist(), values.tolist(), strict=True):
        found.setdefault(tuple(key), {})[seed] = value
    return {key: over_seeds(own) for key, own in found.items() if not any(map(math.isnan, own.values()))}


def _column(task: str, about: About, own: pd.DataFrame, languages: Sequence[str]) -> Column:
    splits = set(own["split"])
    noted = {note.language for note in about.data if note.task == task and note.split in splits}
    expected = family_order((*own["language"], *noted, *languages))
    shown = own[own["headline"]]
    if shown.empty:
        return Column(task, "", "", None, expected, expected)
    found = set(shown["language"])
    return Column(
        task=task,
        metric=shown["metric"].iloc[0],
        split=shown["split"].iloc[0],
        substitution=next(iter(shown["substitution"].dropna()), None),
        languages=expected,
        absent=tuple(code for code in expected if code not in found),
    )
