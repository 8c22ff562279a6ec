"""The report's verdict in plain words, by rules that do not depend on what one hopes to find.

What is missing is reported first. The verdicts are those of the contrasts (`viaduct.report.contrasts`), so that the
page's first lines and its tests cannot disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from viaduct.metrics.difference import FEWEST_SEEDS
from viaduct.metrics.verdict import Decision
from viaduct.report.claims import Judged
from viaduct.report.contrast import IN_ENGLISH, OVERALL, Contrast, Contrasts
from viaduct.report.number import count as count_of
from viaduct.report.number import duration, interval_words, listed, plural, points
from viaduct.report.spending import Spending
from viaduct.report.table import Tables
from viaduct.results.record import BASELINE, About

RULE = (
    "In languages other than English, unless English is named. “Higher” and “lower” need p below 0.05 after correction "
    "for the number of comparisons."
)
ON = {
    "higher": "higher on",
    "lower": "lower on",
    "equivalent": "equivalent within half a point on",
    "no measurable difference": "no measurable difference on",
    "no verdict": "no verdict on",
}
"""Verdict -> its wording, strongest first."""

MANY_ARMS = 4
"""With more arms than this, those with the same verdict share a sentence."""
FEW_SEEDS_RULE = (
    f"With fewer than {FEWEST_SEEDS} seeds, the variation between runs is hardly known: differences are shown, but "
    "none is claimed."
)
BORNE_OUT: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "higher": (frozenset({"higher"}), frozenset({"lower", "equivalent"})),
    "lower": (frozenset({"lower"}), frozenset({"higher", "equivalent"})),
    "equivalent": (frozenset({"equivalent"}), frozenset({"higher", "lower"})),
    "not higher": (frozenset({"lower", "equivalent"}), frozenset({"higher"})),
    "not lower": (frozenset({"higher", "equivalent"}), frozenset({"lower"})),
}
"""What a recipe expects of a comparison -> the verdicts that confirm it, and those that contradict it."""
AS_EXPECTED, CONTRADICTED, NOT_SHOWN = "confirmed", "contradicted", "inconclusive"


class Summary(NamedTuple):
    """The opening of the report."""

    answer: str
    """The answer to the hypothesis, in one or two sentences."""
    deciding: Mapping[str, str]
    """Comparison declared before the run -> what was found."""
    opening: tuple[str, ...]
    """Sentences of one paragraph: what was run, what is missing, whether anything can be compared."""
    verdicts: Mapping[str, str]
    """Arm (if there are many: what several have in common) -> what can be said about it against the baseline."""
    rule: str
    """The rule that the verdicts follow."""


def summary(about: About, tables: Tables, differences: Contrasts) -> Summary:
    """The page's opening words."""
    opening = [_what_was_run(about, tables), *_what_is_missing(about, tables)]
    arms = [arm for arm in tables.shown_arms if arm != BASELINE]
    few = len(about.seeds) < FEWEST_SEEDS
    nothing = _nothing_to_claim(about, tables, few)
    if few and BASELINE in tables.shown_arms:
        opening += _means(differences)
    verdicts = {} if nothing else _verdicts(differences, arms)
    found = {} if nothing else {one: _decides(about, differences, one) for one in about.deciding}
    judged = [word for word, _ in found.values() if word]
    answer = f"Not answered: {nothing}" if nothing else _answer(about, judged)
    deciding = {_named(one): words for one, (_, words) in found.items()}
    return Summary(answer, deciding, tuple(opening), verdicts, FEW_SEEDS_RULE if few else RULE if verdicts else "")


def _nothing_to_claim(about: About, tables: Tables, few: bool) -> str:
    """Why no difference can be claimed at all; "" if some may be."""
    if about.miniature:
        return "the data are generated, so nothing here is evidence."
    if about.limit is not None:
        return "a quick look at a few rows is not a result."
    if tables.arms == (BASELINE,):
        return "there is only the baseline, so there is nothing to compare."
    if BASELINE not in tables.shown_arms:
        return f'the baseline arm "{BASELINE}" has no result, so no difference can be given.'
    return f"no difference between arms can be claimed from {plural(len(about.seeds), 'seed')}." if few else ""


def _answer(about: About, judged: Sequence[str]) -> str:
    """The combined outcome of the comparisons that were declared before the run."""
    if not about.deciding:
        return "The recipe declares no comparison that would decide it; what the tests show about each arm is below."
    if not judged:
        return "The comparisons declared before the run as deciding it, and what was found:"
    counts = {word: judged.count(word) for word in (AS_EXPECTED, CONTRADICTED, NOT_SHOWN) if word in judged}
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    whole = "Borne out" if counts.keys() == {AS_EXPECTED} else "Not borne out" if CONTRADICTED in counts else ""
    whole = whole or ("Borne out in part" if AS_EXPECTED in counts else "Neither borne out nor refuted")
    return f"{whole}. Of {plural(len(judged), 'comparison')} whose outcome was stated before the run: {said}."


