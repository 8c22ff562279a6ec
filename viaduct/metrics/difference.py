"""The difference between two arms and its uncertainty: the one statistic that every part of a report uses.

Two arms share their seeds, so their scores are subtracted seed by seed and example by example. The mean is over tasks,
with equal weights, and over each task's languages. It answers two questions:

- *these languages*: seeds and test examples are random, the languages are fixed. The variance over seeds is that of
  the seeds' means, with n - 1 degrees of freedom. Examples add to it the part that all seeds share, computed from
  products of different seeds: `sum_k (c_k.)^2 - sum_ks c_ks^2` with c_ks the contribution of example k in seed s.
  Examples with the same id in several languages are drawn together, as a parallel test set has one question in all, and
  so are those of one group, such as the questions about a paragraph (`drawn.py`).
- *languages like these*: language families are random as well. Their variance, too, is the part that all seeds share.
  Single families cannot show whether all Indo-European ones have something in common, and two groups are too few for
  an interval that is neither wrong nor useless. So there is only a p-value here, the largest of three: these languages,
  families as drawn, and a t test with one degree of freedom on Indo-European against other languages.

The simulation in `benchmarks/verdicts.py` shows how robust these tests are. All values are fractions.

Two runs may have no seeds in common. Then `made_pairs` weights the scores of the side with more seeds, so that their
differences from the other side are independent with equal variance, and all of the above still holds. The predictions
of two systems come from one training run each: `of_predictions` takes these as fixed, and only examples vary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from viaduct.languages import INDO_EUROPEAN, family_of
from viaduct.metrics.drawn import effective
from viaduct.metrics.spread import Numbers, Part, Spread

# S: seeds, L: languages of a task, N: examples, K: units that chance draws, U: one per task and language, F: families

FEWEST_SEEDS = 3
"""With fewer seeds than this, numbers are shown but nothing is claimed."""
FEWEST_FAMILIES = 3
_MANY = 300
"""Degrees of freedom from which a variance counts as known."""
_NO_VARIANCE = 1e-20
"""A variance of the mean below this means that all seeds gave the same."""


class ExampleVariance(NamedTuple):
    """The variance that the choice of test examples adds to a task's mean over languages, shared by all seeds."""

    total: float
    joint: float
    """The part that the languages share, because they have the same examples."""
    freedom: float = math.inf
    """Degrees of freedom of the total: about twice the number of examples that differ, less than the number of units of
    equal size that would weigh alike (`effective`); infinite from 300 on."""
    noise: float = 0.0
    """The variance that examples add to one seed's mean and that no other seed shares."""


@dataclass(frozen=True, eq=False)
class TaskDifference:
    """One arm minus another (or minus a fixed score) on one task."""

    task: str
    languages: tuple[str, ...]
    values_SL: Numbers
    examples: ExampleVariance | None
    """None if there are no outcomes by example."""


