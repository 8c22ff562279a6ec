"""The report's verdict in plain words, by rules that do not depend on what one hopes to find.

What is missing is said first. With one seed no difference is claimed; with more, the verdicts are those of the tested
differences (`viaduct.report.contrasts`), so that the page's first lines and its tests cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from viaduct.metrics.summary import Spread
from viaduct.report.contrasts import OVERALL, Contrast
from viaduct.report.number import plural, points
from viaduct.report.table import Tables
from viaduct.results.record import BASELINE, About

RULE = (
    "In the languages other than English. An arm is called higher or lower only where its p-value is below 0.05 after "
    "Holm's correction for the number of arms; the section “Differences, tested” says how, and has single tasks, "
    "families and languages."
)
ON = {
    "higher": "higher on",
    "lower": "lower on",
    "equivalent": "equivalent within half a point on",
    "no measurable difference": "no measurable difference on",
    "cannot tell": "with so few seeds one cannot tell on",
    "no claim": "one seed and so no claim on",
}
"""Verdict -> how it is said, strongest first."""

MANY_ARMS = 4
"""Beyond so many, arms with the same verdict share a sentence."""
ONE_SEED_RULE = "With one seed the variation between runs is unknown, so the differences are shown and none is claimed."


class Summary(NamedTuple):
    """What the report says first."""

    opening: tuple[str, ...]
    """Sentences of one paragraph: what was run, what is missing, whether anything can be compared."""
    verdicts: Mapping[str, str]
    """Arm, or where there are many arms what several have in common -> what can be said of it against the baseline."""
    rule: str
    """That the verdicts follow."""


def summary(about: About, tables: Tables, tested: Sequence[Contrast]) -> Summary:
    """The page's opening words. tested: the differences, those from the baseline among them."""
    opening = [_what_was_run(about, tables), *_what_is_missing(about, tables)]
    arms = [arm for arm in tables.arms if arm != BASELINE]
    verdicts: dict[str, str] = {}
    if not arms:
        opening.append("There is only the baseline, so there is nothing to compare.")
    elif not tables.has_baseline:
        opening.append(f'The baseline arm "{BASELINE}" has no result, so no difference can be given.')
    elif not tables.repeated:
        only = "There is one seed" if len(about.seeds) == 1 else "Only one seed can be compared"
        opening.append(f"{only}, so no difference between arms can be claimed.{_averages(tables)}")
    else:
        verdicts = _verdicts(tested, arms)
    return Summary(tuple(opening), verdicts, RULE if tables.repeated else ONE_SEED_RULE)


def _what_was_run(about: About, tables: Tables) -> str:
    languages = {code for column in tables.columns for code in column.present}
    arms = sum(arm != BASELINE for arm in tables.arms)
    how = [f"after {plural(arms, 'kind')} of intermediate training"] if arms else []
    if BASELINE in tables.arms:
        how.append("without any" if arms else "without intermediate training")
    return (
        f"{about.encoder} was evaluated {_listed(how)}, on {plural(len(tables.columns), 'task')} in "
        f"{plural(len(languages), 'language')}, with {plural(len(about.seeds), 'seed')}."
    )


def _what_is_missing(about: About, tables: Tables) -> list[str]:
    sentences = []
    if about.left_out:
        names = list(about.left_out)
        kinds = f"{plural(len(names), 'kind')} of intermediate training {'was' if len(names) == 1 else 'were'} left out"
        sentences.append(f"{kinds}, because data were not there: {_listed(names)}.")
    empty = [f"{cell.task} ({cell.arm})" for cell in tables.cells if cell.headline and cell.score is None]
    if empty:
        have = "cells has" if len(empty) == 1 else "cells have"
        words = ", ".join(empty[:6]) + (" and others" if len(empty) > 6 else "")
        sentences.append(f"{len(empty)} of {len(tables.arms) * len(tables.columns)} {have} no result: {words}.")
    replaced = [column.task for column in tables.columns if column.substitution]
    if replaced:
        sentences.append(
            f"On {_listed(replaced)} another split stands in for the official one, so these scores cannot be compared "
            "with published ones."
        )
    return sentences


