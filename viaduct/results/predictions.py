"""Anybody's predictions as JSON Lines, `<task>/<language>.jsonl`, scored by id against the gold of the cards.

Each file is as `prediction_file` says. A row without a prediction counts as wrong and is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from viaduct.errors import DataError, NoRowsError, UsageError, ViaductError, unknown
from viaduct.metrics.official import FileScore
from viaduct.results.prediction_file import read_predictions
from viaduct.results.problems import Problems
from viaduct.results.record import DataNote, differing_counts
from viaduct.results.scores import Member, Scores, TaskScores, unanswered
from viaduct.results.xtreme import FOLDERS
from viaduct.tasks.card import Dataset, Task, locate, read
from viaduct.tasks.registry import TASKS, known
from viaduct.tasks.registry import task as card_of

BENCHMARK = tuple(Member(folder.card, folder.card, folder.group) for folder in FOLDERS)
SUFFIX = ".jsonl"


class NoGoldError(DataError):
    """The data folder has no gold for a language, which is not the predictions' fault."""


def holds_predictions(folder: Path) -> bool:
    """Whether there are JSON Lines files in the folder or in the folders right below it."""
    return any(True for pattern in (f"*{SUFFIX}", f"*/*{SUFFIX}") for _ in folder.glob(pattern))


def score_predictions(
    predictions: Path, data: Path, *, card: Task | None = None, split: str = "test", partial: bool = False
) -> Scores:
    """The scores of `<task>/<language>.jsonl` below `predictions`, with the gold rows of the data folder.

    `card`: of this task only; its files may also lie in `predictions` itself. `partial`: languages without a file, or
    without gold, are left out and named. Averages over tasks are XTREME's, so of the test split. Raises DataError,
    explaining every file that is missing or malformed, and UsageError for unknown tasks and when nothing is there.
    """
    chosen = _folders(predictions) if card is None else [(card, _folder_of(predictions, card))]
    scoring = _Scoring(data, split, partial)
    scored = [scoring.task(one, folder) for one, folder in chosen]
    if card is None:
        folders = [folder for _, folder in chosen]
        scoring.notes += [
            f"{path}: holds no JSON Lines, ignored"
            for path in sorted(predictions.iterdir())
            if path.is_dir() and path not in folders
        ]
    if scoring.problems.messages:
        absent = not partial and any(task.missing for task in scored)
        scoring.problems.refuse(scoring.notes, "--partial leaves out the languages without files" if absent else None)
    tasks = tuple(task for task in scored if task.by_language)
    if not tasks:
        reasons = "".join(f"\n  {note}" for note in scoring.notes)
        raise UsageError(
            f"no language has both predictions and gold{reasons}", fix="check the folder, --data and --split"
        )
    holes = (note for task in tasks for note in unanswered(task))
    notes = (*scoring.notes, *differing_counts(scoring.counts), *holes)
    return Scores(tasks, notes, BENCHMARK if split == "test" else ())


def _folder_of(predictions: Path, card: Task) -> Path:
    below = predictions / card.name
    return below if below.is_dir() and not any(predictions.glob(f"*{SUFFIX}")) else predictions


def _folders(predictions: Path) -> list[tuple[Task, Path]]:
    loose = sorted(predictions.glob(f"*{SUFFIX}"))
    if loose:
        raise UsageError(
            f"{loose[0]}: of which task?", fix="name it with --task, or put the file into a folder named like the task"
        )
    order = {member.card: place for place, member in enumerate(BENCHMARK)}
    folders = {path.parent for path in predictions.glob(f"*/*{SUFFIX}")}
    ordered = sorted(folders, key=lambda folder: (order.get(folder.name, len(order)), folder.name))
    for folder in ordered:
        if not known(folder.name):
            error = unknown("task", folder.name, [card.name for card in TASKS])
            raise UsageError(f"{folder}: {error}, or name the file with your own card: --task FILE.py")
    return [(card_of(folder.name), folder) for folder in ordered]


