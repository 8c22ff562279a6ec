"""Differences between arms, tested: over tasks and for each task, in the languages other than English.

A task's score in a language is what counts in averages: question answering (F1 + exact match) / 2, others their
headline metric. The mean over tasks is that of each task's mean over its languages. Seeds and language families vary in
the intervals; tasks are fixed.

The rules, fixed before any run. With one seed nothing is claimed. An arm is *higher* or *lower* where the p-value of
its difference, after Holm's correction, is below 0.05: the means over tasks are corrected for the number of arms, the
differences by task for the number of tasks. Otherwise it is *equivalent* where two one-sided tests show a difference
of less than half a point; with fewer than three seeds one *cannot tell*; else there is *no measurable difference*.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

from viaduct.errors import unknown
from viaduct.languages import ENGLISH, family_of
from viaduct.metrics.bootstrap import Design, Estimate, hierarchical_bootstrap
from viaduct.metrics.outcomes import Run, language_differences
from viaduct.metrics.significance import (
    ALPHA,
    Equivalence,
    equivalence,
    holm,
    minimal_detectable_effect,
    sign_flip,
)
from viaduct.report.export import seed_list
from viaduct.report.section import SeenLanguages
from viaduct.report.table import comparable, counted_by_task, task_scores
from viaduct.results.record import BASELINE, About, ResultRow

FEWEST_SEEDS = 3
"""Below which a difference that is not shown may well be there: one cannot tell."""
FLIPS = 20_000
"""Sign flips that are drawn where there are too many to count."""
OVERALL = ""
"""The task of a contrast that is over all tasks."""

Verdict: TypeAlias = Literal["higher", "lower", "equivalent", "no measurable difference", "cannot tell", "no claim"]
ScoresBySeed: TypeAlias = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Task -> seed -> language -> score of one arm."""


class GroupDifference(NamedTuple):
    """A difference in some of the languages."""

    mean: float
    interval: tuple[float, float] | None
    """95 %; None with one seed."""
    languages: tuple[str, ...]


@dataclass(frozen=True)
class Contrast:
    """One arm minus another, as fractions."""

    arm: str
    against: str
    task: str
    """`OVERALL` for the mean over tasks."""
    tasks: tuple[str, ...]
    """What the mean is over: those that both arms have."""
    seeds: tuple[int, ...]
    """Those for which both arms have all of it."""
    mean: float
    estimate: Estimate | None
    """None with one seed, as the next three."""
    corrected: float | None
    """Its p-value after Holm."""
    same: Equivalence | None
    detectable: float | None
    """The true difference that so many seeds find in four of five experiments; a lower bound with few."""
    by_language: float
    """p-value of sign flips of the means over seeds, which it takes as they are; each language counts the same."""
    by_family: float
    """The same with one sign per family."""
    families: Mapping[str, GroupDifference]
    """Of the mean over tasks; {} for single tasks."""
    seen: Mapping[str, GroupDifference]
    """The same with and without the languages of the arm's own data (`SeenLanguages`), {} where these are not known."""
    by_code: Mapping[str, float]
    """Language -> mean difference over seeds and tasks."""
    missing: tuple[str, ...]
    """Tasks and seeds that only one of the two has in full, and that are left out."""

    @property
    def verdict(self) -> Verdict:
        """What the rules say."""
        if self.estimate is None or self.corrected is None or self.same is None:
            return "no claim"
        if self.corrected < ALPHA:
            return "higher" if self.mean > 0 else "lower"
        if self.same.equivalent:
            return "equivalent"
        return "cannot tell" if len(self.seeds) < FEWEST_SEEDS else "no measurable difference"

    @property
    def stars(self) -> str:
        """One star for a corrected p-value below 0.05, two below 0.01, three below 0.001."""
        return "" if self.corrected is None else "*" * sum(self.corrected < limit for limit in (0.05, 0.01, 0.001))


