"""Heat maps: scores and differences by language and task, and differences by arm. The page shows them as tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from viaduct.languages import families_in_order, family_of, name_of
from viaduct.report.contrast import Contrasts
from viaduct.report.number import percent, points
from viaduct.report.table import ScoreCell, Tables, family_order
from viaduct.results.record import BASELINE

EVERY_TASK = "mean over tasks"


@dataclass(frozen=True)
class Scale:
    """Maps values to colours."""

    signed: bool
    """True: differences, coloured in both directions from 0; False: scores, coloured upwards from `lowest`."""
    lowest: float
    highest: float
    """`lowest` has no colour (scores only), `highest` the strongest one."""
    heaviest: float = 0.78
    """Opacity of the strongest colour: text in the page's ink stays readable on it in both themes."""

    def shade(self, value: float) -> tuple[str, float]:
        """(name of the colour, its opacity)."""
        if self.signed:
            share = min(1.0, abs(value) / self.highest) if self.highest else 0.0
            return ("up" if value >= 0 else "down"), self.heaviest * share
        span = self.highest - self.lowest
        return "level", self.heaviest * (min(1.0, max(0.0, (value - self.lowest) / span)) if span else 0.5)

    def style(self, value: float) -> str:
        """The CSS of a cell."""
        colour, strength = self.shade(value)
        return f"background:color-mix(in srgb,var(--{colour}) {100 * strength:.0f}%,transparent)"

    @property
    def gradient(self) -> str:
        """The CSS of the legend."""
        first = f"color-mix(in srgb,var(--down) {100 * self.heaviest:.0f}%,transparent)," if self.signed else ""
        last = f"color-mix(in srgb,var(--{'up' if self.signed else 'level'}) {100 * self.heaviest:.0f}%,transparent)"
        return f"background:linear-gradient(90deg,{first}transparent,{last})"

    def words(self, value: float) -> str:
        """The number in a cell."""
        return points(value) if self.signed else percent(value)

    @property
    def ends(self) -> tuple[float, float, float]:
        """Values at the ends of the legend and in its middle."""
        low = -self.highest if self.signed else self.lowest
        return low, (low + self.highest) / 2, self.highest


class HeatCell(NamedTuple):
    """One value."""

    value: float
    interval: tuple[float, float] | None = None
    stars: str = ""


@dataclass(frozen=True)
class HeatMap:
    """One table with coloured cells."""

    name: str
    """Name of its file, without the extension."""
    title: str
    corner: str
    """What the rows are."""
    groups: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    """(family, (key, label) of each of its rows); "" if rows have no family."""
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], HeatCell | None]
    """(row, column) -> value; None: expected but missing; no entry: does not exist."""
    scale: Scale

    @property
    def rows(self) -> list[tuple[str, str]]:
        """(key, label) of all rows, from top to bottom."""
        return [row for _, rows in self.groups for row in rows]

    @property
    def with_intervals(self) -> bool:
        """Whether any cell has an interval."""
        return any(cell is not None and cell.interval is not None for cell in self.cells.values())


def language_maps(tables: Tables, differences: Contrasts) -> tuple[HeatMap, ...]:
    """The baseline's scores and each arm's differences from it; every arm's scores if there is no baseline."""
    shown = [cell for cell in tables.per_language if cell.headline]
    codes = family_order(tuple({cell.language for cell in shown if cell.score is not None}))
    groups = tuple((name, tuple((code, name_of(code)) for code in own)) for name, own in groupby(codes, key=family_of))
    scores = [cell.score.mean for cell in shown if cell.score is not None]
    own = [one for one in differences.with_baseline() if one.is_of_task]
    reach = _reach((value for one in own for value in one.by_code.values()), 0.95)
    found: list[HeatMap] = []
    for arm in tables.arms:
        signed = BASELINE in tables.shown_arms and arm != BASELINE
        by_task = {one.task: one.by_code for one in own if one.arm == arm}
        cells = {
            (cell.language, cell.task): _cell(by_task.get(cell.task, {}).get(cell.language), cell, signed)
            for cell in shown
            if cell.arm == arm and cell.language in codes
        }
        if any(cells.values()):
            slug = re.sub(r"[^A-Za-z0-9_.+-]+", "-", arm).strip("-.") or "arm"
            title = f"{arm}: difference from {BASELINE}, in points" if signed else f"{arm}: score in percent"
            columns = tuple(column.task for column in tables.columns if column.metric)
            scale = Scale(True, 0.0, reach) if signed else Scale(False, min(scores), max(scores))
            found.append(HeatMap(f"heat_map_{len(found) + 1}_{slug}", title, "Language", groups, columns, cells, scale))
    return tuple(found)


def _reach(differences: Iterable[float], share: float) -> float:
    """The size that gets the strongest colour: at least this share of the differences are as small, and never below a
    point."""
    sizes = sorted(map(abs, differences))
    return max(0.01, sizes[int(share * (len(sizes) - 1))]) if sizes else 0.01


def _cell(difference: float | None, cell: ScoreCell, signed: bool) -> HeatCell | None:
    score = None if cell.score is None else cell.score.mean
    value = difference if signed else score
    return None if value is None else HeatCell(value)


def arm_maps(differences: Contrasts) -> tuple[HeatMap, ...]:
    """Differences from the baseline by task and by language family; () if there are none."""
    own = [one for one in differences.with_baseline() if not one.is_of_several]
    by_task: dict[tuple[str, str], HeatCell | None] = {
        (one.arm, one.task or EVERY_TASK): HeatCell(one.mean, one.estimate.interval, one.decision.stars) for one in own
    }
    by_family: dict[tuple[str, str], HeatCell | None] = {
        (one.arm, family): HeatCell(group.mean) for one in own if not one.task for family, group in one.families.items()
    }
    tasks = (EVERY_TASK, *dict.fromkeys(one.task for one in own if one.task))
    families = families_in_order(name for _, name in by_family)
    title = f"Differences from {BASELINE} by intermediate and"
    maps = (
        _arm_map("transfer_matrix", f"{title} task, in points", tasks, by_task),
        _arm_map("transfer_by_family", f"{title} language family, in points", families, by_family),
    )
    return tuple(one for one in maps if one.cells)


def _arm_map(
    name: str, title: str, columns: tuple[str, ...], cells: Mapping[tuple[str, str], HeatCell | None]
) -> HeatMap:
    """A map in which every arm has every column, with a dash if there is no difference.

    The largest fifth of the differences all get the strongest colour, so that a column of large ones does not make all
    others pale.
    """
    arms = tuple(dict.fromkeys(arm for arm, _ in cells))
    reach = _reach((cell.value for cell in cells.values() if cell is not None), 0.8)
    whole = {(arm, column): cells.get((arm, column)) for arm in arms for column in columns}
    rows = (("", tuple((arm, arm) for arm in arms)),)
    return HeatMap(name, title, "Intermediate", rows, columns, whole if cells else {}, Scale(True, 0.0, reach))
