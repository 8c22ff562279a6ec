"""The report's figures: differences, transfer, cost, languages, and heat maps for files.

Every number in a figure is in a table of the page as well. Values come in as fractions and are drawn in percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from viaduct.languages import CC100_GIB
from viaduct.report.contrast import OVERALL, Contrast, Contrasts
from viaduct.report.drawing import (
    COLOURS,
    INK,
    LINE,
    PAPER,
    SERIES,
    SOFT,
    Drawing,
    canvas,
    finish,
    free_shifts,
    mark,
    settle,
    shortened,
)
from viaduct.report.heat_map import HeatCell, HeatMap
from viaduct.report.number import duration, percent, points
from viaduct.report.spending import Spending
from viaduct.report.table import Tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 780.0
ACROSS = 4
"""Maximum number of panels side by side."""
APART = {"wspace": 0.07}
"""Space between panels, so that the tick labels of neighbours do not touch."""
LEAST = 0.004
"""Half the smallest range of a scale of differences: over less, tick labels would round to the same text."""
GIB = (0.25, 1, 4, 16, 64, 256)
"""Ticks of the axis for the amount of text."""


def difference_plot(differences: Contrasts, tasks: Sequence[str]) -> Drawing | None:
    """A panel per arm: the difference from the baseline with its 95 % interval in the mean over tasks and on each task,
    around a line at zero. A filled dot: higher or lower after correction.

    Interval ends far beyond the differences themselves are clipped at the edge of the drawing. None if there are no
    differences.
    """
    found = [one for task in (OVERALL, *tasks) for one in differences.with_baseline(task)]
    if not found:
        return None
    arms, lines = tuple(dict.fromkeys(one.arm for one in found)), tuple(dict.fromkeys(one.task for one in found))
    across = min(ACROSS, len(arms))
    down = -(-len(arms) // across)
    figure, panels = canvas(
        WIDE, down * (52 + 18 * len(lines)), down, across, sharex=True, sharey=True, gridspec_kw=APART
    )
    for axes in panels[len(arms) :]:
        axes.set_visible(False)
    reach = 2.5 * max(LEAST, *(abs(one.mean) for one in found))
    ends = [-LEAST, LEAST]
    for axes, arm in zip(panels, arms, strict=False):
        axes.set_title(shortened(arm), loc="left", weight="bold", fontsize=11)
        axes.axvline(0, color=SOFT, linewidth=1.25)
        for one in (one for one in found if one.arm == arm):
            ends += _difference(axes, one, lines.index(one.task), reach)
        axes.tick_params(labelbottom=True)
        axes.grid(axis="x")
    panels[0].set_yticks(range(len(lines)), [shortened(task) or "mean over tasks" for task in lines])
    panels[0].get_yticklabels()[0].set_fontweight("bold" if lines[0] == OVERALL else "normal")
    panels[0].set_ylim(len(lines) - 0.5, -0.5)
    _scale(panels[0], ends, signed=True, most=4)
    return finish(figure, "differences", "Difference from the baseline by arm and task, in points")


def _difference(axes: Axes, one: Contrast, y: int, reach: float) -> list[float]:
    """Draw one difference; returns its value and the ends of its interval, limited to `reach`."""
    between, colour = one.estimate.interval, COLOURS["up" if one.mean >= 0 else "down"]
    if between is not None:
        axes.plot(between, (y, y), color=colour, linewidth=2)
    mark(axes, (one.mean, y), colour, filled=one.verdict in ("higher", "lower"))
    return [one.mean, *(min(reach, max(-reach, end)) for end in between or ())]


def transfer_plot(tables: Tables) -> Drawing | None:
    """For each task and arm a line from the mean of the other languages (ring) to English (dot): the gap; None if there
    are no gaps."""
    if not tables.gaps:
        return None
    gaps = [percent(cell.english.mean - cell.others.mean) for cell in tables.gaps]
    figure, axes, places = _strips([(cell.task, cell.arm) for cell in tables.gaps], gaps)
    colour = COLOURS["series-1"]
    for cell, y in zip(tables.gaps, places, strict=True):
        axes.plot((cell.others.mean, cell.english.mean), (y, y), color=colour, linewidth=2.5)
        mark(axes, (cell.others.mean, y), colour, filled=False)
        mark(axes, (cell.english.mean, y), colour, filled=True)
    _scale(axes, [value.mean for cell in tables.gaps for value in (cell.english, cell.others)], signed=False)
    return finish(figure, "transfer_gap", "English score and mean of the other languages, by task and arm")


def _strips(keys: Sequence[tuple[str, str]], values: Sequence[str]) -> tuple[Figure, Axes, list[float]]:
    """Axes with one line per (task, arm), tasks in bold above their arms, numbers on the right; also each line's y."""
    places: list[float] = []
    heads: list[tuple[float, str]] = []
    y = 0.0
    for task, members in groupby(keys, key=lambda key: key[0]):
        heads.append((y, shortened(task)))
        for _ in members:
            y += 1
            places.append(y)
        y += 1.25
    figure, (axes,) = canvas(WIDE, 46 + 18 * y)
    axes.set_ylim(y - 0.5, -0.5)
    labels = [shortened(arm) for _, arm in keys]
    axes.set_yticks([*places, *(at for at, _ in heads)], [*labels, *(task for _, task in heads)])
    for label in axes.get_yticklabels()[len(places) :]:
        label.set_fontweight("bold")
    _beside(axes, places, values)
    axes.tick_params(axis="x", labeltop=True, labelbottom=False)
    axes.grid(axis="x")
    return figure, axes, places


