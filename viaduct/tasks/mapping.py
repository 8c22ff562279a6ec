"""A task of one's own in one small TOML or YAML file: which columns of which files are what. It becomes a card.

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

This module reads such a file and says what is wrong with it; `mapped_rows.py` reads the rows.
"""

from __future__ import annotations

import hashlib
import json
import string
import tomllib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from viaduct.errors import UsageError, ViaductError, nearest
from viaduct.languages import language
from viaduct.metrics.classification import accuracy, paraphrase_scores
from viaduct.metrics.qa import mlqa_scores, squad2_scores, squad_scores
from viaduct.metrics.score import MetricFunction
from viaduct.metrics.tagging import panx_scores, tag_accuracy
from viaduct.tasks.card import Hub, Source, Task
from viaduct.tasks.mapped_rows import Format, Layout, reader

SUFFIXES = (".toml", ".yaml", ".yml")
"""Of mapping files."""

READING = 1
"""Raised with every change here or in `mapped_rows.py` that can change a row."""

Kind = Literal["pair", "choice", "tagged", "span", "text", "parallel"]
Split = Literal["train", "dev", "test"]

NEEDED: Mapping[str, tuple[str, ...]] = {
    "pair": ("first", "second", "label"),
    "choice": ("context", "choices", "label"),
    "tagged": ("tokens", "tags"),
    "span": ("context", "question", "answer"),
    "text": ("text",),
    "parallel": ("first", "second"),
}
"""Kind -> the columns that it must name."""

OPTIONAL: Mapping[str, tuple[str, ...]] = {"choice": ("question",), "span": ("start",)}
"""Kind -> those that it may name; every kind may name `id` and `language`."""

_SPAN = ("f1", "exact_match")
METRICS: Mapping[str, Mapping[str, tuple[MetricFunction, tuple[str, ...]]]] = {
    "pair": {
        "accuracy": (accuracy, ("accuracy",)),
        "paraphrase": (paraphrase_scores, ("accuracy", "f1")),
    },
    "choice": {"accuracy": (accuracy, ("accuracy",))},
    "tagged": {
        "accuracy": (tag_accuracy, ("token_accuracy",)),
        "entities": (panx_scores, ("f1", "precision", "recall", "token_accuracy")),
    },
    "span": {"squad": (squad_scores, _SPAN), "squad2": (squad2_scores, _SPAN), "mlqa": (mlqa_scores, _SPAN)},
}
"""Kind -> name -> metric and the scores that it gives, the default first."""

_FORMATS: Mapping[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Columns(_Strict):
    """Role -> column in the file; "a.b" is the field `b` of the object (or of each object of the list) `a`."""

    id: str | None = None
    """None: the number of the record in its file, from 0."""
    language: str | None = None
    """Where one file holds several languages: the column that says which."""
    first: str | None = None
    second: str | None = None
    label: str | None = None
    context: str | None = None
    question: str | None = None
    choices: Names | None = None
    """One column that holds a list, or a list of columns with one choice each."""
    tokens: str | None = None
    """A list, or words between blanks; `tags` alike."""
    tags: str | None = None
    answer: str | None = None
    """One text or a list of texts."""
    start: str | None = None
    """Where the answers begin in the context, in characters from 0."""
    text: str | None = None


class Labels(_Strict):
    """The labels in index order, and what the files write for them."""

    order: Names = ()
    rename: dict[str, str] = {}
    """Label in the files -> label in `order`."""


class MappingFile(_Strict):
    """What such a file may say."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    title: str = ""
    kind: Kind
    path: str
    """Below the data folder (with `hub`: below that repository); {split}, {language} and {iso3} are filled in, * is a
    glob."""
    format: Format | None = None
    """None: as the file's name ends."""
    hub: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    """Dataset on the Hugging Face Hub, "owner/name"."""
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    """Its commit."""
    languages: Names = Field(min_length=1)
    language_words: dict[str, str] = {}
    """Code -> the word for it in file names and in the language column, where that is not the code."""
    splits: dict[Split, str] = {"train": "train", "dev": "dev", "test": "test"}
    """Split -> the word for it in file names; a split that is absent here does not exist."""
    unlabelled: Annotated[tuple[Split, ...], BeforeValidator(_listed)] = ()
    columns: Columns
    labels: Labels = Labels()
    no_answer: bool = False
    """Span: a question may have no answer (then its answer is empty)."""
    first_occurrence: bool = False
    """Span without `start`: an answer that occurs several times in its context stands at the first place."""
    metric: str | None = None
    trained_on: str | None = None
    """The card whose English train split trains this task; None: its own."""
    expected: dict[Split, dict[str, int]] = {}
    """Split -> language -> number of rows that there should be."""
    licence: str = "not stated"
    citation: str = ""


_PARTS: Mapping[str, type[BaseModel]] = {"columns": Columns, "labels": Labels}


def load_mapping(path: Path) -> Task:
    """The card that this TOML or YAML file describes.

    Raises UsageError that names every wrong field, with the nearest right one. Its version follows from the content, so
    a changed mapping is never taken for the old one.
    """
    raw = _parsed(path)
    try:
        mapping = MappingFile.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"{path}: {_explain(error)}") from error
    try:
        return _card(mapping, path)
    except ViaductError as error:
        raise UsageError(f"{path}: {error}") from error


