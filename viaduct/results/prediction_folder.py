"""A folder of predictions from any system, and how it is scored or refused as a whole.

`submission` and `json_lines` define for their format which files there are and how each one is scored. All problems are
reported in one error after every file has been checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from viaduct.errors import DataError, UsageError, ViaductError
from viaduct.metrics.official import FileScore
from viaduct.results.scores import Member, Scores, TaskScores

MOST = 20
"""Maximum number of problems that are explained in one message."""


class NoGoldError(DataError):
    """There is no gold for a language, which is not the predictions' fault."""


class PredictionFolder:
    """One format of predictions; `members` are its tasks that are present, `benchmark` those that are averaged over."""

    hint = ""
    """What to do if not a single language can be scored."""

    def __init__(self, members: Sequence[Member], benchmark: Sequence[Member]) -> None:
        self.members, self.benchmark = members, benchmark
        self.notes: list[str] = []
        """What the user should know, whether the folder is scored or refused."""
        self._problems: list[str] = []
        self._num_files = 0
        self._has_holes = False
        """Whether anything is missing altogether, which `partial` would leave out."""

    def files(self, member: Member, language: str) -> Sequence[Path]:
        """The files that are needed to score this language."""
        raise NotImplementedError

    def score(self, member: Member, language: str) -> FileScore:
        """The scores of this language, whose files exist. Raises NoGoldError, or DataError for damaged files."""
        raise NotImplementedError

    def remarks(self, tasks: Sequence[TaskScores]) -> Iterator[str]:
        """What the user should know about the scores."""
        return (note for task in tasks for note in unanswered(task))

    def scores(self, *, partial: bool) -> Scores:
        """The scores of all tasks; `partial`: languages without files, or without gold, are left out and named.

        Raises DataError that explains every missing or malformed file, and UsageError if there is nothing to score.
        """
        scored = [self._task(member, partial) for member in self.members]
        if self._problems:
            self._refuse()
        tasks = tuple(task for task in scored if task.by_language)
        if not tasks:
            reasons = [f"{task.name}: its languages are {' '.join(task.missing)}" for task in scored]
            lines = ["no language has both predictions and gold", *reasons, *(f"note: {note}" for note in self.notes)]
            raise UsageError("\n  ".join(lines), fix=self.hint)
        return Scores(tasks, (*self.notes, *self.remarks(tasks)), tuple(self.benchmark))

    def _task(self, member: Member, partial: bool) -> TaskScores:
        """The scores of one task, in the languages that have any."""
        needed = {language: self.files(member, language) for language in member.languages}
        absent = {language: [path for path in paths if not path.exists()] for language, paths in needed.items()}
        if not partial:
            self._add_absent(path for paths in absent.values() for path in paths)
        by_language: dict[str, FileScore] = {}
        without: dict[str, NoGoldError] = {}
        for language in (code for code, paths in absent.items() if not paths):
            try:
                by_language[language] = self.score(member, language)
            except NoGoldError as error:
                without[language] = error
            except ViaductError as error:
                self.add_problem(error)
        if without:
            message = f"{member.name}: no gold for {' '.join(without)}: {next(iter(without.values()))}"
            if partial:
                self.notes.append(message)
            else:
                self.add_problem(message, num_files=len(without))
                self._has_holes = True
        return TaskScores(member.name, member.card, by_language)

    def add_problem(self, error: object, *, num_files: int = 1) -> None:
        """Record a problem with this many files; the folder is refused once all files have been checked."""
        self._problems.append(str(error))
        self._num_files += num_files

    def _add_absent(self, paths: Iterable[Path]) -> None:
        """Record missing files as problems, one problem per folder."""
        by_folder: dict[Path, list[str]] = {}
        for path in paths:
            by_folder.setdefault(path.parent, []).append(path.name)
        for folder, names in by_folder.items():
            if len(names) == 1:
                message = f"{folder / names[0]}: the file is missing"
            elif folder.is_dir():
                message = f"{folder}: {len(names)} files are missing: {' '.join(names)}"
            else:
                message = f"{folder}: there is no such folder, {len(names)} files belong there"
            self.add_problem(message, num_files=len(names))
            self._has_holes = True

    def _refuse(self) -> NoReturn:
        """Raise DataError with all problems, and with the notes, which may explain them."""
        shown = [message.replace("\n", "\n  ") for message in self._problems[:MOST]]
        rest = len(self._problems) - len(shown)
        lines = [*shown, *([f"and {rest:,} more"] if rest else []), *(f"note: {note}" for note in self.notes)]
        count = f"{self._num_files:,} file{'s' * (self._num_files > 1)} cannot be scored"
        fix = "--partial leaves out the languages without files" if self._has_holes else None
        raise DataError("\n  ".join([f"{count}:", *lines]), fix=fix)


def unanswered(task: TaskScores) -> Iterator[str]:
    """A note for the examples without a prediction, and for those of a metric that counts other examples."""
    others = {metric for score in task.by_language.values() for metric in score.other_counts}
    for metric in (task.metrics[0], *sorted(others)):
        counts = {language: task.by_language[language].counts(metric) for language in task.series()[metric]}
        missing = {language: count for language, (_, count) in counts.items() if count}
        if missing:
            name = f"{task.name} {metric}" if metric in others else task.name
            share = f"{sum(missing.values()):,} of {sum(n for n, _ in counts.values()):,}"
            yield f"{name}: no prediction for {share} examples, which count as wrong ({by_language(missing)})"


def by_language(counts: Mapping[str, int]) -> str:
    """The counts in words: "de 5, sw 1,200"."""
    return ", ".join(f"{language} {count:,}" for language, count in counts.items())
