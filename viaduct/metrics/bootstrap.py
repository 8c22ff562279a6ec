"""Confidence intervals for a score, or for the paired difference of two arms, by a hierarchical bootstrap.

The mean over languages varies with the stage seed, the fine-tuning seed, the languages and the examples that happened
to be used. Seeds, languages and (in parallel test sets) examples are crossed: every seed meets every language. So each
level is resampled on its own and its deviations are added; resampling languages anew within each drawn seed would count
a language's own effect as often as there are seeds. A level inside another one (languages in families, examples in
languages of a test set that is not parallel) is not resampled again: its variation is already in the units above it,
and a second draw would count it twice (Davison and Hinkley 1997, section 3.8).

Three to nine seeds are few, and percentiles of the draws alone would be far too narrow. Three things correct that; the
coverage is checked by simulation in tests/metrics/test_coverage.py:

- each level's draws get the spread of an unbiased estimate (n / (n - 1), for units of unequal size 1 / (1 - share));
- what two crossed levels share is counted once: variances of levels less those of their interactions, and so on
  (inclusion and exclusion, as Cameron, Gelbach and Miller 2011 for clusters, here with centred interactions);
- every draw is divided by a draw of sqrt(chi-square / df), df by Welch and Satterthwaite (units of unequal size: Bell
  and McCaffrey 2002), which turns a normal distribution of few units into Student's t.

Tests that use these draws are in `viaduct.metrics.significance`. They do not read predictions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from viaduct.errors import DataError, UsageError, unknown
from viaduct.languages import language as language_of
from viaduct.metrics.outcomes import Numbers, Outcomes, Paired, Run, pair

Codes: TypeAlias = NDArray[np.intp]

STAGE, SEED, FAMILY, LANGUAGE, EXAMPLE = "stage seed", "fine-tune seed", "language family", "language", "example"
LEVELS = (STAGE, SEED, FAMILY, LANGUAGE, EXAMPLE)

_STAGES, _SEEDS, _PLACES, _EXAMPLES = range(4)
"""Axes of the scores; places are families or languages."""

MOST_UNITS = 2_000
"""Examples beyond so many are put into this many groups at random, which are then resampled: as exact, and quicker."""
_AT_ONCE = 4_000_000
"""Resampled units held in memory at a time."""


@dataclass(frozen=True)
class Design:
    """What the languages and examples are to each other."""

    parallel: bool = False
    """Whether an id is the same example in every language (XNLI, PAWS-X, XQuAD, MLQA, XCOPA): ids are then resampled
    jointly."""
    families: Mapping[str, str] | None = None
    """Language -> family; None: by the language table."""
    weights: Mapping[str, float] | None = None
    """Language -> weight in the mean; None: equal. They need not add up to one."""
    fixed: tuple[str, ...] = ()
    """Levels taken as they are: with LANGUAGE and FAMILY the interval speaks of these languages only."""


@dataclass(frozen=True)
class Level:
    """One level of the hierarchy."""

    name: str
    units: int
    """How many there are; 0 when the data do not have this level."""
    standard_error: float | None
    """What it contributes on its own; None when it was not resampled."""
    why_not: str = ""
    """Why it was not resampled; "" when it was."""


@dataclass(frozen=True)
class Estimate:
    """A mean and how far it may be off, as fractions."""

    mean: float
    standard_error: float
    """Of the mean, all resampled levels together."""
    levels: tuple[Level, ...]
    """All five, outermost first."""
    deviations: Numbers = field(repr=False, compare=False)
    """One per draw: what the mean could have been off by."""

    @property
    def draws(self) -> int:
        """How many times everything was resampled."""
        return len(self.deviations)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.interval(0.95)[0]

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.interval(0.95)[1]

    @property
    def p_value(self) -> float:
        """Two-sided, of a true mean of zero; below 0.05 where the interval excludes zero."""
        return min(1.0, 2 * min(self.p_above(0.0), self.p_below(0.0)))

    @property
    def resampled(self) -> tuple[str, ...]:
        """Names of the levels that the interval knows the variation of."""
        return tuple(level.name for level in self.levels if not level.why_not)

    def interval(self, confidence: float) -> tuple[float, float]:
        """(low, high) at this confidence, for example 0.9."""
        low, high = self.mean + np.quantile(self.deviations, ((1 - confidence) / 2, (1 + confidence) / 2))
        return float(low), float(high)

    def p_above(self, value: float) -> float:
        """One-sided p-value for "the true mean is above `value`": small when it is."""
        return (1 + int(np.count_nonzero(self.mean + self.deviations <= value))) / (1 + self.draws)

    def p_below(self, value: float) -> float:
        """One-sided p-value for "the true mean is below `value`": small when it is."""
        return (1 + int(np.count_nonzero(self.mean + self.deviations >= value))) / (1 + self.draws)


def hierarchical_bootstrap(
    arm: Outcomes,
    baseline: Outcomes | None = None,
    design: Design | None = None,
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """The mean over languages of arm minus baseline, paired by run, language and example; of the arm without baseline.

    Runs count equally, and languages unless `design` weighs them. The same arguments give the same draws. A level with
    one unit cannot be resampled: the interval then speaks of that unit only, and `levels` says so.

    Raises DataError for outcomes that cannot be paired (see `viaduct.metrics.outcomes.pair`) and when no level has two
    units; UsageError for an unknown level, weights that are not above 0, and fewer than 1,000 draws.
    """
    design = design or Design()
    for name in design.fixed:
        if name not in LEVELS:
            raise unknown("level", name, LEVELS)
    if draws < 1_000:
        raise UsageError(f"{draws} draws are too few for a 95 % interval", fix="ask for 1,000 or more")
    rng = np.random.default_rng(seed)
    scores = _scores(pair(arm, baseline), design, rng)
    if not scores.axes:
        reasons = "; ".join(f"{name}: {why}" for name, why in scores.why_not.items())
        raise DataError(f"there is nothing to resample ({reasons})", fix="add seeds, languages or examples")
    deviations, variance, alone = _draw(scores, draws, rng)
    return Estimate(scores.mean, math.sqrt(variance), _levels(scores, alone), deviations)


@dataclass(frozen=True)
class _Scores:
    """What every unit adds to (estimated mean - true mean), on axes (stage, seed, place, example).

    An axis that is not resampled has length 1.
    """

    mean: float
    between: Numbers
    """From the means of languages; (stages, seeds, places, 1)."""
    within: Numbers
    """From examples around their language's mean, (stages, seeds, places, examples)."""
    shares: tuple[Numbers, Numbers, Numbers, Numbers]
    """Per axis, each unit's share of the mean."""
    axes: Mapping[int, str]
    """Axis -> level, of those that are resampled."""
    units: Mapping[str, int]
    why_not: Mapping[str, str]


