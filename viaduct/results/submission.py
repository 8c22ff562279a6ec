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
from dataclasses import replace
from pathlib import Path
from typing import Any

from viaduct.errors import DataError, UsageError, ViaductError, nearest
from viaduct.metrics.official import (
    FileScore,
    LabelsError,
    Question,
    answer_scores,
    label_scores,
    pair_scores,
    tag_scores,
)
from viaduct.metrics.qa import MLQA, SQUAD
from viaduct.results.problems import Problems
from viaduct.results.scores import Scores, TaskScores, by_language, unanswered
from viaduct.results.xtreme import FOLDERS, Folder
from viaduct.tasks.registry import task as card_of


def score_folder(predictions: Path, labels: Path, *, official: bool = False, partial: bool = False) -> Scores:
    """The scores of every task that has a folder in `predictions`.

    `official`: exactly what evaluate.py gives, also where that flatters (see `score_file`). `partial`: languages
    without predictions or labels are left out and named. Raises DataError, explaining every file that is missing or
    malformed, and UsageError when there is nothing to score.
    """
    for name, root in (("predictions", predictions), ("labels", labels)):
        if not root.is_dir():
            raise UsageError(f"{name}: there is no folder {root}", fix="name the folder that holds xnli/, udpos/, ...")
    present = [folder for folder in FOLDERS if (predictions / folder.name).is_dir()]
    strangers = tuple(_strangers(predictions, present))
    if not present:
        names = ", ".join(folder.name for folder in FOLDERS)
        raise UsageError(
            "\n".join([f"{predictions} holds no task", *(f"  note: {note}" for note in strangers)]),
            fix=f"name {predictions.parent}"
            if predictions.name in names
            else f"put predictions into folders named {names}",
        )
    problems = Problems()
    scored = [_score_task(folder, predictions, labels, problems, official, partial) for folder in present]
    tasks = tuple(task for task in scored if task.by_language)
    if problems.messages:
        absent = not partial and any(task.missing for task in scored)
        problems.refuse(strangers, "--partial leaves out the languages without files" if absent else None)
    if not tasks:
        raise UsageError(
            "\n".join(
                [
                    "no task has a language with both predictions and labels",
                    *(f"  {task.name}: its languages are {' '.join(task.missing)}" for task in scored),
                    *(f"  note: {note}" for note in strangers),
                ]
            ),
            fix=f"write files such as {present[0].path(predictions, present[0].languages[0])}",
        )
    holes = (note for task in tasks for note in (*unanswered(task), *_oddities(task, predictions)))
    return Scores(tasks, (*strangers, *holes), FOLDERS)


def _score_task(
    folder: Folder, predictions: Path, labels: Path, problems: Problems, official: bool, partial: bool
) -> TaskScores:
    """The scores of one folder, of those languages that have any; what is wrong is added to `problems`."""
    by_language: dict[str, FileScore] = {}
    wanted = {
        language: [folder.path(root, language) for root in (labels, predictions)] for language in folder.languages
    }
    gone = {language: [path for path in paths if not path.is_file()] for language, paths in wanted.items()}
    if not partial:
        problems.absent(path for paths in gone.values() for path in paths)
    for language in folder.languages:
        if gone[language]:
            continue
        try:
            by_language[language] = score_file(folder, language, predictions, labels, official=official)
        except ViaductError as error:
            problems.add(error)
    missing = tuple(language for language in folder.languages if gone[language])
    return TaskScores(folder.name, folder.card, by_language, missing)


def score_file(folder: Folder, language: str, predictions: Path, labels: Path, *, official: bool) -> FileScore:
    """The scores of one language's file.

    Unless `official`, refuses what the script scores too well or by chance: sentences with another number of tags than
    tokens (it shifts all tags behind), labels that are none of the task's (XTREME's stripped test files have the same
    names) or not there at all, and an id that is answered twice (it takes the last). Raises DataError with the file for
    whatever cannot be scored.
    """
    gold, given = folder.path(labels, language), folder.path(predictions, language)
    if folder.shape == "answers":
        questions, answers = read_questions(gold), read_answers(given, unique=not official)
        definition = MLQA if folder.card == "mlqa" else SQUAD
        return _named(gold, given, lambda: answer_scores(questions, answers, language=language, definition=definition))
    wanted, found = read_lines(gold), read_lines(given)
    if not official:
        _check_labels(folder, gold, wanted)
    if folder.shape == "tags":
        score = _named(gold, given, lambda: tag_scores(_sentences(wanted), _sentences(found), strict=not official))
    elif folder.shape == "pairs":
        score = pair_scores(_fields(wanted), _fields(found))
    else:
        score = _named(gold, given, lambda: label_scores(wanted, found))
    strange = list(_strange(folder, found, _num_candidates(folder, wanted)))
    if not strange:
        return score
    number, text = strange[0]
    return replace(score, n_strange=len(strange), strange=f"line {number:,}: {_in_words(folder, text)}")


