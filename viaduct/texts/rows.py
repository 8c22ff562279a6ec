"""The row types of this room: one text with a label, and one or two texts with a number."""

from __future__ import annotations

from dataclasses import dataclass

from viaduct.rows import Row


@dataclass(frozen=True, slots=True)
class Labelled(Row):
    """One text and its label: a topic, a sentiment, an intent."""

    text: str
    label: str | None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text."""
        return (self.text,)

    @property
    def gold(self) -> str | None:
        """The label."""
        return self.label


@dataclass(frozen=True, slots=True)
class Rated(Row):
    """A text and a number, such as a star rating; or two texts (`second` is not None) and, say, their similarity."""

    first: str
    second: str | None
    value: float | None

    @property
    def texts(self) -> tuple[str, ...]:
        """The one or two texts."""
        return (self.first,) if self.second is None else (self.first, self.second)

    @property
    def gold(self) -> float | None:
        """The number."""
        return self.value

    @property
    def label_words(self) -> tuple[str, ...]:
        """Empty: numbers are not counted as labels are."""
        return ()
