"""What statistics are made of: the outcomes of runs by language and example, and two arms' outcomes paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from viaduct.errors import DataError

Numbers: TypeAlias = NDArray[np.float64]


class Run(NamedTuple):
    """The seeds of one trained model."""

    seed: int
    """Of target training."""
    stage: int | None = None
    """Of the intermediate stage; None where there was none, or where `seed` is its seed too."""


@dataclass(frozen=True, eq=False)
class Examples:
    """The outcomes of one run in one language, example by example (1.0 and 0.0 for right and wrong, or an F1)."""

    ids: tuple[str, ...]
    values: Numbers

    def __post_init__(self) -> None:
        if not self.ids or self.values.shape != (len(self.ids),):
            raise DataError(
                f"{len(self.ids):,} ids, but outcomes of shape {self.values.shape}: give one outcome per id"
            )
        if len(set(self.ids)) < len(self.ids):
            raise DataError("an id occurs twice among the examples of one language")


Outcomes: TypeAlias = Mapping[Run, Mapping[str, Examples | float]]
"""Run -> language -> its examples, or its one value where the metric is of the whole language (span F1, BLEU)."""


@dataclass(frozen=True)
class Paired:
    """Differences, checked to be complete."""

    runs: tuple[Run, ...]
    languages: tuple[str, ...]
    values: tuple[Numbers, ...]
    """One per language, (runs, examples)."""
    ids: tuple[tuple[str, ...], ...] | None
    """One per language; None where a language has one value per run."""


def pair(arm: Outcomes, baseline: Outcomes | None) -> Paired:
    """Arm minus baseline, or the arm itself without one.

    A baseline run without stage is the partner of every run with its fine-tuning seed. Raises DataError when the runs,
    languages or ids are not the same everywhere, and when examples and whole-language values are mixed.
    """
    if not arm:
        raise DataError("no run has outcomes", fix="run at least one seed to its score")
    runs = tuple(sorted(arm, key=lambda run: (run.stage is not None, run.stage or 0, run.seed)))
    if (runs[0].stage is None) != (runs[-1].stage is None):
        raise DataError(f"{runs[0]} names no stage seed and {runs[-1]} does", fix="name it for all runs, or for none")
    languages = tuple(sorted(arm[runs[0]]))
    first = [arm[runs[0]][code] for code in languages]
    found = tuple(outcome.ids for outcome in first if isinstance(outcome, Examples))
    if not languages or len(found) not in (0, len(languages)):
        raise DataError(f"{runs[0]}: give examples in every language, or one value in every language")
    ids = found or None
    values = _values(arm, runs, languages, ids)
    if baseline is not None:
        partners = tuple(_partner(run, baseline) for run in runs)
        left = sorted(set(baseline) - set(partners))
        if left:
            raise DataError(f"the arm has no partner of the baseline's {left[0]}", fix="compare what both have")
        theirs = _values(baseline, partners, languages, ids)
        values = tuple(own - other for own, other in zip(values, theirs, strict=True))
    return Paired(runs, languages, values, ids)


def language_differences(arm: Outcomes, baseline: Outcomes) -> dict[str, float]:
    """Language -> the difference of the two arms, mean over runs and examples. Raises as `pair`."""
    data = pair(arm, baseline)
    return {code: float(values.mean()) for code, values in zip(data.languages, data.values, strict=True)}


def _partner(run: Run, baseline: Outcomes) -> Run:
    for candidate in (run, Run(run.seed)):
        if candidate in baseline:
            return candidate
    raise DataError(f"the baseline has no partner of the arm's {run}", fix="compare the runs that both have")


def _values(
    side: Outcomes, runs: Sequence[Run], languages: Sequence[str], ids: tuple[tuple[str, ...], ...] | None
) -> tuple[Numbers, ...]:
    """One array per language, (runs, examples)."""
    for run in runs:
        odd = sorted(set(side[run]) ^ set(languages))
        if odd:
            raise DataError(f"{run}: the language '{odd[0]}' is not in all runs", fix="compare what all runs have")
    return tuple(
        np.stack([_column(side[run][code], None if ids is None else ids[number], run, code) for run in runs])
        for number, code in enumerate(languages)
    )


def _column(outcome: Examples | float, ids: tuple[str, ...] | None, run: Run, code: str) -> Numbers:
    """The outcomes in the order of these ids; one number where there are no ids."""
    if isinstance(outcome, Examples) != (ids is not None):
        raise DataError(f"{run}, language '{code}': give examples in all runs, or in none")
    values = outcome.values if isinstance(outcome, Examples) else np.array([outcome])
    if isinstance(outcome, Examples) and ids is not None and outcome.ids != ids:
        place = {given: number for number, given in enumerate(outcome.ids)}
        odd = sorted(set(ids) ^ set(place))
        if odd:
            raise DataError(
                f"{run}, language '{code}': the example '{odd[0]}' is not in all runs",
                fix="a missing prediction counts as wrong: give it the outcome 0",
            )
        values = values[[place[given] for given in ids]]
    if not np.isfinite(values).all():
        raise DataError(f"{run}, language '{code}': an outcome is not a number")
    return values.astype(np.float64)
