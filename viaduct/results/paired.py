"""Two systems' predictions on the same rows: the scores of both and their difference, paired by example.

The systems are taken as they are: what another training would change takes seeds (`viaduct compare`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from viaduct.errors import DataError, UsageError
from viaduct.languages import ENGLISH
from viaduct.metrics.difference import Estimate, ExampleVariance, TaskDifference, example_variance, of_predictions
from viaduct.metrics.interval import by_example
from viaduct.metrics.spread import Numbers
from viaduct.metrics.summary import mean
from viaduct.results.outcomes import numbered
from viaduct.results.scores import TASK_SCORE, Scores, TaskScores

MEAN, WITHOUT_ENGLISH = "mean", "mean without English"


class Paired(NamedTuple):
    """The task score of both systems, as fractions, and the first's less the second's."""

    task: str
    """"" for the mean over tasks."""
    metric: str
    """"" for the mean over tasks."""
    over: str
    """A language, `MEAN` or `WITHOUT_ENGLISH`."""
    first: float
    second: float
    estimate: Estimate

    def dumped(self) -> dict[str, Any]:
        """For a file, in percent, as scores are there."""
        low, high = self.estimate.interval or (None, None)
        numbers = {
            "first": self.first,
            "second": self.second,
            "difference": self.estimate.mean,
            "low": low,
            "high": high,
        }
        in_percent = {name: None if value is None else 100 * value for name, value in numbers.items()}
        named = {"task": self.task or "all", "metric": self.metric or None, "over": self.over}
        return {**named, **in_percent, "p": self.estimate.p_value, "why_no_interval": self.estimate.why_not or None}


def paired(first: Scores, second: Scores, names: tuple[str, str]) -> tuple[list[Paired], tuple[str, ...]]:
    """(each task in each language and in the mean, then the mean over tasks; the notes of both, and what only one of
    the two has). Raises UsageError where they have no language of a task in common, DataError for other rows."""
    both = (first, second)
    notes = [note for note in first.notes if note in second.notes]
    notes += [
        f"{name}: {note}" for name, one in zip(names, both, strict=True) for note in one.notes if note not in notes
    ]
    held = [{task.name: task for task in one.tasks} for one in both]
    common = {
        name: [code for code in task.by_language if name in held[1] and code in held[1][name].by_language]
        for name, task in held[0].items()
    }
    for name, own in zip(names, held, strict=True):
        left = {
            task: [code for code in one.by_language if code not in common.get(task, ())] for task, one in own.items()
        }
        notes += [f"only {name} has {task} in {' '.join(codes)}: left out" for task, codes in left.items() if codes]
    lines: list[Paired] = []
    means: dict[str, list[tuple[Paired, TaskDifference]]] = {MEAN: [], WITHOUT_ENGLISH: []}
    for task, codes in common.items():
        shown = {*codes, *[MEAN] * (len(codes) > 1), *[WITHOUT_ENGLISH] * (len(codes) > 1 and ENGLISH in codes)}
        for line, difference in _of_task(held[0][task], held[1][task], codes):
            lines += [line] if line.over in shown else []
            means.get(line.over, []).append((line, difference))
    if not lines:
        raise UsageError("\n  ".join(["the two have no task and language in common", *notes]))
    for over, parts in means.items():
        if len(parts) > 1 and (over == MEAN or any(ENGLISH in codes for codes in common.values())):
            scores = mean(line.first for line, _ in parts), mean(line.second for line, _ in parts)
            lines.append(Paired("", "", over, *scores, of_predictions([one for _, one in parts])))
    return lines, tuple(notes)


def _of_task(mine: TaskScores, theirs: TaskScores, codes: Sequence[str]) -> Iterator[tuple[Paired, TaskDifference]]:
    """In each language, and in the two means as far as there are any languages."""
    metric = TASK_SCORE if len(mine.counted) > 1 else mine.metrics[0]
    sides = mine.series()[metric], theirs.series()[metric]
    drawn = {code: _by_example(mine, theirs, code) for code in codes}
    groups = {code: [code] for code in codes}
    groups |= {MEAN: [*codes], WITHOUT_ENGLISH: [code for code in codes if code != ENGLISH]}
    for over, own in ((over, own) for over, own in groups.items() if own):
        values_SL = np.array([[sides[0][code] - sides[1][code] for code in own]])
        known = {code: one for code in own if (one := drawn[code]) is not None}
        examples = _variance(known) if len(known) == len(own) else None
        difference = TaskDifference(mine.name, tuple(own), values_SL, examples)
        scores = mean(sides[0][code] for code in own), mean(sides[1][code] for code in own)
        yield Paired(mine.name, metric, over, *scores, of_predictions([difference])), difference


def _by_example(mine: TaskScores, theirs: TaskScores, code: str) -> tuple[Sequence[str], Numbers] | None:
    """(what tells that examples of two languages are the same, (1, N) differences); None where a metric does not say
    how examples came out. Pairs of sentences (BUCC) that only one of the two predicted count for both."""
    one, other = (task.drawn(code) for task in (mine, theirs))
    if one is None or other is None:
        return None
    if list(one.ids) == list(other.ids):
        values = [by_example({name: np.asarray(value) for name, value in own.values.items()}) for own in (one, other)]
        return one.same or one.ids, (values[0] - values[1])[None]
    if "correct" not in one.values:
        raise DataError(f"{mine.name} in '{code}': the two were scored on other rows", fix="score both with one gold")
    ids = sorted({*one.ids, *other.ids})
    counts = [
        {name: dict(zip(own.ids, value, strict=True)) for name, value in own.values.items()} for own in (one, other)
    ]
    values = [
        by_example({name: np.array([found.get(key, 0) for key in ids]) for name, found in own.items()})
        for own in counts
    ]
    return ids, (values[0] - values[1])[None]


def _variance(known: Mapping[str, tuple[Sequence[str], Numbers]]) -> ExampleVariance:
    units = numbered({code: same for code, (same, _) in known.items()})
    return example_variance(
        {code: one for code, (_, one) in known.items()}, units, dict.fromkeys(known, 1 / len(known))
    )
