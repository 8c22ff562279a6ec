"""Averages over languages, seeds and tasks, from result rows: the numbers that stand in a report's tables.

Never averages over a hole in silence: what is missing is named in the result, or the average is refused. All values are
fractions. Confidence intervals and tests of significance are not here.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from viaduct.errors import DataError
from viaduct.languages import ENGLISH
from viaduct.results.record import BASELINE, ResultRow

BySeed: TypeAlias = Mapping[int, Mapping[str, float]]
"""Seed -> language -> value."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds and how far the seeds lie apart."""

    mean: float
    standard_deviation: float | None
    """Of the sample (n - 1 below the line); None with one seed."""
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """An arm minus the baseline, seed by seed."""

    mean: float
    standard_deviation: float | None
    """Of the differences, over seeds (n - 1); None with one pair."""
    seeds: tuple[int, ...]
    """The seeds that both have."""
    unpaired: tuple[int, ...]
    """Seeds that only one of the two has, left out."""


@dataclass(frozen=True, slots=True)
class LanguageMeans:
    """The unweighted mean over a task's languages, in the two ways that papers use."""

    including_english: float
    """Over all languages: XTREME's task score. Equal to the other where the task has no English."""
    excluding_english: float | None
    """Over all languages but English; None when English is the only one."""


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """One encoder, arm, task and metric, over languages and seeds."""

    encoder: str
    arm: str
    task: str
    metric: str
    headline: bool
    """Whether the task's table cell shows this metric."""
    split: str
    signature: str
    including_english: Spread
    """Of the mean over languages, English too: the XTREME task score (for QA, one of its two halves)."""
    excluding_english: Spread | None
    """None when some seed has English only."""
    transfer_gap: Spread | None
    """None where some seed has no English score or nothing else (retrieval has no English)."""
    difference: Difference | None
    """From the baseline arm, over the languages that both have; None for the baseline itself or when there is none."""
    by_language: Mapping[str, Spread]
    missing: tuple[str, ...]
    """Languages without a result ("sw"), or with one for some seeds only ("sw seed 2"); () when complete."""

    @property
    def label(self) -> str:
        """ "" when complete, else "partial: " and what is missing."""
        return _label(self.missing)


@dataclass(frozen=True, slots=True)
class BenchmarkAverage:
    """The unweighted mean over tasks of one encoder and arm; a QA task counts (F1 + exact match) / 2."""

    encoder: str
    arm: str
    value: Spread
    by_task: Mapping[str, Spread]
    difference: Difference | None
    """From the baseline arm; None for the baseline itself, when there is none, or when either is partial."""
    missing: tuple[str, ...]
    """"task", "task language", "task seed 2" or "task language seed 2"; () when complete."""

    @property
    def label(self) -> str:
        """ "" when complete, else "partial: " and what is missing."""
        return _label(self.missing)


def language_means(values: Mapping[str, float]) -> LanguageMeans:
    """The means of one score over languages. Raises DataError when there are none."""
    if not values:
        raise DataError("no language has a result, so there is no mean over languages")
    others = [value for language, value in values.items() if language != ENGLISH]
    return LanguageMeans(_mean(values.values()), _mean(others) if others else None)


def transfer_gap(values: Mapping[str, float]) -> float | None:
    """English minus the mean of the other languages; None without English (retrieval) or without others.

    Cross-lingual transfer gap of XTREME (arXiv 2003.11080): 0 means that nothing is lost in transfer. It also shrinks
    when English gets worse, so show it together with the scores.
    """
    means = language_means(values)
    if ENGLISH not in values or means.excluding_english is None:
        return None
    return values[ENGLISH] - means.excluding_english


def over_seeds(values: Mapping[int, float]) -> Spread:
    """Mean and standard deviation (ddof = 1; None with one seed) of a value per seed. Raises DataError for no seeds."""
    if not values:
        raise DataError("no seed has a result, so there is no mean over seeds")
    seeds = tuple(sorted(values))
    spread = statistics.stdev(values[seed] for seed in seeds) if len(seeds) > 1 else None
    return Spread(_mean(values.values()), spread, seeds)


