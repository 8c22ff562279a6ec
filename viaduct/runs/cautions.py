"""What a reader of a report must know about the run's current state, besides what was known when it was planned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from viaduct.errors import ViaductError
from viaduct.results.store import Store
from viaduct.runs.collect import RunRecord, finished_scores, states
from viaduct.tasks.formats import numbered_lines
from viaduct.tasks.json_text import json_value

FEWEST = 20
"""Minimum number of predictions; fewer may be equal by chance."""


def said_of_run(store: Store, record: RunRecord) -> tuple[str, ...]:
    """All cautions about a run, as sentences without a full stop."""
    return (*said_of_others(store, record), *said_of_one_answer(store, record))


def said_of_others(store: Store, record: RunRecord) -> tuple[str, ...]:
    """A sentence if another experiment's stages lie where the run's belong: their results are not this run's."""
    others = [path for path, state in states(store, record).items() if state == "another experiment's"]
    if not others:
        return ()
    what = "stages of this run belong" if len(others) > 1 else "stage of this run belongs"
    return (f"{len(others):,} {what} to another experiment in the store, left out here: {others[0]} is the first",)


def said_of_one_answer(store: Store, record: RunRecord) -> tuple[str, ...]:
    """A sentence that names the trained models that give the same answer to every row (in tagging, to every word), and
    one that names those whose predictions are damaged. Missing predictions are ignored."""
    found: dict[bool | None, list[str]] = {}
    for cell, _, folder in finished_scores(store, record):
        if cell.selection != "untrained":
            found.setdefault(_is_one(folder), []).append(f"{cell.arm} on {cell.task} with seed {cell.seed}")
    failed = "its training failed, often because the learning rate is too high, and says nothing about the arm"
    unknown = "whether it gives the same answer to every row is not known (`viaduct verify` names the files)"
    told = {True: ("the same answer to every row", failed), None: ("damaged predictions", unknown)}
    return tuple(f"{what}: {', '.join(found[one])}; {so}" for one, (what, so) in told.items() if one in found)


def _is_one(folder: Path) -> bool | None:
    """Whether all answers are the same; None if the predictions are damaged."""
    answers = _answers(sorted(folder.glob("*.jsonl")))
    try:
        first = list(islice(answers, FEWEST))
        return len(first) == FEWEST and all(one == first[0] for one in chain(first, answers))
    except (ViaductError, OSError, KeyError, TypeError):
        return None


def _answers(files: Iterable[Path]) -> Iterator[Any]:
    """Every predicted label, tag or text, read lazily."""
    for path in files:
        for _, line in numbered_lines(path):
            given = json_value(line.strip())["prediction"]
            yield from given if isinstance(given, list) else (given,)