def _beside(axes: Axes, places: Sequence[float], words: Sequence[str], colour: str = INK) -> None:
    """Write words to the right of the axes at these heights."""
    right = axes.secondary_yaxis("right")
    right.spines["right"].set_visible(False)
    right.tick_params(length=0)
    right.set_yticks(places, list(words), color=colour)


def _scale(axes: Axes, values: Sequence[float], *, signed: bool, most: int = 7) -> None:
    """Set at most `most` round ticks in percent, or one more, that enclose the values."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ticks = MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(min(values), max(values))
    digits = 0 if ticks[1] - ticks[0] >= 0.0099 else 1
    axes.set_xticks(ticks)
    axes.set_xlim(ticks[0], ticks[-1])
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: points(value, digits) if signed else percent(value, digits))
    )


def cost_bars(spent: Spending) -> Drawing | None:
    """One bar per arm (and one for shared work), divided by stage; None if no stage recorded a cost."""
    if not spent.lines:
        return None
    names = [shortened(arm or "shared by several arms") for arm in spent.arms]
    figure, (axes,) = canvas(WIDE, 44 + 28.0 * len(names))
    begin = [0.0] * len(names)
    for number, stage in enumerate(spent.stages):
        seconds = [spent.seconds(arm, stage) or 0.0 for arm in spent.arms]
        colour = COLOURS[f"series-{number % SERIES + 1}"]
        axes.barh(range(len(names)), seconds, left=begin, height=0.65, color=colour, label=stage)
        begin = [start + length for start, length in zip(begin, seconds, strict=True)]
    for row, total in enumerate(begin):
        axes.annotate(duration(total), (total, row), (7, 0), textcoords="offset points", va="center", color=SOFT)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xticks([])
    figure.legend(loc="outside upper left", ncols=len(spent.stages), labelcolor=SOFT, handlelength=1, handleheight=1)
    return finish(figure, "cost", "Time spent by arm and stage")


def heat_map(shown: HeatMap) -> Drawing:
    """The table as a figure, for a file."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    rows, (wide, tall) = shown.rows, (74, 32) if shown.with_intervals else (46, 18)
    size = 250 + wide * len(shown.columns), 120 + tall * len(rows)
    figure, (axes,) = canvas(*size)
    axes.set_xlim(0, len(shown.columns))
    axes.set_ylim(len(rows), 0)
    places = {
        (x, y): shown.cells[key, column]
        for y, (key, _) in enumerate(rows)
        for x, column in enumerate(shown.columns)
        if (key, column) in shown.cells
    }
    full = {at: cell for at, cell in places.items() if cell is not None}
    shades = [shown.scale.shade(cell.value) for cell in full.values()]
    faces = [(COLOURS[colour], strength) for colour, strength in shades]
    axes.add_collection(PatchCollection([Rectangle(at, 1, 1) for at in full], facecolors=faces, edgecolors=PAPER))
    for (x, y), cell in places.items():
        _inside(axes, x + 0.5, y + 0.5, _cell_words(shown, cell), INK if cell else SOFT)
    columns = [shortened(column) for column in shown.columns]
    axes.set_xticks([x + 0.5 for x in range(len(columns))], columns, rotation=45, ha="left", rotation_mode="anchor")
    axes.tick_params(axis="x", labeltop=True, labelbottom=False)
    axes.set_yticks([y + 0.5 for y in range(len(rows))], [shortened(label) for _, label in rows])
    starts = [sum(len(rows) for _, rows in shown.groups[:at]) for at in range(len(shown.groups))]
    for start in starts:
        axes.axhline(start, color=LINE, linewidth=0.75)
    _beside(axes, [start + 0.5 for start in starts], [name for name, _ in shown.groups], SOFT)
    axes.set_xlabel(f"{shown.title}: {' … '.join(map(shown.scale.words, shown.scale.ends))}")
    return finish(figure, shown.name, shown.title)