def _parsed(path: Path) -> Mapping[str, Any]:
    text = path.read_text(encoding="utf-8")
    try:
        raw = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        raise UsageError(f"{path}{where}: not YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(raw, Mapping):
        raise UsageError(f"{path}: a mapping file consists of fields, beginning with `name`")
    return raw


def _explain(error: ValidationError) -> str:
    """All problems, one line each: the field, what was given, what is allowed."""
    lines = []
    for problem in error.errors(include_url=False):
        names = [str(part) for part in problem["loc"]]
        where = ".".join(names)
        if problem["type"] == "extra_forbidden":
            model: type[BaseModel] = _PARTS.get(names[0], MappingFile)
            close = nearest(names[-1], model.model_fields)
            hint = f"did you mean '{close}'?" if close else f"known: {', '.join(model.model_fields)}"
            lines.append(f"unknown field '{where}'; {hint}")
        elif problem["type"] == "missing":
            lines.append(f"the field '{where}' is missing")
        else:
            message = str(problem["msg"]).replace("valid tuple", "list")
            lines.append(f"{where}: {problem['input']!r} was given; {message[0].lower()}{message[1:]}")
    return "\n    ".join(dict.fromkeys(lines))


def _card(mapping: MappingFile, path: Path) -> Task:
    for code in (*mapping.languages, *mapping.language_words):
        language(code)
    columns = _columns(mapping)
    _check_path(mapping)
    _check_labels(mapping)
    words = {code: mapping.language_words.get(code, code) for code in mapping.languages}
    layout = Layout(
        kind=mapping.kind,
        format=mapping.format or _format(mapping.path),
        columns=columns,
        labels=mapping.labels.order,
        rename=mapping.labels.rename,
        words=words,
        unlabelled=mapping.unlabelled,
        no_answer=mapping.no_answer,
        first_occurrence=mapping.first_occurrence,
    )
    hub = None if mapping.hub is None else Hub(mapping.hub, mapping.revision)
    source = Source(
        "official" if hub is None else "hub",
        {"rows": mapping.path},
        reader(layout),
        {str(split): word for split, word in mapping.splits.items()},
        words,
        hub=hub,
    )
    metric, scores = _metric(mapping)
    return Task(
        name=mapping.name,
        version=_version(mapping),
        title=mapping.title or mapping.name,
        kind=mapping.kind,
        languages=mapping.languages,
        sources=(source,),
        metric=metric,
        metrics=scores,
        trained_on=None if metric is None else mapping.trained_on or mapping.name,
        licence=mapping.licence,
        citation=mapping.citation,
        labels=mapping.labels.order if mapping.kind in ("pair", "tagged") else (),
        unanswerable=mapping.no_answer,
        expected={(code, split): count for split, counts in mapping.expected.items() for code, count in counts.items()},
        history=(f"made from {path.name}; the version number is that of its content",),
    )


def _version(mapping: MappingFile) -> int:
    about = mapping.model_dump(exclude={"name", "title", "licence", "citation", "expected"})
    digest = hashlib.sha256(json.dumps([READING, about], sort_keys=True).encode()).hexdigest()
    return int(digest[:7], 16)


def _columns(mapping: MappingFile) -> dict[str, tuple[str, ...]]:
    """Role -> columns, complete for the kind and without a useless one."""
    given: dict[str, Any] = mapping.columns.model_dump(exclude_none=True)
    needed = NEEDED[mapping.kind]
    allowed = (*needed, *OPTIONAL.get(mapping.kind, ()), "id", "language")
    for role in needed:
        if role not in given:
            raise UsageError(f"kind '{mapping.kind}' needs {role} under [columns]", fix=f"it has {', '.join(allowed)}")
    for role in given:
        if role not in allowed:
            message = f"kind '{mapping.kind}' has no use for {role} under [columns]"
            raise UsageError(message, fix=f"it has {', '.join(allowed)}")
    return {role: (names,) if isinstance(names, str) else tuple(names) for role, names in given.items()}


def _check_path(mapping: MappingFile) -> None:
    if mapping.path.startswith(("/", "~")) or ".." in PurePosixPath(mapping.path).parts:
        raise UsageError(f"path '{mapping.path}' leaves the data folder", fix="name files below the folder of --data")
    fields = {name for _, name, _, _ in string.Formatter().parse(mapping.path) if name is not None}
    for name in fields:
        if name not in ("split", "language", "iso3"):
            message = f"path '{mapping.path}' has an unknown {{{name}}}"
            raise UsageError(message, fix="use {split}, {language} and {iso3}")
    if "split" not in fields and len(mapping.splits) > 1:
        message = f"path '{mapping.path}' has no {{split}}, but there are {len(mapping.splits)} splits"
        raise UsageError(message, fix="write {split} where the file names differ, or give only one under [splits]")
    told = {"language", "iso3"} & fields or mapping.columns.language is not None
    if len(mapping.languages) > 1 and not told:
        message = f"{len(mapping.languages)} languages, but neither `path` nor a column tells them apart"
        raise UsageError(message, fix="write {language} in `path`, or give the column `language`")


def _check_labels(mapping: MappingFile) -> None:
    order = mapping.labels.order
    doubled = sorted({label for label in order if order.count(label) > 1})
    if doubled:
        raise UsageError(f"label '{doubled[0]}' is twice in labels.order")
    if mapping.kind == "pair" and not order:
        raise UsageError("kind 'pair' needs labels.order, all labels in a fixed order")
    for given, ours in mapping.labels.rename.items():
        if order and ours not in order:
            raise UsageError(f"labels.rename: '{given}' becomes '{ours}', which is not in labels.order")


def _format(path: str) -> Format:
    name = PurePosixPath(path).name.removesuffix(".gz").removesuffix(".bz2").rstrip("*")
    suffix = PurePosixPath(name).suffix
    if suffix not in _FORMATS:
        message = f"path '{path}' does not end like a known format"
        raise UsageError(message, fix=f"give format: {', '.join(dict.fromkeys(_FORMATS.values()))}")
    return _FORMATS[suffix]


def _metric(mapping: MappingFile) -> tuple[MetricFunction | None, tuple[str, ...]]:
    known = METRICS.get(mapping.kind, {})
    if mapping.metric is not None and mapping.metric not in known:
        message = f"kind '{mapping.kind}' has no metric '{mapping.metric}'"
        raise UsageError(message, fix=f"use {', '.join(known)}" if known else "leave `metric` out")
    if not known:
        return None, ()
    default = "squad2" if mapping.no_answer else next(iter(known))
    return known[mapping.metric or default]
