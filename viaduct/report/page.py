"""The report: one self-contained HTML page, with its tables as CSV and JSON and its figures as SVG beside it.

It reads result rows, stage costs and what the run was about, and nothing else: no predictions, no models, no network.
The words and numbers come from the other files of this folder; this one chooses the figures and fills the template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from viaduct.languages import FAMILY_ORDER, LANGUAGES
from viaduct.metrics.summary import Difference
from viaduct.report import baseline as baselines
from viaduct.report import claims, export, number, spending, table, words
from viaduct.report import contrasts as tested
from viaduct.report.associations import Association, associations
from viaduct.report.claims import ClaimLine
from viaduct.report.contrasts import Contrast
from viaduct.report.drawing import Drawing
from viaduct.report.evidence import ROLES
from viaduct.report.figure import (
    DifferencePoint,
    GapPoint,
    Matrix,
    MatrixCell,
    Panel,
    cost_bars,
    difference_plot,
    heat_map,
    transfer_matrix,
    transfer_plot,
)
from viaduct.report.provenance import data_groups, provenance
from viaduct.report.scatter import language_scatter
from viaduct.report.spending import SHARED, Spending
from viaduct.report.table import LanguageCell, Tables
from viaduct.results.record import BASELINE, About, MeasuredArms, ResultRow, StageCost, StageImages, StageRetained
from viaduct.serving import frontier as tradeoffs
from viaduct.serving import section as inference_costs
from viaduct.vision import section as image_evidence

_FOLDER = Path(__file__).parent
_EVERY_TASK = "mean over tasks"
_TINT = 0.28
"""Opacity of a table cell's background at the largest difference."""


@dataclass(frozen=True)
class Evidence:
    """What stages say beside scores and costs."""

    images: Sequence[StageImages] = ()
    retained: Sequence[StageRetained] = ()
    inference: Sequence[MeasuredArms] = ()


def write(
    about: About,
    rows: Sequence[ResultRow],
    costs: Sequence[StageCost],
    directory: Path,
    *,
    evidence: Evidence = Evidence(),
    published: bool = False,
    compare: Sequence[tuple[str, str]] = (),
) -> Path:
    """The path of `report.html`, written into `directory` (created if need be) with CSV, JSON and SVG files beside it.

    `published`: with a section of published numbers on the same tasks. `compare`: pairs of arms to test against each
    other, besides those of the recipe and each arm against the baseline.
    The same records give the same bytes. Raises DataError for no rows and for rows that cannot stand in one table.
    """
    tables = table.build(about, rows)
    spent = spending.build(about, costs)
    directory.mkdir(parents=True, exist_ok=True)
    heat_maps = _heat_maps(tables)
    seen = {one.arm: one.use.seen_languages for one in evidence.images}
    differences = tested.contrasts(about, rows, (*about.compare, *compare), seen=seen)
    associated = associations(differences, seen)
    matrices = _matrices(differences)
    drawings = {
        "differences": _differences(tables),
        "transfer": _transfer(tables),
        "cost": _cost(spent),
        "languages": language_scatter([one for one in differences if one.against == BASELINE], seen),
    }
    use = _use(inference_costs.build(evidence.inference, costs), tables, directory)
    _write_figures(directory, (*heat_maps, *matrices, *filter(None, (*drawings.values(), use.figure))))
    more = {"contrasts": tested.lines(differences), "associations": [asdict(one) for one in associated]}
    export.write_all(directory, about, (rows, costs), tables, spent, more)
    images = _images(evidence, directory)
    page = _environment().get_template("page.html.j2")
    text = page.render(
        style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),  # noqa: S704  our own file
        about=about,
        tables=tables,
        spent=spent,
        summary=words.summary(about, tables, differences),
        heat_maps=heat_maps,
        drawings=drawings,
        tested=_tested(differences),
        contrasts=differences,
        matrices=matrices,
        captioned=[one for one in differences if one.captioned],
        associations=_by_pair(associated),
        traits=tuple(dict.fromkeys(one.trait for one in associated)),
        repeated=any(one.estimate is not None for one in differences),
        claims=_claims(about, rows, images, use.inference, directory),
        roles=ROLES,
        languages=_language_tables(tables),
        unshown=sorted({_metric(cell.metric) for cell in tables.per_language if not _on_page(cell)}),
        published=baselines.published(tables, miniature=about.miniature) if published else None,
        images=images,
        use=use,
        image_metrics=_image_metrics(images),
        shown=image_evidence.SHOWN,
        data=data_groups(about),
        provenance=provenance(rows),
        largest=_largest(tables),
        baseline=BASELINE,
        shared=SHARED,
    )
    path = directory / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


def _image_metrics(images: image_evidence.Images | None) -> list[str]:
    """Scores that the page has room for: of recalls only those at 1 (`images.jsonl` has all)."""
    names = dict.fromkeys(name for line in images.lines for name in line.scores) if images is not None else {}
    return [name for name in names if "recall" not in name or name.endswith("_1")]