def _named(declared: Sequence[str]) -> str:
    on = f" on {listed(declared[2:])}" if declared[2:] else ""
    return f"{declared[0]} against {declared[1]}{on}"


def _decides(about: About, differences: Contrasts, declared: tuple[str, ...]) -> tuple[str, str]:
    """(whether it came out as expected, "" if nothing was expected; what was found, in words)."""
    wanted = dict(zip(about.deciding, about.expected, strict=False)).get(declared, "")
    one = differences.of(declared[0], ", ".join(declared[2:]), declared[1])
    right, wrong = BORNE_OUT.get(wanted, (frozenset(), frozenset()))
    verdict = one.verdict if one else "no verdict"
    judged = AS_EXPECTED if verdict in right else CONTRADICTED if verdict in wrong else NOT_SHOWN
    found = f"{_brief(one)}." if one else "the two have no result in common."
    return (judged, f"expected to be {wanted}, {judged}: {found}") if wanted else ("", found)


def _brief(one: Contrast) -> str:
    """One contrast in a few words; `_said` has all of its numbers."""
    between, what = one.estimate.interval, f"on {one.task}" if one.is_of_task else _over(one)
    if between is None or one.verdict == "no verdict":
        return f"{points(one.mean)} points {what}, no verdict: {one.estimate.why_not}"
    excludes_zero = between[0] > 0 or between[1] < 0
    why = f", {_tested(one.decision)}" if excludes_zero and one.verdict == "no measurable difference" else ""
    return f"{ON[one.verdict].removesuffix(' on')} {what} ({points(one.mean)} points, {interval_words(between)}{why})"


