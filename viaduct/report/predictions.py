"""Pages of predictions alongside a report: one for each task and language, with gold, predictions and input row by row.

They contain texts from the data, so they are kept in the store's own folder of the run and are never committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from viaduct.report.no_result import NoResult
from viaduct.report.templates import environment
from viaduct.results.record import About

FOLDER = "predictions"
MOST = 500
"""Maximum number of rows on one page."""
RIGHT_OR_WRONG = "✓ right, ✗ wrong; a number in between means partly right."


class Answer(NamedTuple):
    """What one arm's model predicted for a row."""

    words: str
    score: float | None
    """From 0 (wrong) to 1 (right); None if there is no score by row."""
    distance: float | None = None
    """Distance of a number from the gold one; None for other answers."""


class Example(NamedTuple):
    """One row with all answers."""

    id: str
    texts: tuple[str, ...]
    gold: str
    answers: Mapping[str, Answer]
    """Arm -> answer; arms that gave none are left out."""

    @property
    def apart(self) -> float:
        """How far the arms differ: in their scores or distances; if there are none, 1 if their answers differ and 0 if
        they do not."""
        answers = self.answers.values()
        scores = [one.score if one.distance is None else one.distance for one in answers]
        known = [one for one in scores if one is not None]
        if known:
            return max(known) - min(known)
        return float(len({one.words for one in answers}) > 1)


class Predicted(NamedTuple):
    """What a run's models predicted for one task in one language."""

    task: str
    language: str
    split: str
    seeds: Mapping[str, int]
    """Arm -> the seed of the model that predicted."""
    examples: tuple[Example, ...]

    @property
    def legend(self) -> str:
        """Explains what is shown before the answers."""
        answers = [one for example in self.examples for one in example.answers.values()]
        if any(one.distance is not None for one in answers):
            return "Before each number: its distance from the gold number."
        return RIGHT_OR_WRONG if any(one.score is not None for one in answers) else ""


def write(about: About, found: Iterable[Predicted], folder: Path) -> set[tuple[str, str]]:
    """Write `<task>/<language>.html` into a new folder; returns (task, language) of each. Rows on which the arms differ
    most come first, and no page has more than `MOST` rows."""
    template = environment().get_template("predictions.html.j2")
    notes, written = NoResult.of(about).notes, set()
    for one in found:
        shown = sorted(one.examples, key=lambda example: -example.apart)[:MOST]
        place = folder / one.task / f"{one.language}.html"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(template.render(about=about, notes=notes, found=one, examples=shown), encoding="utf-8")
        written.add((one.task, one.language))
    return written
