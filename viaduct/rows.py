"""The row types: one example of any dataset, in one of a few frozen shapes.

Every row has an `id` that is unique within its task, split and language, and a `language` (our code, see `languages`).
A gold value of None means that the file has no label for this row (a stripped test file); it never means "unknown
label".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts and the label of their relation; in parallel text the label is None and `first` is English."""

    id: str
    language: str
    first: str
    second: str
    label: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """A context, a question (may be empty) and candidate endings; `label` is the index of the right one."""

    id: str
    language: str
    context: str
    question: str
    choices: tuple[str, ...]
    label: int | None


@dataclass(frozen=True, slots=True)
class Tagged:
    """A sentence as words with one tag each."""

    id: str
    language: str
    tokens: tuple[str, ...]
    tags: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A gold answer: its text and where it starts in the context, in characters."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Span:
    """A question about a context whose answer is a span of it; `answers` may hold several, () means unanswerable."""

    id: str
    language: str
    context: str
    question: str
    answers: tuple[Answer, ...] | None


@dataclass(frozen=True, slots=True)
class Sentence:
    """One text: a line of monolingual text, or one side of a retrieval task.

    In retrieval, `language` names the language pair's other language for both sides; `side` says whether the text is in
    that language ("source") or in English ("target"); `match` holds the ids of its translations on the other side
    (() when it has none, None when the gold file is absent).
    """

    id: str
    language: str
    text: str
    side: Literal["source", "target"] = "source"
    match: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """Where the bytes of an image file are: a file of its own, a member of a tar file, or a row of a Parquet file."""

    path: str
    member: str | None = None
    """Name in the tar file, or number of the Parquet row; None: `path` is the image file itself."""


@dataclass(frozen=True, slots=True)
class Captioned:
    """An image and its captions in one language; `id` is the image's: the same image has the same id in every
    language."""

    id: str
    language: str
    image: Picture | None
    """None where captions are published without their images."""
    captions: tuple[str, ...]
    origin: str
    """Who made the captions: "people", "machine" (translation), "names" (CLDR's names of emoji) or "rules"."""


Row: TypeAlias = Pair | Choice | Tagged | Span | Sentence | Captioned
