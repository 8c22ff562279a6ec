"""Pages of predictions beside a report: one for each task and language, with gold, predictions and input row by row.

They hold texts of the data, so they lie in the store's own folder of the run and are never committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from viaduct.report.templates import environment
from viaduct.results.record import About

FOLDER = "predictions"
MOST = 500
"""Rows on one page."""


class Answer(NamedTuple):
    """What one arm's model said of a row."""

    words: str
    score: float | None
    """From 0, wrong, to 1, right; None where the metric does not say it row by row."""


class Example(NamedTuple):
    """One row with all answers."""

    id: str
    texts: tuple[str, ...]
    gold: str
    answers: Mapping[str, Answer]
    """By arm; without those that gave none."""

    @property
    def apart(self) -> float:
        """How far the arms differ: of their scores, or 1 where there are none and their answers are not the same."""
        scores = [one.score for one in self.answers.values() if one.score is not None]
        if scores:
            return max(scores) - min(scores)
        return float(len({one.words for one in self.answers.values()}) > 1)


class Predicted(NamedTuple):
    """What a run's models predicted for one task in one language."""

    task: str
    language: str
    split: str
    seeds: Mapping[str, int]
    """Arm -> the seed whose model it is."""
    examples: tuple[Example, ...]


def write(about: About, found: Iterable[Predicted], folder: Path) -> set[tuple[str, str]]:
    """Write `<task>/<language>.html` into a new folder; (task, language) of each. Rows on which the arms differ most
    come first, and no page has more than `MOST`."""
    template = environment().get_template("predictions.html.j2")
    written = set()
    for one in found:
        shown = sorted(one.examples, key=lambda example: -example.apart)[:MOST]
        place = folder / one.task / f"{one.language}.html"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(template.render(about=about, found=one, examples=shown), encoding="utf-8")
        written.add((one.task, one.language))
    return written