def _images(evidence: Evidence, directory: Path) -> image_evidence.Images | None:
    """What there is to say about images, with its file written."""
    (directory / "image_gain.json").unlink(missing_ok=True)  # of an earlier report
    images = image_evidence.build(evidence.images, evidence.retained)
    if images is not None and images.lines:
        export.write_json(directory / "image_gain.json", image_evidence.gains(images))
    return images


class _Use(NamedTuple):
    """What the page says about the cost of using the models."""

    inference: inference_costs.Inference | None
    frontier: tradeoffs.Frontier | None = None
    figure: Drawing | None = None


def _use(inference: inference_costs.Inference | None, tables: Tables, directory: Path) -> _Use:
    """The section's parts, with its two files written."""
    for name in ("inference.csv", "frontier.json"):
        (directory / name).unlink(missing_ok=True)  # of an earlier report
    if inference is None or inference.refusal:
        return _Use(inference)
    export.write_csv(directory / "inference.csv", inference_costs.lines(inference))
    frontier = tradeoffs.frontier(inference, tables)
    if frontier is None:
        return _Use(inference)
    export.write_json(directory / "frontier.json", tradeoffs.content(frontier))
    return _Use(inference, frontier, tradeoffs.frontier_plot(frontier))


def _claims(
    about: About,
    rows: Sequence[ResultRow],
    images: image_evidence.Images | None,
    inference: inference_costs.Inference | None,
    directory: Path,
) -> tuple[ClaimLine, ...]:
    """Every claim with its verdict, written as `claims.json`; () for the page where no arm but the baseline has a
    role."""
    lines = images.lines if images is not None else ()
    used = {line.arm: line.used for line in lines if line.used is not None}
    compared = inference is not None and about.roles.get(inference.first, inference.first) == BASELINE
    timed = inference.evidence if inference is not None and compared else ()
    judged = claims.section(about, rows, about.roles or None, inference=timed, image_used=used)
    export.write_json(directory / "claims.json", {line.claim.id: _judged(line) for line in judged})
    return judged if any(role != BASELINE for role in about.roles.values()) else ()


