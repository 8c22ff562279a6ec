"""Plain text as training sequences: lines of one language packed together, languages sampled by size ** exponent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from viaduct.encode.cache import cached
from viaduct.encode.tokens import Array, Builder, Encoded, Limits, encode_sentences
from viaduct.rows import Row

UNCUT = Limits(10**6)
"""Limits for lines, which are not cut before they are packed."""


def packed(texts: Mapping[str, Sequence[Row]], tokenizer: Any, max_length: int, cache: Path) -> dict[str, Encoded]:
    """Language -> its lines as sequences of at most `max_length` tokens; languages without lines are left out."""
    return {
        language: pack(cached(rows, encode_sentences, tokenizer, (), UNCUT, cache), max_length)
        for language, rows in texts.items()
        if rows
    }


def draw(
    members: dict[str, Encoded], exponent: float, epochs: float, generator: np.random.Generator
) -> list[tuple[Encoded, Array]]:
    """(member, sequence indices) for each: `epochs` times all tokens in total, shared out by tokens ** exponent.

    A member that gets more tokens than it has is repeated: whole passes in full, the rest at random.
    """
    sizes = np.array([float(member.offsets[-1]) for member in members.values()])
    wanted = sizes**exponent / (sizes**exponent).sum() * sizes.sum() * epochs
    drawn = []
    for member, tokens, size in zip(members.values(), wanted, sizes, strict=True):
        passes, rest = divmod(tokens / size, 1.0)
        extra = generator.permutation(len(member))[: round(rest * len(member))]
        drawn.append((member, np.concatenate([np.tile(np.arange(len(member)), int(passes)), np.sort(extra)])))
    return drawn


def join(parts: Sequence[tuple[Encoded, Array]]) -> Encoded:
    """The sequences of all (member, indices), one after the other."""
    builder = Builder()
    for encoded, chosen in parts:
        ids = np.asarray(encoded.ids)
        for at in chosen.astype(np.int64):
            builder.example(int(at), [ids[encoded.offsets[at] : encoded.offsets[at + 1]]])
    return builder.build()


def pack(encoded: Encoded, max_length: int) -> Encoded:
    """Consecutive lines joined into sequences of at most `max_length` tokens, `</s>` between lines; longer lines are
    split.

    The first and last token of every line are the tokenizer's own (`<s>`, `</s>`).
    """
    builder = Builder()
    ids = np.asarray(encoded.ids)
    room = max_length - 2
    first, last = int(ids[0]), int(ids[encoded.offsets[1] - 1])
    current: list[Array] = []
    used = 0

    def close() -> None:
        nonlocal current, used
        if current:
            body = np.concatenate(current)[:-1]  # without the last line's own end
            builder.example(len(builder.rows), [np.concatenate([[first], body, [last]])])
        current, used = [], 0

    for start, stop in zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True):
        line = ids[start + 1 : stop]  # with its </s>, without its <s>
        if used + len(line) - 1 > room:
            close()
        for at in range(0, max(1, len(line) - 1), room):
            piece = line[at : at + room]
            if used + len(piece) > room + 1:
                close()
            current.append(np.concatenate([piece, [last]]) if piece[-1] != last else piece)
            used += len(current[-1])
    close()
    return builder.build()