def paired_difference(arm: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """Arm minus baseline paired by seed, with the seeds that could not be paired; None when no seed is in both."""
    paired = {seed: arm[seed] - baseline[seed] for seed in arm.keys() & baseline.keys()}
    return _difference(paired, unpaired=arm.keys() ^ baseline.keys())


def summarise(
    rows: Sequence[ResultRow], *, languages: Mapping[str, Sequence[str]] | None = None
) -> tuple[TaskSummary, ...]:
    """One summary per encoder, arm, task and metric, sorted by these (headline metric first).

    `languages`: task -> the languages it should have, to name what is missing; a task that is not there (or None)
    should have every language that any of its rows has. Raises DataError for no rows, the same result twice, a language
    that the task does not have, and rows of one task and metric that are not comparable (split, task version or
    signature differ).
    """
    cells = _cells(rows)
    summaries = []
    for (encoder, arm, task, metric), seeds in cells.items():
        row = next(row for row in rows if (row.task, row.metric) == (task, metric))
        baseline = cells.get((encoder, BASELINE, task, metric)) if arm != BASELINE else None
        summaries.append(
            TaskSummary(
                encoder=encoder,
                arm=arm,
                task=task,
                metric=metric,
                headline=row.headline,
                split=row.split,
                signature=row.signature,
                including_english=over_seeds({seed: language_means(seeds[seed]).including_english for seed in seeds}),
                excluding_english=_whole({seed: language_means(seeds[seed]).excluding_english for seed in seeds}),
                transfer_gap=_whole({seed: transfer_gap(seeds[seed]) for seed in seeds}),
                difference=_difference_from(seeds, baseline),
                by_language={
                    language: over_seeds({seed: seeds[seed][language] for seed in seeds if language in seeds[seed]})
                    for language in sorted({language for values in seeds.values() for language in values})
                },
                missing=_missing(task, seeds, _expected(task, cells, languages)),
            )
        )
    return tuple(sorted(summaries, key=lambda one: (one.encoder, one.arm, one.task, not one.headline, one.metric)))


def benchmark_averages(
    rows: Sequence[ResultRow], *, languages: Mapping[str, Sequence[str]], allow_partial: bool = False
) -> tuple[BenchmarkAverage, ...]:
    """One XTREME-style average per encoder and arm, over the tasks and languages given as task -> languages.

    Per seed, the unweighted mean over tasks of the mean over languages including English; a task with an "exact_match"
    counts the mean of its F1 and exact match, others their headline metric (evaluate.py of XTREME at 838c13b). Rows of
    other tasks are left out. When a task or language is missing, raises DataError that names it; with `allow_partial`
    the average is over what is there, and `missing` and `label` say what is not.
    """
    rows = [row for row in rows if row.task in languages]
    metrics = counted_by_task(rows)
    cells = _cells([row for row in rows if row.metric in metrics[row.task]])
    values: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    missing: dict[tuple[str, str], list[str]] = {}
    for encoder, arm in sorted({(row.encoder, row.arm) for row in rows}):
        seeds = sorted({row.seed for row in rows if (row.encoder, row.arm) == (encoder, arm)})
        by_task, holes = values.setdefault((encoder, arm), {}), missing.setdefault((encoder, arm), [])
        for task in languages:
            halves = [cells.get((encoder, arm, task, metric), {}) for metric in metrics.get(task, ())]
            by_task[task] = _task_values(halves)
            holes += _task_holes(task, halves, seeds, languages[task])
        if holes and not allow_partial:
            raise DataError(
                f"the average of encoder {encoder}, arm '{arm}' has holes: {', '.join(holes)}",
                fix="run what is missing, or ask for an average that is labelled partial",
            )
    return tuple(_benchmark_average(key, values, missing) for key in values)


def _benchmark_average(
    key: tuple[str, str],
    values: Mapping[tuple[str, str], Mapping[str, Mapping[int, float]]],
    missing: Mapping[tuple[str, str], Sequence[str]],
) -> BenchmarkAverage:
    encoder, arm = key
    by_seed = _average_by_seed(values[key])
    baseline = (encoder, BASELINE)
    comparable = arm != BASELINE and baseline in values and not missing[key] and not missing[baseline]
    return BenchmarkAverage(
        encoder=encoder,
        arm=arm,
        value=over_seeds(by_seed),
        by_task={task: over_seeds(seeds) for task, seeds in values[key].items() if seeds},
        difference=paired_difference(by_seed, _average_by_seed(values[baseline])) if comparable else None,
        missing=tuple(missing[key]),
    )


def _average_by_seed(by_task: Mapping[str, Mapping[int, float]]) -> dict[int, float]:
    seeds = {seed for values in by_task.values() for seed in values}
    return {seed: _mean(values[seed] for values in by_task.values() if seed in values) for seed in sorted(seeds)}


def counted_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics whose mean is the task's score in XTREME: F1 and exact match of questions, else the headline metric,
    which is the first of these."""
    return ("exact_match", "f1") if "exact_match" in metrics else tuple(metrics[:1])


def counted_by_task(rows: Iterable[ResultRow]) -> dict[str, tuple[str, ...]]:
    """Task -> the `counted_metrics` of these rows."""
    found: dict[str, dict[str, bool]] = {}
    for row in rows:
        found.setdefault(row.task, {})[row.metric] = row.headline
    return {task: counted_metrics(sorted(own, key=lambda name: not own[name])) for task, own in found.items()}


def _task_values(halves: Sequence[BySeed]) -> dict[int, float]:
    """Seed -> score of a task, for the seeds that have all of its metrics."""
    if not halves:
        return {}
    seeds = set.intersection(*(set(half) for half in halves))
    return {seed: _mean(language_means(half[seed]).including_english for half in halves) for seed in sorted(seeds)}


def _task_holes(task: str, halves: Sequence[BySeed], seeds: Sequence[int], languages: Sequence[str]) -> list[str]:
    if not halves or not all(halves):
        return [task]
    holes: dict[str, None] = {}
    for half in halves:
        absent = [seed for seed in seeds if seed not in half]
        holes.update({f"{task} seed {seed}": None for seed in absent})
        holes.update({f"{task} {hole}": None for hole in _missing(task, half, languages)})
    return list(holes)


def _cells(rows: Sequence[ResultRow]) -> dict[tuple[str, str, str, str], dict[int, dict[str, float]]]:
    """(encoder, arm, task, metric) -> seed -> language -> value, checked to be comparable and without doubles."""
    if not rows:
        raise DataError("there are no result rows to summarise", fix="run at least one stage that scores")
    cells: dict[tuple[str, str, str, str], dict[int, dict[str, float]]] = {}
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
        values = cells.setdefault((row.encoder, row.arm, row.task, row.metric), {}).setdefault(row.seed, {})
        if row.language in values:
            raise DataError(
                f"two results for encoder {row.encoder}, arm '{row.arm}', {row.task} {row.metric} in "
                f"{row.language}, seed {row.seed}",
                fix="summarise one recipe at a time",
            )
        values[row.language] = row.value
    return cells


def _expected(
    task: str,
    cells: Mapping[tuple[str, str, str, str], BySeed],
    languages: Mapping[str, Sequence[str]] | None,
) -> Sequence[str]:
    if languages is not None and task in languages:
        return languages[task]
    return sorted(
        {language for key in cells if key[2] == task for values in cells[key].values() for language in values}
    )


def _missing(task: str, seeds: BySeed, expected: Sequence[str]) -> tuple[str, ...]:
    strange = sorted({language for values in seeds.values() for language in values} - set(expected))
    if strange:
        raise DataError(
            f"{task}: results in '{strange[0]}', which is not among its languages: {', '.join(expected)}",
            fix="leave these rows out, or give the languages that were evaluated",
        )
    holes = []
    for language in expected:
        absent = [seed for seed in sorted(seeds) if language not in seeds[seed]]
        holes += [language] if len(absent) == len(seeds) else [f"{language} seed {seed}" for seed in absent]
    return tuple(holes)


def _difference_from(seeds: BySeed, baseline: BySeed | None) -> Difference | None:
    if baseline is None:
        return None
    means: dict[int, float] = {}
    for seed in seeds.keys() & baseline.keys():
        common = seeds[seed].keys() & baseline[seed].keys()
        if common:
            means[seed] = _mean(seeds[seed][language] - baseline[seed][language] for language in common)
    return _difference(means, unpaired=(seeds.keys() | baseline.keys()) - means.keys())


def _difference(by_seed: Mapping[int, float], *, unpaired: Iterable[int]) -> Difference | None:
    if not by_seed:
        return None
    spread = over_seeds(by_seed)
    return Difference(spread.mean, spread.standard_deviation, spread.seeds, tuple(sorted(unpaired)))


def _whole(values: Mapping[int, float | None]) -> Spread | None:
    """Spread over seeds when every seed has a value, else None."""
    found = {seed: value for seed, value in values.items() if value is not None}
    return over_seeds(found) if len(found) == len(values) else None


def _mean(values: Iterable[float]) -> float:
    """Exactly rounded, so that it does not depend on the order."""
    found = list(values)
    return math.fsum(found) / len(found)


def _label(missing: Sequence[str]) -> str:
    return f"partial: {', '.join(missing)}" if missing else ""