def contrasts(
    about: About,
    rows: Sequence[ResultRow],
    asked: Sequence[tuple[str, str]] = (),
    *,
    seen: SeenLanguages | None = None,
) -> tuple[Contrast, ...]:
    """Each arm against the baseline and each pair of arms `asked` for: first the mean over tasks, then every task.

    Arms without a result in common are left out. The pairs asked for are corrected by themselves. `seen`: the languages
    of the arms' own data. Raises UsageError for arms that do not exist, and as `viaduct.report.table.comparable`.
    """
    found = [row for row in comparable(about, rows) if row.language != ENGLISH]
    scores = task_scores(found, counted_by_task(found))
    for name in (name for pair in asked for name in pair):
        if name not in about.arms:
            raise unknown("arm", name, about.arms)
    plain = [(arm, BASELINE) for arm in about.arms if arm != BASELINE and BASELINE in about.arms]
    others = [pair for pair in dict.fromkeys(asked) if pair not in plain]
    return tuple(one for pairs in (plain, others) for one in _corrected(_of_pairs(pairs, scores, about, seen)))


def _of_pairs(
    pairs: Sequence[tuple[str, str]], scores: Mapping[str, ScoresBySeed], about: About, seen: SeenLanguages | None
) -> Iterator[Contrast]:
    for pair in pairs:
        mine, theirs = (scores.get(arm, {}) for arm in pair)
        single = {
            task: ({task: mine[task]}, {task: theirs[task]}) for task in about.tasks if task in mine and task in theirs
        }
        for task, sides in {OVERALL: (mine, theirs), **single}.items():
            found = _contrast(pair, task, *sides, seen)
            if found is not None:
                yield found


def _corrected(found: Iterable[Contrast]) -> list[Contrast]:
    """With p-values after Holm: of the means over tasks for the number of arms, of an arm's tasks for their number."""
    listed = list(found)
    families: dict[tuple[str, ...], dict[str, float]] = {}
    for number, one in enumerate(listed):
        if one.estimate is not None:
            family = () if one.task == OVERALL else (one.arm, one.against)
            families.setdefault(family, {})[str(number)] = one.estimate.p_value
    values = {name: value for tests in families.values() for name, value in holm(tests).items()}
    return [replace(one, corrected=values.get(str(number))) for number, one in enumerate(listed)]


def _contrast(
    pair: tuple[str, str], task: str, mine: ScoresBySeed, theirs: ScoresBySeed, seen: SeenLanguages | None
) -> Contrast | None:
    """The difference of two arms on these tasks, not corrected yet; None where they have nothing in common."""
    codes = {name: _common(mine[name], theirs[name]) for name in mine if name in theirs}
    codes = {name: found for name, found in codes.items() if found}
    every = sorted({seed for side in (mine, theirs) for name in codes for seed in side[name]})
    seeds = tuple(seed for seed in every if all(_whole(side, codes, seed) for side in (mine, theirs)))
    if not seeds:
        return None
    weights: dict[str, float] = {}
    for found in codes.values():
        for code in found:
            weights[code] = weights.get(code, 0.0) + 1 / (len(codes) * len(found))
    sides = tuple({Run(seed): _by_language(side, codes, seed, weights) for seed in seeds} for side in (mine, theirs))
    differences = language_differences(*sides)
    families = {code: family_of(code) for code in weights}
    by_seed = [sum(weights[code] * (sides[0][run][code] - sides[1][run][code]) for code in weights) for run in sides[0]]
    estimate = _estimate(sides, weights, families)
    return Contrast(
        arm=pair[0],
        against=pair[1],
        task=task,
        tasks=tuple(codes),
        seeds=seeds,
        mean=statistics.fmean(by_seed),
        estimate=estimate,
        corrected=None,
        same=None if estimate is None else equivalence(estimate),
        detectable=None if estimate is None else minimal_detectable_effect(statistics.stdev(by_seed), len(seeds)),
        by_language=sign_flip(differences, draws=FLIPS),
        by_family=sign_flip(differences, families, draws=FLIPS),
        families=_groups(sides, weights, differences, families) if task == OVERALL else {},
        seen=_groups(sides, weights, differences, seen.groups(pair[0], weights)) if seen and task == OVERALL else {},
        by_code=differences,
        missing=(
            *(name for name in dict.fromkeys((*mine, *theirs)) if name not in codes),
            *(f"seed {seed}" for seed in every if seed not in seeds),
        ),
    )


