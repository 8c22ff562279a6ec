"""The output of commands as plain text: `tasks`, `check`, `score`, `compare`, `status`, `doctor`, ...; and as plain
values, where these differ from the records themselves."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from viaduct.api import StageStatus
from viaduct.command import table
from viaduct.languages import ENGLISH
from viaduct.metrics.interval import Interval
from viaduct.report.contrast import Contrasts
from viaduct.report.number import points
from viaduct.results.checksums import Verified
from viaduct.results.paired import Line
from viaduct.results.scores import ALL_TASKS, TASK_SCORE, Average, Scores, TaskScores
from viaduct.runs.check import Holding, Survey
from viaduct.runs.display import in_words
from viaduct.runs.doctor import Finding
from viaduct.runs.freshness import Freshness
from viaduct.tasks.card import Task

EXAMPLE = 100
"""Most characters of an example's field that are shown."""


def cards(found: Sequence[Task]) -> str:
    """One line per card."""
    return table(
        ("task", "kind", "languages", "trained on", "metric", "title"),
        [
            (
                one.name,
                one.kind,
                str(len(one.languages)),
                one.trained_on or "-",
                one.metrics[0] if one.metrics else "-",
                one.title,
            )
            for one in found
        ],
        frozenset({2}),
    )


def card(one: Task) -> str:
    """One card in full."""
    fields = [
        ("name", f"{one.name} (version {one.version})"),
        ("title", one.title),
        ("kind", one.kind),
        ("labels", ", ".join(one.labels) or ("those of the training rows" if one.open_labels else "-")),
        ("languages", " ".join(one.languages)),
        ("trained on", one.trained_on or "nothing"),
        ("metrics", ", ".join(one.metrics) or "-"),
        ("licence", one.licence),
        ("citation", one.citation),
    ]
    fields += [("rows of", ", ".join(part.name for part in one.parts))] if one.parts else []
    fields += [(f"files ({source.layout})", ", ".join(source.files.values())) for source in one.sources]
    fields += [("published", f"{p.model}: {p.metric} {p.value:.3f} ({p.source})") for p in one.published]
    fields += [("differs", one.differs)] if one.differs else []
    fields += [("history", line) for line in one.history]
    width = max(len(name) for name, _ in fields)
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in fields)


def card_values(one: Task) -> dict[str, Any]:
    """One card as plain values."""
    names = ("name", "version", "title", "kind", "labels", "open_labels", "languages", "trained_on", "metrics")
    return {name: getattr(one, name) for name in (*names, "licence", "published", "history")} | {
        "citation": one.citation or None,
        "differs": one.differs or None,
        "parts": [part.name for part in one.parts],
        "sources": [{"layout": source.layout, "files": source.files} for source in one.sources],
    }


def survey(one: Survey) -> str:
    """A line per split and language, then absent and damaged files."""
    first = next((held.inspection for held in one.holdings if held.inspection is not None), None)
    counted, contents, state = (
        ("rows", ["labels"], []) if first is None else (first.counted, first.contents, first.state)
    )
    header = (
        *("split", "lang", "layout", counted, "published", *contents),
        *("median", "longest", "twice", *state, "in training rows"),
    )
    lines = [_held(held) for held in one.holdings]
    right = frozenset(range(3, len(header) - 1)) - (frozenset({5}) if first is None else frozenset())
    parts = [f"{one.task} (lengths in characters)", table(header, lines, right)] if lines else []
    if one.absent:
        splits: dict[tuple[str, ...], list[str]] = {}
        for split, languages in one.absent.items():
            splits.setdefault(languages, []).append(split)
        words = "; ".join(f"{', '.join(names)}: {' '.join(languages)}" for languages, names in splits.items())
        parts.append(f"{'no files' if lines else f'{one.task}: no files'} for {words}")
    notes = [] if first is None else [line for what in first.named for line in _named(one.holdings, what)]
    return "\n".join([*parts, *one.left_out, *notes, *(f"damaged: {line}" for line in one.damaged)])


def _held(held: Holding) -> tuple[str, ...]:
    seen = held.inspection
    return (
        held.split,
        held.language,
        held.layout,
        f"{held.rows:,}",
        "?" if held.rows_published is None else f"{held.rows_published:,}",
        *((_labels(held),) if seen is None else (f"{count:,}" for count in seen.contents.values())),
        f"{held.median_characters:,}",
        f"{held.longest_characters:,}",
        f"{held.duplicates:,}",
        *(() if seen is None else (f"{count:,}" for count in seen.state.values())),
        "-" if held.overlap is None else f"{held.overlap:,} of {held.trained_on}",
    )


