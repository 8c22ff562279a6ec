"""An XTREME submission: nine folders of `test-<language>` files, scored like the benchmark's script does.

A folder of labels has the same files; their formats are in `xtreme_formats`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from viaduct.errors import UsageError, nearest
from viaduct.metrics.official import FileScore
from viaduct.results.prediction_folder import PredictionFolder, by_language, unanswered
from viaduct.results.scores import Member, TaskScores
from viaduct.results.xtreme import FOLDERS


class Submission(PredictionFolder):
    """A submission and the folder of its labels. Raises UsageError for a folder that is missing or holds no task."""

    def __init__(self, predictions: Path, labels: Path, *, official: bool = False) -> None:
        """`official`: score exactly as evaluate.py does, even where that inflates scores (see `xtreme_formats`)."""
        for name, root in (("predictions", predictions), ("labels", labels)):
            if not root.is_dir():
                fix = "name the folder that holds xnli/, udpos/, ..."
                raise UsageError(f"{name}: there is no folder {root}", fix=fix)
        super().__init__([folder for folder in FOLDERS if (predictions / folder.name).is_dir()], FOLDERS)
        self.predictions, self.labels, self.official = predictions, labels, official
        self.notes += _strangers(predictions)
        if not self.members:
            names = ", ".join(BY_NAME)
            raise UsageError(
                "\n".join([f"{predictions} holds no task", *(f"  note: {note}" for note in self.notes)]),
                fix=f"name {predictions.parent}"
                if predictions.name in BY_NAME
                else f"put predictions into folders named {names}",
            )
        first = BY_NAME[self.members[0].name]
        self.hint = f"write files such as {first.path(predictions, first.languages[0])}"

    def files(self, member: Member, language: str) -> Sequence[Path]:
        """The files of labels and of predictions."""
        return [BY_NAME[member.name].path(root, language) for root in (self.labels, self.predictions)]

    def score(self, member: Member, language: str) -> FileScore:
        """The scores as evaluate.py computes them."""
        folder = BY_NAME[member.name]
        return signed(folder.score(self.predictions, self.labels, language, official=self.official), self.official)

    def remarks(self, tasks: Sequence[TaskScores]) -> Iterator[str]:
        """Examples without a prediction, answers to ids that no question has, lines that could not be right, and what
        intervals leave out."""
        yield from (note for task in tasks for note in (*unanswered(task), *self._oddities(task)))
        if textless := [task.name for task in tasks if BY_NAME[task.name].group == "classification"]:
            yield (
                f"{', '.join(textless)}: labels come without texts, so rows that belong together (XNLI has three for"
                " each premise) count as independent in intervals; with --data they do not"
            )

    def _oddities(self, task: TaskScores) -> Iterator[str]:
        unknown = {language: score.n_unknown for language, score in task.by_language.items() if score.n_unknown}
        if unknown:
            count = f"{sum(unknown.values()):,} ({by_language(unknown)})"
            yield f"{task.name}: answers to ids that no question has, ignored: {count}"
        for code, score in task.by_language.items():
            if score.n != task.card.pairs.get((code, "test"), score.n):
                published = task.card.pairs[code, "test"]
                yield f"{task.name}: gold pairs of {code}: {score.n:,}, published {published:,}"
        strange = {language: score.n_strange for language, score in task.by_language.items() if score.n_strange}
        if strange:
            language = next(iter(strange))
            path = BY_NAME[task.name].path(self.predictions, language)
            yield (
                f"{task.name}: lines that cannot be right, compared as they are:"
                f" {sum(strange.values()):,} ({by_language(strange)}); the first: {path},"
                f" {task.by_language[language].strange}"
            )


def signed(score: FileScore, official: bool) -> FileScore:
    """The score with its signatures."""
    how = "exactly" if official else "refusing what flatters"
    return replace(score, signatures={name: f"{name}|XTREME evaluate.py 838c13b, {how}|v1" for name in score.values})


BY_NAME = {folder.name: folder for folder in FOLDERS}


def _strangers(predictions: Path) -> Iterator[str]:
    """A note for each folder and file that belongs to no task."""
    for path in sorted(predictions.iterdir()):
        if path.is_dir() and path.name not in BY_NAME:
            yield f"{path}: not a task of XTREME, ignored{_hint(path.name, BY_NAME)}"
    for folder in FOLDERS:
        known = {folder.path(predictions, language).name for language in folder.languages}
        for path in sorted((predictions / folder.name).glob("*")):
            language = path.stem.removeprefix("test-")
            if path.name not in known and path == folder.path(predictions, language):
                yield f"{path}: {folder.name} has no language '{language}', ignored"
            elif path.name not in known:
                yield f"{path}: ignored{_hint(path.name, known)}"


def _hint(given: str, known: Iterable[str]) -> str:
    close = nearest(given, known)
    return f" (did you mean {close}?)" if close else ""
