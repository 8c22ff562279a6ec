"""A folder of anybody's predictions, and how the whole of it is scored or refused.

`submission` and `json_lines` say for their form which files there are and what one of them scores. What is wrong is
told in one error after every file was looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from viaduct.errors import DataError, UsageError, ViaductError
from viaduct.metrics.official import FileScore
from viaduct.results.scores import Member, Scores, TaskScores

MOST = 20
"""Problems that are explained in one message."""


class NoGoldError(DataError):
    """There is no gold for a language, which is not the predictions' fault."""


@dataclass
class Problems:
    """What is wrong with the files of a folder."""

    messages: list[str] = field(default_factory=list)
    num_files: int = 0
    absent_files: bool = False
    """Whether a file is not there, which `--partial` would allow."""

    def add(self, error: object, *, num_files: int = 1) -> None:
        """One more problem, of so many files."""
        self.messages.append(str(error))
        self.num_files += num_files

    def absent(self, paths: Iterable[Path]) -> None:
        """The problem of files that are not there, told once for those of one folder."""
        by_folder: dict[Path, list[str]] = {}
        for path in paths:
            by_folder.setdefault(path.parent, []).append(path.name)
        for folder, names in by_folder.items():
            self.absent_files = True
            if len(names) == 1:
                self.add(f"{folder / names[0]}: the file is missing")
            elif folder.is_dir():
                self.add(f"{folder}: {len(names)} files are missing: {' '.join(names)}", num_files=len(names))
            else:
                self.add(f"{folder}: there is no such folder, {len(names)} files belong there", num_files=len(names))

    def refuse(self, notes: Iterable[str]) -> NoReturn:
        """Raise DataError with all problems, and with notes that may explain them."""
        shown = [message.replace("\n", "\n  ") for message in self.messages[:MOST]]
        rest = len(self.messages) - len(shown)
        lines = [*shown, *([f"and {rest:,} more"] if rest else []), *(f"note: {note}" for note in notes)]
        listed = "\n".join(f"  {line}" for line in lines)
        fix = "--partial leaves out the languages without files" if self.absent_files else None
        raise DataError(f"{self.num_files:,} file{'s' * (self.num_files > 1)} cannot be scored:\n{listed}", fix=fix)


class PredictionFolder:
    """One form of predictions; its tasks that are there are in `members`."""

    def __init__(self, members: Sequence[Member], benchmark: Sequence[Member]) -> None:
        self.members = members
        self.benchmark = benchmark
        """What is averaged over."""
        self.problems = Problems()
        self.notes: list[str] = []
        """What a person should know whether the folder is scored or refused."""

    def files(self, member: Member, language: str) -> Sequence[Path]:
        """The files that are needed for the scores of this language."""
        raise NotImplementedError

    def score(self, member: Member, language: str) -> FileScore:
        """The scores of this language, whose files are there. Raises NoGoldError, or DataError for damaged files."""
        raise NotImplementedError

    def remarks(self, tasks: Sequence[TaskScores]) -> Iterator[str]:
        """What a person should know about the scores."""
        return (note for task in tasks for note in unanswered(task))

    def nothing(self, tasks: Sequence[TaskScores]) -> UsageError:
        """The error for a folder of which not one language can be scored."""
        raise NotImplementedError

    def scores(self, *, partial: bool) -> Scores:
        """The scores of all tasks; `partial`: languages without files, or without gold, are left out and named.

        Raises DataError that explains every file that is missing or malformed, and UsageError where there is nothing.
        """
        scored = [self._task(member, partial) for member in self.members]
        if self.problems.messages:
            self.problems.refuse(self.notes)
        tasks = tuple(task for task in scored if task.by_language)
        if not tasks:
            raise self.nothing(scored)
        return Scores(tasks, (*self.notes, *self.remarks(tasks)), tuple(self.benchmark))

    def _task(self, member: Member, partial: bool) -> TaskScores:
        """The scores of one task, of those languages that have any."""
        needed = {language: self.files(member, language) for language in member.languages}
        absent = {language: [path for path in paths if not path.exists()] for language, paths in needed.items()}
        if not partial:
            self.problems.absent(path for paths in absent.values() for path in paths)
        by_language: dict[str, FileScore] = {}
        without: dict[str, NoGoldError] = {}
        for language in (code for code, paths in absent.items() if not paths):
            try:
                by_language[language] = self.score(member, language)
            except NoGoldError as error:
                without[language] = error
            except ViaductError as error:
                self.problems.add(error)
        if without:
            message = f"{member.name}: no gold for {' '.join(without)}: {next(iter(without.values()))}"
            if partial:
                self.notes.append(message)
            else:
                self.problems.add(message, num_files=len(without))
        return TaskScores(member.name, member.card, by_language)


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
    """ "de 5, sw 1,200"."""
    return ", ".join(f"{language} {count:,}" for language, count in counts.items())