def _common(mine: Mapping[int, Mapping[str, float]], theirs: Mapping[int, Mapping[str, float]]) -> tuple[str, ...]:
    sides = [dict.fromkeys(code for values in side.values() for code in values) for side in (mine, theirs)]
    return tuple(code for code in sides[0] if code in sides[1])


def _whole(side: ScoresBySeed, codes: Mapping[str, Sequence[str]], seed: int) -> bool:
    return all(code in side[name].get(seed, {}) for name in codes for code in codes[name])


def _by_language(
    side: ScoresBySeed, codes: Mapping[str, Sequence[str]], seed: int, weights: Mapping[str, float]
) -> dict[str, float]:
    """A language's mean over its tasks, each weighing as in the mean over tasks, so that `weights` give that mean."""
    found = dict.fromkeys(weights, 0.0)
    for name, members in codes.items():
        for code in members:
            found[code] += side[name][seed][code] / (len(codes) * len(members)) / weights[code]
    return found


def _estimate(
    sides: Sequence[Mapping[Run, Mapping[str, float]]], weights: Mapping[str, float], families: Mapping[str, str]
) -> Estimate | None:
    """With its interval, over the languages that have a weight; None with one seed."""
    if len(sides[0]) < 2:
        return None
    first, second = ({run: {code: values[code] for code in weights} for run, values in side.items()} for side in sides)
    return hierarchical_bootstrap(first, second, Design(families=families, weights=weights))


def _groups(
    sides: Sequence[Mapping[Run, Mapping[str, float]]],
    weights: Mapping[str, float],
    differences: Mapping[str, float],
    group_of: Mapping[str, str],
) -> dict[str, GroupDifference]:
    """Group -> the difference in its languages, weighing as in the whole."""
    found = {}
    for group in dict.fromkeys(group_of.values()):
        own = {code: weight for code, weight in weights.items() if group_of[code] == group}
        estimate = _estimate(sides, own, {code: family_of(code) for code in own})
        found[group] = GroupDifference(
            mean=sum(weight * differences[code] for code, weight in own.items()) / sum(own.values()),
            interval=None if estimate is None else (estimate.low, estimate.high),
            languages=tuple(own),
        )
    return found


def contrast_lines(found: Sequence[Contrast]) -> list[dict[str, Any]]:
    """One line per contrast and, for the means over tasks, one per language family, as fractions."""
    listed = []
    for one in found:
        estimate, same = one.estimate, one.same
        common = {"arm": one.arm, "against": one.against, "task": one.task or "all", "seeds": seed_list(one.seeds)}
        whole = {
            **common,
            "family": "all",
            "languages": len(one.by_code),
            "difference": one.mean,
            "low": estimate and estimate.low,
            "high": estimate and estimate.high,
            "standard_error": estimate and estimate.standard_error,
            "p": estimate and estimate.p_value,
            "p_after_holm": one.corrected,
            "p_sign_flip_languages": one.by_language,
            "p_sign_flip_families": one.by_family,
            "p_equivalence": same and same.p_value,
            "detectable": one.detectable,
            "verdict": one.verdict,
            "left_out": "; ".join(one.missing) or None,
        }
        listed.append(whole)
        for name, group in (*one.families.items(), *one.seen.items()):
            low, high = group.interval or (None, None)
            numbers = {"difference": group.mean, "low": low, "high": high, "languages": len(group.languages)}
            listed.append({**dict.fromkeys(whole), **common, "family": name, **numbers})
    return listed