def _averages(tables: Tables) -> str:
    parts = [f"{one.arm} {points(one.difference.mean)}" for one in tables.averages if one.difference is not None]
    return f" Average over tasks minus the baseline's, in points: {', '.join(parts)}." if parts else ""


def _verdicts(tested: Sequence[Contrast], arms: Sequence[str]) -> dict[str, str]:
    """One verdict for each arm; where there are many arms, one for each that several of them share."""
    own = [one for one in tested if one.against == BASELINE]
    wholes = {one.arm: one for one in own if one.task == OVERALL}
    if len(arms) <= MANY_ARMS:
        return {arm: sentence(whole, [one for one in own if one.arm == arm]) for arm, whole in wholes.items()}
    named = {}
    for verdict, words in ON.items():
        members = [f"{one.arm} ({points(one.mean)})" for one in wholes.values() if one.verdict == verdict]
        if members:
            named[f"The mean over tasks, {words.removesuffix(' on')}"] = f"{_listed(members)}."
    without = [arm for arm in arms if arm not in wholes]
    if without:
        named["No result in common with the baseline"] = f"{_listed(without)}."
    return named


def interval(difference: Spread) -> tuple[float, float] | None:
    """The 95 % t interval of a paired difference over seeds, as fractions; None with fewer than two pairs."""
    from scipy.special import stdtrit

    if difference.standard_deviation is None:
        return None
    count = len(difference.seeds)
    reach = float(stdtrit(count - 1, 0.975)) * difference.standard_deviation / math.sqrt(count)
    return difference.mean - reach, difference.mean + reach


def direction(difference: Spread) -> int:
    """1 or -1 where the 95 % t interval lies on one side of zero, 0 otherwise and with one pair."""
    low, high = interval(difference) or (0.0, 0.0)
    return int(low > 0) - int(high < 0)


def sentence(whole: Contrast, own: Sequence[Contrast]) -> str:
    """What is shown of one arm against another, over all tasks and then by task; `own`: all of the two's contrasts."""
    groups: dict[str, list[str]] = {}
    for one in own:
        if one.task == OVERALL:
            continue
        groups.setdefault(one.verdict, []).append(f"{one.task} ({points(one.mean)})")
    by_task = [f"{ON[verdict]} {', '.join(groups[verdict])}" for verdict in ON if verdict in groups]
    parts = [f"{_overall(whole)}."]
    if by_task and whole.verdict != "no claim":
        parts.append(f"By task: {'; '.join(by_task)}.")
    if whole.missing:
        parts.append(f"Left out, because only one of the two has it in full: {', '.join(whole.missing)}.")
    return " ".join(parts)


def _overall(one: Contrast) -> str:
    what = f"the mean over {plural(len(one.tasks), 'task')}"
    if one.estimate is None or one.same is None or one.corrected is None or one.detectable is None:
        return f"{points(one.mean)} points in {what}, one seed, so no claim"
    numbers = f"{points(one.mean)} points, 95 % interval {points(one.estimate.low)} to {points(one.estimate.high)}"
    p_value = "p < 0.001" if one.corrected < 0.001 else f"p = {one.corrected:.3f}"
    seeds = f"{len(one.seeds)} seeds"
    if one.verdict in ("higher", "lower"):
        return f"{one.verdict} in {what} ({numbers}, {p_value} after Holm, {seeds})"
    if one.verdict == "equivalent":
        within = f"90 % interval {points(one.same.low)} to {points(one.same.high)}"
        return f"equivalent within half a point in {what} ({points(one.mean)} points, {within}, {seeds})"
    if one.verdict == "cannot tell":
        return f"with {seeds} one cannot tell in {what} ({numbers}, {p_value})"
    found = f"a difference of {points(one.detectable).lstrip('+')} would be found in four of five such experiments"
    return f"no measurable difference in {what} ({numbers}, {p_value}, {seeds}; {found})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