@dataclass(frozen=True)
class Estimate:
    """A mean difference with its uncertainty."""

    mean: float
    spread: Spread | None
    """The distribution of the error, for these languages; None if nothing can be said."""
    why_not: str
    """Why there is no spread, in words; "" if there is one."""
    like_these: float | None
    """Two-sided p-value for languages like these; None if there are too few families, or only one group of them."""

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval for these languages: the wider of the two whose tests must hold."""
        if self.spread is None:
            return None
        reach = self.spread.reach()
        return self.mean - reach, self.mean + reach

    @cached_property
    def p_value(self) -> float | None:
        """Two-sided p-value for no difference in these languages; below 0.05 if the interval excludes 0."""
        return None if self.spread is None else min(1.0, 2 * self.spread.beyond(abs(self.mean)))

    def p_above(self, value: float) -> float:
        """One-sided p-value for "the true difference is above `value`"; 1 if nothing can be said."""
        return 1.0 if self.spread is None else self.spread.beyond(self.mean - value)

    def p_below(self, value: float) -> float:
        """One-sided p-value for "the true difference is below `value`"; 1 if nothing can be said."""
        return 1.0 if self.spread is None else self.spread.beyond(value - self.mean)


def example_variance(
    differences: Mapping[str, NDArray[Any]], units: Mapping[str, NDArray[np.int32]]
) -> ExampleVariance:
    """The example variance of the mean over these languages. Each language has (S, N) `differences` by example and (N,)
    `units`, equal for rows that chance draws together. Negative estimates count as 0."""
    count = 1 + max(int(units[code].max()) for code in differences)
    whole_SK, own = np.zeros((len(next(iter(differences.values()))), count)), 0.0
    for code, values_SN in differences.items():
        shares_SN = (values_SN - values_SN.mean(axis=1, keepdims=True)) / values_SN.shape[1] / len(differences)
        drawn_SK = np.stack([np.bincount(units[code], one, count) for one in shares_SN])
        own += float(_shared(drawn_SK).sum())
        whole_SK += drawn_SK
    equal = effective(units)
    unbiased = equal / (equal - 1) if equal > 1 else 1.0  # Bessel's correction: deviations are from the sample's mean
    shared_K = unbiased * _shared(whole_SK)
    total = max(0.0, float(shared_K.sum()))
    uncertain = float((shared_K**2).sum()) - total**2 / count
    freedom = min(2 * total**2 / uncertain if uncertain > 0 else math.inf, equal - 1)
    noise = max(0.0, unbiased * float((whole_SK**2).sum()) / len(whole_SK) - total)
    known = freedom >= _MANY or total == 0
    joint = min(total, max(0.0, total - unbiased * own))
    return ExampleVariance(total, joint, math.inf if known else max(1.0, freedom), noise)


def _shared(values_SK: NDArray[Any]) -> NDArray[Any]:
    """(K,) products of different seeds, averaged over pairs of seeds: squares without the noise of single seeds. With a
    single seed, which is taken as fixed, the squares themselves."""
    seeds = len(values_SK)
    if seeds == 1:
        return values_SK[0] ** 2  # type: ignore[no-any-return]
    products_K: NDArray[Any] = (values_SK.sum(axis=0) ** 2 - (values_SK**2).sum(axis=0)) / (seeds * (seeds - 1))
    return products_K


def estimate(tasks: Sequence[TaskDifference]) -> Estimate:
    """The mean over these tasks, which must all have the same seeds; the module docstring explains the tests."""
    units = _Units.of(tasks)
    means_S = units.values_SU @ units.weights_U
    mean, seeds = float(means_S.mean()), len(means_S)
    lacking = [one.task for one in tasks if one.examples is None]
    variance = float(means_S.var(ddof=1)) / seeds if seeds > 1 else 0.0
    if variance <= _NO_VARIANCE and not lacking and seeds > 1:
        # means of few examples can coincide by chance although seeds differ in them: use that noise as the variance
        variance = sum(one.examples.noise for one in tasks if one.examples) / len(tasks) ** 2 / seeds
    why_not = ""
    if seeds < FEWEST_SEEDS:
        why_not = f"needs at least {FEWEST_SEEDS} seeds, has {seeds}"
    elif lacking:
        why_not = f"no outcomes by example for {', '.join(lacking)}"
    elif variance <= _NO_VARIANCE:
        why_not = "the difference is the same for all seeds"
    if why_not:
        return Estimate(mean, None, why_not, None)
    examples = [one.examples for one in tasks if one.examples is not None]
    spread = Spread(Part(variance, seeds - 1), (_added([one.total for one in examples], examples),))
    plain = Estimate(mean, spread, "", None)
    joint = _added([one.joint for one in examples], examples)
    return Estimate(mean, spread, "", _like_these(units, plain, joint))


def of_predictions(tasks: Sequence[TaskDifference]) -> Estimate:
    """The mean over these tasks for fixed models: one row of values per task, and examples. The interval covers other
    test examples, but not what another training run would change."""
    examples = [one.examples for one in tasks if one.examples is not None]
    mean = float(np.mean([one.values_SL.mean() for one in tasks]))
    if len(examples) < len(tasks):
        lacking = [one.task for one in tasks if one.examples is None]
        return Estimate(mean, None, f"no outcomes by example for {', '.join(lacking)}", None)
    drawn = _added([one.total for one in examples], examples)
    if drawn.variance <= _NO_VARIANCE:
        return Estimate(mean, None, "the difference is the same for all examples", None)
    return Estimate(mean, Spread(drawn), "", None)


def made_pairs(few: int, many: int) -> Numbers:
    """(few, many) weights that turn the scores of `many` seeds into `few`: minus the scores of `few` other seeds, these
    are independent with equal variance, and their mean is that of all seeds (Scheffé 1943, Annals of Mathematical
    Statistics 14). With `few` equal to `many`, the weights are the identity."""
    weights = np.full((few, many), 1 / many)
    weights[:, :few] += math.sqrt(few / many) * np.eye(few) - 1 / math.sqrt(few * many)
    return weights


def _added(variances: Sequence[float], examples: Sequence[ExampleVariance]) -> Part:
    """The variance these add to the mean over tasks, which share no examples; degrees of freedom by Satterthwaite."""
    total = sum(variances)
    uncertain = sum(own**2 / one.freedom for own, one in zip(variances, examples, strict=True))
    return Part(total / len(examples) ** 2, total**2 / uncertain if uncertain > 0 else math.inf)


@dataclass(frozen=True, eq=False)
class _Units:
    """The differences of all tasks side by side."""

    values_SU: Numbers
    weights_U: Numbers
    families: tuple[str, ...]
    """The family of each unit."""

    @classmethod
    def of(cls, tasks: Sequence[TaskDifference]) -> _Units:
        return cls(
            np.concatenate([one.values_SL for one in tasks], axis=1),
            np.concatenate([np.full(len(one.languages), 1 / len(one.languages) / len(tasks)) for one in tasks]),
            tuple(family_of(code) for one in tasks for code in one.languages),
        )

    def grouped(self, names: Sequence[str]) -> tuple[Numbers, Numbers]:
        """(S, G) means of groups of units, one name per unit, and their (G,) weights."""
        found, places_U = np.unique(np.array(names), return_inverse=True)
        weights_G = np.bincount(places_U, self.weights_U).astype(np.float64)
        shares_UG = np.zeros((len(names), len(found)))
        shares_UG[np.arange(len(names)), places_U] = self.weights_U / weights_G[places_U]
        return self.values_SU @ shares_UG, weights_G


def _like_these(units: _Units, plain: Estimate, examples: Part) -> float | None:
    groups = ["Indo-European" if family in INDO_EUROPEAN else "other" for family in units.families]
    families_SF, weights_F = units.grouped(units.families)
    if len(weights_F) < FEWEST_FAMILIES or len(set(groups)) < 2 or plain.spread is None or plain.p_value is None:
        return None
    # divided by sqrt(1 - share), the squares add up to an unbiased variance of the mean over families
    centred_SF = weights_F * (families_SF - (families_SF @ weights_F)[:, None]) / np.sqrt(1 - weights_F)
    families = Part(max(0.0, float(_shared(centred_SF).sum())), _freedom(weights_F))
    drawn = Spread(plain.spread.seeds, (families, examples))
    means_SG, weights_G = units.grouped(groups)
    apart = float(np.diff(means_SG.mean(axis=0))[0])
    groups_error = math.sqrt(float((weights_G**2).sum()) * apart**2 / 2)
    one_degree = 1.0 if groups_error == 0 else 2 * math.atan2(groups_error, abs(plain.mean)) / math.pi
    return max(plain.p_value, min(1.0, 2 * drawn.beyond(abs(plain.mean))), one_degree)


def _freedom(shares: Numbers) -> float:
    """Degrees of freedom of a variance estimated from units with these shares (Bell and McCaffrey 2002); the number of
    units minus one if the shares are equal."""
    pull = shares**2 / (1 - shares)
    return float(1 / ((shares**2).sum() + pull.sum() ** 2 - (pull**2).sum()))
