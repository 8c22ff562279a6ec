"""A user's own task in one small TOML or YAML file: which columns of which files hold what. It becomes a card.

    name = "replies"
    kind = "pair"
    path = "replies/{split}.{language}.jsonl"
    languages = ["en", "de"]

    [columns]
    first = "question"
    second = "reply"
    label = "label"

    [labels]
    order = ["no", "yes"]

This module reads such a file and reports what is wrong with it; `columns.py` reads the records of the data files that
it names, and `mapped.py` turns them into rows.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from viaduct.errors import DataError, NoRowsError, UsageError, ViaductError
from viaduct.languages import language
from viaduct.metrics.score import MetricFunction
from viaduct.rows import Row
from viaduct.tasks.card import Files, Hub, Reader, Source, Tally, Task
from viaduct.tasks.columns import FileFormat, Place, format_of, records
from viaduct.tasks.kind import RowKind, row_kinds
from viaduct.tasks.mapped import Mapped, Reading, RefusedError, made, value_shown
from viaduct.tasks.written import explain, parsed

SUFFIXES = (".toml", ".yaml", ".yml")
"""Suffixes of mapping files."""

READING = 1
"""Bump this when a change here, in `columns.py` or in `mapped.py` can change a row."""

Split = Literal["train", "dev", "test"]

EARLIER_ROLES = (
    "id", "language", "first", "second", "label", "context", "question", "choices", "tokens", "tags", "answer", "start",
    "text",
)  # fmt: skip
"""Roles that version numbers were made from before kinds named their own: None for those that a mapping lacks."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Labels(_Strict):
    """The labels in index order, and how the files write them."""

    order: Names = ()
    rename: dict[str, str] = {}
    """Label in the files -> label in `order`."""


class MappingFile(_Strict):
    """The fields of a mapping file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    title: str = ""
    kind: str
    path: str
    """Below the data folder (with `hub`: below that repository); {split}, {language} and {iso3} are filled in, * is a
    glob."""
    format: FileFormat | None = None
    """None: taken from the file's suffix."""
    hub: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    """Dataset on the Hugging Face Hub, "owner/name"."""
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    """Commit of the Hub dataset."""
    languages: Names = Field(min_length=1)
    language_words: dict[str, str] = {}
    """Code -> the word for it in file names and in the language column, if that is not the code as written in
    `languages`."""
    splits: dict[Split, str] = {"train": "train", "dev": "dev", "test": "test"}
    """Split -> the word for it in file names, "" for a split that does not exist."""
    unlabelled: Annotated[tuple[Split, ...], BeforeValidator(_listed)] = ()
    columns: Any
    """Role -> column in the file; "a.b" is the field `b` of the object (or of each object of the list) `a`. Without
    `id` rows are numbered from 0; `language` is for files with several languages."""
    labels: Labels = Labels()
    no_answer: bool = False
    """Span: a question may have no answer (then its answer is empty)."""
    first_occurrence: bool = False
    """Span without `start`: if an answer occurs several times in its context, the first occurrence is taken."""
    realign: bool = False
    """Span: an answer that is not at its `start` is taken from the nearest place where it occurs as whole words; if
    there is none, the question is left out."""
    metric: str | None = None
    trained_on: str | None = None
    """The card whose English train split trains this task; None: its own."""
    expected: dict[Split, dict[str, int]] = {}
    """Split -> language -> expected number of rows."""
    licence: str = "not stated"
    citation: str = ""

    @property
    def named_splits(self) -> dict[str, str]:
        """The splits that exist, with their words."""
        return {str(split): word for split, word in self.splits.items() if word}


def file_model() -> type[MappingFile]:
    """The model of a mapping file, with the kinds that can be mapped and their roles."""
    kinds = {name: kind.mapped for name, kind in row_kinds().items() if kind.mapped is not None}
    roles = dict.fromkeys(("id", "language", *(role for model in kinds.values() for role in model.roles())))
    several = {role for model in kinds.values() for role in model.several}
    kind: Any = Literal[tuple(kinds)]
    fields: dict[str, Any] = {role: ((Names if role in several else str) | None, None) for role in roles}
    columns = create_model("Columns", __base__=_Strict, **fields)
    return create_model("MappingFile", __base__=MappingFile, kind=(kind, ...), columns=(columns, ...))


def load_mapping(path: Path) -> Task:
    """The card that this TOML or YAML file describes.

    Raises UsageError naming every wrong field, with the nearest right one. The card's version is computed from the
    content, so a changed mapping is never mistaken for the old one.
    """
    raw, model = parsed(path), file_model()
    if not isinstance(raw, Mapping):
        raise UsageError(f"{path}: a mapping file consists of fields, beginning with `name`")
    try:
        mapping = model.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"{path}: {explain(error, model, raw)}") from error
    try:
        return _card(mapping, path)
    except ViaductError as error:
        raise UsageError(f"{path}: {error}") from error


