"""Rows from a user's own table: one model per row kind, of what the columns of a mapping file hold.

Values are accepted as they are or refused: text must be text, labels must be declared, answers must be in their
contexts. `mapping.py` reads the records and reports the file, line and column of a refused value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainValidator, ValidationError
from pydantic import ValidationInfo as Info

from viaduct.errors import unknown
from viaduct.rows import Answer, Choice, Pair, Row, Sentence, Span, Tagged, TranslatedPair
from viaduct.tasks.answers import realigned


@dataclass
class Reading:
    """What a mapping file says about its rows, and what has been found in the data file so far."""

    labels: tuple[str, ...] = ()
    """Labels in index order; () for an open set of tags, and for choices that are numbered from 0."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Label as written in the files -> ours."""
    no_answer: bool = False
    first_occurrence: bool = False
    realign: bool = False
    where: str = ""
    """The current record, in words."""
    types: dict[str, tuple[type, str]] = field(default_factory=dict)
    """Label role -> type of its first value, and where that value is."""


class RefusedError(ValueError):
    """Raised for a value that its role cannot have."""

    def __init__(self, message: str, fix: str | None = None, role: str = "") -> None:
        super().__init__(message)
        self.message, self.fix, self.role = message, fix, role


def _filled(text: str) -> str:
    if not text.strip():
        raise RefusedError("the text is blank", "remove the row from the file, or fill it in")
    return text


def _some(texts: list[str]) -> list[str]:
    if not texts:
        raise expected("a list of texts", texts)
    return texts


def _words(value: object) -> object:
    return value.split() if isinstance(value, str) else value


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [] if value is None or value == "" else [value]


def _label(value: object, info: Info) -> str:
    reading: Reading = info.context  # type: ignore[assignment]
    if value is None or value == "":
        raise RefusedError(
            "there is no label", "remove the row; a split without any labels is named under `unlabelled`"
        )
    if not isinstance(value, str | int):
        raise expected("a label (text or whole number)", value)
    first, where = reading.types.setdefault(str(info.field_name), (type(value), reading.where))
    if type(value) is not first:
        what = {str: "text", int: "a number", bool: "true or false"}[first]
        raise RefusedError(
            f"{value_shown(value)} here, but {what} in {where}", "write all labels of the file the same way"
        )
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text = reading.rename.get(text, text)
    if reading.labels and text not in reading.labels:
        raise RefusedError(str(unknown("label", text, reading.labels)))
    return text


def _tags(value: object, info: Info) -> list[str]:
    given = _words(value)
    if not isinstance(given, list):
        raise expected("a list of tags", given)
    return [_label(one, info) for one in given]


