"""The head for extractive questions: question and a window of the context in one sequence, start and end of the answer.

Long contexts become several windows, each an example. Shape letters: B windows, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from viaduct.encode.batch import Batch, moved
from viaduct.encode.tokens import Array, Builder, Encoded, Limits, segment_types
from viaduct.errors import UsageError
from viaduct.heads.head import Head, HeadSpec
from viaduct.heads.tagged import TokenHead
from viaduct.metrics.score import Prediction
from viaduct.rows import Span
from viaduct.runs.encoder import require_overlap

SHORTEST_WINDOW = 32
"""Fewest tokens of a window: half for the question, the rest for special tokens, context and overlap."""

LEAST_ADVANCE = 16
"""Each window advances by at least 1 / this of its length over the previous one; if need be, the question is cut."""

BEST = 20
"""Starts and ends considered per window (as in the reference SQuAD scripts)."""

LONGEST_ANSWER = 30
"""Most tokens of an answer (as in the reference SQuAD scripts)."""


def encode_spans(
    rows: Sequence[Span], at: int, tokenizer: Any, _labels: Sequence[str], limits: Limits, out: Builder
) -> None:
    """One sequence for every window of every context.

    Fields: `start`, `end` (examples,) token positions of the answer, 0 if it is not in this window; `begin` (examples,)
    position of the first context token; `contexts` (examples,) number of context tokens; `spans`, their character
    ranges as flat pairs. Raises UsageError for windows too short for a question and its context, and for overlaps that
    are impossible for them.
    """
    if limits.max_length < SHORTEST_WINDOW:
        raise UsageError(
            f"windows of {limits.max_length} tokens have no room for a question and its context",
            fix=f"set max_length to {SHORTEST_WINDOW} or more",
        )
    require_overlap(limits.stride, limits.max_length, "the encoder's windows")
    # A question may take at most half of a window, and must leave room for each window to advance over the last one.
    room = limits.max_length - tokenizer.num_special_tokens_to_add(pair=True) - limits.stride
    most = min(limits.max_length // 2, room - limits.max_length // LEAST_ADVANCE)
    questions = _shorten([row.question.strip() for row in rows], tokenizer, most)
    encoding = tokenizer(
        questions,
        [row.context for row in rows],
        truncation="only_second",
        max_length=limits.max_length,
        stride=limits.stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    windows = [_context(encoding, window) for window in range(len(encoding["input_ids"]))]
    numbers: list[int] = encoding["overflow_to_sample_mapping"]
    answers = _covered_answers(rows, numbers, windows)
    for window, (number, (begin, ranges)) in enumerate(zip(numbers, windows, strict=True)):
        fields: dict[str, Sequence[int]] = {
            **segment_types(encoding, window),
            "begin": [begin],
            "contexts": [len(ranges)],
            "spans": [edge for span in ranges for edge in span],
        }
        if rows[number].answers is not None:
            start, end = _answer_tokens(answers.get(number), ranges, begin)
            fields["start"], fields["end"] = [start], [end]
        out.example(at + number, [encoding["input_ids"][window]], **fields)


def _shorten(texts: list[str], tokenizer: Any, most: int) -> list[str]:
    encoding = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    return [
        text if len(offsets) <= most else text[: offsets[most - 1][1]]
        for text, offsets in zip(texts, encoding["offset_mapping"], strict=True)
    ]


Ranges = Sequence[tuple[int, int]]


def _context(encoding: Any, window: int) -> tuple[int, Ranges]:
    """(position of the window's first context token, character ranges of all of them)."""
    context = [token for token, side in enumerate(encoding.sequence_ids(window)) if side == 1]
    return context[0] if context else 0, [encoding["offset_mapping"][window][token] for token in context]


def _covered_answers(
    rows: Sequence[Span], numbers: Sequence[int], windows: Sequence[tuple[int, Ranges]]
) -> dict[int, tuple[int, int]]:
    """Number of a row -> character range of its first gold answer, without edge characters that no token covers (some
    tokenizers drop spaces and direction marks); rows without an answer, or with nothing left of it, are absent."""
    covered: dict[int, tuple[int, int]] = {}
    for number, (_, ranges) in zip(numbers, windows, strict=True):
        answer = next(iter(rows[number].answers or ()), None)
        if answer is None or not answer.text:
            continue
        start, stop = answer.start, answer.start + len(answer.text)
        inside = [span for span in ranges if span[0] < stop and span[1] > start and span[1] > span[0]]
        if inside:
            first, last = max(start, inside[0][0]), min(stop, inside[-1][1])
            before = covered.get(number, (first, last))
            covered[number] = min(first, before[0]), max(last, before[1])
    return covered


def _answer_tokens(answer: tuple[int, int] | None, ranges: Ranges, begin: int) -> tuple[int, int]:
    """Token positions of these characters; (0, 0) if this window does not contain all of them."""
    if answer is None:
        return 0, 0
    start, stop = answer
    inside = [at for at, (left, right) in enumerate(ranges) if left < stop and right > start and right > left]
    if not inside or ranges[inside[0]][0] > start or ranges[inside[-1]][1] < stop:
        return 0, 0
    return begin + inside[0], begin + inside[-1]


def _module(width: int, _labels: int, dropout: float) -> nn.Module:
    return TokenHead(width, 2, dropout)


def _loss(logits_BL2: torch.Tensor, encoded: Encoded, batch: Batch) -> torch.Tensor:
    """The mean of the losses for start and end; padding can be neither."""
    device = logits_BL2.device
    gold = (encoded.fields[name][batch.examples].astype(np.int64) for name in ("start", "end"))
    start, end = (moved(torch.from_numpy(one), device) for one in gold)
    blocked = torch.zeros((), device=device) if batch.mask_BL is None else (~batch.mask_BL) * -1e4
    start_loss = cross_entropy(logits_BL2[..., 0].float() + blocked, start, reduction="sum")
    end_loss = cross_entropy(logits_BL2[..., 1].float() + blocked, end, reduction="sum")
    return (start_loss + end_loss) / 2


class AnswerSpan(NamedTuple):
    """An answer: start + end logit, and its character range in the context."""

    score: float
    start: int
    stop: int


class Window(NamedTuple):
    """The context tokens of a window: position of the first, and their character ranges (tokens, 2)."""

    begin: int
    ranges: Array


def window(encoded: Encoded, example: int) -> Window:
    """The context tokens of this window."""
    first, last = encoded.context_ends[example], encoded.context_ends[example + 1]
    return Window(int(encoded.fields["begin"][example]), encoded.fields["spans"][2 * first : 2 * last].reshape(-1, 2))


def no_answer(logits_L2: Array) -> float:
    """The score of "no answer in this window": start + end logit of the first token, the target of both in training."""
    return float(logits_L2[0].sum())


def best_spans(logits_L2: Array, where: Window) -> list[AnswerSpan]:
    """The best spans of one window, best first: only spans inside the context whose start is not after their end, of at
    most LONGEST_ANSWER tokens."""
    count = len(where.ranges)
    if count == 0:
        return []
    inside = logits_L2[where.begin : where.begin + count]
    starts = np.argsort(-inside[:, 0], kind="stable")[:BEST]
    ends = np.argsort(-inside[:, 1], kind="stable")[:BEST]
    found = [
        AnswerSpan(float(inside[start, 0] + inside[end, 1]), int(where.ranges[start, 0]), int(where.ranges[end, 1]))
        for start in starts
        for end in ends
        if start <= end < start + LONGEST_ANSWER and where.ranges[end, 1] > where.ranges[start, 0]
    ]
    return sorted(found, reverse=True)[:BEST]


def _read(logits_BL2: torch.Tensor, encoded: Encoded, batch: Batch) -> list[tuple[AnswerSpan | None, float]]:
    """Per window: its best answer (None if it has no context) and the score of "no answer"."""
    said = []
    for example, logits_L2 in zip(batch.examples, logits_BL2.numpy(), strict=True):
        found = best_spans(logits_L2, window(encoded, int(example)))
        said.append((found[0] if found else None, no_answer(logits_L2)))
    return said


def _predict(row: Span, said: Sequence[tuple[AnswerSpan | None, float]], spec: HeadSpec) -> Prediction:
    """The best answer over all windows; "" if the context has no tokens. `scores` is its (start + end) logit.

    If questions may have no answer, `scores` also holds the score of "", the lowest of any window, and "" is predicted
    if that is higher than the best answer's: like the reference SQuAD 2.0 scripts with their threshold 0.
    """
    found = [candidate for candidate, _ in said if candidate is not None]
    if not found:
        return Prediction(row.id, row.language, "", None)
    best = max(found)
    text = row.context[best.start : best.stop].strip()  # the first piece of a word may cover the space before it
    if not spec.unanswerable:
        return Prediction(row.id, row.language, text, (best.score,))
    none = min(score for _, score in said)
    return Prediction(row.id, row.language, "" if none > best.score else text, (best.score, none))


SPAN = Head(encode=encode_spans, module=_module, loss=_loss, read=_read, predict=_predict)
