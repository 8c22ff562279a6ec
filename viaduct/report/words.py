"""The report's verdict in plain words, by rules that do not depend on what one hopes to find.

What is missing is said first. With one seed no difference is claimed; with more, the verdicts are those of the tested
differences (`viaduct.report.contrasts`), so that the page's first lines and its tests cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from viaduct.metrics.summary import Spread
from viaduct.report.contrasts import ON, OVERALL, Contrast, sentence
from viaduct.report.number import points
from viaduct.report.table import Tables
from viaduct.results.record import BASELINE, About

_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""97.5 % quantiles of Student's t for 1 to 30 degrees of freedom (standard table); beyond, the last one (wider)."""

RULE = (
    "In the languages other than English. An arm is called higher or lower only where its p-value is below 0.05 after "
    "Holm's correction for the number of arms; the section “Differences, tested” says how, and has single tasks, "
    "families and languages."
)
_MANY_ARMS = 4
ONE_SEED_RULE = "With one seed the variation between runs is unknown, so the differences are shown and none is claimed."


class Interval(NamedTuple):
    """A 95 % confidence interval, as fractions."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside."""
        return self.low > 0 or self.high < 0


def interval(difference: Spread) -> Interval | None:
    """The 95 % t interval of a paired difference over seeds; None with fewer than two pairs."""
    count = len(difference.seeds)
    if difference.standard_deviation is None or count < 2:
        return None
    reach = _T[min(count - 2, len(_T) - 1)] * difference.standard_deviation / math.sqrt(count)
    return Interval(difference.mean - reach, difference.mean + reach)


class Verdict(NamedTuple):
    """What can be said of one arm against the baseline."""

    arm: str
    """The arm, or where there are many arms what they have in common."""
    words: str


@dataclass(frozen=True)
class Summary:
    """What the report says first."""

    opening: tuple[str, ...]
    """Sentences of one paragraph: what was run, what is missing, whether anything can be compared."""
    verdicts: tuple[Verdict, ...]
    """One for each arm that can be compared with the baseline."""
    rule: str
    """The rule that the verdicts follow."""


def summary(about: About, tables: Tables, tested: Sequence[Contrast]) -> Summary:
    """The page's opening words. tested: the differences, those from the baseline among them."""
    opening = [_what_was_run(about, tables), *_left_out(about), *_holes(tables)]
    arms = [arm for arm in tables.arms if arm != BASELINE]
    verdicts: list[Verdict] = []
    if not arms:
        opening.append("There is only the baseline, so there is nothing to compare.")
    elif not tables.has_baseline:
        opening.append(f'The baseline arm "{BASELINE}" has no result, so no difference can be given.')
    elif not tables.repeated:
        only = "There is one seed" if len(about.seeds) == 1 else "Only one seed can be compared"
        opening.append(f"{only}, so no difference between arms can be claimed.{_averages(tables, arms)}")
    else:
        verdicts = _verdicts(tested, arms)
    return Summary(tuple(opening), tuple(verdicts), RULE if tables.repeated else ONE_SEED_RULE)


def _what_was_run(about: About, tables: Tables) -> str:
    languages = {code for column in tables.columns for code in column.languages if code not in column.absent}
    arms = sum(arm != BASELINE for arm in tables.arms)
    how = [
        *([f"after {arms} kind{_s(arms)} of intermediate training"] if arms else []),
        *(["without any" if arms else "without intermediate training"] if BASELINE in tables.arms else []),
    ]
    return (
        f"{about.encoder} was evaluated {_listed(how)}, on {len(tables.columns)} "
        f"task{_s(len(tables.columns))} in {len(languages)} language{_s(len(languages))}, with {len(about.seeds)} "
        f"seed{_s(len(about.seeds))}."
    )


def _left_out(about: About) -> list[str]:
    if not about.left_out:
        return []
    names = list(about.left_out)
    kinds = (
        f"{len(names)} kind{_s(len(names))} of intermediate training {'was' if len(names) == 1 else 'were'} left out"
    )
    return [f"{kinds}, because data were not there: {_listed(names)}."]


def _holes(tables: Tables) -> list[str]:
    sentences = []
    empty = [cell for cell in tables.cells if cell.headline and cell.score is None]
    if empty:
        names = ", ".join(f"{cell.task} ({cell.arm})" for cell in empty[:6]) + (" and others" if len(empty) > 6 else "")
        verb = "has" if len(empty) == 1 else "have"
        sentences.append(f"{len(empty)} of {len(tables.arms) * len(tables.columns)} cells {verb} no result: {names}.")
    replaced = [column.task for column in tables.columns if column.substitution]
    if replaced:
        sentences.append(
            f"On {_listed(replaced)} another split stands in for the official one, so these scores cannot be compared "
            "with published ones."
        )
    return sentences


def _averages(tables: Tables, arms: Sequence[str]) -> str:
    parts = []
    for arm in arms:
        average = tables.average(arm)
        if average is not None and average.difference is not None:
            parts.append(f"{arm} {points(average.difference.mean)}")
    return f" Average over tasks minus the baseline's, in points: {', '.join(parts)}." if parts else ""


def _verdicts(tested: Sequence[Contrast], arms: Sequence[str]) -> list[Verdict]:
    """One verdict for each arm; where there are many arms, one for each that several of them share."""
    own = [one for one in tested if one.against == BASELINE]
    wholes = {one.arm: one for one in own if one.task == OVERALL}
    if len(arms) <= _MANY_ARMS:
        return [
            Verdict(arm, sentence(whole, [one for one in own if one.task and one.arm == arm]))
            for arm, whole in wholes.items()
        ]
    groups: dict[str, list[str]] = {}
    for whole in wholes.values():
        groups.setdefault(ON[whole.verdict], []).append(f"{whole.arm} ({points(whole.mean)})")
    named = [
        Verdict(f"The mean over tasks, {verdict.removesuffix(' on')}", f"{_listed(groups[verdict])}.")
        for verdict in ON.values()
        if verdict in groups
    ]
    without = [arm for arm in arms if arm not in wholes]
    return [*named, *([Verdict("Nothing that the baseline has too", f"{_listed(without)}.")] if without else [])]


def direction(difference: Spread) -> int:
    """1 or -1 where the 95 % t interval lies on one side of zero, 0 otherwise and with one pair."""
    found = interval(difference)
    if found is None or not found.excludes_zero:
        return 0
    return 1 if difference.mean > 0 else -1


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _s(number: int) -> str:
    return "" if number == 1 else "s"
