"""The report: one self-contained HTML page, with its tables as CSV and JSON and its figures as SVG alongside.

It reads result rows, stage costs, what the run was about, and the records that rooms' sections request: no predictions,
no models, no network. The words and numbers come from the other modules of this package and from the sections; this one
chooses the figures and fills the templates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from viaduct.languages import CC100_GIB
from viaduct.report import (
    alike,
    claims,
    export,
    figure,
    predictions,
    provenance,
    spending,
    table,
    table_files,
    templates,
    words,
)
from viaduct.report.alike import build_alike
from viaduct.report.associations import associations
from viaduct.report.contrast import IN_ENGLISH, OVERALL, Contrast, Contrasts, GroupDifference, contrast_lines
from viaduct.report.contrasts import Comparing, contrasts
from viaduct.report.drawing import Drawing
from viaduct.report.examples import OutcomeSource
from viaduct.report.heat_map import Scale, arm_maps, language_maps
from viaduct.report.no_result import QUICK_LOOK, NoResult
from viaduct.report.predictions import Predicted
from viaduct.report.section import Content, RunResults, Section, SeenLanguages, sections
from viaduct.report.spending import SHARED, Spending
from viaduct.report.table import ScoreCell, Tables
from viaduct.results.record import BASELINE, About, Record, ResultRow, StageCost
from viaduct.results.working import new_files
from viaduct.tasks.citing import bibtex


class Asked(NamedTuple):
    """What a reader requests of a report beyond what its recipe requests."""

    published: bool = False
    """Whether to include a section of published numbers on the same tasks."""
    compare: Sequence[tuple[str, str]] = ()
    """Pairs of arms to compare."""
    predictions: Iterable[Predicted] = ()
    """Predictions to show row by row, in pages alongside the report."""


def write(
    about: About,
    rows: Sequence[ResultRow],
    costs: Sequence[StageCost],
    directory: Path,
    *,
    records: Mapping[str, Sequence[Record]] | None = None,
    outcomes: OutcomeSource | None = None,
    asked: Asked = Asked(),  # noqa: B008  frozen
) -> Path:
    """Write `report.html` into `directory` (created if necessary), with CSV, JSON and SVG files; returns its path.

    `records`: what sections read, by `StageFile.name`. `outcomes`: outcomes by example; without them there are no
    verdicts. The same records give the same bytes. Raises DataError if there are no rows or if they cannot be in one
    table, and UsageError for unknown arms.
    """
    tables = table.build_tables(about, rows)
    spent = spending.build_spending(about, costs)
    pairs = (*claims.pairs(about.roles), *asked.compare)
    conditions = {} if about.compare_unlike else alike.conditions(costs)
    comparing = Comparing.of(about, pairs, partial(alike.differing, conditions))
    differences = contrasts(about, rows, comparing, outcomes)
    found = RunResults(about, tables, costs, records or {}, differences)
    told = [(section, content) for section in sections() if (content := section.build(found)) is not None]
    seen = next((content.seen for _, content in told if content.seen is not None), None)
    associated = associations(differences.found, seen)
    facts = {one.name: content.facts for one, content in told}
    judged = claims.judge(about, rows, differences, about.roles or None, facts=facts)
    values = {
        **_values(about, tables, spent, differences, associated),
        "seen": seen,
        "tried": about.tried,
        "with_and_without": _with_and_without(differences, seen),
        "drawings": _drawings(tables, spent, differences, seen),
        "claims": judged if any(role != BASELINE for role in about.roles.values()) else (),
        "published": provenance.published_scores(tables, about) if asked.published else None,
        "provenance": provenance.origins(rows),
        "licences": provenance.licences(about),
        "alike": build_alike(costs),
        "alarms": [alarm for _, content in told for alarm in content.alarms],
    }

    lines = {
        "main_table": export.main_lines(tables, differences),
        "per_language": export.language_lines(tables, differences),
        "transfer_gap": export.gap_lines(tables),
        "cost": spent.lines_and_total(),
        "contrasts": contrast_lines(differences),
        "associations": associated,
        "settings": export.tried_lines(about),
        "fingerprints": provenance.fingerprints(rows),
    }
    with new_files(directory, LAST, earlier()) as folder:
        names = export.write_tables(folder, about, lines, {"results": rows, "costs": costs})
        export.write_json(folder / "claims.json", {line.claim.id: line.dumped() for line in judged.lines})
        for name, held in ((name, held) for _, content in told for name, held in content.files.items()):
            (export.write_csv if name.endswith(".csv") else export.write_json)(folder / name, held)
            names.append(name)
        (folder / "citations.bib").write_text(bibtex(provenance.cards_read(about)), encoding="utf-8")
        _write_figures(folder, values, [content for _, content in told])
        linked = predictions.write(about, asked.predictions, folder / predictions.FOLDER)
        html = _page({**values, "linked": linked}, told, names)
        table_files.write(html, folder / table_files.FOLDER, values["no_result"])
        (folder / "report.html").write_text(html, encoding="utf-8")
    return directory / "report.html"


def _write_figures(directory: Path, values: Mapping[str, Any], contents: Sequence[Content]) -> None:
    drawings = [*map(figure.heat_map, (*values["heat_maps"], *values["matrices"])), *values["drawings"].values()]
    drawings += [one for content in contents for one in content.figures]
    for drawing in filter(None, drawings):
        (directory / f"{values['no_result'].prefix}{drawing.name}.svg").write_text(drawing.svg, encoding="utf-8")


class Part(NamedTuple):
    """A part of the page."""

    place: int
    """Sections and the report's own parts are shown in ascending order of this."""
    name: str
    title: str
    gist: str
    html: Markup

    @property
    def folded(self) -> bool:
        """Whether it is collapsed until a reader opens it: all but the scores."""
        return self.name != "scores"