def _inside(axes: Axes, x: float, y: float, words: str, colour: str) -> None:
    axes.text(x, y, words, ha="center", va="center", fontsize=9, color=colour, in_layout=False)


def _cell_words(shown: HeatMap, cell: HeatCell | None) -> str:
    if cell is None:
        return "–"
    text = f"{shown.scale.words(cell.value)}{cell.stars}"
    return text if cell.interval is None else f"{text}\n{points(cell.interval[0])} to {points(cell.interval[1])}"


def language_scatter(found: Sequence[Contrast], seen: Mapping[str, Sequence[str]]) -> Drawing | None:
    """Difference by language against the amount of text in it: a panel per arm, each language labelled by its code;
    None if no arm has differences in two or more languages.

    `seen`: arm -> languages of its own data, drawn as dots; the others are rings. Languages whose amount of text is
    unknown (in XTREME: Yoruba) are left out.
    """
    shown = [(one, known) for one in found if one.task == OVERALL and len(known := _known(one)) > 1]
    if not shown:
        return None
    most = max(abs(value) for _, known in shown for value in known.values()) or 0.001
    across = min(3, len(shown))
    down = -(-len(shown) // across)
    figure, panels = canvas(330 * across, 290 * down, down, across, sharex=True, sharey=True)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes, (one, _) in zip(panels, shown, strict=False):
        axes.set_title(shortened(f"{one.arm} minus {one.against}", 40), loc="left", weight="bold")
        axes.set_xscale("log")
        axes.set_xlim(0.15, 400)
        axes.set_ylim(-1.5 * most, 1.5 * most)  # codes are placed above and below their dots
        axes.set_xticks(GIB, [f"{gib:g}" for gib in GIB])
        axes.set_yticks((-most, 0, most), map(points, (-most, 0, most)))
        axes.tick_params(axis="y", labelcolor=SOFT, labelsize=10)
        axes.tick_params(labelbottom=True, labelleft=True)
        axes.set_xlabel("GiB of CC-100 text")
        axes.grid(axis="y")
    settle(figure)
    for axes, (one, known) in zip(panels, shown, strict=False):
        _codes(axes, known, frozenset(seen.get(one.arm, ())))
    return finish(figure, "languages", "Difference by language, in points, against GiB of text in CC-100")


def _known(one: Contrast) -> dict[str, float]:
    return {code: one.by_code[code] for code in one.weights if code in CC100_GIB}


def _codes(axes: Axes, known: Mapping[str, float], seen: frozenset[str]) -> None:
    """Draw each language's dot, with its code above or below it, as close as the others allow."""
    pixels = axes.transData.transform([(CC100_GIB[code], value) for code, value in known.items()])
    placed = sorted((float(x), float(y), code) for (x, y), code in zip(pixels, known, strict=True))
    dots = [(x, y) for x, y, _ in placed]
    shifts = free_shifts(dots, (13.0, 8.0), nearest=9, taken=dots)
    for (x, y, code), shift in zip(placed, shifts, strict=True):
        colour = INK if not seen else COLOURS["series-1" if code in seen else "series-2"]
        gib, label = CC100_GIB[code], float(axes.transData.inverted().transform((x, y + shift))[1])
        axes.plot([gib, gib], [known[code], label], color=LINE, linewidth=0.5)
        face = PAPER if seen and code not in seen else colour
        axes.plot([gib], [known[code]], "o", markersize=4, mec=colour, mfc=face, mew=1)
        _inside(axes, gib, label, code, colour)
