"""Converts a run's predictions to an XTREME submission folder, and the labels of the same rows to the same formats.

A line-by-line file cannot mark a prediction as missing, so none may be missing; an unanswered question is left out, and
so is a sentence without a pair above the mining threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from viaduct.errors import DataError, StoreError, UsageError, one_message, unknown
from viaduct.metrics.score import Predictions
from viaduct.paths import is_vacant
from viaduct.results.prediction_file import read_predictions
from viaduct.results.store import Store
from viaduct.results.working import working_folder
from viaduct.results.xtreme import FOLDERS, Folder
from viaduct.rows import Row
from viaduct.runs.plan import Cell, Plan
from viaduct.runs.rows import RecipeData, substitution_for

Name = TypeVar("Name", str, int)


def choose(plan: Plan, arm: str | None, seed: int | None) -> dict[Folder, Cell]:
    """The cells of one arm and seed, by folder; retrieval that was only run with one seed is taken from that seed.

    Raises UsageError if the arm or seed is not given and there are several, and if there is no such arm or seed.
    """
    arm = one_of("arm", list(dict.fromkeys(cell.arm for cell in plan.cells)), arm)
    cells = [cell for cell in plan.cells if cell.arm == arm]
    seed = one_of("seed", sorted({cell.seed for cell in cells}), seed)
    found: dict[Folder, Cell] = {}
    for folder in FOLDERS:
        mine = [cell for cell in cells if cell.target.task == folder.card.name]
        at_seed = [cell for cell in mine if cell.seed == seed]
        if at_seed or len(mine) == 1:
            found[folder] = (at_seed or mine)[0]
    if not found:
        raise UsageError("this run has no task of XTREME", fix="a submission consists of the nine tasks of XTREME")
    return found


def one_of(what: str, known: Sequence[Name], given: Name | None) -> Name:
    """The arm or seed that was given, else the only one. Raises UsageError if it is ambiguous or does not exist."""
    if not known:
        raise UsageError("this run has no scores", fix="run it; `viaduct status` says what is done")
    if given is None and len(known) == 1:
        return known[0]
    names = list(map(str, known))
    if given is None:
        raise UsageError(f"this run has several {what}s: {', '.join(names)}", fix=f"choose one with --{what}")
    if given not in known:
        raise unknown(what, str(given), names)
    return given


def holes(plan: Plan, cells: Mapping[Folder, Cell]) -> tuple[str, ...]:
    """What these cells lack for a complete submission: tasks, languages, the official split."""
    notes = []
    for folder in FOLDERS:
        if folder not in cells:
            notes.append(f"{folder.name}: not in this run")
            continue
        target, there = cells[folder].target, _languages(plan, cells[folder])
        absent = [language for language in folder.languages if language not in there]
        notes += [f"{folder.name}: without {' '.join(absent)}"] if absent else []
        substitution = substitution_for(target.task, target.split, plan.recipe.substitutions)
        notes += [f"{folder.name}: {substitution.words()}"] if substitution else []
    return tuple(notes)


def _languages(plan: Plan, cell: Cell) -> list[str]:
    return [language for _, _, language in plan.needs[cell.score.path]]


def write(
    plan: Plan, cells: Mapping[Folder, Cell], store: Store, data: RecipeData, directory: Path, labels: Path | None
) -> int:
    """The number of prediction files written below `directory`; the gold files go below `labels`, unless it is None.

    Both folders appear complete or not at all. Raises StoreError for predictions that are not made yet, UsageError for
    a folder that is not empty, DataError for rows without prediction or (with `labels`) without label.
    """
    made = {folder: cell.score.inputs["predictions"].path for folder, cell in cells.items()}
    for folder, stage in made.items():
        if store.record(stage) is None:
            fix = "finish the run first, with `--rows none` if its scores are from committed rows"
            raise StoreError(f"the predictions of {folder.name} have not been made yet ({stage})", fix=fix)
    wanted = [path for path in (directory, labels) if path is not None]
    for path in wanted:
        require_new(path)
    files = [(folder, cell, code) for folder, cell in cells.items() for code in _languages(plan, cell)]
    with ExitStack() as stack, one_message(directory):
        unfinished = [stack.enter_context(working_folder(path.parent, f".{path.name}.")) for path in wanted]
        for folder, cell, code in files:
            path = store.file(made[folder], f"predictions/{code}.jsonl")
            rows = data.load(cell.target.task, cell.target.split, code, plan.recipe.substitutions).rows
            given = read_predictions(path, folder.card, code, rows)
            for root, text in zip(unfinished, _texts(folder, code, rows, given, labels is not None), strict=True):
                folder.path(root, code).parent.mkdir(exist_ok=True)
                folder.path(root, code).write_text(text, encoding="utf-8", newline="\n")
        for root, path in zip(unfinished, wanted, strict=True):
            root.replace(path)
    return len(files)


def require_new(path: Path) -> None:
    """Raise UsageError if there is a file of that name, or a folder that is not empty."""
    if not is_vacant(path):
        raise UsageError(f"{path} already exists and is not empty", fix="name a new folder, or remove this one")


def _texts(folder: Folder, code: str, rows: Sequence[Row], given: Predictions, labels: bool) -> list[str]:
    """The predictions and, if requested, the labels of one language."""
    try:
        return [folder.format.predictions(rows, given), *([folder.format.labels(rows)] if labels else [])]
    except DataError as error:
        raise DataError(f"{folder.card.name} {code}: {error}") from error
