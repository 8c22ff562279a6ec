"""Rows to token ids: for every kind of row, the result has the same flat, memory-mappable form.

The `Encoding` of a kind defines how its rows become sequences. It is next to the kind's head (`viaduct.heads`); that of
single texts is here. An *example* is the unit that the loss and the heads see: one sequence for pairs, sentences and
parts of tagged sentences, one window for spans, all endings together for multiple choice. Nothing is dropped silently:
long tagged sentences are split, long contexts are windowed, and tokens cut from pairs, sentences and words are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from viaduct.encode.cut_texts import encode_texts
from viaduct.errors import UsageError
from viaduct.rows import Row, Sentence

TOKENISED_ROWS, TOKENISED_CHARACTERS = 2048, 1 << 22
"""Most rows passed to the tokenizer in one call, and the number of characters after which no more rows are added:
bounds memory and keeps its threads busy."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Encoded:
    """Token sequences and associated data as flat arrays (memory-mapped if read from the cache).

    ids (tokens,) int32; offsets (sequences + 1,) int64; groups (examples + 1,) int64: the sequences of each example;
    rows (examples,) int32: the row an example came from; fields: what the kind's loss and predictions need, as defined
    by its encoding.
    """

    ids: Array
    offsets: Array
    groups: Array
    rows: Array
    fields: dict[str, Array]
    cut_tokens: int

    def __len__(self) -> int:
        return len(self.groups) - 1

    @cached_property
    def lengths(self) -> Array:
        """(examples,) tokens of the longest sequence of each example."""
        lengths: Array = np.maximum.reduceat(np.diff(self.offsets), self.groups[:-1]) if len(self) else np.zeros(0, int)
        return lengths

    @cached_property
    def widths(self) -> Array:
        """(examples,) sequences per example."""
        return np.diff(self.groups)

    @cached_property
    def word_ends(self) -> Array:
        """(examples + 1,) where each example's words begin in the flat word fields of tagging."""
        return np.concatenate([[0], np.cumsum(self.fields["words"])])

    @cached_property
    def context_ends(self) -> Array:
        """(examples + 1,) where each window's context tokens begin in the field `spans`, counted in tokens."""
        return np.concatenate([[0], np.cumsum(self.fields["contexts"])])


class Builder:
    """Collects sequences of Python ints into an `Encoded`."""

    def __init__(self) -> None:
        self.ids: list[Array] = []
        self.lengths: list[int] = []
        self.groups: list[int] = [0]
        self.rows: list[int] = []
        self.fields: dict[str, list[Array]] = {}
        self.cut_tokens = 0

    def example(self, row: int, sequences: Sequence[Sequence[int] | Array], **fields: Sequence[int]) -> None:
        """Add one example of this row; every field is appended to the flat array of its name."""
        for sequence in sequences:
            self.ids.append(np.asarray(sequence, dtype=np.int32))
            self.lengths.append(len(sequence))
        self.groups.append(len(self.lengths))
        self.rows.append(row)
        for name, values in fields.items():
            self.fields.setdefault(name, []).append(np.asarray(values, dtype=np.int32))

    def build(self) -> Encoded:
        """The `Encoded` with everything added so far."""
        return Encoded(
            ids=np.concatenate(self.ids) if self.ids else np.zeros(0, np.int32),
            offsets=np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64),
            groups=np.asarray(self.groups, dtype=np.int64),
            rows=np.asarray(self.rows, dtype=np.int32),
            fields={name: np.concatenate(parts) for name, parts in self.fields.items()},
            cut_tokens=self.cut_tokens,
        )


@dataclass(frozen=True)
class Limits:
    """Lengths in tokens: of a sequence, and the overlap of neighbouring span windows."""

    max_length: int
    stride: int = 64


Encoding = Callable[[Sequence[Any], int, Any, Sequence[str], Limits, Builder], None]
"""(rows, number of the first one, tokenizer, labels, limits, builder to add examples to): turns a kind's rows into
sequences. Rows without gold get no gold fields; there is a field `types` (tokens,) if the tokenizer distinguishes
segments."""


def encode(rows: Sequence[Row], encoding: Encoding, tokenizer: Any, labels: Sequence[str], limits: Limits) -> Encoded:
    """The rows' token sequences, all rows in one encoding; no rows give no examples."""
    builder = Builder()
    at = 0
    while at < len(rows):
        stop, characters = at + 1, rows[at].characters
        while stop < min(at + TOKENISED_ROWS, len(rows)) and characters < TOKENISED_CHARACTERS:
            characters += rows[stop].characters
            stop += 1
        encoding(rows[at:stop], at, tokenizer, labels, limits, builder)
        at = stop
    return builder.build()


def encode_sentences(
    rows: Sequence[Sentence], at: int, tokenizer: Any, _labels: Sequence[str], limits: Limits, out: Builder
) -> None:
    """The encoding of single texts, which have no gold fields."""
    for number, (ids, types, cut) in enumerate(
        encode_texts([[row.text for row in rows]], tokenizer, limits.max_length)
    ):
        out.cut_tokens += cut
        out.example(at + number, [ids], **({} if types is None else {"types": types}))


def frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that this tokenizer puts before and after a single text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for at in range(len(full) - len(bare) + 1):
        if full[at : at + len(bare)] == bare:
            return full[:at], full[at + len(bare) :]
    raise UsageError("the tokenizer changes a text when it adds its special tokens; it cannot be used")


def forget_truncation(tokenizer: Any) -> None:
    """Reset the tokenizer to its state before any call: each call sets truncation and padding in it."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()


def segment_types(encoding: Any, index: int) -> dict[str, list[int]]:
    """The field `types` of one sequence; no field if the tokenizer gives no segment types."""
    types = encoding.get("token_type_ids")
    return {} if types is None else {"types": types[index]}