@dataclass
class _Scoring:
    """Where gold comes from, and what was found on the way."""

    data: Path
    split: str
    partial: bool
    problems: Problems = field(default_factory=Problems)
    counts: list[DataNote] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def task(self, card: Task, folder: Path) -> TaskScores:
        """The scores of one folder, of those languages that have any."""
        if card.metric is None:
            raise UsageError(f"{card.name} has no metric, so nothing can be scored", fix=f"leave {folder} out")
        splits = {split for source in card.sources for split in source.splits}
        if self.split not in splits:
            raise unknown(f"split of {card.name}", self.split, splits)
        paths = dict(self._files(card, folder))
        if not self.partial:
            self.problems.absent(folder / f"{code}{SUFFIX}" for code in card.languages if code not in paths)
        by_language: dict[str, FileScore] = {}
        without: dict[str, NoGoldError] = {}
        for language, path in paths.items():
            try:
                dataset = self._gold(card, language)
                by_language[language] = _score_file(card, dataset, path)
                self.counts.append(_note(dataset))
            except NoGoldError as error:
                without[language] = error
            except ViaductError as error:
                self.problems.add(error)
        if without:
            first = next(iter(without.values()))
            message = f"{card.name}: no gold for {' '.join(without)}: {first}"
            if self.partial:
                self.notes.append(message)
            else:
                self.problems.add(message, num_files=len(without))
        missing = tuple(language for language in card.languages if language not in by_language)
        return TaskScores(card.name, card.name, by_language, missing)

    def _files(self, card: Task, folder: Path) -> Iterator[tuple[str, Path]]:
        """(language, file) in the card's order of languages; other files are problems or notes."""
        for path in sorted(folder.iterdir()):
            if path.suffix == SUFFIX and path.stem not in card.languages:
                self.problems.add(f"{path}: {unknown(f'language of {card.name}', path.stem, card.languages)}")
            elif path.suffix != SUFFIX and path.is_file():
                self.notes.append(f"{path}: no JSON Lines, ignored")
        for language in card.languages:
            path = folder / f"{language}{SUFFIX}"
            if path.exists():
                yield language, path

    def _gold(self, card: Task, language: str) -> Dataset:
        """The labelled rows. Raises NoGoldError when there are none, DataError when the file is damaged."""
        try:
            locate(card, self.data, language, self.split)
        except DataError as error:
            raise NoGoldError(str(error)) from error
        try:
            dataset = read(card, self.data, language, self.split)
        except NoRowsError as error:
            raise NoGoldError(str(error)) from error
        if not dataset.labelled:
            fix = "get the labelled file of this split (XTREME's own test files are stripped)"
            raise NoGoldError("the file has no labels", path=dataset.paths[0], fix=fix)
        return dataset


def _note(dataset: Dataset) -> DataNote:
    return DataNote(
        task=dataset.task,
        split=dataset.split,
        language=dataset.language,
        layout=dataset.layout,
        found=len(dataset.rows),
        published=dataset.expected,
    )


def _score_file(card: Task, dataset: Dataset, path: Path) -> FileScore:
    assert card.metric is not None  # noqa: S101  checked before
    if path.is_file() and path.stat().st_size == 0:
        raise DataError("the file is empty", path=path, fix="write a line per row, or remove the file")
    predictions = read_predictions(path, card, dataset.language, dataset.rows)
    try:
        scores = {score.metric: score for score in card.metric(dataset.rows, predictions)}
    except DataError as error:
        raise DataError(str(error), path=path) from error
    tokens = scores.pop("token_accuracy", None)
    first = next(iter(scores.values()))
    return FileScore(
        {score.metric: score.value for score in scores.values()},
        first.n,
        first.n_missing,
        token_accuracy=None if tokens is None else tokens.value,
        other_counts={
            score.metric: (score.n, score.n_missing)
            for score in scores.values()
            if (score.n, score.n_missing) != (first.n, first.n_missing)
        },
    )