_PARTS = (
    (100, "scores", "Scores by task", ""),
    (150, "settings", "Settings tried", "tried"),
    (160, "published", "Published numbers", "published"),
    (200, "tested", "Differences, tested", "tested"),
    (300, "languages", "Scores by language", ""),
    (400, "transfer", "Transfer gap", ""),
    (700, "claims", "Claims", "claims"),
    (800, "cost", "Cost", ""),
    (900, "data", "Data", ""),
    (1000, "provenance", "Provenance", ""),
)
"""The report's own parts: place, name, title, and the value without which the part is left out ("": never). The
template is named after the part."""


def _page(values: Mapping[str, Any], told: Sequence[tuple[Section, Content]], files: Iterable[str]) -> str:
    """The whole page: its own parts and those of sections, in the order of their places."""
    environment = templates.environment(values["no_result"].prefix)
    gists, parts = words.gists(values["claims"], values["spent"], values["data"]), []
    for place, name, title, shown in _PARTS:
        if not shown or values[shown] not in (None, (), []):
            html = environment.get_template(f"{name}.html.j2").render(values)
            parts.append(Part(place, name, title, gists.get(name, ""), Markup(html)))  # noqa: S704  autoescaped
    for section, content in told:
        html = environment.from_string(section.template.read_text(encoding="utf-8")).render(content.values)
        parts.append(Part(section.place, section.name, section.title, content.gist, Markup(html)))  # noqa: S704  as above
    return environment.get_template("page.html.j2").render(values, parts=sorted(parts), files=files)


