"""An XTREME submission: nine folders of `test-<language>` files, and the scores that the benchmark's script gives them.

Formats of google-research/xtreme at 838c13b (evaluate.py): xnli and pawsx a label per line; udpos and panx a tag per
line and a blank line between sentences; xquad, mlqa and tydiqa JSON, question id to answer; bucc2018 two ids per line;
tatoeba, for each English sentence in alphabetical order, the index of its translation. A folder of labels has the same
files, with SQuAD's JSON for the questions.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from viaduct.errors import DataError, UsageError, ViaductError, nearest
from viaduct.metrics.official import FileScore, Question, answer_scores, label_scores, pair_scores, tag_scores
from viaduct.tasks.registry import task as card_of

Shape: TypeAlias = Literal["lines", "tags", "pairs", "answers"]

MOST_PROBLEMS = 20
"""Files that are explained in one message."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One task of a submission."""

    name: str
    """Of the folder; the card has the same name, but for BUCC."""
    group: str
    shape: Shape

    @property
    def card(self) -> str:
        """Name of the task's card."""
        return "bucc" if self.name == "bucc2018" else self.name

    @property
    def languages(self) -> tuple[str, ...]:
        """Those that the benchmark averages over."""
        return card_of(self.card).languages

    def path(self, root: Path, language: str) -> Path:
        """The file of one language below a folder of labels or predictions."""
        return root / self.name / f"test-{language}.{'json' if self.shape == 'answers' else 'tsv'}"


FOLDERS = (
    Folder("xnli", "classification", "lines"),
    Folder("pawsx", "classification", "lines"),
    Folder("udpos", "tagging", "tags"),
    Folder("panx", "tagging", "tags"),
    Folder("xquad", "qa", "answers"),
    Folder("mlqa", "qa", "answers"),
    Folder("tydiqa", "qa", "answers"),
    Folder("bucc2018", "retrieval", "pairs"),
    Folder("tatoeba", "retrieval", "lines"),
)


@dataclass(frozen=True, slots=True)
class TaskScores:
    """The scores of one task's files."""

    folder: Folder
    by_language: Mapping[str, FileScore]
    missing: tuple[str, ...]
    """Languages of the benchmark without predictions or labels; () when complete."""

    def mean(self, metric: str) -> float:
        """The unweighted mean over the languages that are there, a fraction."""
        return sum(score.values[metric] for score in self.by_language.values()) / len(self.by_language)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Their names, the headline metric first."""
        return tuple(next(iter(self.by_language.values())).values)

    @property
    def task_score(self) -> float:
        """What counts in the benchmark's average: the headline metric, for questions the mean of F1 and exact match."""
        counted = self.metrics if self.folder.shape == "answers" else self.metrics[:1]
        return sum(map(self.mean, counted)) / len(counted)


@dataclass(frozen=True, slots=True)
class SubmissionScores:
    """The scores of a whole folder, and what a person should know about it."""

    tasks: tuple[TaskScores, ...]
    notes: tuple[str, ...]

    def groups(self) -> dict[str, float]:
        """Group -> mean task score, of the groups all of whose tasks are complete."""
        whole = {task.folder.name: task.task_score for task in self.tasks if not task.missing}
        members: dict[str, list[str]] = {}
        for folder in FOLDERS:
            members.setdefault(folder.group, []).append(folder.name)
        return {
            group: sum(whole[name] for name in names) / len(names)
            for group, names in members.items()
            if all(name in whole for name in names)
        }

    def overall(self) -> float | None:
        """The mean over all nine tasks, None unless all are complete."""
        whole = [task.task_score for task in self.tasks if not task.missing]
        return sum(whole) / len(whole) if len(whole) == len(FOLDERS) else None

    def official(self) -> dict[str, Any]:
        """What evaluate.py returns, in percent. Partial tasks have scores by language and no averages."""
        found: dict[str, Any] = {}
        for task in self.tasks:
            entry: dict[str, Any] = {
                metric: {language: 100 * score.values[metric] for language, score in task.by_language.items()}
                for metric in task.metrics
            }
            if not task.missing:
                entry |= {f"avg_{metric}": 100 * task.mean(metric) for metric in task.metrics}
                entry["avg_metric"] = 100 * task.task_score
            found[task.folder.name] = entry
        found |= {group: 100 * value for group, value in self.groups().items()}
        overall = self.overall()
        return found if overall is None else {**found, "all_task": 100 * overall}


