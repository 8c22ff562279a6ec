from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from viaduct.encode.batch import collate
from viaduct.encode.tokens import Limits
from viaduct.heads.head import HeadSpec
from viaduct.heads.span import (
    BEST,
    LONGEST_ANSWER,
    SPAN,
    AnswerSpan,
    Window,
    best_spans,
    no_answer,
    window,
)
from viaduct.models.tokenizer import train_tokenizer
from viaduct.rows import Answer, Span
from viaduct.tasks.card import read
from viaduct.tasks.catalogue import Catalogue

SPEC = HeadSpec("span", ())
LOGITS = st.integers(-4, 4).map(float)


def ranges_of(widths: list[int]) -> np.ndarray:
    """Adjacent character ranges of these widths; 0 is a piece without characters."""
    ends = np.cumsum([0, *widths])
    return np.stack([ends[:-1], ends[1:]], axis=1)


@settings(deadline=None, max_examples=200)
@given(data=st.data(), begin=st.integers(0, 5), after=st.integers(0, 3))
def test_the_best_span_of_a_window_is_that_of_all_pairs(data: st.DataObject, begin: int, after: int) -> None:
    """With at most BEST tokens, the shortcut over the best starts and ends must not lose anything."""
    widths = data.draw(st.lists(st.integers(0, 3), max_size=BEST))
    ranges = ranges_of(widths)
    total = begin + len(widths) + after
    logits = np.array(data.draw(st.lists(st.tuples(LOGITS, LOGITS), min_size=total, max_size=total))).reshape(-1, 2)
    everything = [
        AnswerSpan(logits[begin + start, 0] + logits[begin + end, 1], ranges[start, 0], ranges[end, 1])
        for start in range(len(widths))
        for end in range(start, len(widths))
        if ranges[end, 1] > ranges[start, 0]
    ]
    found = best_spans(logits, Window(begin, ranges))
    assert found == sorted(everything, reverse=True)[:BEST]


def test_answers_are_no_longer_than_allowed_and_only_good_ends_are_looked_at() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        logits = random.normal(size=(100, 2))
        starts, ends = (set(np.argsort(-logits[:, side])[:BEST].tolist()) for side in (0, 1))
        expected = [
            AnswerSpan(logits[start, 0] + logits[end, 1], start, end + 1)
            for start in starts
            for end in ends
            if start <= end < start + LONGEST_ANSWER
        ]
        assert best_spans(logits, Window(0, ranges_of([1] * 100))) == sorted(expected, reverse=True)[:BEST]


def test_a_window_without_context_has_no_candidates() -> None:
    assert best_spans(np.zeros((4, 2)), Window(0, np.zeros((0, 2), int))) == []


def collected(
    tokenizer: Any,
    rows: list[Span],
    chosen: dict[int, list[tuple[str, float]]],
    limits: Limits,
    *,
    spec: HeadSpec = SPEC,
    none: Sequence[float] = (),
) -> Any:
    """Predictions from logits that have the `chosen` values at the first and last piece of these words, in every window
    of the row, and the values of `none` at the first token of the windows, in turn."""
    encoded = tiny.encode(rows, tokenizer, (), limits)
    said: list[list[Any]] = [[] for _ in rows]
    for examples in np.array_split(np.arange(len(encoded))[::-1], 2):
        if not len(examples):
            continue
        batch = collate(encoded, examples, 1)
        logits = torch.zeros(*batch.ids_BL.shape, 2)
        for at, example in enumerate(examples):
            row = rows[encoded.rows[example]]
            logits[at, 0] = none[int(example) % len(none)] if none else 0.0
            begin, ranges = window(encoded, int(example))
            for word, value in chosen[int(encoded.rows[example])]:
                start = row.context.index(word)
                inside = [
                    piece for piece, (left, right) in enumerate(ranges) if left < start + len(word) and right > start
                ]
                if inside:
                    logits[at, begin + inside[0], 0] += value
                    logits[at, begin + inside[-1], 1] += value
        for example, one in zip(examples, SPAN.read(logits, encoded, batch), strict=True):
            said[encoded.rows[example]].append(one)
    return [SPAN.predict(row, parts, spec) for row, parts in zip(rows, said, strict=True)]


