"""How the report draws: one sheet in pixels, a small set of named colours, and SVG text that a page can embed.

matplotlib's object-oriented interface only, with no state kept between figures; the same drawing gives the same bytes.
Colours are names here, so that one drawing serves a light page, a dark page and a file of its own. What is drawn is
decided in viaduct.report.figure.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import cast

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path

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
}
"""Name -> colour on a light page; the page's style sheet gives each name its dark twin. Blue against orange stays apart
for the common kinds of colour blindness."""

_SETTINGS = {
    "svg.hashsalt": "viaduct",
    "svg.fonttype": "none",
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_TAG = re.compile(r"<[^>]+>")
_FONT = re.compile(r"font-family: [^;\"]*")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_FACE = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'Liberation Sans', Arial, sans-serif"


@dataclass(frozen=True)
class Drawing:
    """A finished figure."""

    name: str
    """File name without the ending."""
    title: str
    """What a reader who cannot see the figure is told."""
    width: int
    """Natural width in pixels."""
    svg: str
    """Self-contained SVG with the light colours on a white ground, for a file."""
    inline: str
    """The same without prologue, with colours as CSS variables, for a page."""


def sheet(width: float, height: float) -> Axes:
    """Empty axes of this many pixels; the origin is at the top left and nothing is clipped."""
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width / 72, height / 72))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        return axes


def box(
    axes: Axes, corner: tuple[float, float], size: tuple[float, float], colour: str, *, strength: float = 1.0
) -> None:
    """A filled rectangle; `strength` in [0, 1] is its opacity over the page."""
    face = (COLOURS[colour], round(strength, 3))
    axes.add_patch(Rectangle(corner, *size, facecolor=face, linewidth=0, clip_on=False))


def write_text(
    axes: Axes,
    at: tuple[float, float],
    words: str,
    *,
    size: float = 11,
    colour: str = "ink",
    align: str = "left",
    bold: bool = False,
) -> None:
    """A line of text whose left end, middle or right end (`align`) is at this point of its baseline."""
    text = axes.text(*at, " ".join(words.split()), fontsize=size, color=COLOURS[colour], ha=align, va="baseline")
    text.set_parse_math(False)
    if bold:
        text.set_fontweight("bold")


def write_slanted(axes: Axes, at: tuple[float, float], words: str, *, size: float = 11) -> None:
    """A line of text that rises at 45 degrees from this point."""
    text = axes.text(*at, " ".join(words.split()), fontsize=size, color=COLOURS["ink"], ha="left", va="baseline")
    text.set_parse_math(False)
    text.set_rotation(45)
    text.set_rotation_mode("anchor")


def stroke(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], *, colour: str = "line", width: float = 1
) -> None:
    """A straight line."""
    axes.plot(*zip(start, end, strict=True), color=COLOURS[colour], linewidth=width, clip_on=False)


def dot(axes: Axes, at: tuple[float, float], *, colour: str = "ink", filled: bool = True, size: float = 7) -> None:
    """A round marker, filled or a ring."""
    axes.plot(
        [at[0]],
        [at[1]],
        "o",
        markersize=size,
        markerfacecolor=COLOURS[colour if filled else "paper"],
        markeredgecolor=COLOURS[colour],
        markeredgewidth=1.5,
        clip_on=False,
    )


def width_of(words: str, size: float = 11) -> float:
    """Width of a line of text in pixels, in a face that is wider than those of most systems."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        return float(text_to_path.get_text_width_height_descent(words, FontProperties(size=size), False)[0])


def shortened(words: str, limit: int = 26) -> str:
    """The words, cut with an ellipsis in the middle where they are longer than `limit` characters."""
    if len(words) <= limit:
        return words
    kept = limit - 1
    return f"{words[: kept - kept // 3]}…{words[len(words) - kept // 3 :]}"


def finish(axes: Axes, name: str, title: str) -> Drawing:
    """The drawing as SVG. Byte for byte the same for the same content."""
    buffer = io.StringIO()
    figure = cast(Figure, axes.figure)
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    body = _compact(buffer.getvalue(), name)
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
    label = f'role="img" aria-label="{_escaped(title)}"'
    ground = f'<rect width="{width}" height="{height}" fill="{COLOURS["paper"]}"/>'
    file = f'{opening} width="{width}" height="{height}" {label} font-family="{_FACE}">{ground}{body}</svg>\n'
    return Drawing(name, title, width, file, f"{opening} {label}>{_with_variables(body)}</svg>")


def _compact(svg: str, name: str) -> str:
    """What is inside the <svg> element, without ids that nothing points to, long numbers and the font list."""
    body = svg[svg.index("</defs>") + len("</defs>") : svg.rindex("</svg>")]
    body = re.sub(r"<g id=\"patch_1\">.*?</g>", "", body, count=1, flags=re.DOTALL)
    body = _TAG.sub(lambda match: _compact_tag(match[0], name), body)
    body = re.sub(r">\s*\n\s*<", "><", body)
    return re.sub(r"<g>(<(?:path|text)[^<]*(?:/>|</text>))</g>", r"\1", body).strip()


def _compact_tag(tag: str, name: str) -> str:
    tag = re.sub(r"\s+", " ", tag)
    tag = re.sub(r"^<g id=\"[a-z_0-9]+\"", "<g", tag)
    tag = re.sub(r"( id=\"|href=\"#)", rf"\g<1>{name}-", tag).replace("xlink:href", "href")
    tag = re.sub(r" transform=\"rotate\(-0 [^\"]*\"", "", _FONT.sub("", tag))
    tag = _LONG_NUMBER.sub(lambda match: f"{float(match[0]):.2f}", tag)
    return tag.replace("; ;", ";").replace(' z "', 'z"')


def _with_variables(body: str) -> str:
    pattern = re.compile("|".join(COLOURS.values()))
    names = {colour: f"var(--{name})" for name, colour in COLOURS.items()}
    return _TAG.sub(lambda tag: pattern.sub(lambda match: names[match[0]], tag[0]), body)


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