def _scores(data: Paired, design: Design, rng: np.random.Generator) -> _Scores:
    weights = _weights(data.languages, design)
    means = np.array([values.mean() for values in data.values])
    mean = float(weights @ means)
    levels = _Names({}, {}, {})
    stages, seeds = _run_codes(data.runs, design, levels)
    places = _place_codes(data.languages, design, levels)
    columns, num_columns = _example_codes(data, design, levels, rng)
    shape = (int(stages.max()) + 1, int(seeds.max()) + 1, int(places.max()) + 1)
    between, within = np.zeros((*shape, 1)), np.zeros((*shape, num_columns))
    examples = np.zeros(num_columns)
    for number, values in enumerate(data.values):
        share = weights[number] / len(data.runs)
        here = np.full_like(stages, places[number])
        np.add.at(between, (stages, seeds, here, np.zeros_like(here)), share * (values.mean(axis=1) - mean))
        if _EXAMPLES in levels.axes:
            cells = (stages[:, None], seeds[:, None], here[:, None], columns[number][None, :])
            np.add.at(within, cells, share / values.shape[1] * (values - means[number]))
            np.add.at(examples, columns[number], weights[number] / values.shape[1])
    runs = np.full(len(data.runs), 1 / len(data.runs))
    shares = (_sums(stages, runs), _sums(seeds, runs), _sums(places, weights), examples)
    return _Scores(mean, between, within, shares, levels.axes, levels.units, levels.why_not)


