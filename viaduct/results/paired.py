"""Two systems' predictions on the same rows: the scores of both and their difference, paired by example.

The systems are taken as they are: measuring what another training would change takes several seeds (`viaduct compare`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from viaduct.errors import DataError, UsageError
from viaduct.languages import ENGLISH
from viaduct.metrics.difference import ExampleVariance, TaskDifference, example_variance, of_predictions
from viaduct.metrics.drawn import drawn_together
from viaduct.metrics.interval import by_example
from viaduct.metrics.score import Outcomes
from viaduct.metrics.spread import Numbers
from viaduct.metrics.summary import mean
from viaduct.results.scores import TASK_SCORE, Scores, TaskScores

MEAN, WITHOUT_ENGLISH = "mean", "mean without English"
Line = dict[str, Any]
"""Keys: task ("all" for the mean over tasks), metric (None for that), over (a language or a mean), first, second,
difference, low and high as fractions, p, why_no_interval (None if there is one)."""


def paired(first: Scores, second: Scores, names: tuple[str, str]) -> tuple[list[Line], tuple[str, ...]]:
    """(each task in each language and in the mean, then the mean over tasks; the notes of both, and what only one of
    the two has). Raises UsageError if they share no language of any task, DataError if their rows differ."""
    notes = [note for note in first.notes if note in second.notes]
    for name, one in zip(names, (first, second), strict=True):
        notes += [f"{name}: {note}" for note in one.notes if note not in notes]
    held = [{task.name: task for task in one.tasks} for one in (first, second)]
    common = {
        name: [code for code in task.by_language if code in held[1][name].by_language]
        for name, task in held[0].items()
        if name in held[1]
    }
    for name, own in zip(names, held, strict=True):
        left = {task: [c for c in one.by_language if c not in common.get(task, ())] for task, one in own.items()}
        notes += [f"only {name} has {task} in {' '.join(codes)}: left out" for task, codes in left.items() if codes]
    lines: list[Line] = []
    means: dict[str, list[tuple[Line, TaskDifference]]] = {MEAN: [], WITHOUT_ENGLISH: []}
    for task, codes in common.items():
        shown = {*codes, *[MEAN] * (len(codes) > 1), *[WITHOUT_ENGLISH] * (len(codes) > 1 and ENGLISH in codes)}
        for line, difference in _of_task(held[0][task], held[1][task], codes):
            lines += [line] if line["over"] in shown else []
            means.get(line["over"], []).append((line, difference))
    if not lines:
        raise UsageError(
            "\n  ".join(["the two have no task and language in common", *notes]),
            fix="give predictions of both for at least one task in the same language",
        )
    for over, parts in means.items():
        if len(parts) > 1 and (over == MEAN or any(ENGLISH in codes for codes in common.values())):
            scores = [mean(line[side] for line, _ in parts) for side in ("first", "second")]
            lines.append(_line("all", None, over, scores, [one for _, one in parts]))
    return lines, tuple(notes)


def _line(
    task: str, metric: str | None, over: str, scores: Sequence[float], differences: Sequence[TaskDifference]
) -> Line:
    found = of_predictions(differences)
    low, high = found.interval or (None, None)
    numbers = {"first": scores[0], "second": scores[1], "difference": found.mean, "low": low, "high": high}
    named = {"task": task, "metric": metric, "over": over}
    return {**named, **numbers, "p": found.p_value, "why_no_interval": found.why_not or None}


def _of_task(mine: TaskScores, theirs: TaskScores, codes: Sequence[str]) -> Iterator[tuple[Line, TaskDifference]]:
    """The lines for each language, and for those of the two means that have any languages."""
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
        scores = [mean(side[code] for code in own) for side in sides]
        yield _line(mine.name, metric, over, scores, [difference]), difference


def _by_example(mine: TaskScores, theirs: TaskScores, code: str) -> tuple[Outcomes, Numbers] | None:
    """(outcomes that tell which examples are drawn together, (1, N) differences); None if a metric has no outcomes by
    example. Pairs of sentences (BUCC) that only one of the two predicted count for both."""
    one, other = (task.drawn(code) for task in (mine, theirs))
    if one is None or other is None:
        return None
    if list(one.ids) == list(other.ids):
        values = [by_example({name: np.asarray(value) for name, value in own.values.items()}) for own in (one, other)]
        return one, (values[0] - values[1])[None]
    if "correct" not in one.values:
        raise DataError(
            f"{mine.name} in '{code}': the two were scored on different rows", fix="score both with the same gold"
        )
    ids, values = sorted({*one.ids, *other.ids}), []
    for own in (one, other):
        counts = {name: dict(zip(own.ids, value, strict=True)) for name, value in own.values.items()}
        values.append(by_example({name: np.array([c.get(key, 0) for key in ids]) for name, c in counts.items()}))
    return Outcomes(ids, {}), (values[0] - values[1])[None]


def _variance(known: Mapping[str, tuple[Outcomes, Numbers]]) -> ExampleVariance:
    units = drawn_together({code: one for code, (one, _) in known.items()})
    return example_variance({code: one for code, (_, one) in known.items()}, units)