def _named(holdings: Sequence[Holding], what: str) -> list[str]:
    """A line for every split that has the problem `what`, with the first names; languages with the same names share
    a line."""
    languages: dict[tuple[str, str, int, tuple[str, ...]], list[str]] = {}
    for held in holdings:
        names = () if held.inspection is None else held.inspection.named[what]
        if held.inspection is not None and names:
            languages.setdefault((held.split, held.inspection.counted, held.rows, names), []).append(held.language)
    return [
        f"{what}: {len(names):,} of {rows:,} {counted} of {split} {' '.join(codes)}: {', '.join(names[:3])}"
        + (", ..." if len(names) > 3 else "")
        for (split, counted, rows, names), codes in languages.items()
    ]


def example(one: Survey) -> str:
    """The first row found, field by field as it was read; if there is none, where its files were looked for."""
    if one.example is None:
        return one.looked_for or ""
    values = ((item.name, getattr(one.example, item.name)) for item in dataclasses.fields(one.example))
    shown = [(name, "-" if value is None else _short(value)) for name, value in values]
    width = max(len(name) for name, _ in shown)
    return "\n".join(["the first row:", *(f"  {name.ljust(width)}  {text}" for name, text in shown)])


def _short(value: object) -> str:
    text = " | ".join(map(_short, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= EXAMPLE else f"{text[: EXAMPLE - 3]}..."


def _labels(held: Holding) -> str:
    if held.unlabelled == held.rows:
        return "stripped: cannot be scored"
    if held.pairs is not None:
        return f"gold pairs {held.pairs:,}, published {held.pairs_published:,}"
    shown = ", ".join(f"{label} {100 * share:.0f}%" for label, share in [*held.labels.items()][:3])
    return shown + (f" +{len(held.labels) - 3}" if len(held.labels) > 3 else "")


def scores(found: Scores) -> str:
    """Scores in percent: per task a line per language, then the means over languages, then the averages over tasks."""
    parts = [_by_language(one) for one in found.tasks]
    header = ("task", "metric", "incl. English", "95 %", "excl. English", "95 %", "gap", "languages", "missing", "")
    lines = [line for one in found.tasks for line in _means(one)]
    parts.append(table(header, lines, frozenset({2, 4, 6, 7, 8})))
    parts.append(
        "incl. English: the mean over all languages, as XTREME counts. gap: English minus the mean of the others.\n"
        "missing: examples without prediction, which count as wrong.\n"
        "95 %: the interval for other test examples like these; another training run is not in it."
    )
    parts.append("\n".join(line for one in found.tasks for line in _signatures(one)))
    holes = [f"{one.name}: partial, without {' '.join(one.missing)}" for one in found.tasks if one.missing]
    parts += ["\n".join(holes)] if holes else []
    sizes = {member.name: len(member.languages) for member in found.benchmark}
    averages = [_average(one, sizes) for one in found.averages()]
    parts += [table(("average over tasks", "percent", ""), averages, frozenset({1}))] if averages else []
    return "\n\n".join(parts)


def _means(one: TaskScores) -> Iterator[tuple[str, ...]]:
    every = len(one.card.languages)
    for metric, values in one.series().items():
        means = one.means(metric)
        yield (
            one.name,
            _metric(one, metric),
            _percent(means.including_english),
            _interval(one.interval(metric)),
            _percent(means.excluding_english),
            _interval(one.interval(metric, set(values) - {ENGLISH})),
            _percent(one.transfer_gap(metric)),
            f"{len(values)} of {every}",
            f"{sum(one.by_language[language].counts(metric)[1] for language in values):,}",
            "partial" if one.without(metric) else "",
        )


def _signatures(one: TaskScores) -> Iterator[str]:
    """A line per signature, with its languages if the same metric has several signatures."""
    metrics = Counter(signature.partition("|")[0] for signature in one.signatures)
    for signature, languages in one.signatures.items():
        several = metrics[signature.partition("|")[0]] > 1
        yield f"{one.name}: {signature}" + (f" ({' '.join(languages)})" if several else "")


def _metric(one: TaskScores, name: str) -> str:
    """The name under which a metric is shown: XTREME's F1 of tags is in fact one of spans."""
    named = {"token_accuracy": "token accuracy", TASK_SCORE: "(f1 + exact_match) / 2"}
    return named.get(name) or one.card.row_kind.metric_words.get(name, name)


def _average(one: Average, sizes: Mapping[str, int]) -> tuple[str, str, str]:
    holes = [
        task if len(languages) == sizes[task] else f"{task} ({len(languages)} of {sizes[task]} languages)"
        for task, languages in one.missing.items()
    ]
    name = "all nine tasks" if one.name == ALL_TASKS else one.name
    return name, _percent(one.value), f"partial: without {', '.join(holes)}" if holes else ""


def _by_language(one: TaskScores) -> str:
    series = {metric: values for metric, values in one.series().items() if metric != TASK_SCORE}
    known = {metric for metric in series if one.interval(metric) is not None}
    named = (name for metric in series for name in (_metric(one, metric), *(["95 %"] if metric in known else [])))
    header = (one.name, *named, "n", "missing")
    lines = [
        (
            language,
            *(cell for metric in series for cell in _cells(one, metric, language, metric in known)),
            f"{score.n:,}",
            f"{score.n_missing:,}",
        )
        for language, score in one.by_language.items()
    ]
    return table(header, lines, frozenset(range(1, len(header))))


def _cells(one: TaskScores, metric: str, language: str, with_interval: bool) -> Iterator[str]:
    value = one.series()[metric].get(language)
    yield _percent(value)
    if with_interval:
        yield "-" if value is None else _interval(one.interval(metric, (language,)))


def _interval(found: Interval | None) -> str:
    return "-" if found is None else f"{100 * found[0]:.1f}-{100 * found[1]:.1f}"


def compared(found: Contrasts) -> str:
    """Two runs compared: a line per pair of arms for the mean over tasks, for each task and for English, in points."""
    header = ("arm", "less", "task", "languages", "seeds", "difference", "95 %", "p", "verdict", "left out")
    lines = []
    for one in found.found:
        low, high = one.estimate.interval or (None, None)
        named = (
            one.arm,
            one.against,
            one.task or f"mean of {len(one.tasks)}",
            str(len(one.weights)),
            one.seed_words,
        )
        numbers = _in_points(one.mean, low, high, one.decision.p_deciding)
        verdict = f"{one.verdict}{one.estimate.why_not and f': {one.estimate.why_not}'}"
        lines.append((*named, *numbers, verdict, ", ".join(one.missing)))
    return (
        f"{table(header, lines, frozenset({3, 5}))}\n\n"
        "in points; in languages other than English, unless English is named. 95 %: seeds and test examples vary.\n"
        "p: of no difference, after correction for the comparisons that are decided with it."
    )


def paired(found: Sequence[Line], names: tuple[str, str]) -> str:
    """Two systems compared: a line per task and language with the scores of both in percent, then the means."""
    header = ("task", "metric", "over", "first", "second", "difference", "95 %", "p", "")
    lines = [
        (
            one["task"],
            "(f1 + exact_match) / 2" if one["metric"] == TASK_SCORE else one["metric"] or "",
            one["over"],
            _percent(one["first"]),
            _percent(one["second"]),
            *_in_points(*(one[name] for name in ("difference", "low", "high", "p"))),
            one["why_no_interval"] or "",
        )
        for one in found
    ]
    return (
        f"first:  {names[0]}\nsecond: {names[1]}\n\n{table(header, lines, frozenset({3, 4, 5}))}\n\n"
        "difference: first less second, in points, paired by example; 95 % and p are for other test examples like\n"
        "these: another training run is not in them. p is of its line alone, without correction for their number."
    )


def _in_points(mean: float, low: float | None, high: float | None, p_value: float | None) -> tuple[str, str, str]:
    """(difference, interval, p-value) as text in points, from fractions."""
    between = "-" if low is None or high is None else f"{points(low, 2)} to {points(high, 2)}"
    return (
        points(mean, 2),
        between,
        "-" if p_value is None else "< 0.001" if p_value < 0.001 else f"{p_value:.3f}",
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def findings(found: Sequence[Finding]) -> str:
    """A line per item examined, followed by how to fix it if it is broken."""
    lines = []
    for one in found:
        lines.append(f"{one.state.ljust(6)}  {one.subject}: {one.text}")
        lines += [] if one.fix is None else [f"        how to fix: {one.fix}"]
    return "\n".join(lines)


def status_values(run: str, stages: Sequence[StageStatus], report: Freshness) -> dict[str, Any]:
    """One run as plain values; "report" is None if there is no report that says what it was made from."""
    return {"run": run, "stages": stages, "report": report._asdict() if report.there else None}


def status(stages: Sequence[StageStatus], report: Freshness) -> str:
    """One line per stage, the totals, and how up to date the report is."""
    lines = [(one.path, one.state, in_words(one.seconds) if one.seconds else "-") for one in stages]
    done = sum(one.state == "done" for one in stages)
    seconds = sum(one.seconds or 0.0 for one in stages)
    whole = table(("stage", "state", "time"), lines, frozenset({2}))
    return f"{whole}\n\n{done}/{len(stages)} done, {in_words(seconds)}\nreport: {report.words}"


def verified(found: Verified) -> str:
    """The result of checking a store's checksums, damaged files first."""
    lines = [f"damaged: {path}" for path in found.damaged]
    if found.damaged:
        fix = "remove the folder of each (of a stage: the whole one) and run again, which recomputes it"
        lines.append(f"  how to fix: {fix}")
    lines.append(f"{found.whole:,} folders are as they were written")
    if found.unlisted:
        lines.append(f"{len(found.unlisted):,} finished stages predate checksums, such as")
        lines.append(f"    {found.unlisted[0]}")
    return "\n".join(lines)