def _card(mapping: MappingFile, path: Path) -> Task:
    given_words = {language(code).code: word for code, word in mapping.language_words.items()}
    words = {language(code).code: given_words.get(language(code).code, code) for code in mapping.languages}
    if len(words) < len(mapping.languages):
        raise UsageError(f"languages: one appears twice among {', '.join(mapping.languages)}")
    kind = row_kinds()[mapping.kind]
    assert kind.mapped is not None  # noqa: S101  the file's model allows no other kind
    named = _columns(mapping, kind.mapped)
    _check_path(mapping)
    _check_labels(mapping, kind)
    hub = None if mapping.hub is None else Hub(mapping.hub, mapping.revision)
    source = Source(
        "official" if hub is None else "hub",
        {"rows": mapping.path},
        _reader(mapping, kind.mapped, named, words),
        mapping.named_splits,
        words,
        hub=hub,
        left_out=_other_languages(mapping, named["language"], words) if "language" in named else None,
    )
    metric, scores = _metric(mapping, kind)
    return Task(
        name=mapping.name,
        version=_version(mapping),
        title=mapping.title or mapping.name,
        kind=mapping.kind,
        languages=tuple(words),
        sources=(source,),
        metric=metric,
        metrics=scores,
        trained_on=None if metric is None else mapping.trained_on or mapping.name,
        licence=mapping.licence,
        citation=mapping.citation,
        labels=() if kind.label_set == "none" else mapping.labels.order,
        unanswerable=mapping.no_answer,
        expected={
            (language(code).code, split): count
            for split, counts in mapping.expected.items()
            for code, count in counts.items()
        },
        history=(f"made from {path.name}; the version number is that of its content",),
    )


def _version(mapping: MappingFile) -> int:
    about = mapping.model_dump(exclude={"name", "title", "licence", "citation", "expected"})
    if not mapping.realign:
        del about["realign"]  # for the same version as before this field existed
    about["splits"] = mapping.named_splits
    given = {role: names for role, names in about["columns"].items() if names is not None}
    about["columns"] = {**dict.fromkeys(EARLIER_ROLES), **given}
    digest = hashlib.sha256(json.dumps([READING, about], sort_keys=True).encode()).hexdigest()
    return int(digest[:7], 16)


def _columns(mapping: MappingFile, model: type[Mapped]) -> dict[str, tuple[str, ...]]:
    """Role -> columns. Raises UsageError if the kind needs another role or has no use for one."""
    given: dict[str, Any] = mapping.columns.model_dump(exclude_none=True)
    needed = [role for role in model.roles() if role not in model.optional]
    allowed = (*needed, *model.optional, "id", "language")
    for role in needed:
        if role not in given:
            raise UsageError(f"kind '{mapping.kind}' needs {role} under [columns]", fix=f"roles: {', '.join(allowed)}")
    for role in given:
        if role not in allowed:
            message = f"kind '{mapping.kind}' has no use for {role} under [columns]"
            raise UsageError(message, fix=f"roles: {', '.join(allowed)}")
    return {role: (names,) if isinstance(names, str) else tuple(names) for role, names in given.items()}


def _check_path(mapping: MappingFile) -> None:
    if mapping.path.startswith(("/", "~")) or ".." in PurePosixPath(mapping.path).parts:
        raise UsageError(f"path '{mapping.path}' leaves the data folder", fix="name files below the folder of --data")
    fields = {name for _, name, _, _ in string.Formatter().parse(mapping.path) if name is not None}
    for name in fields:
        if name not in ("split", "language", "iso3"):
            message = f"path '{mapping.path}' has an unknown {{{name}}}"
            raise UsageError(message, fix="use {split}, {language} and {iso3}")
    _check_splits(mapping, fields)
    told = {"language", "iso3"} & fields or mapping.columns.language is not None
    if len(mapping.languages) > 1 and not told:
        message = f"{len(mapping.languages)} languages, but neither `path` nor a column tells them apart"
        raise UsageError(message, fix="write {language} in `path`, or give the column `language`")


def _check_splits(mapping: MappingFile, fields: Collection[str]) -> None:
    """If file names tell splits apart, all three must be named: a forgotten one would be lost."""
    there = mapping.named_splits
    if "split" not in fields and len(there) > 1:
        message = f"path '{mapping.path}' has no {{split}}, but there are {len(there)} splits"
        raise UsageError(message, fix="write {split} where the file names differ, or give only one under [splits]")
    lost = [name for name in get_args(Split) if name not in mapping.splits]
    if "split" in fields and lost:
        given = ", ".join(f'{name} = "{word}"' for name, word in mapping.splits.items())
        raise UsageError(
            f"[splits] has {given} but lacks {' and '.join(lost)}",
            fix=f'name all three: {lost[0]} = "{lost[0]}" if its files are called that, {lost[0]} = "" if it has none',
        )
    if not there:
        raise UsageError("[splits] has no split", fix="name at least one, with its word in file names")