def _values(
    about: About,
    tables: Tables,
    spent: Spending,
    differences: Contrasts,
    associated: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The variables of the report's own templates."""
    by_language = differences.with_baseline(OVERALL)
    return {
        "about": about,
        "no_result": NoResult.of(about),
        "tables": tables,
        "spent": spent,
        "summary": words.summary(about, tables, differences),
        "heat_maps": language_maps(tables, differences),
        "matrices": arm_maps(differences),
        "tested": _tested(differences.found),
        "contrasts": differences,
        "associations": _by_pair(associated),
        "by_language": by_language,
        "compared_languages": table.family_order([code for one in by_language for code in one.weights]),
        "gib": CC100_GIB,
        "traits": tuple(dict.fromkeys(one["trait"] for one in associated)),
        "known_roles": claims.roles(),
        "languages": _language_tables(tables),
        "unshown": sorted({templates.metric_words(cell.metric) for cell in tables.per_language if not _on_page(cell)}),
        "data": provenance.data_groups(about),
        "tint": _tint(differences),
        "baseline": BASELINE,
        "shared": SHARED,
    }


def _drawings(
    tables: Tables, spent: Spending, differences: Contrasts, seen: SeenLanguages | None
) -> dict[str, Drawing | None]:
    seen_by_arm = {} if seen is None else seen.by_arm
    return {
        "differences": figure.difference_plot(differences, [column.task for column in tables.columns]),
        "transfer": figure.transfer_plot(tables),
        "cost": figure.cost_bars(spent),
        "languages": figure.language_scatter(differences.with_baseline(), seen_by_arm),
    }


LAST = "report.json"
"""The file that says what the report was made from, so it is moved into place after all the others."""


def earlier() -> tuple[str, ...]:
    """Names of files that an earlier report may have written and a new one may not."""
    own = (f"{QUICK_LOOK}*.svg", "heat_map_*.svg", "transfer_*.svg", "differences.svg", "cost.svg", "languages.svg")
    tables = ("transfer_gap.csv", "contrasts.csv", "associations.csv", "cost.csv", "settings.csv", "fingerprints.csv")
    return (*own, *tables, predictions.FOLDER, *(name for section in sections() for name in section.writes))


def _with_and_without(
    differences: Contrasts, seen: SeenLanguages | None
) -> list[tuple[Contrast, Mapping[str, GroupDifference]]]:
    """Each mean over tasks of an arm with data of its own, and its parts in languages with and without such data."""
    found = [(one, seen.groups(one.arm, one.weights) if seen else {}) for one in differences.found if not one.task]
    return [(one, one.group_means(groups)) for one, groups in found if groups]


def _tint(differences: Contrasts) -> Scale:
    """The colours of the main table: the largest difference gets the strongest one."""
    sizes = [abs(one.mean) for one in differences.with_baseline() if one.task != IN_ENGLISH]
    return Scale(True, 0.0, max(sizes, default=0.0), heaviest=0.28)


def _tested(found: Sequence[Contrast]) -> list[tuple[Contrast, str]]:
    """The first contrast of each pair of arms, with a sentence on what is shown about the pair."""
    pairs: dict[tuple[str, str], list[Contrast]] = {}
    for one in found:
        pairs.setdefault((one.arm, one.against), []).append(one)
    return [(own[0], words.sentence(own[0], own)) for own in pairs.values()]


def _by_pair(found: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Mapping[str, Any]]]:
    """(arm, against) -> trait -> its association with their difference."""
    pairs: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for one in found:
        pairs.setdefault((one["arm"], one["against"]), {})[one["trait"]] = one
    return pairs


def _on_page(cell: ScoreCell) -> bool:
    """Whether the page has room for it: headline metrics, and the other half of a QA task's score in averages."""
    return cell.headline or cell.metric == "exact_match"


def _language_tables(tables: Tables) -> dict[str, dict[str, dict[str, dict[str, ScoreCell]]]]:
    """Task -> metric (headline first) -> language (by family) -> arm -> cell, for the cells that are on the page."""
    found: dict[str, dict[str, dict[str, dict[str, ScoreCell]]]] = {}
    for cell in filter(_on_page, tables.per_language):
        found.setdefault(cell.task, {}).setdefault(cell.metric, {}).setdefault(cell.language, {})[cell.arm] = cell
    return found