def _named(gold: Path, given: Path, score: Callable[[], FileScore]) -> FileScore:
    """The score; a mistake in it is told with the file."""
    try:
        return score()
    except DataError as error:
        raise DataError(str(error), path=gold if isinstance(error, LabelsError) else given) from error


def _check_labels(folder: Folder, gold: Path, lines: Sequence[str]) -> None:
    """Raises DataError unless every line holds a label of the task, and there is one."""
    if folder.shape == "pairs" and not lines:
        raise DataError("there are no gold pairs", path=gold, fix="use the labelled file of this split")
    for number, text in _strange(folder, lines, None):
        raise DataError(
            _in_words(folder, text),
            path=gold,
            line=number,
            fix="name the folder of labels with --gold (XTREME's test files have none), or compare as is: --official",
        )


def _strange(folder: Folder, lines: Sequence[str], num_candidates: int | None) -> Iterator[tuple[int, str]]:
    """(number, text) of every line that holds nothing that could be right."""
    labels = set(card_of(folder.card).labels)
    for number, text in enumerate(lines, start=1):
        if folder.shape == "pairs":
            known = len(text.split("\t")) == 2
        elif labels:
            known = text in labels or (folder.shape == "tags" and not text)
        else:
            known = _is_index(text, num_candidates)
        if not known:
            yield number, text


def _is_index(text: str, num_candidates: int | None) -> bool:
    whole = text.isascii() and text.isdigit() and len(text) < 10 and str(int(text)) == text
    return whole and (num_candidates is None or int(text) < num_candidates)


def _num_candidates(folder: Folder, gold: Sequence[str]) -> int | None:
    """How many sentences an index may name, None where the labels (a part of the benchmark) do not say so."""
    whole = folder.card == "tatoeba" and set(gold) == {str(place) for place in range(len(gold))}
    return len(gold) if whole else None


def _in_words(folder: Folder, text: str) -> str:
    labels = card_of(folder.card).labels
    close = nearest(text[:60], labels)
    hint = f" Did you mean '{close}'?" if close else ""
    due = "two ids with a tab between" if folder.shape == "pairs" else " or ".join(labels) or "an index from 0"
    return f"{text[:60]!r} is not {due}.{hint}"


def read_lines(path: Path) -> list[str]:
    """The stripped lines of a file; LF, CRLF and CR end a line. Raises DataError for what is not UTF-8."""
    text = _text(path)
    return [line.strip() for line in text.removesuffix("\n").split("\n")] if text else []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        found = f"byte {error.start + 1:,} is 0x{error.object[error.start]:02x}"
        raise DataError(f"the file is not UTF-8: {found}", path=path, fix="write it as UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error


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
            raise DataError(f"the id {twice[:60]!r} occurs twice", path=path, fix="keep one answer to each question")
        return made

    text = _text(path)
    if not text.strip():
        raise DataError("the file is empty", path=path, fix='write {"id": "answer", ...}; {} answers nothing')
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise DataError(
            f"not JSON: {error.msg}", path=path, line=error.lineno, fix="write it with a JSON library"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested without end
        raise DataError(f"not JSON that can be read: {error}", path=path) from error


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
        known = {folder.path(predictions, language).name for language in folder.languages}
        for path in sorted((predictions / folder.name).iterdir()):
            if path.name in known:
                continue
            language = path.stem.removeprefix("test-")
            if path == folder.path(predictions, language):
                yield f"{path}: {folder.name} has no language '{language}', ignored"
            else:
                close = nearest(path.name, known)
                yield f"{path}: ignored{f' (did you mean {close}?)' if close else ''}"


def _oddities(task: TaskScores, predictions: Path) -> Iterator[str]:
    """Notes for answers that nobody asked for, and for lines that hold nothing that could be right."""
    unknown = {language: score.n_unknown for language, score in task.by_language.items() if score.n_unknown}
    if unknown:
        count = f"{sum(unknown.values()):,} ({by_language(unknown)})"
        yield f"{task.name}: answers to ids that no question has, ignored: {count}"
    strange = {language: score.n_strange for language, score in task.by_language.items() if score.n_strange}
    if strange:
        folder = next(folder for folder in FOLDERS if folder.name == task.name)
        language = next(iter(strange))
        first = f"{folder.path(predictions, language)}, {task.by_language[language].strange}"
        yield (
            f"{task.name}: lines that hold nothing that could be right, compared as they stand:"
            f" {sum(strange.values()):,} ({by_language(strange)}); the first: {first}"
        )
