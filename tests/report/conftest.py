"""Runs and pages that several report tests look at; each is made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_records import Outcomes, Run, make_run

from viaduct.report import figure, page


class Report:
    """A written report and what it was made from."""

    def __init__(self, run: Run, name: str, made_once: Any, *, heat_maps: bool = False) -> None:
        def make(directory: Path) -> None:
            with pytest.MonkeyPatch.context() as patched:
                if not heat_maps:
                    patched.setattr(figure, "heat_map", lambda _: None)
                page.write(*run, directory, outcomes=Outcomes(run.rows))

        self.run = run
        self.directory: Path = made_once(name, make)
        self.html = (self.directory / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def whole(made_once: Any) -> Report:
    """Three seeds, nothing missing, no substitution; the arm "text-only" does what the baseline does."""
    run = make_run(arms=("none", "caption-contrast", "text-only"), substituted=())
    return Report(run, "whole", made_once, heat_maps=True)


@pytest.fixture(scope="session")
def holed(made_once: Any) -> Report:
    """Three seeds; a language missing for one arm, one for all arms, and a task missing for one arm."""
    absent = (("snli-mnli", "panx", "yo"), ("*", "tatoeba", "te"), ("snli-mnli", "bucc", "*"))
    return Report(make_run(absent=absent), "holed", made_once)


@pytest.fixture(scope="session")
def odd(made_once: Any) -> Report:
    """One seed; signs in names that LaTeX reads otherwise, stand-ins, and a language and a task that are missing."""
    arms = ("none", "a_b%&#~^\\", "[x] $5 {b} <i> `c`", "*star a|b ≤ ≥ ü")
    absent = ((arms[2], "panx", "yo"), ("*", "panx", "te"), (arms[3], "mlqa", "*"))
    run = make_run(arms=arms, tasks=("xnli", "panx", "mlqa"), seeds=(1,), absent=absent)
    return Report(run, "odd", made_once, heat_maps=True)


@pytest.fixture(scope="session")
def single(made_once: Any) -> Report:
    """One seed of the generated world."""
    return Report(make_run(seeds=(1,), tasks=("xnli", "xquad", "bucc"), miniature=True), "one", made_once)
