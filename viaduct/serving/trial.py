"""Rows to try a model on: to calibrate int8, to compare an export with its source, to measure speed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from viaduct.encode.batch import Batch, collate, plan_batches
from viaduct.encode.tokens import Builder, Encoded, Limits, encode, encode_sentences, frame
from viaduct.errors import DataError
from viaduct.heads.head import encoding_of
from viaduct.rows import Row, Sentence
from viaduct.serving.trimming import Texts
from viaduct.tasks.card import Task, read_by_name
from viaduct.tasks.registry import TASKS, known
from viaduct.tasks.registry import task as card_of

Item = TypeVar("Item")

TRIAL_ROWS = 300
"""Rows that int8 is calibrated on and that an export is compared on, of each source."""

BATCH_TOKENS = 2048
"""Slots of a batch: as fast as larger ones on one core, with less memory."""


@dataclass(frozen=True)
class Trial:
    """Rows of one type, and where they are from in words."""

    name: str
    task: str
    """The card that they are rows of; "" for lines of text."""
    rows: tuple[Row, ...]


def encoded_rows(trial: Trial, tokenizer: Any, limits: Limits) -> Encoded:
    """The token sequences of these rows, without their gold."""
    encoding = encoding_of(card_of(trial.task).kind) if trial.task else encode_sentences
    return encode(trial.rows, encoding, tokenizer, (), limits)


def card_rows(task: str | None, data: Path | None, splits: Sequence[str], count: int) -> Trial | None:
    """At most `count` rows of the first of these splits of a card whose files are there, spread over its languages;
    None when there are none, or the card is not known."""
    if task is None or data is None or not known(task):
        return None
    card = card_of(task)
    for split in splits:
        found = _languages(card, data, split)
        if found:
            rows = [row for code in found for row in spread(read_by_name(task, data, code, split).rows, count, found)]
            return Trial(f"{task} {split}, {_count(found)}", task, tuple(rows[:count]))
    return None


def target_rows(task: str | None, data: Path | None, count: int) -> Trial | None:
    """Test rows of the first card that a head trained on this one is evaluated on and whose files are there; else its
    own dev or train rows; None when there are none."""
    for card in TASKS:
        if task is not None and card.trained_on == task:
            found = card_rows(card.name, data, ("test", "dev"), count)
            if found is not None:
                return found
    return card_rows(task, data, ("dev", "train"), count)


def text_rows(texts: Texts, count: int) -> Trial | None:
    """At most `count` of these lines, spread over languages and files; None when there are none."""
    if not texts:
        return None
    rows = [
        Sentence(f"{name}-{number}", name, line, match=())
        for name, lines in texts.items()
        for number, line in enumerate(spread(lines, count, texts))
    ]
    return Trial(f"plain text, {' '.join(texts)}", "", tuple(rows[:count]))


def text_card_rows(data: Path | None, count: int) -> Trial | None:
    """At most `count` lines of the text card, spread over the languages whose files are there; None when there are
    none."""
    return card_rows("text", data, ("train",), count)


def spread(items: Sequence[Item], count: int, shares: Collection[object]) -> Sequence[Item]:
    """Every n-th item, so many that as many such samples as there are shares give `count` in all or a few more."""
    wanted = -(-count // max(1, len(shares)))
    return items[:: max(1, len(items) // wanted)][:wanted]


def made_up(tokenizer: Any, lengths: Sequence[int]) -> Encoded:
    """Sequences of these lengths (tokens, special ones included) of random pieces, always the same."""
    generator = np.random.default_rng(0)
    special = set(tokenizer.all_special_ids)
    pieces = np.array(sorted(set(tokenizer.get_vocab().values()) - special))
    prefix, suffix = frame(tokenizer)
    builder = Builder()
    for row, length in enumerate(lengths):
        inside = generator.choice(pieces, max(1, length - len(prefix) - len(suffix)))
        builder.example(row, [[*prefix, *inside.tolist(), *suffix]])
    return builder.build()


def batches(encoded: Encoded, pad_id: int) -> list[Batch]:
    """The examples as padded batches, longest first."""
    plan = plan_batches(encoded.lengths, encoded.widths, BATCH_TOKENS, None)
    return [collate(encoded, examples, pad_id) for examples in plan]


def _languages(card: Task, data: Path, split: str) -> list[str]:
    found = []
    for code in card.languages:
        try:
            read_by_name(card.name, data, code, split)
        except DataError:
            continue
        found.append(code)
    return found


def _count(languages: Sequence[str]) -> str:
    return f"{len(languages)} languages" if len(languages) > 1 else languages[0]