def test_the_best_answer_over_all_windows_wins(tiny_tokenizer: Any) -> None:
    words = [f"{word} {number}" for number in range(8) for word in tiny.LANGUAGES["en"]]
    context = ", ".join(words)
    rows = [
        Span("a", "en", context, "which?", ()),
        Span("b", "ru", "река и камень", "что?", ()),
        Span("c", "en", "", "nothing?", ()),
    ]
    chosen = {0: [("garden 1", 3.0), ("boat 6", 5.0), ("river 0", 1.0)], 1: [("камень", 2.0)], 2: []}
    limits = Limits(40, 8)
    assert len(tiny.encode(rows, tiny_tokenizer, (), limits)) > 6
    found = collected(tiny_tokenizer, rows, chosen, limits)
    assert [(one.id, one.language, one.prediction) for one in found] == [
        ("a", "en", "boat 6"),
        ("b", "ru", "камень"),
        ("c", "en", ""),
    ]
    assert found[0].scores == (10.0,)
    assert found[2].scores is None


@pytest.mark.parametrize(
    ("none", "text"),
    [((3.0,), ""), ((2.5,), "boat 6"), ((9.0, 2.0), "boat 6"), ((9.0, 2.625), "")],
    ids=["above", "equal is not above", "one window is sure that it has the answer", "every window is sure"],
)
def test_no_answer_is_predicted_where_every_window_scores_it_higher(
    tiny_tokenizer: Any, none: tuple[float, ...], text: str
) -> None:
    context = ", ".join(f"{word} {number}" for number in range(8) for word in tiny.LANGUAGES["en"])
    rows = [Span("a", "en", context, "which?", ())]
    spec = HeadSpec("span", (), unanswerable=True)
    (found,) = collected(tiny_tokenizer, rows, {0: [("boat 6", 2.5)]}, Limits(40, 8), spec=spec, none=none)
    assert found.prediction == text
    assert found.scores == (5.0, 2 * min(none))
    (found,) = collected(tiny_tokenizer, rows, {0: [("boat 6", 2.5)]}, Limits(40, 8), none=none)
    assert (found.prediction, found.scores) == ("boat 6", (5.0,))


def test_no_answer_is_scored_where_training_puts_it(tiny_tokenizer: Any) -> None:
    """Start and end of a question without an answer are at the first token, whose logits `no_answer` adds up."""
    encoded = tiny.encode([Span("a", "en", "river stone", "which?", ())], tiny_tokenizer, (), Limits(40, 8))
    place = int(encoded.fields["start"][0])
    assert place == int(encoded.fields["end"][0])
    logits = np.arange(20.0).reshape(10, 2)
    assert no_answer(logits) == logits[place].sum()


@pytest.mark.parametrize("stride", [0, 4, 16])
def test_overlap_does_not_change_the_answer(tiny_tokenizer: Any, stride: int) -> None:
    context = " ".join(f"{word}{number}" for number in range(9) for word in ("boat", "garden", "house"))
    rows = [Span("a", "en", context, "which?", ())]
    found = collected(tiny_tokenizer, rows, {0: [("garden4", 2.0)]}, Limits(48, stride))
    assert found[0].prediction == "garden4"


def noise(ids: Sequence[int], where: Sequence[tuple[int, int]]) -> np.ndarray:
    """(tokens, 2) logits that depend only on a window's content, so that two ways to cut windows can be compared."""
    random = np.random.default_rng([len(ids), *ids[-5:], *where[-2]])
    return random.normal(size=(len(ids), 2)).astype(np.float32)


def reference_answer(context: str, windows: list[tuple[np.ndarray, list[tuple[int, int] | None]]]) -> str:
    """`postprocess_qa_predictions` in transformers' examples/pytorch/question-answering/utils_qa.py, for questions that
    have an answer: n_best_size 20, max_answer_length 30."""
    candidates = []
    for logits, offsets in windows:
        starts, ends = (np.argsort(logits[:, side])[-1 : -BEST - 1 : -1].tolist() for side in (0, 1))
        for start in starts:
            for end in ends:
                if offsets[start] is None or offsets[end] is None:
                    continue
                if end < start or end - start + 1 > LONGEST_ANSWER:
                    continue
                candidates.append((float(logits[start, 0] + logits[end, 1]), offsets[start][0], offsets[end][1]))
    _, begin, stop = max(candidates, key=lambda one: one[0])
    return context[begin:stop].strip()


