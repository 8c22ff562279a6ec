"""Runs and pages that several report tests look at; each is made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_records import Outcomes, Run, make_run

from viaduct.report import page


class Report:
    """A written report and what it was made from."""

    def __init__(self, run: Run, name: str, made_once: Any, *, figures: bool = False) -> None:
        def make(directory: Path) -> None:
            with pytest.MonkeyPatch.context() as patched:
                if not figures:
                    _leave_figure_files_out(patched)
                page.write(*run, directory, outcomes=Outcomes(run.rows))

        self.run = run
        self.directory: Path = made_once(name, make)
        self.html = (self.directory / "report.html").read_text(encoding="utf-8")


def _leave_figure_files_out(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(page, "_write_figures", lambda *_: None)


@pytest.fixture
def no_figure_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without the figures' files beside them, which take long to draw; those inside the page stay."""
    _leave_figure_files_out(monkeypatch)


@pytest.fixture(scope="session")
def whole(made_once: Any) -> Report:
    """Three seeds, nothing missing, no substitution; the arm "text-only" does what the baseline does."""
    run = make_run(arms=("none", "caption-contrast", "text-only"), substituted=())
    return Report(run, "whole", made_once, figures=True)


@pytest.fixture(scope="session")
def holed(made_once: Any) -> Report:
    """Three seeds; a language missing for one arm, one for all arms, and a task missing for one arm."""
    absent = (("snli-mnli", "panx", "yo"), ("*", "tatoeba", "te"), ("snli-mnli", "bucc", "*"))
    return Report(make_run(absent=absent), "holed", made_once)


@pytest.fixture(scope="session")
def single(made_once: Any) -> Report:
    """One seed of the generated world."""
    return Report(make_run(seeds=(1,), tasks=("xnli", "xquad", "bucc"), miniature=True), "one", made_once)
