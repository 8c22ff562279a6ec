"""Means over languages and seeds, and which metrics make a task's score. All values are fractions.

Differences with their intervals and tests are in `difference` and `verdict`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from viaduct.errors import DataError
from viaduct.languages import ENGLISH


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean over seeds and how far the seeds lie apart."""

    mean: float
    standard_deviation: float | None
    """Of the sample (n - 1 below the line); None with one seed."""
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LanguageMeans:
    """The unweighted mean over a task's languages, in the two ways that papers use."""

    including_english: float
    """Over all languages: XTREME's task score. Equal to the other where the task has no English."""
    excluding_english: float | None
    """Over all languages but English; None when English is the only one."""


def mean(values: Iterable[float]) -> float:
    """The mean of at least one value, exactly rounded, so that it does not depend on their order."""
    found = list(values)
    return math.fsum(found) / len(found)


def language_means(values: Mapping[str, float]) -> LanguageMeans:
    """The means of one score over languages. Raises DataError when there are none."""
    if not values:
        raise DataError("no language has a result, so there is no mean over languages")
    others = [value for language, value in values.items() if language != ENGLISH]
    return LanguageMeans(mean(values.values()), mean(others) if others else None)


def transfer_gap(values: Mapping[str, float]) -> float | None:
    """English minus the mean of the other languages; None without English (retrieval) or without others.

    Cross-lingual transfer gap of XTREME (arXiv 2003.11080): 0 means that nothing is lost in transfer. It also shrinks
    when English gets worse, so show it together with the scores.
    """
    others = language_means(values).excluding_english
    return None if ENGLISH not in values or others is None else values[ENGLISH] - others


def over_seeds(values: Mapping[int, float]) -> Spread:
    """Mean and standard deviation (ddof = 1; None with one seed) of a value per seed. Raises DataError for no seeds."""
    if not values:
        raise DataError("no seed has a result, so there is no mean over seeds")
    deviation = statistics.stdev(values.values()) if len(values) > 1 else None
    return Spread(mean(values.values()), deviation, tuple(sorted(values)))


def counted_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics whose mean is the task's score in XTREME: F1 and exact match of questions, else the headline metric,
    which is the first of these."""
    return ("exact_match", "f1") if "exact_match" in metrics else tuple(metrics[:1])
