"""Readers for question answering in SQuAD's JSON form (SQuAD, XQuAD, MLQA, TyDiQA-GoldP), and for the same as a table.

They give `Span` rows with offsets in characters and refuse a file whose answers are not at their stated offsets. They
do not choose files or languages; cards do.

Three things that look alike are distinguished: no `answers` at all, or blank ones throughout the file (labels were
stripped: None); an empty `answers` list (SQuAD 2.0's unanswerable question: ()); and a blank answer in a file that has
real ones (damage: DataError).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from viaduct.errors import DataError
from viaduct.rows import Answer, Span
from viaduct.tasks.card import Files
from viaduct.tasks.formats import json_file, member, parquet

_HUB_COLUMNS = ("id", "context", "question", "answers")


Placed = tuple[str, Span]
"""Where a question is in the file, and its row."""


def read_squad(path: Path, language: str, *, repeated_ids: bool = False) -> tuple[Span, ...]:
    """All questions of a SQuAD JSON file, in file order, with the file's ids.

    With `repeated_ids` an id may occur again (the caller must make them unique). All gold answers are kept, including
    equal ones from several annotators. A file without questions gives ().

    Raises DataError for a missing or empty file, text that is not UTF-8 or not JSON (with line and column), JSON with
    another structure (with the place in it), an id that occurs twice, and an answer that is not at `answer_start` in
    the context (with the nearest place where it is).
    """
    return _checked(tuple(_questions(path, json_file(path), language)), path, repeated_ids=repeated_ids)


def read_unchecked(path: Path, language: str) -> tuple[Span, ...]:
    """Like `read_squad`, but answers may be anywhere, as in translated contexts, and ids are not checked."""
    return tuple(row for _, row in _questions(path, json_file(path), language))


def squad_file(files: Files, language: str, _split: str) -> tuple[Span, ...]:
    """A card's reader of one SQuAD JSON file; answers are None if they were blanked."""
    return read_squad(files["rows"][0], language)


def squad_table(files: Files, language: str, _split: str) -> tuple[Span, ...]:
    """Like `squad_file`, for Hub Parquet files with the columns id, context, question and answers.

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
        record = {"id": question_id, "question": question, "answers": answers}
        questions.append((where, _question(path, record, where, context, language)))
    return _checked(tuple(questions), path, repeated_ids=False)


def _questions(path: Path, content: object, language: str) -> Iterator[Placed]:
    for a, article in enumerate(member(path, content, "the file", "data", list)):
        for p, paragraph in enumerate(member(path, article, f"data[{a}]", "paragraphs", list)):
            place = f"data[{a}].paragraphs[{p}]"
            context = member(path, paragraph, place, "context", str)
            for q, question in enumerate(member(path, paragraph, place, "qas", list)):
                where = f"{place}.qas[{q}]"
                yield where, _question(path, question, where, context, language)


def _question(path: Path, given: object, where: str, context: str, language: str) -> Span:
    answers = None
    if isinstance(given, Mapping) and "answers" in given:
        answers = tuple(
            Answer(
                member(path, answer, f"{where}.answers[{n}]", "text", str),
                member(path, answer, f"{where}.answers[{n}]", "answer_start", int),
            )
            for n, answer in enumerate(member(path, given, where, "answers", list))
        )
    id, question = (member(path, given, where, key, str) for key in ("id", "question"))
    return Span(id, language, context, question, answers)


def _checked(questions: tuple[Placed, ...], path: Path, *, repeated_ids: bool) -> tuple[Span, ...]:
    stripped = all(row.answers and not any(answer.text for answer in row.answers) for _, row in questions)
    seen: dict[str, str] = {}
    for where, row in questions:
        if row.id in seen and not repeated_ids:
            message = f"the question id '{row.id}' occurs twice: {seen[row.id]} and {where}"
            raise DataError(message, path=path, fix="remove the repeated question")
        seen[row.id] = where
        for answer in () if stripped else row.answers or ():
            _require_found(path, where, row, answer)
    return tuple(replace(row, answers=None) if stripped else row for _, row in questions)


def _require_found(path: Path, where: str, row: Span, answer: Answer) -> None:
    if answer.text == "":
        message = f"{where}: question '{row.id}' has a blank answer, but others have real ones"
        fix = "download it again; answers are stripped from the whole file or not at all"
        raise DataError(message, path=path, fix=fix)
    problem = answer.misplaced(row.context)
    if problem is not None:
        message = f"{where}: the answer '{answer.text}' to question '{row.id}' {problem}"
        fix = "use the original file; offsets are counted in characters, not bytes"
        raise DataError(message, path=path, fix=fix)
