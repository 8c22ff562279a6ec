"""Every table of the page as CSV, LaTeX (booktabs) and Markdown, parsed from the page so that they cannot disagree."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

from viaduct.report.no_result import NoResult

FOLDER = "tables"
_TABLE = re.compile(r'<div class="table" .*?</table>', re.DOTALL)
_BREAKS = {"small", "br", "bdi"}
_APART = {"delta", "aside"}
"""Classes of elements that get a line of their own in a cell."""
_LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
    "†": r"$\dagger$",
    "–": "--",
    "“": "``",
    "”": "''",
    "¹": "$^{1}$",
    "²": "$^{2}$",
    "³": "$^{3}$",
}


class Cell(NamedTuple):
    """One cell, line by line."""

    lines: tuple[str, ...]
    left: bool
    """Whether it is left-aligned."""

    @property
    def text(self) -> str:
        """The cell on one line."""
        first, *others = self.lines or ("",)
        return f"{first} ({'; '.join(others)})" if others else first


class Table(NamedTuple):
    """One table of the page."""

    name: str
    label: str
    groups: tuple[tuple[tuple[Cell, ...], ...], ...]
    """Rows, grouped by head, bodies and foot."""


class _Reader(HTMLParser):
    """Parses one `table_box` of macros.html.j2."""

    def __init__(self) -> None:
        super().__init__()
        self.name = self.label = ""
        self.groups: list[list[list[Cell]]] = []
        self._lines: list[str] | None = None
        self._left = False
        self._unseen = 0
        self._spans = 0
        """Number of further rows that the first cell spans."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        classes = set((own.get("class") or "").split())
        self.name = own.get("data-table") or self.name
        self.label = self.label or own.get("aria-label") or ""
        self._unseen += bool(self._unseen or "unseen" in classes)
        if tag in ("thead", "tbody", "tfoot"):
            self.groups.append([])
        elif tag == "tr":
            self.groups[-1].append([Cell(("",), True)] if self._spans else [])
            self._spans = max(0, self._spans - 1)
        elif tag in ("td", "th"):
            if own.get("rowspan"):
                self._spans = int(own["rowspan"] or 1) - 1
            self._left = "words" in classes or not self.groups[-1][-1]
            self._lines = [""]
        elif self._lines is not None and (tag in _BREAKS or classes & _APART):
            self._lines.append("")

    def handle_endtag(self, tag: str) -> None:
        self._unseen = max(0, self._unseen - 1)
        if tag in ("td", "th") and self._lines is not None:
            lines = [line for line in (" ".join(one.split()) for one in self._lines) if line]
            self.groups[-1][-1].append(Cell(tuple(lines), self._left))
            self._lines = None
        elif self._lines is not None and tag in _BREAKS:
            self._lines.append("")

    def handle_data(self, data: str) -> None:
        if self._lines is not None and not self._unseen:
            self._lines[-1] += data


def tables(html: str) -> Iterator[Table]:
    """The page's tables, in order."""
    for found in _TABLE.finditer(html):
        reader = _Reader()
        reader.feed(found[0])
        groups = tuple(tuple(map(tuple, rows)) for rows in reader.groups if rows)
        yield Table(reader.name, reader.label, groups)


def write(html: str, folder: Path, no_result: NoResult) -> None:
    """Write `<name>.csv`, `<name>.tex` and `<name>.md` of every table into a new folder; if the run is no result, all
    of them say so."""
    folder.mkdir()
    for table in tables(html):
        name = f"{no_result.prefix}{table.name}"
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = ([cell.text for cell in row] for group in table.groups for row in group)
            csv.writer(file, lineterminator="\n").writerows(rows)
        (folder / f"{name}.tex").write_text(latex(table, no_result.notes), encoding="utf-8")
        (folder / f"{name}.md").write_text(markdown(table, no_result.notes), encoding="utf-8")


def latex(table: Table, notes: Sequence[str] = ()) -> str:
    """The table for a paper, with these notes below it; it needs `booktabs` and nothing else."""
    head, *bodies = table.groups
    columns = "".join("l" if cell.left else "r" for cell in head[-1])
    lines = [f"% {table.label}; \\usepackage{{booktabs}}", f"\\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [" & ".join(_stacked(cell) for cell in row) + r" \\" for row in head]
    for body in bodies:
        lines += [r"\midrule", *(" & ".join(_escaped(cell.text) for cell in row) + r" \\" for row in body)]
    below = [f"\\multicolumn{{{len(columns)}}}{{l}}{{{_escaped(note)}}} \\\\" for note in notes]
    return "\n".join([*lines, r"\bottomrule", *below, r"\end{tabular}", ""])


def _stacked(cell: Cell) -> str:
    lines = [_escaped(line) for line in cell.lines]
    stacked = r" \\ ".join(lines)
    return f"\\shortstack{{{stacked}}}" if len(lines) > 1 else stacked


def _escaped(text: str) -> str:
    """The text escaped for LaTeX; a leading * or [ would be read as part of the line break before it."""
    return "{}" * text.startswith(("*", "[")) + "".join(_LATEX.get(sign, sign) for sign in text)


def markdown(table: Table, notes: Sequence[str] = ()) -> str:
    """The table for an issue or a README, with these notes above it."""
    head, *bodies = table.groups
    lines = [*(line for note in notes for line in (note, "")), *map(_line, head)]
    lines.append("|" + "|".join("---" if cell.left else "--:" for cell in head[-1]) + "|")
    return "\n".join([*lines, *(_line(row) for body in bodies for row in body), ""])


def _line(row: tuple[Cell, ...]) -> str:
    texts = (re.sub(r"([\\`*_\[\]|])", r"\\\1", cell.text.replace("&", "&amp;").replace("<", "&lt;")) for cell in row)
    return f"| {' | '.join(texts)} |"
