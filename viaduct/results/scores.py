"""Scores of many files, and what is computed from them: means over languages, transfer gaps, averages over tasks.

Values are fractions, except in `Scores.official`, which is in percent like XTREME's evaluate.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from viaduct.languages import ENGLISH
from viaduct.metrics.interval import Interval, interval
from viaduct.metrics.official import FileScore
from viaduct.metrics.score import Outcomes
from viaduct.metrics.summary import LanguageMeans, counted_metrics, language_means, transfer_gap
from viaduct.tasks.card import Task

TASK_SCORE = "task_score"
"""Name of a question answering task's score: the mean of F1 and exact match."""

TOKEN_ACCURACY = "token_accuracy"  # noqa: S105  no password
"""Name of the accuracy that is given along with the F1 of tags, and that evaluate.py does not compute."""

ALL_TASKS = "all_task"
"""Name of the average over the benchmark, as in evaluate.py."""


@dataclass(frozen=True, eq=False)
class Member:
    """A task of a benchmark."""

    name: str
    """Name of its folder of predictions."""
    card: Task
    group: str
    """Name of the group of tasks that is averaged first; "" outside a benchmark."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the benchmark averages over."""
        return self.card.languages


@dataclass(frozen=True)
class TaskScores:
    """The scores of one task's files."""

    name: str
    """Name of the folder."""
    card: Task
    by_language: Mapping[str, FileScore]

    @property
    def missing(self) -> tuple[str, ...]:
        """Languages of the card without predictions or gold; () when complete."""
        return tuple(language for language in self.card.languages if language not in self.by_language)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, the headline metric first; token accuracy only if it is the headline."""
        first, *others = dict.fromkeys(metric for score in self.by_language.values() for metric in score.values)
        return (first, *(metric for metric in others if metric != TOKEN_ACCURACY))

    @property
    def counted(self) -> tuple[str, ...]:
        """The metrics whose mean is the task's score: F1 and exact match for answers, else the headline metric."""
        return counted_metrics(self.metrics)

    def series(self) -> dict[str, dict[str, float]]:
        """Metric -> language -> value; then token accuracy if there is one, and the task score of questions."""
        found: dict[str, dict[str, float]] = {metric: {} for metric in self.metrics}
        for language, score in self.by_language.items():
            for metric, value in score.values.items():
                found.setdefault(metric, {})[language] = value
        if len(self.counted) > 1:
            halves = [found[metric] for metric in self.counted]
            found[TASK_SCORE] = {
                language: sum(half[language] for half in halves) / len(halves) for language in self.by_language
            }
        return found

    def interval(self, metric: str, languages: Collection[str] | None = None) -> Interval | None:
        """The 95 % interval of one of the `series`, for its mean over these languages (None: all that have it); None if
        outcomes by example are unknown, or their mean is not its value."""
        there = self.series()[metric]
        codes = [code for code in there if languages is None or code in languages]
        found = {code: one for code in codes if (one := self.by_language[code].outcomes) is not None}
        if not codes or len(found) < len(codes):
            return None
        if metric in self.counted and all(metric in one.values for one in found.values()):
            return interval(found, metric)
        whole = metric in (TASK_SCORE, *self.counted[:1]) and None not in map(self.drawn, codes)
        return interval(found) if whole else None

    def drawn(self, language: str) -> Outcomes | None:
        """The outcomes by example of a language, if the task's score is computed from them; else None."""
        found = self.by_language[language].outcomes
        is_made = found is not None and (len(found.values) == len(self.counted) or "correct" in found.values)
        return found if is_made else None

    @property
    def signatures(self) -> dict[str, tuple[str, ...]]:
        """Signature -> the languages whose scores were computed that way."""
        found: dict[str, tuple[str, ...]] = {}
        for language, score in self.by_language.items():
            for signature in score.signatures.values():
                found[signature] = (*found.get(signature, ()), language)
        return found

    def means(self, metric: str) -> LanguageMeans:
        """The means of one of the `series` over the languages that have it."""
        return language_means(self.series()[metric])

    def transfer_gap(self, metric: str) -> float | None:
        """English minus the mean of the others; None if English is not among the languages, or no other is."""
        return transfer_gap(self.series()[metric])

    def without(self, metric: str) -> tuple[str, ...]:
        """The card's languages that have no value of one of the `series`."""
        there = self.series()[metric]
        return tuple(language for language in self.card.languages if language not in there)

    @property
    def task_score(self) -> float:
        """What counts in a benchmark's average: the mean over languages, English included."""
        return self.means(TASK_SCORE if len(self.counted) > 1 else self.metrics[0]).including_english


