"""Score against cost: one panel per cost, a labelled dot per model, or a ring if another model beats it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from viaduct.report.drawing import COLOURS, INK, SOFT, Drawing, canvas, finish, free_shifts, mark, settle, shortened
from viaduct.report.number import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Axis(NamedTuple):
    """The label of a cost's axis, and how many units of the cost make one unit on the axis."""

    words: str
    unit: float


LATENCY_AXIS = Axis("latency of one sentence, ms (median)", 1.0)
MEMORY_AXIS = Axis("peak memory, MiB", 2.0**20)
DISK_AXIS = Axis("size on disk, MiB", 2.0**20)
_APART = 14.0
_WIDE, _NARROW = 480.0, 320.0


@dataclass(frozen=True)
class Dot:
    """A model in one panel."""

    name: str
    cost: float
    score: float
    """A fraction."""
    is_beaten: bool


def cost_plot(panels: Mapping[Axis, Sequence[Dot]], words: str, caption: str) -> Drawing:
    """Score on the y axis, labelled `words`; cost on the x axis. Every panel has the same models, at least one."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    first = next(iter(panels.values()))
    widths = [_WIDE, *[_NARROW] * (len(panels) - 1)]
    height = max(308.0, _APART * len(first) + 108)
    figure, drawn = canvas(sum(widths), height, 1, len(widths), sharey=True, width_ratios=widths)
    scores = [dot.score for dot in first]
    room = 0.15 * (max(scores) - min(scores))  # for names above and below dots that are close together
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(min(scores) - room, max(scores) + room)
    digits = 1 if ticks[1] - ticks[0] > 0.00099 else 2
    for axes, (axis, dots) in zip(drawn, panels.items(), strict=True):
        axes.set_xlim(0, 1.08 * max(dot.cost for dot in dots) / axis.unit)
        axes.set_ylim(ticks[0], ticks[-1])
        axes.set_xlabel(axis.words)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.grid()
        axes.set_yticks([tick for tick in ticks if 0 <= tick <= 1])
        axes.tick_params(axis="y", labelcolor=SOFT, labelsize=10, labelleft=True)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value, digits)))
    drawn[0].set_ylabel(f"{words}, percent")
    settle(figure)
    for axes, (axis, dots) in zip(drawn, panels.items(), strict=True):
        _name_dots(axes, axis, dots)
    return finish(figure, "frontier", caption)


def _name_dots(axes: Axes, axis: Axis, dots: Sequence[Dot]) -> None:
    """Draw dots with their names next to them, towards the middle, at heights where no name covers another."""
    ordered = sorted(dots, key=lambda dot: (-dot.score, dot.cost))
    places = [(dot.cost / axis.unit, dot.score) for dot in ordered]
    heights = [(0.0, float(axes.transData.transform(place)[1])) for place in places]
    shifts = free_shifts(heights, (0.0, _APART - 1), nearest=0, taken=[])
    for dot, (x, y), shift in zip(ordered, places, shifts, strict=True):
        side = 1 if x < sum(axes.get_xlim()) / 2 else -1
        mark(axes, (x, y), COLOURS["soft" if dot.is_beaten else "series-1"], filled=not dot.is_beaten)
        axes.annotate(
            shortened(dot.name),
            (x, y),
            (12 * side, shift),
            textcoords="offset points",
            ha="left" if side == 1 else "right",
            va="center",
            color=SOFT if dot.is_beaten else INK,
            fontweight="normal" if dot.is_beaten else "bold",
            arrowprops={"arrowstyle": "-", "color": SOFT, "linewidth": 0.75} if shift else None,
        )