def score_folder(predictions: Path, labels: Path, *, official: bool = False, partial: bool = False) -> SubmissionScores:
    """The scores of every task that has a folder in `predictions`.

    `official`: exactly what evaluate.py gives, also where that flatters (see `score_file`). `partial`: languages
    without predictions or labels are left out and named. Raises DataError, explaining every file that is missing or
    malformed, and UsageError when there is nothing to score.
    """
    for name, root in (("predictions", predictions), ("labels", labels)):
        if not root.is_dir():
            raise UsageError(f"{name}: there is no folder {root}", fix="name the folder that holds xnli/, udpos/, ...")
    present = [folder for folder in FOLDERS if (predictions / folder.name).is_dir()]
    if not present:
        names = ", ".join(folder.name for folder in FOLDERS)
        raise UsageError(f"{predictions} holds no task", fix=f"put predictions into folders named {names}")
    problems: list[str] = []
    tasks = [
        _score_task(folder, predictions, labels, problems, official=official, partial=partial) for folder in present
    ]
    if problems:
        raise DataError(
            _list_of(problems), fix=None if partial else "mend them; --partial leaves out the languages without files"
        )
    notes = [*_strangers(predictions, present), *(note for task in tasks for note in _holes(task))]
    scored = tuple(task for task in tasks if task.by_language)
    if not scored:
        raise UsageError("no task has a language with both predictions and labels", fix="check both folders")
    return SubmissionScores(scored, tuple(notes))


def _score_task(
    folder: Folder, predictions: Path, labels: Path, problems: list[str], *, official: bool, partial: bool
) -> TaskScores:
    """The scores of one folder; what is wrong with its files is added to `problems`."""
    by_language: dict[str, FileScore] = {}
    missing: list[str] = []
    for language in folder.languages:
        gone = [path for root in (labels, predictions) if not (path := folder.path(root, language)).is_file()]
        if gone:
            missing.append(language)
            problems += [] if partial else [f"{path}: the file is missing" for path in gone]
            continue
        try:
            by_language[language] = score_file(folder, language, predictions, labels, official=official)
        except ViaductError as error:
            problems.append(str(error))
    return TaskScores(folder, by_language, tuple(missing))


def score_file(folder: Folder, language: str, predictions: Path, labels: Path, *, official: bool) -> FileScore:
    """The scores of one language's file.

    Unless `official`, refuses what the script scores too well or by chance: sentences with another number of tags than
    tokens (it shifts all tags behind), labels without a tag, and an id that is answered twice (it takes the last).
    Raises DataError with the file for whatever cannot be scored.
    """
    gold, given = folder.path(labels, language), folder.path(predictions, language)
    if folder.shape == "answers":
        questions, answers = read_questions(gold), read_answers(given, unique=not official)
        return _named(given, lambda: answer_scores(questions, answers, language=language, mlqa=folder.name == "mlqa"))
    wanted, found = read_lines(gold), read_lines(given)
    if folder.shape == "tags":
        return _named(given, lambda: tag_scores(_sentences(wanted), _sentences(found), strict=not official))
    if folder.shape == "pairs":
        if not official and not wanted:
            raise DataError("there are no gold pairs", path=gold, fix="use the labelled file of this split")
        return _named(given, lambda: pair_scores(_fields(wanted), _fields(found)))
    return _named(given, lambda: label_scores(wanted, found))


def _named(path: Path, score: Callable[[], FileScore]) -> FileScore:
    """The score; a mistake in it is told with the file."""
    try:
        return score()
    except DataError as error:
        raise error if str(path) in str(error) else DataError(str(error), path=path) from error


