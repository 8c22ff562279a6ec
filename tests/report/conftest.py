"""Runs and pages that several report tests look at; each is made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_records import Run, make_run

from viaduct.report.page import write


class Report:
    """A written report and what it was made from."""

    def __init__(self, run: Run, name: str, made_once: Any) -> None:
        self.run = run
        self.directory: Path = made_once(name, lambda directory: write(*run, directory))
        self.html = (self.directory / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def whole(made_once: Any) -> Report:
    """Three seeds, nothing missing, no substitution; the arm "text-only" does what the baseline does."""
    run = make_run(arms=("none", "caption-contrast", "text-only"), substituted=())
    return Report(run, "whole", made_once)


@pytest.fixture(scope="session")
def holed(made_once: Any) -> Report:
    """Three seeds; a language missing for one arm, one for all arms, and a task missing for one arm."""
    absent = (("snli-mnli", "panx", "yo"), ("*", "tatoeba", "te"), ("snli-mnli", "bucc", "*"))
    return Report(make_run(absent=absent), "holed", made_once)


@pytest.fixture(scope="session")
def single(made_once: Any) -> Report:
    """One seed of the generated world."""
    return Report(make_run(seeds=(1,), tasks=("xnli", "xquad", "bucc"), miniature=True), "one", made_once)
