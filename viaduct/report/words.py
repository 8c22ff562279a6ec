"""The report's verdict in plain words, by rules that do not depend on what one hopes to find.

The rules: with one seed no difference is claimed. With two or more, an arm's difference from the baseline is called
higher or lower only when the 95 % t interval of the paired differences over seeds excludes 0; otherwise it is "no
measurable difference". Only results of the same seed are compared. What is missing is said first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from viaduct.metrics.summary import BASELINE, Difference
from viaduct.report.number import points
from viaduct.report.table import Cell, Tables
from viaduct.results.record import About

_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""97.5 % quantiles of Student's t for 1 to 30 degrees of freedom (standard table); beyond, the last one (wider)."""

RULE = (
    "A difference is called higher or lower only when the 95 % t interval of the differences, paired by seed, "
    "excludes 0. Nothing is corrected for the number of comparisons, and the interval knows only the variation between "
    "seeds, not that between languages or examples; the section “Differences, tested” does better on both."
)
_MANY_ARMS = 4
_PLACES = {
    1: "Average over tasks higher than the baseline's",
    -1: "Average over tasks lower than the baseline's",
    0: "No measurable difference in the average over tasks",
}
ONE_SEED_RULE = "With one seed the variation between runs is unknown, so the differences are shown and none is claimed."


class Interval(NamedTuple):
    """A 95 % confidence interval, as fractions."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside."""
        return self.low > 0 or self.high < 0


def interval(difference: Difference) -> Interval | None:
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


def summary(about: About, tables: Tables) -> Summary:
    """The page's opening words."""
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
        verdicts = _verdicts(tables, arms)
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


def _verdicts(tables: Tables, arms: Sequence[str]) -> list[Verdict]:
    """One verdict for each arm; where there are many arms, one for each direction of the average over tasks."""
    alone = [verdict for arm in arms if (verdict := _verdict(tables, arm)) is not None]
    if len(alone) <= _MANY_ARMS:
        return alone
    groups: dict[str, list[str]] = {}
    for verdict in alone:
        average = tables.average(verdict.arm)
        difference = average.difference if average is not None else None
        place = (
            _PLACES[direction(difference)] if difference is not None else "Results missing, so no average to compare"
        )
        groups.setdefault(place, []).append(
            f"{verdict.arm} ({points(difference.mean)})" if difference is not None else verdict.arm
        )
    return [Verdict(place, f"{_listed(names)}.") for place, names in sorted(groups.items())]


def _verdict(tables: Tables, arm: str) -> Verdict | None:
    """The arm's verdict, None when the baseline has nothing that this arm has."""
    cells = [cell for cell in tables.cells if cell.arm == arm and cell.headline and cell.difference is not None]
    if not cells:
        return None
    average = tables.average(arm)
    start = ""
    if average is not None and average.difference is not None:
        what = "the average over tasks" if tables.complete else "the partial average over tasks"
        start = f"{_judged(average.difference, what)}. By task, "
    groups = (
        ("higher on", [cell for cell in cells if _direction(cell) == 1]),
        ("lower on", [cell for cell in cells if _direction(cell) == -1]),
        ("no measurable difference on", [cell for cell in cells if _direction(cell) == 0]),
        ("one seed and so no claim on", [cell for cell in cells if _direction(cell) is None]),
    )
    parts = [_grouped(words, members, len(cells)) for words, members in groups if members]
    return Verdict(arm, f"{start}{'; '.join(parts)}.")


def _direction(cell: Cell) -> int | None:
    """As `direction`, but None where there is one pair only."""
    known = cell.difference is not None and interval(cell.difference) is not None
    return direction(cell.difference) if known and cell.difference is not None else None


def _grouped(words: str, cells: Sequence[Cell], total: int) -> str:
    """The tasks of one kind with their differences; where there are many, the smallest and the largest."""
    means = {cell.task: cell.difference.mean for cell in cells if cell.difference is not None}
    if len(means) <= 3:
        return f"{words} {_listed([f'{task} ({points(mean)})' for task, mean in means.items()])}"
    low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    share = f"all {total} tasks" if len(means) == total else f"{len(means)} of {total} tasks"
    return f"{words} {share} ({points(means[low])} {low} to {points(means[high])} {high})"


def _judged(difference: Difference, what: str) -> str:
    found = interval(difference)
    if found is None:
        return f"{what} differs by {points(difference.mean)} points in the one seed that both have, so no claim"
    spread = (
        f"{points(difference.mean)} points, 95 % interval {points(found.low)} to {points(found.high)}, "
        f"{len(difference.seeds)} seeds"
    )
    if not found.excludes_zero:
        return f"no measurable difference from the baseline in {what} ({spread})"
    return f"{what} is {'higher' if difference.mean > 0 else 'lower'} than the baseline's ({spread})"


def direction(difference: Difference) -> int:
    """1 or -1 where the 95 % t interval lies on one side of zero, 0 otherwise and with one pair."""
    found = interval(difference)
    if found is None or not found.excludes_zero:
        return 0
    return 1 if difference.mean > 0 else -1


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _s(number: int) -> str:
    return "" if number == 1 else "s"
