"""Figures of the report as SVG: matplotlib's own output for a file, and the same with the page's colours for a page.

Uses only matplotlib's object-oriented interface, without state between figures; the same drawing gives the same bytes.
What is drawn is decided in `viaduct.report.figure` and in rooms' sections.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from markupsafe import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "ink": "#1c2127",
    "soft": "#59626d",
    "line": "#d5dade",
    "paper": "#fffffe",
    "up": "#4a90c2",
    "down": "#dd8a3e",
    "level": "#43a08e",
    "series-1": "#3b6fb6",
    "series-2": "#c4742c",
    "series-3": "#6c8f3c",
    "series-4": "#8a5fa8",
    "series-5": "#2f9a94",
    "series-6": "#c2506e",
    "series-7": "#8c6d46",
    "series-8": "#7d868f",
}
"""Name -> colour on a light page; the page's style sheet has each name's dark-mode counterpart. Blue and orange stay
distinguishable with the common kinds of colour blindness."""
SERIES = 8
"""Number of colours for series, such as stages."""
INK, SOFT, LINE, PAPER = (COLOURS[name] for name in ("ink", "soft", "line", "paper"))

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "viaduct",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 11,
    "text.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 10,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.spines.bottom": False,
    "grid.color": LINE,
    "grid.linewidth": 0.75,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "legend.frameon": False,
    "lines.solid_capstyle": "butt",
}
_TAG = re.compile(r"<[^>]+>")
_ID = re.compile(r"(\bid=\"|href=\"#|url\(#)")


@dataclass(frozen=True)
class Drawing:
    """A finished figure."""

    name: str
    """File name without the extension."""
    title: str
    """Text alternative for readers who cannot see the figure."""
    width: int
    """Natural width in pixels."""
    height: int
    svg: str
    """Self-contained SVG with the light colours on a white background, for a file."""

    @cached_property
    def inline(self) -> str:
        """The SVG for embedding in a page: colours are CSS variables, and ids are unique across figures."""
        # the first <defs> holds a style sheet for all elements, which would apply to the whole page
        body = self.svg[self.svg.index("</defs>") + len("</defs>") : self.svg.rindex("</svg>")]
        label = f'viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(self.title)}"'
        return f"<svg {label}>{_TAG.sub(self._in_page, body)}</svg>"

    def _in_page(self, tag: re.Match[str]) -> str:
        # matplotlib counts ids from one in every figure; only tags are edited, so text stays unchanged
        text = _ID.sub(rf"\g<1>{self.name}-", tag[0])
        for name, colour in COLOURS.items():
            text = text.replace(colour, f"var(--{name})")
        return text


def canvas(width: float, height: float, down: int = 1, across: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of this size in pixels and its axes, row by row; `options` are those of `Figure.subplots`."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, layout="constrained")
        axes = figure.subplots(down, across, squeeze=False, **options)
    return figure, list(axes.flat)


def settle(figure: Figure) -> None:
    """Give the axes their final size and position, so that pixel coordinates can be computed."""
    import matplotlib

    engine = figure.get_layout_engine()
    with matplotlib.rc_context(_STYLE):
        if engine is not None:
            engine.execute(figure)


def finish(figure: Figure, name: str, title: str) -> Drawing:
    """The figure as SVG, byte for byte the same for the same content."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    return Drawing(name, title, width, height, text.getvalue())


def mark(axes: Axes, at: tuple[float, float], colour: str, *, filled: bool) -> None:
    """Draw a dot, or a ring if not `filled`."""
    face = colour if filled else PAPER
    axes.plot(*zip(at, strict=True), "o", markersize=7, mfc=face, mec=colour, mew=1.5, clip_on=False, zorder=3)


def free_shifts(
    dots: Sequence[tuple[float, float]],
    size: tuple[float, float],
    *,
    nearest: float,
    taken: Sequence[tuple[float, float]],
) -> list[float]:
    """How far above its dot to place each label of this size, in pixels (negative: below): at least `nearest`, and as
    close as the labels before it and the places already `taken` allow."""
    steps = [sign * (nearest + 8 * step) for step in range(10) for sign in (1, -1)]
    places, found = list(taken), []
    for x, y in dots:
        free = [s for s in steps if all(abs(x - a) > size[0] or abs(y + s - b) > size[1] for a, b in places)]
        found.append((free or steps)[0])
        places.append((x, y + found[-1]))
    return found


def shortened(words: str, limit: int = 26) -> str:
    """The words on one line; if longer than `limit` characters, shortened with an ellipsis in the middle."""
    words = " ".join(words.split())
    if len(words) <= limit:
        return words
    kept = limit - 1
    return f"{words[: kept - kept // 3]}…{words[len(words) - kept // 3 :]}"
