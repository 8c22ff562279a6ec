"""Reader for question answering in SQuAD's JSON form (SQuAD, XQuAD, MLQA, TyDiQA-GoldP), and for the same as a table.

It gives `Span` rows with offsets in characters and refuses a file whose answers do not stand where they say. It does
not choose files or languages; cards do.

Three things that look alike are kept apart: no `answers` at all, or blank ones throughout the file (labels were
stripped: None); an empty `answers` list (SQuAD 2.0's unanswerable question: ()); and a blank answer in a file that has
real ones (damage: DataError).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from viaduct.errors import DataError
from viaduct.rows import Answer, Span
from viaduct.tasks.card import Files
from viaduct.tasks.formats import json_file, member, parquet

_HUB_COLUMNS = ("id", "context", "question", "answers")


class _Question(NamedTuple):
    where: str
    id: str
    context: str
    question: str
    answers: tuple[Answer, ...] | None


def read_squad(path: Path, language: str, *, repeated_ids: bool = False) -> tuple[Span, ...]:
    """All questions of a SQuAD JSON file, in its order, each under the id that the file gives it.

    With `repeated_ids` an id may occur again (the caller must make them unique). All gold answers are kept, also equal
    ones of several annotators. A file without questions gives ().

    Raises DataError for a missing or empty file, text that is not UTF-8 or not JSON (with line and column), JSON of
    another shape (with the place in it), an id that occurs twice, and an answer that is not in the context where
    `answer_start` says (with the nearest place where it is).
    """
    return _spans(tuple(_questions(path, json_file(path))), path, language, repeated_ids)


def squad_file(files: Files, language: str, _split: str) -> tuple[Span, ...]:
    """A card's reader of one such file; rows have no answers where they were blanked."""
    return read_squad(files["rows"][0], language)


def squad_table(files: Files, language: str, _split: str) -> tuple[Span, ...]:
    """The same from Hub Parquet files with the columns id, context, question and answers.

    A row's answers are {text: [...], answer_start: [...]}.
    """
    path = files["rows"][0]
    questions = []
    for position, (question_id, context, question, given) in enumerate(parquet(files["rows"], _HUB_COLUMNS)):
        where = f"row {position}"
        texts, starts = (member(path, given, f"{where}.answers", key, list) for key in ("text", "answer_start"))
        if len(texts) != len(starts):
            raise DataError(f"{where}: {len(texts)} answer texts, but {len(starts)} starts", path=path)
        answers = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
        questions.append(_question(path, {"id": question_id, "question": question, "answers": answers}, where, context))
    return _spans(tuple(questions), path, language, repeated_ids=False)


def _questions(path: Path, content: object) -> Iterator[_Question]:
    for a, article in enumerate(member(path, content, "the file", "data", list)):
        for p, paragraph in enumerate(member(path, article, f"data[{a}]", "paragraphs", list)):
            place = f"data[{a}].paragraphs[{p}]"
            context = member(path, paragraph, place, "context", str)
            for q, question in enumerate(member(path, paragraph, place, "qas", list)):
                yield _question(path, question, f"{place}.qas[{q}]", context)


def _question(path: Path, given: object, where: str, context: str) -> _Question:
    answers = None
    if isinstance(given, Mapping) and "answers" in given:
        answers = tuple(
            Answer(
                member(path, answer, f"{where}.answers[{n}]", "text", str),
                member(path, answer, f"{where}.answers[{n}]", "answer_start", int),
            )
            for n, answer in enumerate(member(path, given, where, "answers", list))
        )
    return _Question(
        where,
        member(path, given, where, "id", str),
        context,
        member(path, given, where, "question", str),
        answers,
    )


def _spans(questions: tuple[_Question, ...], path: Path, language: str, repeated_ids: bool) -> tuple[Span, ...]:
    stripped = all(question.answers is not None and _blank(question.answers) for question in questions)
    seen: dict[str, str] = {}
    rows = []
    for question in questions:
        if question.id in seen and not repeated_ids:
            raise DataError(
                f"the question id '{question.id}' occurs twice: {seen[question.id]} and {question.where}",
                path=path,
                fix="remove the repeated question",
            )
        seen[question.id] = question.where
        answers = None if stripped else question.answers
        for answer in answers or ():
            _require_found(path, question, answer)
        rows.append(Span(question.id, language, question.context, question.question, answers))
    return tuple(rows)


def _blank(answers: tuple[Answer, ...]) -> bool:
    return bool(answers) and all(answer.text == "" for answer in answers)


def _require_found(path: Path, question: _Question, answer: Answer) -> None:
    if answer.text == "":
        raise DataError(
            f"{question.where}: question '{question.id}' has a blank answer, but others have real ones",
            path=path,
            fix="download it again; answers are stripped from the whole file or not at all",
        )
    problem = answer.misplaced(question.context)
    if problem is not None:
        raise DataError(
            f"{question.where}: the answer '{answer.text}' to question '{question.id}' {problem}",
            path=path,
            fix="use the original file; offsets are counted in characters, not bytes",
        )