def _sums(codes: Codes, weights: Numbers) -> Numbers:
    return np.bincount(codes, weights).astype(np.float64)


class _Names(NamedTuple):
    """What is filled in while the axes are made: see `_Scores`."""

    axes: dict[int, str]
    units: dict[str, int]
    why_not: dict[str, str]

    def decide(self, level: str, units: int, axis: int, reason: str) -> bool:
        """Whether this level is an axis: it is unless there is a reason not to, or it has one unit only."""
        self.units[level] = units
        reason = reason or ("there is only one" if units == 1 else "" if units else "there is none")
        if reason:
            self.why_not[level] = reason
            return False
        self.axes[axis] = level
        return True


def _weights(languages: Sequence[str], design: Design) -> Numbers:
    if design.weights is None:
        return np.full(len(languages), 1 / len(languages))
    lacking = [code for code in languages if not design.weights.get(code, 0.0) > 0]
    if lacking:
        raise UsageError(f"'{lacking[0]}' has no weight above 0", fix="weigh every language, or leave its outcomes out")
    weights = np.array([design.weights[code] for code in languages])
    return np.asarray(weights / weights.sum())


def _run_codes(runs: Sequence[Run], design: Design, levels: _Names) -> tuple[Codes, Codes]:
    """Axis positions of the runs; zeros for an axis that is not resampled.

    Where every stage seed has the same fine-tuning seeds, the two are crossed; otherwise these lie within those.
    """
    stage_names = sorted({run.stage for run in runs if run.stage is not None})
    names = sorted({run.seed for run in runs})
    crossed = len(runs) == len(names) * max(1, len(stage_names))
    fixed = {name: "taken as it is" if name in design.fixed else "" for name in (STAGE, SEED)}
    by_stage = levels.decide(STAGE, len(stage_names), _STAGES, fixed[STAGE])
    inside = "" if crossed or not by_stage else f"inside its {STAGE}"
    by_seed = levels.decide(SEED, len(names), _SEEDS, fixed[SEED] or inside)
    zeros = np.zeros(len(runs), dtype=np.intp)
    return (
        np.array([stage_names.index(run.stage or 0) for run in runs], dtype=np.intp) if by_stage else zeros,
        np.array([names.index(run.seed) for run in runs], dtype=np.intp) if by_seed else zeros,
    )


def _place_codes(languages: Sequence[str], design: Design, levels: _Names) -> Codes:
    """Axis positions of the languages: by family where there are two, else by language."""
    if design.families is None:
        families = [language_of(code).family for code in languages]
    else:
        lacking = [code for code in languages if code not in design.families]
        if lacking:
            raise UsageError(f"'{lacking[0]}' has no family", fix="name the family of every language")
        families = [design.families[code] for code in languages]
    fixed = {name: "taken as it is" if name in design.fixed else "" for name in (FAMILY, LANGUAGE)}
    names = sorted(set(families))
    if levels.decide(FAMILY, len(names), _PLACES, fixed[FAMILY] or fixed[LANGUAGE]):
        levels.units[LANGUAGE] = len(languages)
        levels.why_not[LANGUAGE] = f"inside its {FAMILY}"
        return np.array([names.index(family) for family in families], dtype=np.intp)
    if levels.decide(LANGUAGE, len(languages), _PLACES, fixed[LANGUAGE]):
        return np.arange(len(languages), dtype=np.intp)
    return np.zeros(len(languages), dtype=np.intp)