def _judged(line: ClaimLine) -> dict[str, str]:
    one = line.claim
    said = {"claim": one.text, "source": one.source, "provenance": one.provenance, "kind": one.kind}
    return {**said, "verdict": line.verdict, "why": line.why, "decided_by": one.decided_by, "needs": one.needs}


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader([_FOLDER, _FOLDER.parent / "vision", _FOLDER.parent / "serving"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": number.percent,
        "points": number.points,
        "duration": number.duration,
        "count": number.count,
        "size": number.size,
        "metric": _metric,
        "language": lambda code: LANGUAGES[code].name if code in LANGUAGES else code,
        "family": lambda code: LANGUAGES[code].family if code in LANGUAGES else "other",
        "svg": lambda drawing: Markup(drawing.inline),  # noqa: S704  drawn here, every text escaped by the SVG writer
        "combined": lambda first, second: {**first, **second},
        "direction": words.direction,
        "token_range": inference_costs.range_words,
        "tint": _tint,
    }
    return environment


def _metric(name: str) -> str:
    return {"f1": "F1", "exact_match": "exact match"}.get(name, name.replace("_", " "))


def _tint(difference: Difference | None, largest: float) -> str:
    """A style attribute's value that colours a cell by sign and size of its difference; "" for none."""
    if difference is None or largest <= 0:
        return ""
    share = round(100 * _TINT * min(1.0, abs(difference.mean) / largest))
    colour = "up" if difference.mean > 0 else "down"
    return f"background: color-mix(in srgb, var(--{colour}) {share}%, transparent)" if share else ""


def _largest(tables: Tables) -> float:
    return max((abs(cell.difference.mean) for cell in tables.cells if cell.difference and cell.headline), default=0.0)


def _heat_maps(tables: Tables) -> tuple[Drawing, ...]:
    """The baseline's scores and each arm's differences from it; every arm's scores when there is no baseline."""
    shown = [cell for cell in tables.per_language if cell.headline]
    codes = table.family_order(tuple({cell.language for cell in shown if cell.score is not None}))
    tasks = tuple(column.task for column in tables.columns if column.metric)
    scores = [cell.score.mean for cell in shown if cell.score is not None]
    lowest, highest = min(scores), max(scores)
    differences = sorted(abs(cell.difference.mean) for cell in shown if cell.difference is not None)
    reach = max(0.01, differences[int(0.95 * (len(differences) - 1))]) if differences else 0.01
    drawings: list[Drawing] = []
    for arm in tables.arms:
        cells = [cell for cell in shown if cell.arm == arm]
        signed = tables.has_baseline and arm != BASELINE
        if not any(_shown(cell, signed) is not None for cell in cells):
            continue
        slug = re.sub(r"[^A-Za-z0-9_.+-]+", "-", arm).strip("-.") or "arm"
        panel = Panel(
            name=f"heat_map_{len(drawings) + 1}_{slug}",
            title=f"{arm}: difference from {BASELINE}, in points" if signed else f"{arm}: score in percent",
            languages=codes,
            tasks=tasks,
            values={(cell.task, cell.language): _shown(cell, signed) for cell in cells if cell.language in codes},
            signed=signed,
            lowest=0.0 if signed else lowest,
            highest=reach if signed else highest,
        )
        drawings.append(heat_map(panel))
    return tuple(drawings)


def _shown(cell: LanguageCell, signed: bool) -> float | None:
    source = cell.difference if signed else cell.score
    return None if source is None else source.mean


def _tested(found: Sequence[Contrast]) -> list[tuple[Contrast, str]]:
    """Each pair of arms with what is shown of it."""
    return [
        (whole, tested.sentence(whole, [one for one in found if _pair(one) == _pair(whole) and one.task]))
        for whole in found
        if whole.task == tested.OVERALL
    ]


def _by_pair(found: Sequence[Association]) -> list[tuple[tuple[str, str], dict[str, Association]]]:
    """(arm, against) with what goes with their difference, by trait."""
    pairs: dict[tuple[str, str], dict[str, Association]] = {}
    for one in found:
        pairs.setdefault((one.arm, one.against), {})[one.trait] = one
    return list(pairs.items())


def _pair(one: Contrast) -> tuple[str, str]:
    return one.arm, one.against


def _matrices(found: Sequence[Contrast]) -> tuple[Drawing, ...]:
    """Differences from the baseline by task and by language family; () where there are none."""
    own = [one for one in found if one.against == BASELINE]
    if not own:
        return ()
    arms = tuple(dict.fromkeys(one.arm for one in own))
    cells = {(one.arm, one.task or _EVERY_TASK): _cell(one) for one in own}
    tasks = (_EVERY_TASK, *dict.fromkeys(one.task for one in own if one.task))
    title = f"Differences from {BASELINE} by intermediate and task, in points"
    by_task = Matrix("transfer_matrix", title, arms, tasks, True, cells)
    groups = {
        (one.arm, family): MatrixCell(group.mean, None, "") for one in own for family, group in one.families.items()
    }
    families = tuple(family for family in FAMILY_ORDER if any(family == name for _, name in groups))
    title = f"Differences from {BASELINE} by intermediate and language family, in points"
    by_family = Matrix("transfer_by_family", title, arms, families, False, groups)
    return tuple(transfer_matrix(matrix) for matrix in (by_task, by_family) if matrix.columns)


def _cell(one: Contrast) -> MatrixCell:
    interval = None if one.estimate is None else (one.estimate.low, one.estimate.high)
    return MatrixCell(one.mean, interval, one.stars)


def _differences(tables: Tables) -> Drawing | None:
    found = [
        DifferencePoint(cell.arm, cell.task, cell.difference.mean, words.interval(cell.difference))
        for cell in tables.cells
        if cell.headline and cell.difference is not None
    ]
    return difference_plot(found) if found else None


def _transfer(tables: Tables) -> Drawing | None:
    found = [GapPoint(cell.arm, cell.task, cell.english.mean, cell.others.mean) for cell in tables.gaps]
    return transfer_plot(found) if found else None


def _cost(spent: Spending) -> Drawing | None:
    if not spent.lines:
        return None
    bars = [
        (arm or "shared by several arms", {stage: spent.seconds(arm, stage) or 0.0 for stage in spent.stages})
        for arm in spent.arms
    ]
    return cost_bars(bars, spent.stages)


@dataclass(frozen=True)
class LanguageTable:
    """The per-language scores of one task and metric."""

    metric: str
    languages: tuple[str, ...]
    cells: Mapping[tuple[str, str], LanguageCell]
    """(language, arm) -> cell."""


def _on_page(cell: LanguageCell) -> bool:
    """Whether the page has room for it: headline metrics, and the other half of what a QA task counts in averages."""
    return cell.headline or cell.metric == "exact_match"


def _language_tables(tables: Tables) -> dict[str, list[LanguageTable]]:
    """Task -> one table per metric, the headline first; without what is not on the page."""
    found: dict[tuple[str, str], dict[tuple[str, str], LanguageCell]] = {}
    for cell in filter(_on_page, tables.per_language):
        found.setdefault((cell.task, cell.metric), {})[cell.language, cell.arm] = cell
    grouped: dict[str, list[LanguageTable]] = {}
    for (task, metric), cells in found.items():
        codes = table.family_order(tuple({language for language, _ in cells}))
        grouped.setdefault(task, []).append(LanguageTable(metric, codes, cells))
    return grouped


def _write_figures(directory: Path, drawings: Iterable[Drawing]) -> None:
    for pattern in ("heat_map_*.svg", "transfer_*.svg", "differences.svg", "cost.svg", "languages.svg", "frontier.svg"):
        for earlier in directory.glob(pattern):
            earlier.unlink()  # of an earlier report, which may have had figures that this one has not
    for drawing in drawings:
        (directory / f"{drawing.name}.svg").write_text(drawing.svg, encoding="utf-8")
