"""Reading a report's page in tests: its elements, and the cells of its tables."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Outline(HTMLParser):
    """Collects visible text and checks that every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def main_row(html: str, arm: str) -> list[str]:
    """The cells of this arm's row in the main table, white space collapsed."""
    start = html.index('<table class="main">')
    rows = outline(html[start : html.index("</table>", start) + len("</table>")]).rows
    return next([" ".join(cell.split()) for cell in row] for row in rows if row[0] == arm)


def heat_rows(html: str, title: str) -> dict[str, list[str]]:
    """Label of each row of the heat map with this title -> its cells, white space collapsed."""
    start = html.index('<table class="heat', html.index(f"<h3>{title}</h3>"))
    rows = outline(html[start : html.index("</table>", start) + len("</table>")]).rows
    cells = [[" ".join(cell.split()) for cell in row] for row in rows[1:]]
    family, found = "", {}
    for row in cells:
        if rows[0][0] == "Family" and len(row) == len(rows[0]):
            family, row = row[0], row[1:]
        found[f"{family}: {row[0]}" if family else row[0]] = row[1:]
    return found