@pytest.mark.parametrize(("length", "stride"), [(384, 128), (128, 64), (384, 192)])
def test_windows_and_answers_are_those_of_transformers_on_real_questions(
    shared_data: Path, length: int, stride: int
) -> None:
    rows = [row for code in ("en", "ar", "th", "zh") for row in card_of("xquad", shared_data, code)[::40]]
    tokenizer = train_tokenizer((row.context for row in rows), 1500, 512)
    encoded = tiny.encode(rows, tokenizer, (), Limits(length, stride))
    theirs = tokenizer(
        [row.question.strip() for row in rows],
        [row.context for row in rows],
        truncation="only_second",
        max_length=length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    ours = [encoded.ids[first:last].tolist() for first, last in pairwise(encoded.offsets)]
    assert ours == theirs["input_ids"]
    assert encoded.rows.tolist() == theirs["overflow_to_sample_mapping"]
    assert len(ours) > 1.3 * len(rows), "hardly a context is longer than a window"
    said: list[list[Any]] = [[] for _ in rows]
    windows: list[list[Any]] = [[] for _ in rows]
    for number, ids in enumerate(ours):
        logits = noise(ids, theirs["offset_mapping"][number])
        batch = collate(encoded, np.array([number]), tokenizer.pad_token_id)
        said[encoded.rows[number]] += SPAN.read(torch.from_numpy(logits)[None], encoded, batch)
        sides = theirs.sequence_ids(number)
        inside = [
            place if side == 1 else None for place, side in zip(theirs["offset_mapping"][number], sides, strict=True)
        ]
        windows[encoded.rows[number]].append((logits, inside))
    for row, parts, candidates in zip(rows, said, windows, strict=True):
        assert SPAN.predict(row, parts, SPEC).prediction == reference_answer(row.context, candidates)


def card_of(name: str, data: Path, code: str) -> Sequence[Span]:
    return read(Catalogue.builtin().task(name), data, code, "test").rows  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("before", "after"),
    [(" ", ""), ("", " "), ("\u00a0", "\u00a0"), ("\u200b", ""), ("", "\u200e"), ("\u200e\u200b ", " \u00a0")],
)
def test_an_answer_whose_edge_the_tokenizer_drops_is_the_rest_of_it(
    tiny_tokenizer: Any, before: str, after: str
) -> None:
    """The rest is found in every window that holds all of it, and in none that holds only a part of it."""
    dropping = Tokenizer.from_str(tiny_tokenizer.backend_tokenizer.to_str())
    dropping.normalizer = normalizers.Sequence([normalizers.Replace(Regex("[\u200b\u200e]"), ""), normalizers.NFKC()])
    dropping.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=dropping, pad_token="<pad>", unk_token="<unk>")
    left, right = " ".join(tiny.LANGUAGES["en"] * 4), " ".join(tiny.LANGUAGES["en"] * 3)
    text = f"{before}yellow boat{after}"
    context = f"{left} {text} {right}"
    row = Span("1", "en", context, "green?", (Answer(text, len(left) + 1),))
    encoded = tiny.encode([row], tokenizer, (), Limits(40, 15))
    found = 0
    for example in range(len(encoded)):
        where = window(encoded, example)
        start, end = (int(encoded.fields[name][example]) - where.begin for name in ("start", "end"))
        if end >= 0:
            found += 1
            assert context[where.ranges[start, 0] : where.ranges[end, 1]].strip() == "yellow boat"
    whole = [
        bool((window(encoded, at).ranges[:, 0] <= len(left) + 1 + len(before)).any())
        and bool((window(encoded, at).ranges[:, 1] >= len(left) + 1 + len(before) + len("yellow boat")).any())
        for at in range(len(encoded))
    ]
    assert found == sum(whole) > 0
    edge = len(left) + 1 if before else len(left) + 1 + len("yellow boat")
    nothing = Span("2", "en", context, "green?", (Answer(before or after, edge),))
    assert not tiny.encode([nothing], tokenizer, (), Limits(40, 15)).fields["end"].any()
