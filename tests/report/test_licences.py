"""Licences and citations of what a run read, on the page and as BibTeX beside it; and what chose its checkpoints."""

from __future__ import annotations

from pathlib import Path

from report_records import make_run

from viaduct.report.page import write
from viaduct.report.provenance import licences, origins
from viaduct.results.record import DataNote
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.citing import bibtex, is_non_commercial


def note(task: str, split: str) -> DataNote:
    return DataNote(task=task, split=split, language="en", found=5, published=5, layout="official")


def test_the_page_names_what_may_not_be_used_for_gain(tmp_path: Path) -> None:
    about, *run = make_run(tasks=("xnli",), seeds=(1,))
    notes = (note("mnli", "train"), note("xnli", "test"), note("race", "train"), note("mine", "test"))
    about = about.model_copy(update={"data": notes})
    found = {one["name"]: (one["trained"], one["restricted"]) for one in licences(about)}
    assert found == {"mnli": (True, False), "xnli": (False, True), "race": (True, True)}
    html = write(about, *run, tmp_path).read_text(encoding="utf-8")
    assert "Trained on, and not licensed for commercial use: race." in html and "Conneau et al. 2018" in html
    assert "not stated in a model card in its folder" in html and "citations.bib" in html
    bib = (tmp_path / "citations.bib").read_text(encoding="utf-8")
    assert "@misc{race," in bib and "eprint = {1704.04683}" in bib and "@misc{phang2020," in bib


def test_every_card_gives_an_entry_with_balanced_braces() -> None:
    cards = [*Catalogue.builtin()]
    text = bibtex(cards)
    entries = text.split("@misc{")[1:]
    assert len(entries) == len(cards) + 3
    for entry in entries:
        assert entry.count("{") + 1 == entry.count("}") and ("title = {" in entry)
    xnli = next(entry for entry in entries if entry.startswith("xnli,"))
    assert "author = {Conneau and others}" in xnli and "year = {2018}" in xnli
    ntrex = next(entry for entry in entries if entry.startswith("ntrex,"))
    assert "author = {Federmann and Kocmi and Xin}" in ntrex


def test_licences_are_read_for_non_commercial_terms() -> None:
    for licence in ("CC BY-NC 4.0", "for non-commercial research only", "noncommercial"):
        assert is_non_commercial(licence)
    for licence in ("CC BY 4.0", "MIT", "CC BY-SA 4.0", "none stated; the text is from Wikipedia"):
        assert not is_non_commercial(licence)


def test_an_arm_whose_checkpoints_other_rows_choose_is_named() -> None:
    _, rows, *_ = make_run(tasks=("xnli",), seeds=(1,))
    other = rows[-1].arm
    rows = [row.model_copy(update={"selection": "dev in de"}) if row.arm == other else row for row in rows]
    (found,) = origins(rows)
    assert found["selections"] == ("english dev", f"dev in de ({other})")