def read_lines(path: Path) -> list[str]:
    """The stripped lines of a file; LF, CRLF and CR end a line. Raises DataError for what is not UTF-8."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"the file is not UTF-8: byte {error.start + 1} is 0x{error.object[error.start]:02x}", path=path
        ) from error
    return [line.strip() for line in text.removesuffix("\n").split("\n")] if text else []


def read_questions(path: Path) -> list[Question]:
    """The questions of a file in SQuAD's JSON, with or without its outer "data". Raises DataError for other JSON."""
    raw = _json(path)
    articles = raw["data"] if isinstance(raw, dict) and "data" in raw else raw
    try:
        return [
            Question(question["id"], tuple(answer["text"] for answer in question["answers"]))
            for article in articles
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise DataError(f"not SQuAD's JSON ({type(error).__name__}: {error})", path=path) from error


def read_answers(path: Path, *, unique: bool = True) -> Mapping[str, object]:
    """Question id -> answer, with or without an outer "data". Raises DataError for other JSON, and for an id that
    occurs twice (unless not `unique`: the last counts)."""
    raw = _json(path, unique=unique)
    answers = raw["data"] if isinstance(raw, dict) and "data" in raw else raw
    if not isinstance(answers, dict):
        raise DataError("not a JSON object of question id to answer", path=path, fix='write {"id": "answer", ...}')
    return answers


def _json(path: Path, *, unique: bool = False) -> Any:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if unique and len(made) < len(found):
            twice = Counter(key for key, _ in found).most_common(1)[0][0]
            raise DataError(f"the id '{twice}' occurs twice", path=path, fix="keep one answer to each question")
        return made

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg}", path=path, line=error.lineno) from error
    except UnicodeDecodeError as error:
        raise DataError(f"the file is not UTF-8: byte {error.start + 1}", path=path) from error


def _sentences(lines: Sequence[str]) -> list[list[str]]:
    """Tags by sentence: every blank line ends one, so two in a row make an empty sentence, as in the script."""
    found: list[list[str]] = []
    current: list[str] = []
    for line in lines:
        if line:
            current.append(line)
        else:
            found.append(current)
            current = []
    return [*found, current] if current else found


def _fields(lines: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(line.split("\t")) for line in lines}


def _strangers(predictions: Path, present: Sequence[Folder]) -> Iterator[str]:
    """A note for each folder and file that no task has."""
    names = [folder.name for folder in FOLDERS]
    for path in sorted(predictions.iterdir()):
        if path.is_dir() and path.name not in names:
            close = nearest(path.name, names)
            yield f"{path}: no task of XTREME, ignored{f' (did you mean {close}?)' if close else ''}"
    for folder in present:
        known = {folder.path(predictions, language) for language in folder.languages}
        for path in sorted((predictions / folder.name).iterdir()):
            if path not in known:
                yield f"{path}: no language file of {folder.name}, ignored"


def _holes(task: TaskScores) -> Iterator[str]:
    """A note for what has no prediction, and for what nobody asked for."""
    if task.missing:
        yield f"{task.folder.name}: partial, without {' '.join(task.missing)}"
    for language, score in task.by_language.items():
        if score.n_missing:
            yield (
                f"{task.folder.name} {language}: {score.n_missing:,} of {score.n:,} questions have no answer and count"
                " as wrong"
            )
    unknown = [language for language, score in task.by_language.items() if score.n_unknown]
    if unknown:
        count = sum(task.by_language[language].n_unknown for language in unknown)
        yield f"{task.folder.name}: {count:,} answers to ids that no question has are ignored ({' '.join(unknown)})"


def _list_of(problems: Sequence[str]) -> str:
    shown = [problem.replace("\n", " ") for problem in problems[:MOST_PROBLEMS]]
    rest = len(problems) - len(shown)
    lines = "\n".join(f"  {line}" for line in [*shown, *([f"and {rest:,} more"] if rest else [])])
    return f"{len(problems):,} file{'s' * (len(problems) > 1)} cannot be scored:\n{lines}"
