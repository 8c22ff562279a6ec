"""The head for tagged sentences: a tag for every word, from the word's first piece.

Shape letters: B sequences, L tokens, D width, C tags, W words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from viaduct.encode.batch import Batch, moved
from viaduct.encode.tokens import Array, Builder, Encoded, Limits, frame
from viaduct.heads.head import Head, HeadSpec
from viaduct.metrics.score import Prediction
from viaduct.rows import Row, Tagged
from viaduct.tasks.card import Task


class TokenHead(nn.Module):
    """(B, L, D) -> (B, L, C): dropout and linear. Tagging has a class per tag; spans have two (start, end)."""

    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, classes)

    def forward(self, hidden_BLD: torch.Tensor) -> torch.Tensor:
        """logits_BLC."""
        logits_BLC: torch.Tensor = self.out(self.dropout(hidden_BLD))
        return logits_BLC


def encode_tagged(
    rows: Sequence[Tagged], at: int, tokenizer: Any, labels: Sequence[str], limits: Limits, out: Builder
) -> None:
    """Sentences, split between words into several examples if they are too long. Words are tokenised as they would be
    in the sentence joined by spaces.

    Fields: `words` (examples,) number of words; and flat by word: `first`, position of its first piece in the sequence,
    `word`, its index in the sentence, and `tag`.
    """
    prefix, suffix = frame(tokenizer)
    room = limits.max_length - len(prefix) - len(suffix)
    index = {label: number for number, label in enumerate(labels)}
    blank = " " * needs_blanks(tokenizer)
    words = [[*row.tokens[:1], *(f"{blank}{word}" for word in row.tokens[1:])] for row in rows]
    encoding = tokenizer(words, is_split_into_words=True, add_special_tokens=False)
    for number, row in enumerate(rows):
        pieces: list[list[int]] = [[] for _ in row.tokens]
        for piece, word in zip(encoding["input_ids"][number], encoding.word_ids(number), strict=True):
            if word is not None:
                pieces[word].append(piece)
        out.cut_tokens += sum(max(0, len(word) - room) for word in pieces)
        # A word whose characters are all dropped by the tokenizer still needs a position for its tag.
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


def needs_blanks(tokenizer: Any) -> bool:
    """Whether a word inside a text has other pieces than at its start, so that it must be tokenised with the space
    before it: byte-level and Gemma-like tokenizers, unless they put a space before the text themselves."""

    def pieces(text: str) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    alone, inside = pieces("a"), pieces("a a")
    return alone + alone != inside == alone + pieces(" a")


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


def word_positions(encoded: Encoded, batch: Batch, field: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(sequence, position of the first piece, value of `field`) of every word of a batch, each (W,) int64."""
    ends = encoded.word_ends
    counts = ends[batch.examples + 1] - ends[batch.examples]
    flat = np.concatenate([np.arange(ends[example], ends[example + 1]) for example in batch.examples])
    rows = np.repeat(np.arange(len(batch.examples)), counts)
    columns, values = encoded.fields["first"][flat], encoded.fields[field][flat]
    return torch.from_numpy(rows), torch.from_numpy(columns.astype(np.int64)), torch.from_numpy(values.astype(np.int64))


def _loss(logits_BLC: torch.Tensor, encoded: Encoded, batch: Batch) -> torch.Tensor:
    rows_W, columns_W, tags_W = (moved(one, logits_BLC.device) for one in word_positions(encoded, batch, "tag"))
    return cross_entropy(logits_BLC[rows_W, columns_W].float(), tags_W, reduction="sum")


def _words(encoded: Encoded) -> Array:
    return encoded.fields["words"]


def _labels(card: Task, rows: Sequence[Row]) -> tuple[str, ...]:
    """The card's labels, or the tags of the training rows if its label set is open."""
    return card.labels or tuple(sorted({tag for row in rows for tag in row.label_words}))


def _read(logits_BLC: torch.Tensor, encoded: Encoded, batch: Batch) -> list[tuple[list[int], list[int]]]:
    """Per example: the words' indices in the sentence, and the best tag of each."""
    sequences_W, columns_W, words_W = word_positions(encoded, batch, "word")
    best_W = logits_BLC[sequences_W, columns_W].argmax(-1)
    counts = encoded.fields["words"][batch.examples].tolist()
    pairs = zip(torch.split(words_W, counts), torch.split(best_W, counts), strict=True)
    return [(words.tolist(), best.tolist()) for words, best in pairs]


def _predict(row: Tagged, said: Sequence[tuple[list[int], list[int]]], spec: HeadSpec) -> Prediction:
    """A tag per word, reassembled if a long sentence was split."""
    tags = [""] * len(row.tokens)
    for words, best in said:
        for word, tag in zip(words, best, strict=True):
            tags[word] = spec.labels[tag]
    return Prediction(row.id, row.language, tags)


TAGGED = Head(
    encode=encode_tagged, module=TokenHead, loss=_loss, units=_words, read=_read, predict=_predict, labels=_labels
)