def _number(value: object, role: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise expected("a whole number", value, role)
    return value


def value_shown(value: object) -> str:
    """A value with its type, for error messages."""
    return "nothing" if value is None else f"{str(value)[:60]!r} ({type(value).__name__})"


def expected(what: str, value: object, role: str = "") -> RefusedError:
    """The error for a value that is not `what`."""
    return RefusedError(f"{value_shown(value)} where {what} is expected", role=role)


Text = Annotated[str, AfterValidator(_filled)]
Label = Annotated[str | None, PlainValidator(_label)]


class Mapped(BaseModel):
    """One record: role -> value. Fields other than `id` and `language` are the kind's own roles."""

    model_config = ConfigDict(strict=True)
    gold: ClassVar[tuple[str, ...]] = ()
    """Roles that are absent in splits without labels."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Roles that need no column."""
    several: ClassVar[tuple[str, ...]] = ()
    """Roles that may be given as several columns with one text each."""

    id: Annotated[Text, BeforeValidator(lambda id: str(id) if type(id) is int else id)]
    language: str

    @classmethod
    def roles(cls) -> tuple[str, ...]:
        """Roles of the kind, in the order in which they are checked."""
        return tuple(name for name in cls.model_fields if name not in Mapped.model_fields)

    def row(self, reading: Reading) -> Row | None:
        """The row; None if it is left out. Raises RefusedError if values do not fit together."""
        raise NotImplementedError


def made(model: type[Mapped], values: Mapping[str, Any], reading: Reading) -> Row | None:
    """The row of this record; None if it is left out. Raises RefusedError with the role of the first value that is
    wrong."""
    try:
        return model.model_validate(values, context=reading).row(reading)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        role, cause = str(first["loc"][0]), first.get("ctx", {}).get("error")
        if isinstance(cause, RefusedError):
            raise RefusedError(cause.message, cause.fix, role) from error
        what = "text" if first["type"] == "string_type" else "a list of texts"
        raise expected(what, first["input"], role) from error


class MappedParallel(Mapped):
    """Two texts, the first in English."""

    first: Text
    second: Text

    def row(self, _reading: Reading) -> Row:
        """A pair without a label."""
        return Pair(self.id, self.language, self.first, self.second, None)


class MappedPair(MappedParallel):
    """Two texts and a label."""

    gold: ClassVar[tuple[str, ...]] = ("label",)
    optional: ClassVar[tuple[str, ...]] = ("first_original", "second_original")
    label: Label = None
    first_original: Text | None = None
    second_original: Text | None = None

    def row(self, _reading: Reading) -> Row:
        """A pair, with the original texts that it translates if they are given."""
        given = (self.id, self.language, self.first, self.second, self.label)
        originals = (self.first_original, self.second_original)
        return TranslatedPair(*given, originals) if any(originals) else Pair(*given)


class MappedText(Mapped):
    """A text."""

    text: Text

    def row(self, _reading: Reading) -> Row:
        """A sentence without translations."""
        return Sentence(self.id, self.language, self.text, match=())


class MappedChoice(Mapped):
    """A context, choices and the right one: its label among the declared ones, or its number from 0."""

    gold: ClassVar[tuple[str, ...]] = ("label",)
    optional: ClassVar[tuple[str, ...]] = ("question",)
    several: ClassVar[tuple[str, ...]] = ("choices",)
    context: Text
    choices: Annotated[list[Text], AfterValidator(_some)]
    label: Label = None
    question: str = ""

    def row(self, reading: Reading) -> Row:
        """A choice."""
        index = None
        if self.label is not None:
            index = reading.labels.index(self.label) if reading.labels else _number(self.label, "label")
            if not 0 <= index < len(self.choices):
                fix = 'choices count from 0; if yours count otherwise, give [labels] order = ["1", "2", ...]'
                raise RefusedError(f"there is no choice {self.label!r} among {len(self.choices)}", fix, "label")
        return Choice(self.id, self.language, self.context, self.question, tuple(self.choices), index)


class MappedTagged(Mapped):
    """Words and their tags, each a list or separated by whitespace."""

    gold: ClassVar[tuple[str, ...]] = ("tags",)
    tokens: Annotated[list[Text], BeforeValidator(_words), AfterValidator(_some)]
    tags: Annotated[list[str] | None, PlainValidator(_tags)] = None

    def row(self, _reading: Reading) -> Row:
        """A tagged sentence."""
        if self.tags is not None and len(self.tags) != len(self.tokens):
            raise RefusedError(f"{len(self.tags)} tags for {len(self.tokens)} tokens", role="tags")
        tags = None if self.tags is None else tuple(self.tags)
        return Tagged(self.id, self.language, tuple(self.tokens), tags)


class MappedSpan(Mapped):
    """A context, a question and its answers: one text or several, and where they begin in the context."""

    gold: ClassVar[tuple[str, ...]] = ("answer", "start")
    optional: ClassVar[tuple[str, ...]] = ("start",)
    context: Text
    question: Text
    answer: Annotated[list[Text] | None, BeforeValidator(_listed)] = None
    start: Any = None

    def row(self, reading: Reading) -> Row | None:
        """A question, whose answers are None in splits without labels; None if `realign` cannot find an answer."""
        answers = None if self.answer is None else self._answers(self.answer, reading)
        row = Span(self.id, self.language, self.context, self.question, answers)
        return realigned(row) if reading.realign else row

    def _answers(self, texts: list[str], reading: Reading) -> tuple[Answer, ...]:
        if not texts and not reading.no_answer:
            fix = "write `no_answer = true` in the mapping if questions may have none"
            raise RefusedError("there is no answer", fix, "answer")
        told = "start" in self.model_fields_set
        starts = self._starts(texts) if texts and told else [self._place(text, reading) for text in texts]
        answers = tuple(map(Answer, texts, starts))
        for answer in answers if not reading.realign else ():
            problem = answer.misplaced(self.context)
            if problem is not None:
                fix = "`start` counts characters (not bytes) from 0"
                raise RefusedError(f"the answer '{answer.text}' {problem}", fix, "answer")
        return answers

    def _starts(self, texts: list[str]) -> list[int]:
        given = self.start if isinstance(self.start, list) else [self.start]
        starts = [_number(one, "start") for one in given]
        if len(starts) != len(texts):
            raise RefusedError(f"{len(starts)} places for {len(texts)} answers", role="start")
        return starts

    def _place(self, text: str, reading: Reading) -> int:
        """Where the answer is in the context, for files that do not say so."""
        start = self.context.find(text)
        if start < 0 and not reading.realign:
            raise RefusedError(f"the answer '{text}' does not occur in its context", role="answer")
        if start >= 0 and self.context.find(text, start + 1) >= 0 and not reading.first_occurrence:
            fix = "name a column `start`, or write `first_occurrence = true` in the mapping to take the first"
            raise RefusedError(f"the answer '{text}' occurs more than once in its context", fix, "answer")
        return start
