"""Tables of the page as files for papers, issues and spreadsheets."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from viaduct.report.no_result import NoResult
from viaduct.report.table_files import Table, latex, markdown, tables

PAGE = """<div class="table" id="table-main" data-table="main"><div class="scroll" aria-label="Scores">
<table><thead><tr><th scope="col">Arm</th><th scope="col">panx†<small>F1</small><small>dev*</small></th>
<th class="words" scope="col">Why</th></tr></thead>
<tbody><tr><th scope="row">a_b &amp; 50 %</th><td><span class="value">73.1</span> <span class="spread">± 0.6</span>
<span class="delta up">▲ +1.2</span></td><td class="words">x|y &lt;b&gt;</td></tr></tbody>
<tbody><tr><th scope="row">chance</th><td><span class="absent"><span aria-hidden="true">–</span><span
class="unseen">missing: <i>no</i> result</span></span></td><td class="words"></td></tr></tbody></table></div></div>"""


def one() -> Table:
    (found,) = tables(PAGE)
    return found


def test_latex_is_a_booktabs_table_with_everything_escaped() -> None:
    assert latex(one()).splitlines() == [
        r"% Scores; \usepackage{booktabs}",
        r"\begin{tabular}{lrl}",
        r"\toprule",
        r"Arm & \shortstack{panx$\dagger$ \\ F1 \\ dev*} & Why \\",
        r"\midrule",
        r"a\_b \& 50 \% & 73.1 $\pm$ 0.6 ($\uparrow$ +1.2) & x$|$y $<$b$>$ \\",
        r"\midrule",
        r"chance & -- &  \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def latex_files(report: Any) -> list[Path]:
    return sorted((report.directory / "tables").glob("*.tex"))


def test_odd_names_and_holes_leave_every_row_whole(odd: Any) -> None:
    for path in latex_files(odd):
        lines = path.read_text(encoding="utf-8").splitlines()
        columns = len(lines[1].partition("}{")[2].rstrip("}"))
        rows = [line for line in lines if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {columns - 1}, path.name
        assert not [row for row in rows if row.startswith(("*", "["))], path.name
    main = (odd.directory / "tables" / "main_table.tex").read_text(encoding="utf-8")
    assert "\n{}[x] \\$5 \\{b\\} $<$i$>$ `c` & 6" in main and "partial$^{1}$" in main and r"dev* \\ 15 lang." in main
    assert re.search(r"\n\{\}\*star a\$\|\$b \$\\leq\$ .* & .* & -- & ", main)
    assert r"a\_b\%\&\#\textasciitilde{}\textasciicircum{}\textbackslash{} & 6" in main


def test_tables_by_language_say_which_split_stands_in(odd: Any) -> None:
    for name, split in (("xnli_by_language_accuracy", "xnli, dev*"), ("panx_by_language_f1", "panx, test")):
        head = (odd.directory / "tables" / f"scores_of_{name}.tex").read_text(encoding="utf-8").splitlines()[3]
        assert head.startswith(rf"\shortstack{{Language \\ {split}}} & Family & none & ")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_latex_takes_every_table(odd: Any, tmp_path: Path) -> None:
    boxes = [rf"\setbox0=\hbox{{\input{{{path}}}}}" for path in latex_files(odd)]
    head = (r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}")
    (tmp_path / "all.tex").write_text("\n".join([*head, *boxes, r"\end{document}"]), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0 and "Missing character" not in done.stdout, done.stdout[-2000:]


def test_markdown_has_no_html_and_no_cell_breaks_out() -> None:
    assert markdown(one()).splitlines() == [
        r"| Arm | panx† (F1; dev\*) | Why |",
        "|---|--:|---|",
        r"| a\_b &amp; 50 % | 73.1 ± 0.6 (▲ +1.2) | x\|y &lt;b> |",
        "| chance | – |  |",
    ]


def test_a_table_that_is_no_result_says_so_wherever_it_goes() -> None:
    (note,) = NoResult(False, (1,)).notes
    assert note == "A quick look, no result: at most 1 row was read per language and split (--limit)."
    shown = latex(one(), [note]).splitlines()
    assert shown[-3:] == [r"\bottomrule", rf"\multicolumn{{3}}{{l}}{{{note}}} \\", r"\end{tabular}"]
    assert markdown(one(), [note]) == f"{note}\n\n{markdown(one())}"
    assert NoResult(False, ()).notes == [] and len(NoResult(True, (5, 9)).notes) == 2


def test_every_table_of_a_page_lies_beside_it_three_times(whole: Any) -> None:
    names = [table.name for table in tables(whole.html)]
    assert len(names) == len(set(names)) == whole.html.count('<div class="table"')
    folder = whole.directory / "tables"
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{kind}" for name in names for kind in ("csv", "tex", "md")
    }
    linked = set(re.findall(r'href="(tables/[^"]*)"', whole.html))
    assert linked and all((whole.directory / path).is_file() for path in linked)
    for table in tables(whole.html):
        assert len({len(row) for group in table.groups for row in group}) == 1, table.name
    with (folder / "main_table.csv").open(encoding="utf-8", newline="") as file:
        head, first, *_ = csv.reader(file)
    assert head[1] == "xnli (accuracy; test; 15 lang.)" and re.fullmatch(r"\d\d\.\d ± \d\.\d", first[1])
