"""Rows to token ids: one function per row type, all giving the same flat, memory-mappable shape.

An *example* is what the loss and the heads see once: one sequence for pairs, sentences and tagging pieces, one window
for spans, all endings together for multiple choice. Nothing is dropped: long taggings are split, long contexts are
windowed, and tokens cut from long pairs, sentences and words are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from viaduct.errors import UsageError
from viaduct.rows import Choice, Pair, Row, Sentence, Span, Tagged

CHUNK = 2048
"""Rows handed to the tokenizer at once: bounds memory, keeps its threads busy."""

SHORTEST_WINDOW = 32
"""Tokens of a span window at least: half for the question, the rest for special tokens, context and overlap."""

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Encoded:
    """Token sequences and what belongs to them, as flat arrays (memory-mapped when read from the cache).

    ids (tokens,) int32; offsets (sequences + 1,) int64; groups (examples + 1,) int64: the sequences of each example;
    rows (examples,) int32: which row an example came from; fields: kind-specific, see the functions below.
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
        """(examples + 1,) where each window's context tokens begin in `spans`, counted in tokens."""
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
        """Everything added so far."""
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


def encode(rows: Sequence[Row], tokenizer: Any, labels: Sequence[str], limits: Limits) -> Encoded:
    """The rows' token sequences. All rows must be of one type; rows without gold labels get none.

    Fields: pair `label` (examples,); choice `label` (examples,) index of the right ending; tagged `first` (words,)
    position of each word's first piece within its sequence, `word` (words,) its index in the sentence, `tag`
    (words,), `words` (examples,) how many; span `start`, `end` (examples,) token positions of the answer, 0 when it
    is not in this window, `begin` (examples,) position of the first context token, `contexts` (examples,) how many
    there are, `spans` (their character ranges, flat pairs).
    `types` (tokens,) where the model tells segments apart.
    """
    builder = Builder()
    encoder = _ENCODERS[type(rows[0])] if rows else None
    for at in range(0, len(rows), CHUNK):
        chunk = rows[at : at + CHUNK]
        if encoder is not None:
            encoder(chunk, at, tokenizer, labels, limits, builder)
    return builder.build()


def frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that this tokenizer puts before and after a single text."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for at in range(len(full) - len(bare) + 1):
        if full[at : at + len(bare)] == bare:
            return full[:at], full[at + len(bare) :]
    raise UsageError("the tokenizer changes a text when it adds its special tokens; it cannot be used")


def forget_truncation(tokenizer: Any) -> None:
    """Nothing; the tokenizer's own state is then what it was before any call, which sets truncation and padding in
    it."""
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()


def _types(encoding: Any, index: int) -> dict[str, list[int]]:
    types = encoding.get("token_type_ids")
    return {} if types is None else {"types": types[index]}


def _cut(encoding: Any, index: int, tokenizer: Any, *texts: str) -> int:
    """How many tokens of these texts are not in the encoding."""
    if not encoding.encodings[index].overflowing:
        return 0
    # The overflow itself cannot be counted: of a pair it holds every combination of both sides' pieces.
    whole = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    kept = sum(1 for special in encoding.encodings[index].special_tokens_mask if not special)
    return sum(map(len, whole)) - kept


def _pairs(rows: Sequence[Pair], at: int, tokenizer: Any, labels: Sequence[str], limits: Limits, out: Builder) -> None:
    encoding = tokenizer(
        [row.first for row in rows],
        [row.second for row in rows],
        truncation="longest_first",
        max_length=limits.max_length,
    )
    index = {label: number for number, label in enumerate(labels)}
    for number, row in enumerate(rows):
        fields = _types(encoding, number)
        if row.label is not None and labels:
            fields["label"] = [index[row.label]]
        out.cut_tokens += _cut(encoding, number, tokenizer, row.first, row.second)
        out.example(at + number, [encoding["input_ids"][number]], **fields)


def _sentences(
    rows: Sequence[Sentence], at: int, tokenizer: Any, labels: Sequence[str], limits: Limits, out: Builder
) -> None:
    encoding = tokenizer([row.text for row in rows], truncation=True, max_length=limits.max_length)
    for number, row in enumerate(rows):
        out.cut_tokens += _cut(encoding, number, tokenizer, row.text)
        out.example(at + number, [encoding["input_ids"][number]], **_types(encoding, number))


def _choices(
    rows: Sequence[Choice], at: int, tokenizer: Any, labels: Sequence[str], limits: Limits, out: Builder
) -> None:
    for number, row in enumerate(rows):
        endings = [f"{row.question} {choice}".strip() for choice in row.choices]
        encoding = tokenizer(
            [row.context] * len(endings), endings, truncation="longest_first", max_length=limits.max_length
        )
        fields: dict[str, list[int]] = {}
        if encoding.get("token_type_ids") is not None:
            fields["types"] = [kind for types in encoding["token_type_ids"] for kind in types]
        if row.label is not None:
            fields["label"] = [row.label]
        out.cut_tokens += sum(
            _cut(encoding, index, tokenizer, row.context, ending) for index, ending in enumerate(endings)
        )
        out.example(at + number, encoding["input_ids"], **fields)


