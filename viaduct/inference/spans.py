"""From start and end logits to answers: the n best spans of a window.

Shape letters: L tokens of a window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from viaduct.encode.tokens import Array, Encoded

BEST = 20
"""Candidates kept per question, and starts and ends looked at per window (as the reference SQuAD scripts do)."""

LONGEST_ANSWER = 30
"""Tokens of an answer at most (as the reference SQuAD scripts do)."""


class Candidate(NamedTuple):
    """An answer: start + end logit, and its character range in the context."""

    score: float
    start: int
    stop: int


class Window(NamedTuple):
    """Where a window's context tokens are: position of the first, and their character ranges (tokens, 2)."""

    begin: int
    ranges: Array


def window(encoded: Encoded, example: int) -> Window:
    """The context tokens of this window."""
    first, last = encoded.context_ends[example], encoded.context_ends[example + 1]
    return Window(int(encoded.fields["begin"][example]), encoded.fields["spans"][2 * first : 2 * last].reshape(-1, 2))


def no_answer(logits_L2: Array) -> float:
    """The score of "no answer in this window": start + end logit of the first token, where training puts both."""
    return float(logits_L2[0].sum())


def candidates(logits_L2: Array, where: Window) -> list[Candidate]:
    """The best spans of one window, best first; only spans inside the context, in order, of at most LONGEST_ANSWER
    tokens."""
    count = len(where.ranges)
    if count == 0:
        return []
    inside = logits_L2[where.begin : where.begin + count]
    starts = np.argsort(-inside[:, 0], kind="stable")[:BEST]
    ends = np.argsort(-inside[:, 1], kind="stable")[:BEST]
    found = [
        Candidate(float(inside[start, 0] + inside[end, 1]), int(where.ranges[start, 0]), int(where.ranges[end, 1]))
        for start in starts
        for end in ends
        if start <= end < start + LONGEST_ANSWER and where.ranges[end, 1] > where.ranges[start, 0]
    ]
    return sorted(found, reverse=True)[:BEST]
