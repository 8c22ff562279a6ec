"""Difference by language against the amount of text there is in it: a panel per arm, each language by its code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from viaduct.languages import CC100_GIB
from viaduct.report.contrasts import OVERALL, Contrast
from viaduct.report.drawing import Drawing, dot, finish, sheet, shortened, stroke, write_text

_ACROSS = 3
_WIDTH, _HEIGHT = 330.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 14.0, 34.0, 40.0
_LABEL = (12.0, 7.5)
"""Width and height of a code, so that two of them do not touch."""
_SHIFTS = tuple(shift for step in range(10) for shift in (-4.0 - 8 * step, 11.0 + 8 * step))
"""From a point down to its code's baseline, the nearest first."""
GIB = (0.25, 1, 4, 16, 64, 256)
"""Ticks."""


def language_scatter(found: Sequence[Contrast], seen: Mapping[str, Sequence[str]]) -> Drawing | None:
    """A panel per arm's mean over tasks; None where there is no difference of two or more languages.

    `seen`: arm -> languages with captions in its training, which have another colour. Languages without an amount of
    text (Yoruba, of XTREME's) are left out.
    """
    shown = [one for one in found if one.task == OVERALL and len(_points(one)) > 1]
    if not shown:
        return None
    most = max(abs(value) for one in shown for value in _points(one).values()) or 0.001
    rows = -(-len(shown) // _ACROSS)
    axes = sheet(_WIDTH * min(_ACROSS, len(shown)), _HEIGHT * rows)
    for number, one in enumerate(shown):
        corner = (number % _ACROSS * _WIDTH, number // _ACROSS * _HEIGHT)
        _panel(axes, corner, one, most, frozenset(seen.get(one.arm, ())))
    return finish(axes, "languages", "Difference by language, in points, against GiB of text in CC-100")


def _points(one: Contrast) -> dict[str, float]:
    return {code: value for code, value in one.by_code.items() if code in CC100_GIB}


def _panel(axes: Axes, corner: tuple[float, float], one: Contrast, most: float, seen: frozenset[str]) -> None:
    left, right = corner[0] + _LEFT, corner[0] + _WIDTH - _RIGHT
    top, bottom = corner[1] + _TOP, corner[1] + _HEIGHT - _BOTTOM

    def place(gib: float, value: float) -> tuple[float, float]:
        share = (math.log(gib) - math.log(0.15)) / (math.log(400) - math.log(0.15))
        return left + share * (right - left), (top + bottom) / 2 - value / most * (bottom - top) / 2

    write_text(axes, (left, top - 14), shortened(f"{one.arm} less {one.against}", 40), bold=True)
    for value in (most, 0.0, -most):
        y = place(1, value)[1]
        stroke(axes, (left, y), (right, y), width=0.75)
        write_text(axes, (left - 6, y + 4), f"{100 * value:+.1f}", size=10, colour="soft", align="right")
    for gib in GIB:
        write_text(axes, (place(gib, 0)[0], bottom + 16), f"{gib:g}", size=10, colour="soft", align="center")
    write_text(axes, ((left + right) / 2, bottom + 30), "GiB of text", size=10, colour="soft", align="center")
    points = {code: place(CC100_GIB[code], value) for code, value in _points(one).items()}
    labels = _labels(points)
    for code, point in points.items():
        x, y = labels[code]
        stroke(axes, point, (x, y if y < point[1] else y - _LABEL[1]), width=0.5)
    for code, point in points.items():
        colour = "ink" if not seen else "series-1" if code in seen else "series-2"
        dot(axes, point, colour=colour, size=2)
        write_text(axes, labels[code], code, size=9, colour=colour, align="center")


def _labels(points: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Where each point's code stands: above or below it, as near as the ones before it and all points let it."""
    taken = [(x, y + _LABEL[1] / 2) for x, y in points.values()]
    found = {}
    for code, (x, y) in sorted(points.items(), key=lambda item: item[1]):
        tried = [(x, y + shift) for shift in _SHIFTS]
        free = [at for at in tried if all(abs(at[0] - a) > _LABEL[0] or abs(at[1] - b) > _LABEL[1] for a, b in taken)]
        found[code] = (free or tried)[0]
        taken.append(found[code])
    return found
