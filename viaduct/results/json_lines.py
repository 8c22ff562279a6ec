"""Predictions as JSON Lines, `<task>/<language>.jsonl`, scored by id against the gold of the cards.

The format of each file is described in `prediction_file`. A row without a prediction counts as wrong, and the number of
such rows is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from viaduct.errors import DataError, NoRowsError, UsageError, unknown
from viaduct.metrics.official import FileScore
from viaduct.metrics.score import MetricFunction, scored
from viaduct.results.prediction_file import read_predictions
from viaduct.results.prediction_folder import NoGoldError, PredictionFolder
from viaduct.results.record import DataNote, differing_counts
from viaduct.results.scores import Member, TaskScores
from viaduct.results.xtreme import FOLDERS
from viaduct.tasks.card import Dataset, Task, splits_of
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder

SUFFIX = ".jsonl"
BENCHMARK = tuple(Member(folder.card.name, folder.card, folder.group) for folder in FOLDERS)


def holds_json_lines(folder: Path) -> bool:
    """Whether there are JSON Lines files in the folder or in the folders directly below it."""
    return any(True for pattern in (f"*{SUFFIX}", f"*/*{SUFFIX}") for _ in folder.glob(pattern))


class JsonLines(PredictionFolder):
    """Files `<task>/<language>.jsonl` and the gold rows of a data folder.

    `task`: only this one; its files may also lie in `predictions` itself. Averages over tasks are XTREME's, so only
    for the test split. Raises UsageError for unknown tasks and splits, and for a task without a metric.
    """

    hint = "check the folder, --data and --split"

    def __init__(self, predictions: Path, data: DataFolder, *, task: str | None = None, split: str = "test") -> None:
        found = _folders(predictions, data.catalogue, task)
        super().__init__([Member(one.name, one, "") for one, _ in found], BENCHMARK if split == "test" else ())
        self.data, self.split = data, split
        self.folders = {one.name: folder for one, folder in found}
        self.metrics: dict[str, MetricFunction] = {}
        self.counts: list[DataNote] = []
        for one, folder in found:
            if one.metric is None:
                raise UsageError(f"{one.name} has no metric, so nothing can be scored", fix=f"leave {folder} out")
            if split not in splits_of(one):
                raise unknown(f"split of {one.name}", split, splits_of(one))
            self.metrics[one.name] = one.metric
            self._look_at(one, folder)
        others = sorted(set(predictions.iterdir()) - set(self.folders.values())) if task is None else ()
        self.notes += [f"{path}: holds no JSON Lines, ignored" for path in others if path.is_dir()]

    def _look_at(self, card: Task, folder: Path) -> None:
        """Report files of unknown languages as problems, and files of other kinds as notes."""
        for path in sorted(folder.iterdir()):
            if path.suffix == SUFFIX and path.stem not in card.languages:
                self.add_problem(f"{path}: {unknown(f'language of {card.name}', path.stem, card.languages)}")
            elif path.suffix != SUFFIX and path.is_file():
                self.notes.append(f"{path}: not JSON Lines, ignored")

    def files(self, member: Member, language: str) -> Sequence[Path]:
        """The file of predictions."""
        return [self.folders[member.name] / f"{language}{SUFFIX}"]

    def score(self, member: Member, language: str) -> FileScore:
        """The scores by the card's metric."""
        (path,) = self.files(member, language)
        return self.file_score(path, member.card, language)

    def file_score(self, path: Path, card: Task, language: str) -> FileScore:
        """The scores of one file, wherever it lies."""
        dataset = self._gold(card, language)
        if path.is_file() and path.stat().st_size == 0:
            raise DataError("the file is empty", path=path, fix="write one line per row, or remove the file")
        predictions = read_predictions(path, card, language, dataset.rows)
        try:
            scores, outcomes = scored(self.metrics[card.name], dataset.rows, predictions)
        except DataError as error:
            raise DataError(str(error), path=path) from error
        self.counts.append(
            DataNote(
                task=dataset.task,
                split=dataset.split,
                language=dataset.language,
                layout=dataset.layout,
                found=len(dataset.rows),
                published=dataset.expected,
            )
        )
        values = {one.metric: one.value for one in scores}
        headline, *others = ((one.metric, (one.n, one.n_missing)) for one in scores)
        counts = {metric: counts for metric, counts in others if counts != headline[1]}
        signatures = {one.metric: one.signature for one in scores}
        return FileScore(values, *headline[1], other_counts=counts, outcomes=outcomes, signatures=signatures)

    def remarks(self, tasks: Sequence[TaskScores]) -> Iterator[str]:
        """Row counts that differ from the published ones, and examples without a prediction."""
        return chain(differing_counts(self.counts), super().remarks(tasks))

    def _gold(self, card: Task, language: str) -> Dataset:
        """The labelled rows. Raises NoGoldError if there are none, DataError if the file is damaged."""
        try:
            self.data.locate(card.name, self.split, language)
        except DataError as error:
            raise NoGoldError(str(error)) from error
        try:
            dataset = self.data.read(card.name, self.split, language)
        except NoRowsError as error:
            raise NoGoldError(str(error)) from error
        if not dataset.labelled:
            fix = "get the labelled file of this split (XTREME's own test files are stripped)"
            raise NoGoldError("the file has no labels", path=dataset.paths[0], fix=fix)
        return dataset


def _folders(predictions: Path, catalogue: Catalogue, task: str | None) -> list[tuple[Task, Path]]:
    """The tasks' folders, those of the benchmark first. Raises UsageError for files and folders that match no task."""
    loose = sorted(predictions.glob(f"*{SUFFIX}"))
    if task is not None:
        below = predictions / task
        return [(catalogue.task(task), below if below.is_dir() and not loose else predictions)]
    if loose:
        raise UsageError(
            f"{loose[0]}: which task is it?",
            fix="name it with --task, or put the file into a folder named like the task",
        )
    order = {member.name: place for place, member in enumerate(BENCHMARK)}
    folders = {path.parent for path in predictions.glob(f"*/*{SUFFIX}")}
    ordered = sorted(folders, key=lambda folder: (order.get(folder.name, len(order)), folder.name))
    for folder in ordered:
        if folder.name not in catalogue:
            error = unknown("task", folder.name, [card.name for card in catalogue])
            raise UsageError(f"{folder}: {error}, or name the file with your own card: --task FILE.py")
    return [(catalogue.task(folder.name), folder) for folder in ordered]