def _tagged(
    rows: Sequence[Tagged], at: int, tokenizer: Any, labels: Sequence[str], limits: Limits, out: Builder
) -> None:
    prefix, suffix = frame(tokenizer)
    room = limits.max_length - len(prefix) - len(suffix)
    index = {label: number for number, label in enumerate(labels)}
    encoding = tokenizer([list(row.tokens) for row in rows], is_split_into_words=True, add_special_tokens=False)
    for number, row in enumerate(rows):
        pieces: list[list[int]] = [[] for _ in row.tokens]
        for piece, word in zip(encoding["input_ids"][number], encoding.word_ids(number), strict=True):
            if word is not None:
                pieces[word].append(piece)
        out.cut_tokens += sum(max(0, len(word) - room) for word in pieces)
        # A word whose characters the tokenizer drops altogether still needs a place to be tagged at.
        pieces = [word[:room] or [tokenizer.unk_token_id] for word in pieces]
        tags = None if row.tags is None or not labels else [index[tag] for tag in row.tags]
        for first, last in _pieces_that_fit(pieces, room):
            ids = [*prefix]
            starts = []
            for word in range(first, last):
                starts.append(len(ids))
                ids.extend(pieces[word])
            fields = {"first": starts, "word": range(first, last), "words": [last - first]}
            if tags is not None:
                fields["tag"] = tags[first:last]
            out.example(at + number, [ids + suffix], **fields)


def _pieces_that_fit(pieces: Sequence[Sequence[int]], room: int) -> list[tuple[int, int]]:
    """Ranges of words such that each range's pieces fit in `room`; every word is in exactly one."""
    ranges = []
    first = used = 0
    for word, ids in enumerate(pieces):
        if used + len(ids) > room and word > first:
            ranges.append((first, word))
            first, used = word, 0
        used += len(ids)
    ranges.append((first, len(pieces)))
    return ranges


def _spans(rows: Sequence[Span], at: int, tokenizer: Any, labels: Sequence[str], limits: Limits, out: Builder) -> None:
    if limits.max_length < SHORTEST_WINDOW:
        raise UsageError(
            f"windows of {limits.max_length} tokens have no room for a question and its context",
            fix=f"set max_length to {SHORTEST_WINDOW} or more",
        )
    # A question may take at most half of a window, so that there is room for context and stride to advance.
    questions = _shorten([row.question.strip() for row in rows], tokenizer, limits.max_length // 2)
    encoding = tokenizer(
        questions,
        [row.context for row in rows],
        truncation="only_second",
        max_length=limits.max_length,
        stride=min(limits.stride, limits.max_length // 4),
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    for window, number in enumerate(encoding["overflow_to_sample_mapping"]):
        row = rows[number]
        sides = encoding.sequence_ids(window)
        context = [token for token, side in enumerate(sides) if side == 1]
        begin = context[0] if context else 0
        spans = [encoding["offset_mapping"][window][token] for token in context]
        fields: dict[str, Sequence[int]] = {
            **_types(encoding, window),
            "begin": [begin],
            "contexts": [len(context)],
            "spans": [edge for span in spans for edge in span],
        }
        if row.answers is not None:
            start, end = _answer_tokens(row, spans, begin)
            fields["start"], fields["end"] = [start], [end]
        out.example(at + number, [encoding["input_ids"][window]], **fields)


def _shorten(texts: list[str], tokenizer: Any, most: int) -> list[str]:
    encoding = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    return [
        text if len(offsets) <= most else text[: offsets[most - 1][1]]
        for text, offsets in zip(texts, encoding["offset_mapping"], strict=True)
    ]


def _answer_tokens(row: Span, spans: Sequence[tuple[int, int]], begin: int) -> tuple[int, int]:
    """Token positions of the first gold answer, (0, 0) when this window does not hold all of it."""
    answer = row.answers[0] if row.answers else None
    if answer is None or not answer.text:
        return 0, 0
    stop = answer.start + len(answer.text)
    inside = [at for at, (left, right) in enumerate(spans) if left < stop and right > answer.start and right > left]
    if not inside or spans[inside[0]][0] > answer.start or spans[inside[-1]][1] < stop:
        return 0, 0
    return begin + inside[0], begin + inside[-1]


_ENCODERS: dict[type, Callable[..., None]] = {
    Pair: _pairs,
    Choice: _choices,
    Tagged: _tagged,
    Span: _spans,
    Sentence: _sentences,
}