@dataclass(frozen=True)
class Average:
    """The unweighted mean of task scores over a group of tasks."""

    name: str
    value: float | None
    """None unless every task has scores in all its languages."""
    missing: Mapping[str, tuple[str, ...]]
    """Task -> the languages that are missing; {} when complete."""


@dataclass(frozen=True)
class Scores:
    """The scores of a whole folder, and what the user should know about it."""

    tasks: tuple[TaskScores, ...]
    notes: tuple[str, ...]
    benchmark: tuple[Member, ...] = ()
    """The tasks that are averaged over, () for none."""

    def averages(self) -> tuple[Average, ...]:
        """The averages of the groups that have a task here, then of the whole benchmark."""
        there = {task.name for task in self.tasks}
        groups: dict[str, list[Member]] = {}
        for member in self.benchmark:
            groups.setdefault(member.group, []).append(member)
        found = [
            self._average(name, members)
            for name, members in groups.items()
            if any(member.name in there for member in members)
        ]
        return (*found, self._average(ALL_TASKS, self.benchmark)) if found else ()

    def _average(self, name: str, members: Sequence[Member]) -> Average:
        tasks = {task.name: task for task in self.tasks}
        holes = {one.name: tasks[one.name].missing if one.name in tasks else one.languages for one in members}
        missing = {task: languages for task, languages in holes.items() if languages}
        values = [tasks[one.name].task_score for one in members if one.name in tasks]
        return Average(name, None if missing else sum(values) / len(values), missing)

    def official(self) -> dict[str, Any]:
        """What evaluate.py returns, in percent. If languages are missing, there are only scores by language."""
        found: dict[str, Any] = {}
        for task in self.tasks:
            series = task.series()
            entry: dict[str, Any] = {}
            for metric in task.metrics:
                entry[metric] = {language: 100 * value for language, value in series[metric].items()}
                if not task.without(metric):
                    entry[f"avg_{metric}"] = 100 * task.means(metric).including_english
            if not task.missing:
                entry["avg_metric"] = 100 * task.task_score
            found[task.name] = entry
        return found | {one.name: 100 * one.value for one in self.averages() if one.value is not None}

    def as_json(self) -> dict[str, Any]:
        """Everything but the notes as plain values: fractions, with None for what does not exist."""
        return {
            "tasks": {task.name: {metric: _details(task, metric) for metric in task.series()} for task in self.tasks},
            "averages": {one.name: {"value": one.value, "languages_missing": one.missing} for one in self.averages()},
        }


def _details(task: TaskScores, metric: str) -> dict[str, Any]:
    values, means = task.series()[metric], task.means(metric)
    counts = {code: task.by_language[code].counts(metric) for code in values}
    return {
        "mean_including_english": means.including_english,
        "mean_including_english_95": task.interval(metric),
        "mean_excluding_english": means.excluding_english,
        "mean_excluding_english_95": task.interval(metric, set(values) - {ENGLISH}),
        "transfer_gap": task.transfer_gap(metric),
        "languages_missing": task.without(metric),
        "languages": {
            code: {
                "value": value,
                "value_95": task.interval(metric, (code,)),
                "n": counts[code][0],
                "n_missing": counts[code][1],
                "signature": task.by_language[code].signatures.get(metric),
            }
            for code, value in values.items()
        },
    }
