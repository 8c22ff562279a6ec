"""Rows from a user's own table: what a mapping file (`mapping.py`) says of its columns, done record by record.

Values are taken as they are or refused: text must be text, labels must be declared, answers must be in their contexts.
Every refusal says file, line (Parquet: row), column and value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from viaduct.errors import DataError, NoRowsError, unknown
from viaduct.rows import Answer, Choice, Pair, Row, Sentence, Span, Tagged
from viaduct.tasks.card import Files
from viaduct.tasks.formats import columns, csv_columns, json_objects, parquet
from viaduct.tasks.squad_json import misplaced

Format = Literal["jsonl", "csv", "tsv", "parquet"]


@dataclass(frozen=True)
class Layout:
    """What a mapping file says of the rows."""

    kind: str
    format: Format
    columns: Mapping[str, tuple[str, ...]]
    """Role ("first", "label", ...) -> the column or columns that it is read from."""
    labels: tuple[str, ...]
    """In index order; () for an open set of tags, and for choices that are numbered from 0."""
    rename: Mapping[str, str]
    """Label as the files write it -> ours."""
    words: Mapping[str, str]
    """Language code -> the word for it in the language column."""
    unlabelled: tuple[str, ...]
    """Splits that have no labels; the columns of labels are not read there."""
    no_answer: bool
    first_occurrence: bool


LABELS = ("label", "tags", "answer", "start")
"""Roles that unlabelled splits have not got."""


def reader(layout: Layout) -> Callable[[Files, str, str], Iterator[Row]]:
    """The card's read function for this layout."""

    def read(files: Files, language: str, split: str) -> Iterator[Row]:
        wanted = {
            role: names for role, names in layout.columns.items() if not (role in LABELS and split in layout.unlabelled)
        }
        seen = _Seen()
        found = False
        for index, record in enumerate(_records(files["rows"], layout.format, wanted)):
            if "language" in wanted and not _is_in(record, layout.words[language], seen):
                continue
            found = True
            values = _Values(record, layout, seen)
            id = values.text("id") if "id" in wanted else str(index)
            yield _MAKERS[layout.kind](values, id, language)
        if not found:
            words = ", ".join(sorted(seen.languages))
            raise NoRowsError(
                f"no row is in '{layout.words[language]}'" + (f"; the languages there are {words}" if words else ""),
                path=files["rows"][0],
                fix="give the word that the column has for it under [language_words]",
            )

    return read


@dataclass
class _Seen:
    """What was met in the file so far."""

    types: dict[str, tuple[type, str]] = field(default_factory=dict)
    """Role -> type of its first value, and where that is."""
    languages: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Record:
    """The values of one record by role, and where it is."""

    path: Path
    line: int | None
    row: int
    values: Mapping[str, Any]
    names: Mapping[str, tuple[str, ...]]

    @property
    def where(self) -> str:
        return f"row {self.row}" if self.line is None else f"line {self.line}"

    def error(self, role: str, message: str, fix: str | None = None) -> DataError:
        row = f"row {self.row}: " if self.line is None else ""
        column = " and ".join(f"'{name}'" for name in self.names[role])
        return DataError(f"{row}column {column}: {message}", path=self.path, line=self.line, fix=fix)


def _records(paths: Sequence[Path], format: Format, wanted: Mapping[str, tuple[str, ...]]) -> Iterator[_Record]:
    names = tuple(dict.fromkeys(name for one in wanted.values() for name in one))
    for row, (path, line, fields) in enumerate(_fields(paths, format, names)):
        picked = {name: _pick(fields, name, path, line) for name in names}
        values = {
            role: picked[one[0]] if len(one) == 1 else [picked[name] for name in one] for role, one in wanted.items()
        }
        yield _Record(path, line, row, values, wanted)


def _fields(
    paths: Sequence[Path], format: Format, names: tuple[str, ...]
) -> Iterator[tuple[Path, int | None, Mapping[str, Any]]]:
    """(file, line, top-level column -> value) of every record of all files."""
    if format == "parquet":
        tops = tuple(dict.fromkeys(name.partition(".")[0] for name in names))
        for values in parquet(paths, tops, holes=True):
            yield paths[0], None, dict(zip(tops, values, strict=True))
        return
    for path in paths:
        if format == "jsonl":
            for number, record in json_objects(path):
                yield path, number, record
        else:
            rows = csv_columns(path, names) if format == "csv" else columns(path, names, quoting="detect")
            for number, given in rows:
                yield path, number, dict(zip(names, given, strict=True))


def _pick(value: Any, name: str, path: Path, line: int | None) -> Any:
    """The value of the column; "a.b" looks into objects, and into the objects of a list one by one."""
    if isinstance(value, Mapping) and name in value:
        return value[name]
    if isinstance(value, list):
        return [_pick(one, name, path, line) for one in value]
    top, dot, rest = name.partition(".")
    if isinstance(value, Mapping) and dot and top in value:
        return _pick(value[top], rest, path, line)
    if not isinstance(value, Mapping):
        raise DataError(f"there is no '{name}' in {_shown(value)}, which has no fields", path=path, line=line)
    raise DataError(str(unknown("column", name, value)), path=path, line=line)


def _is_in(record: _Record, word: str, seen: _Seen) -> bool:
    given = str(record.values["language"])
    seen.languages.add(given)
    return given == word


