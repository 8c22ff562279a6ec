"""Runs and pages that several report tests look at; each is made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_records import Run, make_run

from viaduct.report.page import write


class Report:
    """A written report and what it was made from."""

    def __init__(self, run: Run, directory: Path) -> None:
        self.run = run
        self.directory = directory
        self.path = write(*run, directory)
        self.html = self.path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Three seeds, nothing missing, no substitution; the arm "text-only" does what the baseline does."""
    run = make_run(arms=("none", "caption-contrast", "text-only"), substituted=())
    return Report(run, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def holed(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Three seeds; a language missing for one arm, one for all arms, and a task missing for one arm."""
    absent = (("snli-mnli", "panx", "yo"), ("*", "tatoeba", "te"), ("snli-mnli", "bucc", "*"))
    return Report(make_run(absent=absent), tmp_path_factory.mktemp("holed"))


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One seed of the generated world."""
    return Report(make_run(seeds=(1,), tasks=("xnli", "xquad", "bucc"), miniature=True), tmp_path_factory.mktemp("one"))
