"""The row types: one example of any data set, in one of a few frozen shapes, and the properties that every row has.

Every row has an `id` that is unique within its task, split and language, and a `language` (our code, see `languages`).
A gold value of None means that the file has no label for this row (a stripped test file); it never means "unknown
label". A room may add its own types (see `tasks.kind`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Row:
    """One example. Code that works on rows of any kind uses only these properties."""

    id: str
    language: str

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts of the row in reading order."""
        raise NotImplementedError

    @property
    def compared(self) -> tuple[str, ...]:
        """Texts that must not be in both training and evaluation rows: all, unless the type says otherwise."""
        return self.texts

    @property
    def group(self) -> str:
        """The text that identifies the row's group: a substitution's `part` never separates rows of one group."""
        return self.texts[0]

    @property
    def links(self) -> tuple[str, ...]:
        """Ids of other rows of the same group."""
        return ()

    @property
    def gold(self) -> object:
        """The gold value (label, tags, answers or match); None if the file has none."""
        return None

    @property
    def is_labelled(self) -> bool:
        """Whether the row has a gold value."""
        return self.gold is not None

    @property
    def label_words(self) -> tuple[str, ...]:
        """The gold value in the form in which it is counted: a label (unless the type says otherwise), tags, or whether
        there is an answer or a match."""
        return () if self.gold is None else (str(self.gold),)

    @property
    def characters(self) -> int:
        """The approximate number of characters that an encoder reads."""
        return sum(map(len, self.texts))

    @property
    def lengths(self) -> tuple[int, ...]:
        """The length in characters of each part that is read separately; most rows are read as a whole."""
        return (sum(map(len, self.texts)),)


@dataclass(frozen=True, slots=True)
class Pair(Row):
    """Two texts and the label of their relation; in parallel text the label is None and `first` is English."""

    first: str
    second: str
    label: str | None

    @property
    def texts(self) -> tuple[str, ...]:
        """Both texts."""
        return (self.first, self.second)

    @property
    def gold(self) -> str | None:
        """The label."""
        return self.label


@dataclass(frozen=True, slots=True)
class TranslatedPair(Pair):
    """A translated pair, with the texts it was translated from (None: not given), which show that it belongs to its
    id."""

    originals: tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Choice(Row):
    """A context, a question (may be empty) and candidate endings; `label` is the index of the right one."""

    context: str
    question: str
    choices: tuple[str, ...]
    label: int | None

    @property
    def texts(self) -> tuple[str, ...]:
        """Context, question and choices."""
        return (self.context, self.question, *self.choices)

    @property
    def group(self) -> str:
        """Context and question."""
        return f"{self.context}\n{self.question}"

    @property
    def gold(self) -> int | None:
        """The index."""
        return self.label

    @property
    def characters(self) -> int:
        """The number of characters, with context and question counted for each choice, as each is read with them."""
        return sum(len(self.context) + len(self.question) + len(choice) for choice in self.choices)


@dataclass(frozen=True, slots=True)
class Tagged(Row):
    """A sentence as words with one tag each."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...] | None

    @property
    def texts(self) -> tuple[str, ...]:
        """The words."""
        return self.tokens

    @property
    def compared(self) -> tuple[str, ...]:
        """The sentence, its words separated by spaces."""
        return (self.group,)

    @property
    def group(self) -> str:
        """The sentence."""
        return " ".join(self.tokens)

    @property
    def gold(self) -> tuple[str, ...] | None:
        """The tags."""
        return self.tags

    @property
    def label_words(self) -> tuple[str, ...]:
        """The tags."""
        return self.tags or ()

    @property
    def characters(self) -> int:
        """The number of characters, with a space after each word."""
        return sum(len(token) + 1 for token in self.tokens)


@dataclass(frozen=True, slots=True)
class Answer:
    """A gold answer: its text and where it starts in the context, in characters."""

    text: str
    start: int

    def misplaced(self, context: str) -> str | None:
        """What is wrong with its position in this context, with the nearest right one; None if nothing is wrong."""
        if self.start >= 0 and context.startswith(self.text, self.start):
            return None
        places = [place for place in range(len(context)) if context.startswith(self.text, place)]
        closest = min(places, key=lambda place: abs(place - self.start)) if places else None
        where = "; it does not occur there" if closest is None else f", but at {closest}"
        return f"is not at character {self.start} of its context{where}"


@dataclass(frozen=True, slots=True)
class Span(Row):
    """A question about a context whose answer is a span of it; `answers` may hold several, () means unanswerable."""

    context: str
    question: str
    answers: tuple[Answer, ...] | None

    @property
    def texts(self) -> tuple[str, ...]:
        """Context and question."""
        return (self.context, self.question)

    @property
    def compared(self) -> tuple[str, ...]:
        """The context, since one paragraph has many questions."""
        return (self.context,)

    @property
    def gold(self) -> tuple[Answer, ...] | None:
        """The answers."""
        return self.answers

    @property
    def label_words(self) -> tuple[str, ...]:
        """Whether there is an answer."""
        return () if self.answers is None else ("answer" if self.answers else "no answer",)


@dataclass(frozen=True, slots=True)
class Sentence(Row):
    """One text: a line of monolingual text, or one side of a retrieval task.

    In retrieval, `language` names the language pair's other language for both sides; `side` says whether the text is in
    that language ("source") or in English ("target"); `match` holds the ids of its translations on the other side
    (() when it has none, None when the gold file is absent).
    """

    text: str
    side: Literal["source", "target"] = "source"
    match: tuple[str, ...] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text."""
        return (self.text,)

    @property
    def links(self) -> tuple[str, ...]:
        """Its translations."""
        return self.match or ()

    @property
    def gold(self) -> tuple[str, ...] | None:
        """The ids of its translations."""
        return self.match

    @property
    def label_words(self) -> tuple[str, ...]:
        """Whether a sentence of the other language has a translation."""
        if self.match is None or self.side == "target":
            return ()
        return ("pair" if self.match else "no pair",)
