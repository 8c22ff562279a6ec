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
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from viaduct.errors import DataError, UsageError, unknown
from viaduct.languages import language as language_of
from viaduct.metrics.outcomes import Numbers, Outcomes, Paired, pair

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
class Estimate:
    """A mean and how far it may be off, as fractions."""

    mean: float
    standard_error: float
    """Of the mean, all resampled levels together."""
    errors: Mapping[str, float]
    """Of the levels that were resampled, which the interval knows the variation of: what each contributes alone."""
    why_not: Mapping[str, str]
    """The other levels -> why they were not resampled."""
    deviations: Numbers = field(repr=False, compare=False)
    """One per draw: what the mean could have been off by."""

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

    def interval(self, confidence: float) -> tuple[float, float]:
        """(low, high) at this confidence, for example 0.9."""
        low, high = self.mean + np.quantile(self.deviations, ((1 - confidence) / 2, (1 + confidence) / 2))
        return float(low), float(high)

    def p_above(self, value: float) -> float:
        """One-sided p-value for "the true mean is above `value`": small when it is."""
        return (1 + int(np.count_nonzero(self.mean + self.deviations <= value))) / (1 + len(self.deviations))

    def p_below(self, value: float) -> float:
        """One-sided p-value for "the true mean is below `value`": small when it is."""
        return (1 + int(np.count_nonzero(self.mean + self.deviations >= value))) / (1 + len(self.deviations))


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
    one unit cannot be resampled: the interval then speaks of that unit only, and `why_not` says so.

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
    data = pair(arm, baseline)
    layout = _Layout(data, design, rng)
    if not layout.axes:
        reasons = "; ".join(f"{name}: {why}" for name, why in layout.why_not.items())
        raise DataError(f"there is nothing to resample ({reasons})", fix="add seeds, languages or examples")
    scores = _scores(data, _weights(data.languages, design), layout)
    deviations, variance, alone = _draw(scores, draws, rng)
    errors = {name: math.sqrt(alone[axis]) for axis, name in layout.axes.items()}
    return Estimate(scores.mean, math.sqrt(variance), errors, layout.why_not, deviations)


class _Layout:
    """Where runs, languages and examples stand on the axes of the scores: (stage, seed, place, example).

    Families are the places where there are two, else languages. An axis that is not resampled has length 1.
    """

    def __init__(self, data: Paired, design: Design, rng: np.random.Generator) -> None:
        self.axes: dict[int, str] = {}
        """Axis -> level, of those that are resampled."""
        self.why_not: dict[str, str] = {}
        self._fixed = design.fixed
        stages = [run.stage for run in data.runs if run.stage is not None]
        seeds = [run.seed for run in data.runs]
        self.stages = self._codes(STAGE, _STAGES, stages, len(seeds))
        # where every stage seed has the same fine-tuning seeds, the two are crossed; else these lie within those
        crossed = _STAGES not in self.axes or len(seeds) == len(set(seeds)) * len(set(stages))
        self.seeds = self._codes(SEED, _SEEDS, seeds, len(seeds), "" if crossed else f"inside its {STAGE}")
        families = [_family(code, design.families) for code in data.languages]
        whole = "taken as it is" if LANGUAGE in design.fixed else ""
        self.places = self._codes(FAMILY, _PLACES, families, len(families), whole)
        if _PLACES in self.axes:
            self.why_not[LANGUAGE] = f"inside its {FAMILY}"
        else:
            self.places = self._codes(LANGUAGE, _PLACES, data.languages, len(families))
        self.examples = self._examples(data, design.parallel, rng)
        """One array per language."""

    def _codes(self, level: str, axis: int, names: Sequence[object], count: int, reason: str = "") -> Codes:
        """The place of each name on this axis: zeros where there is a reason not to resample the level, or one unit."""
        found, codes = np.unique(np.array(names), return_inverse=True)
        reason = "taken as it is" if level in self._fixed else reason
        reason = reason or ("there is only one" if len(found) == 1 else "" if len(found) else "there is none")
        if reason:
            self.why_not[level] = reason
            return np.zeros(count, dtype=np.intp)
        self.axes[axis] = level
        return codes

    def _examples(self, data: Paired, parallel: bool, rng: np.random.Generator) -> list[Codes]:
        lengths = [values.shape[1] for values in data.values]
        names: Sequence[object] = range(sum(lengths))
        reason = f"inside its {LANGUAGE}" if _PLACES in self.axes and not parallel else ""
        if data.ids is None:
            names, reason = (), "the values are of whole languages"
        elif parallel:
            names = [given for ids in data.ids for given in ids]
        codes = self._codes(EXAMPLE, _EXAMPLES, names, sum(lengths), reason)
        count = 1 + int(codes.max())
        if count > MOST_UNITS:
            codes = (rng.permutation(count).astype(np.intp) % MOST_UNITS)[codes]
        return np.split(codes, np.cumsum(lengths)[:-1])


def _family(code: str, families: Mapping[str, str] | None) -> str:
    if families is None:
        return language_of(code).family
    if code not in families:
        raise UsageError(f"'{code}' has no family", fix="name the family of every language")
    return families[code]


@dataclass(frozen=True)
class _Scores:
    """What every unit adds to (estimated mean - true mean), on the axes of `_Layout`."""

    mean: float
    between: Numbers
    """From the means of languages; (stages, seeds, places, 1)."""
    within: Numbers
    """From examples around their language's mean, (stages, seeds, places, examples)."""
    shares: tuple[Numbers, ...]
    """Per axis, each unit's share of the mean."""
    axes: Mapping[int, str]


def _scores(data: Paired, weights: Numbers, layout: _Layout) -> _Scores:
    means = np.array([values.mean() for values in data.values])
    mean = float(weights @ means)
    stages, seeds, places = layout.stages, layout.seeds, layout.places
    shape = (int(stages.max()) + 1, int(seeds.max()) + 1, int(places.max()) + 1)
    num_examples = 1 + max(int(codes.max()) for codes in layout.examples)
    between, within = np.zeros((*shape, 1)), np.zeros((*shape, num_examples))
    examples = np.zeros(num_examples)
    for number, (values, columns) in enumerate(zip(data.values, layout.examples, strict=True)):
        share = weights[number] / len(data.runs)
        here = np.full_like(stages, places[number])
        np.add.at(between, (stages, seeds, here, np.zeros_like(here)), share * (values.mean(axis=1) - mean))
        if _EXAMPLES in layout.axes:
            cells = (stages[:, None], seeds[:, None], here[:, None], columns[None, :])
            np.add.at(within, cells, share / values.shape[1] * (values - means[number]))
            np.add.at(examples, columns, weights[number] / values.shape[1])
    runs = np.full(len(data.runs), 1 / len(data.runs))
    coded = ((stages, runs), (seeds, runs), (places, weights))
    shares = (*(np.bincount(codes, own).astype(np.float64) for codes, own in coded), examples)
    return _Scores(mean, between, within, shares, layout.axes)


def _weights(languages: Sequence[str], design: Design) -> Numbers:
    if design.weights is None:
        return np.full(len(languages), 1 / len(languages))
    lacking = [code for code in languages if not design.weights.get(code, 0.0) > 0]
    if lacking:
        raise UsageError(f"'{lacking[0]}' has no weight above 0", fix="weigh every language, or leave its outcomes out")
    weights = np.array([design.weights[code] for code in languages])
    return np.asarray(weights / weights.sum())


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