@dataclass(frozen=True)
class _Values:
    """The values of one record, each checked for what its role needs."""

    record: _Record
    layout: Layout
    seen: _Seen

    def has(self, role: str) -> bool:
        return role in self.record.values

    def text(self, role: str, *, blank: bool = False) -> str:
        value = self.record.values[role]
        if role == "id" and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self._text(role, value, blank=blank)

    def _text(self, role: str, value: Any, *, blank: bool = False) -> str:
        if not isinstance(value, str):
            raise self.record.error(role, f"{_shown(value)} where text is due")
        if not blank and not value.strip():
            raise self.record.error(role, "the text is blank", "take the row out of the file, or fill it")
        return value

    def texts(self, role: str, *, words: bool = False) -> tuple[str, ...]:
        """The texts of a list; with `words` also those of a text between blanks."""
        value = self.record.values[role]
        if words and isinstance(value, str):
            value = value.split()
        if not isinstance(value, list) or not value:
            raise self.record.error(role, f"{_shown(value)} where a list of texts is due")
        return tuple(self._text(role, one) for one in value)

    def label(self) -> str | None:
        return self._label("label", self.record.values["label"]) if self.has("label") else None

    def tags(self) -> tuple[str, ...] | None:
        if not self.has("tags"):
            return None
        value = self.record.values["tags"]
        value = value.split() if isinstance(value, str) else value
        if not isinstance(value, list):
            raise self.record.error("tags", f"{_shown(value)} where a list of tags is due")
        return tuple(self._label("tags", one) for one in value)

    def _label(self, role: str, value: Any) -> str:
        if value is None or value == "":
            fix = "take the row out; a split without any labels is named under `unlabelled`"
            raise self.record.error(role, "there is no label", fix)
        if not isinstance(value, str | int):
            raise self.record.error(role, f"{_shown(value)} where a label (text or whole number) is due")
        first, where = self.seen.types.setdefault(role, (type(value), self.record.where))
        if type(value) is not first:
            fix = "write all labels of the file in one way"
            raise self.record.error(role, f"{_shown(value)} here, but {_NAMES[first]} in {where}", fix)
        text = str(value).lower() if isinstance(value, bool) else str(value)
        text = self.layout.rename.get(text, text)
        if self.layout.labels and text not in self.layout.labels:
            raise self.record.error(role, str(unknown("label", text, self.layout.labels)))
        return text

    def number(self, role: str, value: Any) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit():
            return int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.record.error(role, f"{_shown(value)} where a whole number is due")
        return value

    def answers(self, context: str) -> tuple[Answer, ...] | None:
        """The answers with their places; None in unlabelled splits."""
        if not self.has("answer"):
            return None
        given = self.record.values["answer"]
        texts = [] if given is None or given == "" else given if isinstance(given, list) else [given]
        if not texts:
            if not self.layout.no_answer:
                fix = "write `no_answer = true` in the mapping if questions may have none"
                raise self.record.error("answer", "there is no answer", fix)
            return ()
        texts = [self._text("answer", text) for text in texts]
        starts = self._starts(texts) if self.has("start") else [self._place(context, text) for text in texts]
        answers = tuple(Answer(text, start) for text, start in zip(texts, starts, strict=True))
        for answer in answers:
            problem = misplaced(context, answer)
            if problem is not None:
                fix = "`start` counts characters (not bytes) from 0"
                raise self.record.error("answer", f"the answer '{answer.text}' {problem}", fix)
        return answers

    def _starts(self, texts: Sequence[str]) -> list[int]:
        given = self.record.values["start"]
        starts = [self.number("start", one) for one in (given if isinstance(given, list) else [given])]
        if len(starts) != len(texts):
            raise self.record.error("start", f"{len(starts)} places for {len(texts)} answers")
        return starts

    def _place(self, context: str, text: str) -> int:
        """Where the answer stands, for files that do not say so."""
        start = context.find(text)
        if start < 0:
            raise self.record.error("answer", f"the answer '{text}' does not occur in its context")
        if context.find(text, start + 1) >= 0 and not self.layout.first_occurrence:
            fix = "name a column `start`, or write `first_occurrence = true` in the mapping to take the first"
            raise self.record.error("answer", f"the answer '{text}' occurs more than once in its context", fix)
        return start


_NAMES: Mapping[type, str] = {str: "text", int: "a number", bool: "true or false"}


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{str(value)[:60]!r} ({type(value).__name__})"


def _pair(values: _Values, id: str, language: str) -> Pair:
    return Pair(id, language, values.text("first"), values.text("second"), values.label())


def _parallel(values: _Values, id: str, language: str) -> Pair:
    return Pair(id, language, values.text("first"), values.text("second"), None)


def _text(values: _Values, id: str, language: str) -> Sentence:
    return Sentence(id, language, values.text("text"), match=())


def _choice(values: _Values, id: str, language: str) -> Choice:
    question = values.text("question", blank=True) if values.has("question") else ""
    choices = values.texts("choices")
    label = values.label()
    index = None
    if label is not None:
        index = values.layout.labels.index(label) if values.layout.labels else values.number("label", label)
        if not 0 <= index < len(choices):
            fix = 'choices count from 0; if yours count otherwise, give [labels] order = ["1", "2", ...]'
            raise values.record.error("label", f"there is no choice {label!r} among {len(choices)}", fix)
    return Choice(id, language, values.text("context"), question, choices, index)


def _tagged(values: _Values, id: str, language: str) -> Tagged:
    tokens, tags = values.texts("tokens", words=True), values.tags()
    if tags is not None and len(tags) != len(tokens):
        raise values.record.error("tags", f"{len(tags)} tags for {len(tokens)} tokens")
    return Tagged(id, language, tokens, tags)


def _span(values: _Values, id: str, language: str) -> Span:
    context = values.text("context")
    return Span(id, language, context, values.text("question"), values.answers(context))


_MAKERS: Mapping[str, Callable[[_Values, str, str], Row]] = {
    "pair": _pair,
    "choice": _choice,
    "tagged": _tagged,
    "span": _span,
    "text": _text,
    "parallel": _parallel,
}
