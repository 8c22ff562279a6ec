"""Means over languages and seeds, and which metrics make up a task's score. All values are fractions.

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
    """A mean over seeds and their standard deviation."""

    mean: float
    standard_deviation: float | None
    """The sample standard deviation (denominator n - 1); None with one seed."""
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LanguageMeans:
    """The unweighted mean over a task's languages, in the two variants used in papers."""

    including_english: float
    """Mean over all languages: XTREME's task score. The two means are equal if the task has no English."""
    excluding_english: float | None
    """Mean over all languages except English; None if English is the only one."""


def mean(values: Iterable[float]) -> float:
    """The mean of at least one value, with an exactly rounded sum, so that it does not depend on their order."""
    found = list(values)
    return math.fsum(found) / len(found)


def language_means(values: Mapping[str, float]) -> LanguageMeans:
    """The means of one score over languages. Raises DataError if there are none."""
    if not values:
        raise DataError("no language has a result, so there is no mean over languages")
    others = [value for language, value in values.items() if language != ENGLISH]
    return LanguageMeans(mean(values.values()), mean(others) if others else None)


def transfer_gap(values: Mapping[str, float]) -> float | None:
    """English minus the mean of the other languages; None without English (retrieval) or without other languages.

    XTREME's cross-lingual transfer gap (arXiv 2003.11080): 0 means that nothing is lost in transfer. It also shrinks
    when English gets worse, so show it together with the scores.
    """
    others = language_means(values).excluding_english
    return None if ENGLISH not in values or others is None else values[ENGLISH] - others


def over_seeds(values: Mapping[int, float]) -> Spread:
    """Mean and standard deviation (ddof = 1; None with one seed) of one value per seed. Raises DataError if empty."""
    if not values:
        raise DataError("no seed has a result, so there is no mean over seeds")
    deviation = statistics.stdev(values.values()) if len(values) > 1 else None
    return Spread(mean(values.values()), deviation, tuple(sorted(values)))


def counted_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics whose mean is the task's score in XTREME: F1 and exact match for question answering, else only the
    headline metric, which is the first one."""
    return ("exact_match", "f1") if "exact_match" in metrics else tuple(metrics[:1])
