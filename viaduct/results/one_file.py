"""Scores one file of predictions, or standard input. The file name gives the language: `de.jsonl`, `test-de.tsv`.

It is JSON Lines, scored by id against the gold of a card, or, if gold labels are given, a file of a submission.
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from viaduct.errors import DataError, UsageError, ViaductError, unknown
from viaduct.results.json_lines import JsonLines
from viaduct.results.prediction_file import first_language
from viaduct.results.prediction_folder import unanswered
from viaduct.results.scores import Scores, TaskScores
from viaduct.results.submission import signed
from viaduct.results.xtreme import FOLDERS, TARGETS
from viaduct.results.xtreme_formats import FilePair
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder

STANDARD_INPUT = "standard input"
"""Name of the temporary file that standard input is written to."""


class Given(NamedTuple):
    """What to score: a file ("-": standard input), and what is known about it."""

    path: Path
    split: str | None
    language: str | None
    """None: taken from the file name (from the first line for JSON Lines on standard input)."""
    official: bool


def scores(given: Given, labels: Path | None, data: Callable[[], DataFolder], card: Task | None) -> Scores:
    """The scores of one file; `labels` (a file, or the folder of all of them) for a file of a submission, `data` for
    JSON Lines. `card`: None for the card that the file's folder is named after. Raises UsageError if the file, its task
    or its language is unknown, and the errors of `JsonLines` and of the formats of XTREME."""
    with _as_file(given.path) as path:
        if not path.is_file():
            fix = "name a file, a folder that holds the tasks' folders or one task's files, or - for standard input"
            raise UsageError(f"{given.path} does not exist", fix=fix)
        known = card or _card_of(path)
        if labels is None:
            return _lines_scores(path, data(), known, given)
        if given.split is not None:
            raise UsageError("--split is for JSON Lines, --gold for a submission", fix="leave one of them out")
        return _submitted_scores(path, labels, known, given)


@contextlib.contextmanager
def _as_file(given: Path) -> Iterator[Path]:
    """The file itself; standard input is first written to a temporary file."""
    if str(given) != "-":
        yield given
        return
    content = sys.stdin.buffer.read()
    if not content:
        raise DataError(f"{STANDARD_INPUT} is empty", fix="pipe the predictions of one language into it")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, STANDARD_INPUT)
        path.write_bytes(content)
        try:
            yield path
        except ViaductError as error:
            raise type(error)(str(error).replace(str(path), STANDARD_INPUT)) from error


def _card_of(path: Path) -> Task:
    """The card that the file's folder is named after. Raises UsageError if there is none."""
    name, catalogue = path.resolve().parent.name, Catalogue.builtin()
    name = next((folder.card.name for folder in FOLDERS if folder.name == name), name)
    if name not in catalogue:
        or_so = "" if path.name == STANDARD_INPUT else ", or put it into a folder named like it"
        raise UsageError(f"{path}: which task is it?", fix=f"name it with --task{or_so}")
    return catalogue.task(name)


def _language_of(path: Path, card: Task, given: str | None) -> str:
    """The given language, or else the last part of the file's name. Raises UsageError if it is not one of the card's
    languages."""
    is_file = path.name != STANDARD_INPUT
    if not is_file and given is None:
        raise UsageError(f"{path}: which language is it?", fix="name it with --language")
    named = given or re.split(r"[-_.]", path.stem)[-1]
    if named not in card.languages:
        error = unknown(f"language of {card.name}", named, card.languages)
        where = ", in the file's name (de.jsonl, test-de.tsv) or with --language" if is_file else ""
        raise UsageError(f"{path}: {error}{where}")
    return named


def _lines_scores(path: Path, data: DataFolder, card: Task, given: Given) -> Scores:
    is_asked = path.name == STANDARD_INPUT and given.language is None
    code = _language_of(path, card, first_language(path) if is_asked else given.language)
    lines = JsonLines(path.parent, data, task=card.name, split=given.split or "test")
    tasks = (TaskScores(card.name, card, {code: lines.file_score(path, card, code)}),)
    return Scores(tasks, tuple(lines.remarks(tasks)))


def _submitted_scores(path: Path, labels: Path, card: Task, given: Given) -> Scores:
    folder = next((one for one in FOLDERS if one.card.name == card.name), None)
    if folder is None:
        raise unknown("task of XTREME", card.name, TARGETS)
    code = _language_of(path, card, given.language)
    gold = labels if labels.is_file() else folder.path(labels, code)
    score = folder.format.score(FilePair(card, code, path, gold, given.official))
    task = TaskScores(folder.name, card, {code: signed(score, given.official)})
    return Scores((task,), tuple(unanswered(task)))