def _check_labels(mapping: MappingFile, kind: RowKind) -> None:
    order = mapping.labels.order
    doubled = sorted({label for label in order if order.count(label) > 1})
    if doubled:
        raise UsageError(f"label '{doubled[0]}' appears twice in labels.order")
    if kind.label_set == "closed" and not order:
        raise UsageError(f"kind '{kind.name}' needs labels.order, all labels in a fixed order")
    for given, ours in mapping.labels.rename.items():
        if order and ours not in order:
            raise UsageError(f"labels.rename: '{given}' becomes '{ours}', which is not in labels.order")


def _metric(mapping: MappingFile, kind: RowKind) -> tuple[MetricFunction | None, tuple[str, ...]]:
    known = kind.metrics
    if mapping.metric is not None and mapping.metric not in known:
        message = f"kind '{mapping.kind}' has no metric '{mapping.metric}'"
        raise UsageError(message, fix=f"use {', '.join(known)}" if known else "leave `metric` out")
    if not known:
        return None, ()
    default = "squad2" if mapping.no_answer else next(iter(known))
    return known[mapping.metric or default]


def _shows_cuts(labels: Iterable[str]) -> bool:
    """Whether none of these labels is a prefix of another, so that a truncated label is never a valid one."""
    return not any(later.startswith(one) for one, later in pairwise(sorted(set(labels))))


def _require_language(given: object, words: Mapping[str, str], place: Place) -> None:
    """Raise DataError if `given` is not a word, or if it is another spelling of a declared language's word."""
    if given in words.values():
        return
    path, line, where = place
    told = f"{'' if line else f'{where}: '}the language is {value_shown(given)}"
    if not isinstance(given, str) or not given.strip():
        raise DataError(f"{told}, but must be a word", path=path, line=line, fix="fill it in, or remove the row")
    bare = given.strip().casefold()
    for code, word in words.items():
        if bare in {name.casefold() for name in (word, code, language(code).iso3, language(code).name)}:
            fix = f"write '{word}' in all rows, or give their word under [language_words]"
            raise DataError(f"{told}, but rows of '{code}' have '{word}'", path=path, line=line, fix=fix)


def _other_languages(mapping: MappingFile, column: tuple[str, ...], words: Mapping[str, str]) -> Tally:
    """A function that counts the rows in languages that the mapping does not declare, by the files' words for them."""
    form = mapping.format or format_of(mapping.path)

    def count(files: Files) -> Mapping[str, int]:
        found = (values["language"] for _, values in records(files["rows"], form, {"language": column}, column))
        return Counter(str(given) for given in found if given not in words.values())

    return count


def _reader(
    mapping: MappingFile, model: type[Mapped], named: Mapping[str, tuple[str, ...]], words: Mapping[str, str]
) -> Reader:
    """The card's read function."""
    form = mapping.format or format_of(mapping.path)

    labels = (*mapping.labels.order, *mapping.labels.rename) or map(str, range(len(named.get("choices", ()))))
    closed = named.get("label", ()) if _shows_cuts(labels) else ()

    def read(files: Files, language: str, split: str) -> Iterator[Row]:
        bare = model.gold if split in mapping.unlabelled else ()
        wanted = {role: names for role, names in named.items() if role not in bare}
        reading = Reading(
            mapping.labels.order, mapping.labels.rename, mapping.no_answer, mapping.first_occurrence, mapping.realign
        )
        languages = set()
        for index, (place, values) in enumerate(records(files["rows"], form, wanted, closed)):
            path, line, where = place
            given = values.get("language", words[language])
            if not isinstance(given, str) or given not in languages:
                _require_language(given, words, place)
            languages.add(given)
            if given != words[language]:
                continue
            reading.where = where
            try:
                row = made(model, {"id": str(index), **values, "language": language}, reading)
            except RefusedError as error:
                column = " and ".join(f"'{name}'" for name in named[error.role])
                message = f"{f'{where}: ' if line is None else ''}column {column}: {error.message}"
                raise DataError(message, path=path, line=line, fix=error.fix) from error
            if row is not None:
                yield row
        if not languages:
            raise DataError("the file has no rows", path=files["rows"][0], fix="fill it in, or remove the file")
        if words[language] not in languages:
            raise NoRowsError(
                f"no row is in '{words[language]}'; the languages found are {', '.join(sorted(languages))}",
                path=files["rows"][0],
                fix="give the word that the column has for it under [language_words]",
            )

    return read