def gists(judged: Judged | None, spent: Spending, data: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Part of the page -> the text next to its heading, shown while the part itself is collapsed."""
    found = {}
    if judged:
        counts = Counter(line.verdict for line in judged.listed)
        found["claims"] = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    if spent.total:
        found["cost"] = f"{duration(spent.total.seconds)}, {count_of(spent.total.tokens)} tokens"
    if data:
        odd = sum(group["odd"] for group in data)
        found["data"] = f"≠ {plural(odd, 'count')} not as published" if odd else "no count differs from a published one"
    return found


def _what_was_run(about: About, tables: Tables) -> str:
    columns = [column for column in tables.columns if column.metric]
    languages = {code for column in columns for code in column.present}
    arms = sum(arm != BASELINE for arm in tables.shown_arms)
    how = [f"after {plural(arms, 'kind')} of intermediate training"] if arms else []
    if BASELINE in tables.shown_arms:
        how.append("without any" if arms else "without intermediate training")
    return (
        f"{about.encoder} was evaluated {listed(how)}, on {plural(len(columns), 'task')} in "
        f"{plural(len(languages), 'language')}, with {plural(len(about.seeds), 'seed')}."
    )


def _what_is_missing(about: About, tables: Tables) -> list[str]:
    sentences = []
    if about.left_out:
        names = list(about.left_out)
        kinds = f"{plural(len(names), 'kind')} of intermediate training {'was' if len(names) == 1 else 'were'} left out"
        sentences.append(f"{kinds}, because data were missing: {listed(names)}.")
    without = {
        "arm": (len(tables.arms) - len(tables.shown_arms), len(tables.arms)),
        "task": (sum(not column.metric for column in tables.columns), len(tables.columns)),
    }
    parts = [f"{count} of {plural(whole, what)}" for what, (count, whole) in without.items() if count]
    if parts:
        sentences.append(f"Without any result: {listed(parts)}.")
    cells = [cell for cell in tables.cells if cell.headline and cell.metric and cell.arm in tables.shown_arms]
    empty = [f"{cell.task} ({cell.arm})" for cell in cells if cell.score is None]
    if empty:
        have = "cells has" if len(empty) == 1 else "cells have"
        words = ", ".join(empty[:6]) + (" and others" if len(empty) > 6 else "")
        sentences.append(f"{len(empty)} of {len(cells)} {have} no result: {words}.")
    replaced = [column.task for column in tables.columns if column.substitution]
    if replaced:
        sentences.append(
            f"On {listed(replaced)} another split stands in for the official one, so these scores cannot be compared "
            "with published ones."
        )
    return sentences


def _means(differences: Contrasts) -> list[str]:
    parts = [f"{one.arm} {points(one.mean)}" for one in differences.with_baseline(OVERALL)]
    return [f"Difference from the baseline in the mean over tasks, in points: {', '.join(parts)}."] if parts else []


def _alone(tasks: Sequence[str]) -> str:
    """For a mean over a single task, which one it is; else ""."""
    return f" on {tasks[0]} alone" if len(tasks) == 1 else ""


def _verdicts(differences: Contrasts, arms: Sequence[str]) -> dict[str, str]:
    """One entry per arm; if there are many arms, one per verdict, with all arms that share it."""
    own = differences.with_baseline()
    wholes = {one.arm: one for task in (IN_ENGLISH, OVERALL) for one in own if one.task == task}
    if len(arms) <= MANY_ARMS:
        return {arm: _short(whole, [one for one in own if one.arm == arm]) for arm, whole in wholes.items()}
    named = {}
    for verdict, words in ON.items():
        same = [one for one in wholes.values() if one.verdict == verdict]
        members = [f"{one.arm} ({points(one.mean)}{_alone(one.tasks)})" for one in same]
        if members:
            why = "; ".join(dict.fromkeys(one.estimate.why_not for one in same))
            named[f"Mean over tasks, {words.removesuffix(' on')}"] = f"{listed(members)}{why and f': {why}'}."
    without = [arm for arm in arms if arm not in wholes]
    if without:
        named["No result in common with the baseline"] = f"{listed(without)}."
    return named


def _short(whole: Contrast, own: Sequence[Contrast]) -> str:
    """What is shown about one arm, without the details under “Differences, tested”."""
    own = [one for one in own if one.is_of_task and (one.task,) != whole.tasks]
    groups = {
        verdict: [f"{one.task} ({points(one.mean)})" for one in own if one.verdict == verdict]
        for verdict in ("higher", "lower", "equivalent")
    }
    by_task = [f"{ON[verdict]} {listed(members)}" for verdict, members in groups.items() if members]
    told = f" By task: {'; '.join(by_task)}." if by_task else ""
    return f"{_brief(whole)}.{told}"


def sentence(whole: Contrast, own: Sequence[Contrast]) -> str:
    """What is shown about one arm against another, over all tasks and then by task; `own`: all contrasts of the two."""
    groups: dict[str, list[str]] = {}
    for one in own:
        if one.is_of_task:
            groups.setdefault(one.verdict, []).append(f"{one.task} ({points(one.mean)})")
    by_task = [f"{ON[verdict]} {', '.join(groups[verdict])}" for verdict in ON if verdict in groups]
    parts = [f"{_said(whole, _over(whole))}."]
    if groups.keys() - {"no verdict"}:
        parts.append(f"By task: {'; '.join(by_task)}.")
    for one in own:
        if one.task == IN_ENGLISH and one is not whole and one.verdict != "no verdict":
            parts.append(f"In English: {ON[one.verdict].removesuffix(' on')} ({points(one.mean)} {_over(one)}).")
    if whole.missing:
        parts.append(f"Left out, because the two arms do not both have complete results: {', '.join(whole.missing)}.")
    return " ".join(parts)


def _over(one: Contrast) -> str:
    some = f" ({one.task})" if one.is_of_several else ""
    mean = f"on {one.tasks[0]} alone" if len(one.tasks) == 1 else f"in the mean over {len(one.tasks)} tasks"
    return f"{mean}{some}{' in English' if one.task == IN_ENGLISH else ''}"


def _said(one: Contrast, what: str) -> str:
    """One contrast in words, with its numbers."""
    decision, between = one.decision, one.estimate.interval
    if between is None or decision.p_deciding is None or decision.p_equivalence is None:
        return f"{points(one.mean)} points {what}, no verdict: {one.estimate.why_not}"
    numbers = f"{points(one.mean)} points, {interval_words(between)}"
    tested = f"{_tested(decision)}, {len(one.seeds)} seeds"
    if one.verdict in ("higher", "lower"):
        beyond = f"; {'also' if decision.holds_beyond else 'not'} shown for languages like these"
        return f"{one.verdict} {what} ({numbers}, {tested}){'' if decision.like_these else beyond}"
    if one.verdict == "equivalent":
        return f"equivalent within half a point {what} ({numbers}, {_p(decision.p_equivalence)}{_times(decision)})"
    found = ""
    if one.detectable is not None:
        least = points(one.detectable).lstrip("+")
        found = f"; a difference of {least} would be found in four of five such experiments"
    aside = f"; it could not be called equivalent: {one.meaningless}" if one.meaningless else ""
    none = "no difference shown for languages like these" if decision.like_these else "no measurable difference"
    return f"{none} {what} ({numbers}{' for these languages' if decision.like_these else ''}, {tested}{found}{aside})"


def _tested(decision: Decision) -> str:
    """The p-value that decided the verdict; it may be above 0.05 even if the interval, not corrected, excludes 0."""
    where = " for languages like these" if decision.like_these else ""
    return "" if decision.p_deciding is None else f"{_p(decision.p_deciding)}{where}{_times(decision)}"


def _times(decision: Decision) -> str:
    return "" if decision.comparisons == 1 else f" after correction for {decision.comparisons} comparisons"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
