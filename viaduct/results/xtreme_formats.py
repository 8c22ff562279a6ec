"""The formats of XTREME's files: how each is read, compared and written (evaluate.py of its repository at 838c13b).

Files are compared line by line, or id by id, as that script does, never by our row ids. Unless `official`, whatever it
scores too high or by accident is refused: sentences with a different number of tags than tokens (it shifts all later
tags), labels that are not among the task's (XTREME's stripped test files have the same names) or missing altogether, an
id that is asked or answered twice (it takes the last answer), and a last line without a line end where a longer line
would be right. Lines of predictions that could not be right are compared as they are.

Labels are written in the format of the predictions, those of questions in SQuAD's JSON. A file of lines cannot say that
a prediction is missing, so every row needs one; unanswered questions, and sentences without a pair, are left out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from viaduct.errors import DataError, nearest, shortened
from viaduct.metrics.official import (
    FileScore,
    LabelsError,
    Question,
    answer_scores,
    label_scores,
    pair_scores,
    tag_scores,
)
from viaduct.metrics.qa import SQUAD, Definition
from viaduct.metrics.score import Predictions, json_type
from viaduct.rows import Row, Sentence, Tagged
from viaduct.tasks.card import Task
from viaduct.tasks.formats import no_line_end
from viaduct.tasks.json_text import json_value
from viaduct.tasks.opening import require_data

SHOWN = 60
"""Characters of a line or an id that a message shows."""


@dataclass(frozen=True)
class FilePair:
    """The predictions of one language and the labels that they are compared with."""

    card: Task
    language: str
    given: Path
    gold: Path
    official: bool
    """Whether to score exactly as evaluate.py does, even where that inflates scores."""

    def named(self, score: Callable[[], FileScore]) -> FileScore:
        """The score; an error in computing it names the file at fault."""
        try:
            return score()
        except DataError as error:
            raise DataError(str(error), path=self.gold if isinstance(error, LabelsError) else self.given) from error


Allowed: TypeAlias = Callable[[str], bool]
Value: TypeAlias = Callable[[Any], Any]
"""Row -> its prediction (None: it has none) or its gold value."""


@dataclass(frozen=True)
class Lines:
    """A format of lines that are compared as stripped text."""

    compare: Callable[[Sequence[str], Sequence[str], bool], FileScore]
    """(labels, predictions, whether what would inflate scores is refused) -> their scores."""
    allowed: Callable[[Sequence[str], Sequence[str] | None], Allowed]
    """(the card's labels, the lines of labels when checking predictions, else None) -> whether a line can be right."""
    write: Callable[[Sequence[Any], Value], Iterable[object]]
    """(rows, value of each) -> lines, without line ends."""
    allowed_in_words: str = ""
    """What a line may be, in words; "" for a label."""
    needs_all: bool = True
    """Whether every row needs a prediction, because a line cannot say that it has none."""
    suffix: str = "tsv"

    def score(self, files: FilePair) -> FileScore:
        """The scores of one language. Raises DataError, naming the file, for anything that cannot be scored."""
        gold, given, labels = read_lines(files.gold), read_lines(files.given), files.card.labels
        wrong = [] if files.official else _not_allowed(gold, self.allowed(labels, None))
        if wrong:
            number, text = wrong[0]
            fix = "name the folder of labels with --gold (XTREME's test files have none), or compare as is: --official"
            raise DataError(self._in_words(text, labels), path=files.gold, line=number, fix=fix)
        if not files.official:
            self._require_end(files.gold, gold, given)
            self._require_end(files.given, given, gold)
        score = files.named(lambda: self.compare(gold, given, not files.official))
        strange = _not_allowed(given, self.allowed(labels, gold))
        if not strange:
            return score
        number, text = strange[0]
        return replace(score, n_strange=len(strange), strange=f"line {number:,}: {self._in_words(text, labels)}")

    def _require_end(self, path: Path, lines: Sequence[str], others: Sequence[str]) -> None:
        """Raise DataError if the last line has no line end, and the other file has a line there that starts with it."""
        last = lines[-1] if lines and not path.read_bytes().endswith((b"\n", b"\r")) else ""
        there = others[-1:] if self.needs_all else others  # pairs can be in any order
        if last and last not in there and any(line.startswith(last) for line in there):
            raise no_line_end(path, len(lines))

    def _in_words(self, line: str, labels: Sequence[str]) -> str:
        close = nearest(line[:SHOWN], labels)
        hint = f" Did you mean '{close}'?" if close else ""
        return f"{line[:SHOWN]!r} is not {self.allowed_in_words or ' or '.join(labels)}.{hint}"

    def predictions(self, rows: Sequence[Row], given: Predictions) -> str:
        """The text of a file of predictions. Raises DataError for a row without one, if the format needs it."""

        def predicted(row: Row) -> Any:
            if row.id in given:
                return given[row.id].prediction
            if self.needs_all:
                raise DataError(f"row '{row.id}' has no prediction, and the format has no way to say so")
            return None

        return "".join(f"{line}\n" for line in self.write(rows, predicted))

    def labels(self, rows: Sequence[Row]) -> str:
        """The text of the file of labels. Raises DataError for a row without a gold value."""
        return "".join(f"{line}\n" for line in self.write(rows, _gold))


def _not_allowed(lines: Sequence[str], allowed: Allowed) -> list[tuple[int, str]]:
    """(number, text) of each line that is not allowed."""
    return [(number, text) for number, text in enumerate(lines, start=1) if not allowed(text)]


def _compare_lines(gold: Sequence[str], given: Sequence[str], _: bool) -> FileScore:
    return label_scores(gold, given)


LABELS = Lines(_compare_lines, lambda labels, _: frozenset(labels).__contains__, lambda rows, value: map(value, rows))
"""A label per line, in the order of the rows."""


def _compare_tags(gold: Sequence[str], given: Sequence[str], strict: bool) -> FileScore:
    return tag_scores(_sentences(gold), _sentences(given), strict=strict)


def _sentences(lines: Sequence[str]) -> list[list[str]]:
    """Tags by sentence: every blank line ends one, so two in a row make an empty sentence, as in the script."""
    found: list[list[str]] = [[]]
    for line in lines:
        if line:
            found[-1].append(line)
        else:
            found.append([])
    return found if found[-1] else found[:-1]


def _write_tags(rows: Sequence[Tagged], value: Value) -> Iterator[str]:
    return (line for row in rows for line in (*value(row), ""))


TAGS = Lines(_compare_tags, lambda labels, _: frozenset((*labels, "")).__contains__, _write_tags)
"""A tag per line, a blank line after each sentence."""


def _is_index(_: Sequence[str], gold: Sequence[str] | None) -> Allowed:
    # Labels that name each line once give the number of candidates; those of a part of the benchmark do not.
    whole = gold is not None and set(gold) == {str(place) for place in range(len(gold))}
    count = len(gold) if gold is not None and whole else 10**9
    return lambda text: (
        text.isascii() and text.isdigit() and len(text) < 10 and str(int(text)) == text and int(text) < count
    )


def _write_indices(rows: Sequence[Sentence], value: Value) -> Iterator[str]:
    places = {row.id: place for place, row in enumerate(_side(rows, "source"))}
    for row in sorted(_side(rows, "target"), key=lambda row: row.text):
        chosen = value(row)
        yield str(places[chosen if isinstance(chosen, str) else chosen[0]])


INDICES = Lines(_compare_lines, _is_index, _write_indices, "an index from 0")
"""For each English sentence, sorted by code points (utils_preprocess.py), the line of its translation, from 0."""


def _compare_pairs(gold: Sequence[str], given: Sequence[str], strict: bool) -> FileScore:
    if strict and not gold:
        raise LabelsError("there are no gold pairs", fix="use the labelled file of this split")
    wanted, found = ({tuple(line.split("\t")) for line in lines} for lines in (gold, given))
    return pair_scores(wanted, found)


def _write_pairs(rows: Sequence[Sentence], value: Value) -> Iterator[str]:
    for row in _side(rows, "source"):
        found = value(row)
        several = (found,) if isinstance(found, str) else found or ()
        yield from (f"{row.id}\t{one}" for one in several)


PAIRS = Lines(
    _compare_pairs,
    lambda *_: lambda text: text.count("\t") == 1,
    _write_pairs,
    "two ids with a tab between",
    needs_all=False,
)
"""The two ids of each pair, with a tab between."""


@dataclass(frozen=True)
class Answers:
    """JSON from question id to answer; the labels are SQuAD's JSON. Both may have an outer "data"."""

    definition: Definition = SQUAD
    suffix: str = "json"

    def score(self, files: FilePair) -> FileScore:
        """The scores of one language. Raises DataError, naming the file, for anything that cannot be scored."""
        unique = not files.official
        questions, answers = read_questions(files.gold, unique=unique), read_answers(files.given, unique=unique)
        return files.named(
            lambda: answer_scores(questions, answers, language=files.language, definition=self.definition)
        )

    def predictions(self, rows: Sequence[Row], given: Predictions) -> str:
        """The text of a file of predictions."""
        answers = {row.id: given[row.id].prediction for row in rows if row.id in given}
        return json.dumps(answers, ensure_ascii=False) + "\n"

    def labels(self, rows: Sequence[Any]) -> str:
        """The text of the file of labels, a paragraph per question. Raises DataError for a row without a gold value."""
        paragraphs = []
        for row in rows:
            answers = [{"text": one.text, "answer_start": one.start} for one in _gold(row)]
            question = {"id": row.id, "question": row.question, "answers": answers}
            paragraphs.append({"context": row.context, "qas": [question]})
        return json.dumps({"version": "1.1", "data": [{"paragraphs": paragraphs}]}, ensure_ascii=False) + "\n"


def read_questions(path: Path, *, unique: bool = True) -> list[Question]:
    """The questions of a file in SQuAD's JSON. Raises DataError for any other JSON, and for ids and answers that are
    not text; with `unique` also for an id or key that occurs twice, and if all answers are blank."""
    try:
        found = [
            Question(one["id"], tuple(answer["text"] for answer in one["answers"]), paragraph.get("context", ""))
            for article in _json(path, unique=unique)
            for paragraph in article["paragraphs"]
            for one in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise DataError(f"not SQuAD's JSON ({type(error).__name__}: {error})", path=path) from error
    for question in found:
        for text in (question.id, question.context, *question.answers):
            if not isinstance(text, str):
                message = f"question {shortened(str(question.id))}: {json_type(text)} in place of a text"
                raise DataError(message, path=path, fix="write ids, contexts and answers as text")
    if unique:
        _require_answers(path, found)
    return found


def _require_answers(path: Path, questions: Sequence[Question]) -> None:
    twice = [id for id, count in Counter(question.id for question in questions).items() if count > 1]
    if twice:
        message = f"the question id '{shortened(twice[0])}' occurs twice"
        raise DataError(message, path=path, fix="remove the repeated question, or count it twice: --official")
    texts = [text for question in questions for text in question.answers]
    if texts and not any(text.strip() for text in texts):
        message = "all answers are blank: they were stripped, so nothing can be scored"
        raise DataError(message, path=path, fix="use the labelled file of this split")


def read_answers(path: Path, *, unique: bool = True) -> Mapping[str, object]:
    """Question id -> answer. Raises DataError for any other JSON, and for an id that occurs twice (with `unique` false,
    the last one counts)."""
    answers = _json(path, unique=unique)
    if not isinstance(answers, dict):
        raise DataError("not a JSON object of question id to answer", path=path, fix='write {"id": "answer", ...}')
    return answers


def _json(path: Path, *, unique: bool) -> Any:
    """The content of a JSON file, without the outer "data" if it has one."""
    text = _text(path)
    if not text.strip():
        raise DataError("the file is empty", path=path, fix='write {"id": "answer", ...}; {} answers nothing')
    raw = json_value(text, path, fix="write it with a JSON library, and each key once", unique=unique)
    return raw["data"] if isinstance(raw, dict) and "data" in raw else raw


def read_lines(path: Path) -> list[str]:
    """The stripped lines of a file; LF, CRLF and CR end a line. Raises DataError if it is not UTF-8."""
    text = _text(path)
    return [line.strip() for line in text.removesuffix("\n").split("\n")] if text else []


def _text(path: Path) -> str:
    try:
        require_data(path)
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        found = f"byte {error.start + 1:,} is 0x{error.object[error.start]:02x}"
        raise DataError(f"the file is not UTF-8: {found}", path=path, fix="write it as UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error


def _side(rows: Sequence[Sentence], side: str) -> list[Sentence]:
    return [row for row in rows if row.side == side]


def _gold(row: Row) -> Any:
    if not row.is_labelled:
        raise DataError(f"row '{row.id}' has no gold label", fix="write the submission without --labels")
    return row.gold


Format: TypeAlias = Lines | Answers