def _example_codes(
    data: Paired, design: Design, levels: _Names, rng: np.random.Generator
) -> tuple[tuple[Codes, ...], int]:
    """(positions on the example axis per language, length of the axis)."""
    nothing = tuple(np.zeros(values.shape[1], dtype=np.intp) for values in data.values)
    if data.ids is None:
        levels.decide(EXAMPLE, 0, _EXAMPLES, "the values are of whole languages")
        return nothing, 1
    if design.parallel:
        place = {given: number for number, given in enumerate(sorted(set().union(*data.ids)))}
        codes = tuple(np.array([place[given] for given in ids], dtype=np.intp) for ids in data.ids)
        units = len(place)
    else:
        ends = list(itertools.accumulate(len(ids) for ids in data.ids))
        codes = tuple(np.arange(end - len(ids), end, dtype=np.intp) for ids, end in zip(data.ids, ends, strict=True))
        units = ends[-1]
    reason = "taken as it is" if EXAMPLE in design.fixed else ""
    if _PLACES in levels.axes and not design.parallel:
        reason = reason or f"inside its {LANGUAGE}"
    if not levels.decide(EXAMPLE, units, _EXAMPLES, reason):
        return nothing, 1
    if units > MOST_UNITS:
        groups = rng.permutation(units).astype(np.intp) % MOST_UNITS
        return tuple(groups[own] for own in codes), MOST_UNITS
    return codes, units


def _draw(scores: _Scores, draws: int, rng: np.random.Generator) -> tuple[Numbers, float, dict[int, float]]:
    """(deviations, variance of the mean, axis -> its own part of that)."""
    variances = {
        axes: float((_deviations(scores, axes) ** 2).sum())
        for size in range(1, len(scores.axes) + 1)
        for axes in itertools.combinations(scores.axes, size)
    }
    alone = {axis: variances[axis,] for axis in scores.axes}
    summed = sum(alone.values())
    if summed < np.finfo(float).tiny:  # squares of next to nothing have no digits left
        return np.zeros(draws), 0.0, alone
    # by chance the sum can fall below what one level shows for certain
    total = max(*alone.values(), sum((-1) ** (len(axes) + 1) * variance for axes, variance in variances.items()))
    freedom = 1 / sum((own / summed) ** 2 / _freedom(scores.shares[axis]) for axis, own in alone.items())
    deviations = np.zeros(draws)
    for axis in scores.axes:
        units = _deviations(scores, (axis,)).ravel()
        deviations += _resampled(units, draws, rng)
    deviations *= np.sqrt(total / summed) * np.sqrt(freedom / rng.chisquare(freedom, draws))
    return deviations, total, alone


def _deviations(scores: _Scores, axes: tuple[int, ...]) -> Numbers:
    """The part of the scores that these axes explain together and no fewer of them do; squares add up to a variance.

    Divided by sqrt(1 - share) along each axis, which makes that variance unbiased for independent units.
    """
    source = scores.within if _EXAMPLES in axes else scores.between
    found: Numbers = source.sum(axis=tuple(set(range(4)) - set(axes)), keepdims=True)
    for axis in axes:
        shares = scores.shares[axis].reshape([-1 if one == axis else 1 for one in range(4)])
        found = (found - shares * found.sum(axis=axis, keepdims=True)) / np.sqrt(1 - shares)
    return found


def _freedom(shares: Numbers) -> float:
    """Degrees of freedom of a variance estimated from units with these shares: n - 1 when they are equal."""
    pull = shares**2 / (1 - shares)
    return float(1 / ((shares**2).sum() + pull.sum() ** 2 - (pull**2).sum()))


def _resampled(units: Numbers, draws: int, rng: np.random.Generator) -> Numbers:
    """Sums of as many units drawn with replacement as there are, centred, with the variance that their squares say."""
    centred = units - units.mean()
    spread = float((centred**2).sum())
    if spread == 0:
        return np.zeros(draws)
    sums = np.empty(draws)
    step = max(1, _AT_ONCE // len(units))
    for start in range(0, draws, step):
        stop = min(draws, start + step)
        sums[start:stop] = centred[rng.integers(len(units), size=(stop - start, len(units)))].sum(axis=1)
    return np.asarray(sums * np.sqrt(float((units**2).sum()) / spread))


def _levels(scores: _Scores, variances: Mapping[int, float]) -> tuple[Level, ...]:
    errors = {name: math.sqrt(variances[axis]) for axis, name in scores.axes.items()}
    return tuple(
        Level(name, scores.units.get(name, 0), errors.get(name), scores.why_not.get(name, "")) for name in LEVELS
    )
