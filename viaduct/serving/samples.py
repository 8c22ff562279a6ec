"""Rows to run a model on: to calibrate int8, to compare an export with its source, to measure what it costs.

Rows to measure on are tokenised once, so that every engine gets the same input. They are, in order of preference, test
rows of a task that the head is for, lines of the text card, and, without a data folder, made-up rows of natural
lengths. Which of these were used is part of the result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from viaduct.encode.batch import Batch, collate, plan_batches
from viaduct.encode.cache import rows_key
from viaduct.encode.tokens import Array, Builder, Encoded, Limits, encode, frame
from viaduct.errors import DataError, UsageError
from viaduct.heads.head import encoding_of
from viaduct.rows import Row, Sentence
from viaduct.serving.compressing import Texts
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder

Item = TypeVar("Item")

SAMPLE_ROWS = 300
"""Rows, from each source, on which int8 is calibrated and an export is compared."""

SAMPLE_BATCH_TOKENS = 2048
"""Token slots per batch: as fast as larger batches on one core, with less memory."""

MEAN_TOKENS, LENGTH_SIGMA, SHORTEST = 37.0, 0.5, 5
"""Made-up rows: log-normal lengths with this mean and standard deviation of the logarithm, as MultiNLI's pairs have,
cut at the limit."""


@dataclass(frozen=True)
class Sample:
    """Rows of one type, and where they come from, in words."""

    name: str
    rows: tuple[Row, ...]
    card: Task | None = None
    """The card that the rows are from; None for lines of text."""

    def encoded(self, tokenizer: Any, limits: Limits) -> Encoded:
        """The rows' token sequences, without labels."""
        return encode(self.rows, encoding_of("text" if self.card is None else self.card.kind), tokenizer, (), limits)


def with_builtin_cards(root: Path | None) -> DataFolder | None:
    """The data folder with the built-in cards; None if there is no folder."""
    return None if root is None else DataFolder(root, Catalogue.builtin())


def row_sample(name: str, card: Task, parts: Mapping[str, Sequence[Row]], count: int) -> Sample | None:
    """At most `count` rows, spread over the languages that have any (`parts`: language -> rows); None if none has."""
    there = {code: rows for code, rows in parts.items() if rows}
    if not there:
        return None
    rows = [row for one in there.values() for row in spread(one, count, there)]
    where = f"{len(there)} languages" if len(there) > 1 else next(iter(there))
    return Sample(f"{name}, {where}", tuple(rows[:count]), card)


def card_sample(task: str | None, data: DataFolder | None, splits: Sequence[str], count: int) -> Sample | None:
    """Rows of the first of these splits of the card that has files; None if none has, or the card is not known."""
    if task is None or data is None or task not in data.catalogue:
        return None
    card = data.task(task)
    found = (row_sample(f"{task} {split}", card, _rows(card, data, split), count) for split in splits)
    return next((sample for sample in found if sample is not None), None)


def labelled_sample(task: str | None, data: DataFolder | None) -> Sample | None:
    """The first of `_target_samples`, of `SAMPLE_ROWS` rows, in which all rows have labels; if none has, the first
    without; None if there are none."""
    first = None
    for sample in _target_samples(task, data, SAMPLE_ROWS):
        if all(row.is_labelled for row in sample.rows):
            return sample
        first = first or sample
    return first


def _target_samples(task: str | None, data: DataFolder | None, count: int) -> Iterator[Sample]:
    """Test or dev rows of each card with files that a head trained on this one is evaluated on; then its own dev and
    train rows."""
    cards = () if task is None or data is None else data.catalogue
    wanted = [(card.name, split) for card in cards if card.trained_on == task for split in ("test", "dev")]
    for name, split in [*wanted, (task, "dev"), (task, "train")]:
        sample = card_sample(name, data, (split,), count)
        if sample is not None:
            yield sample


def text_sample(texts: Texts) -> Sample | None:
    """At most `SAMPLE_ROWS` of these lines, spread over languages and files; None if there are none."""
    rows = [
        Sentence(f"{name}-{number}", name, line, match=())
        for name, lines in texts.items()
        for number, line in enumerate(spread(lines, SAMPLE_ROWS, texts))
    ]
    return Sample(f"plain text, {' '.join(texts)}", tuple(rows[:SAMPLE_ROWS])) if texts else None


def spread(items: Sequence[Item], count: int, shares: Collection[object]) -> Sequence[Item]:
    """Every n-th item, with n such that one selection per share gives `count` items in total, or a few more."""
    wanted = -(-count // max(1, len(shares)))
    return items[:: max(1, len(items) // wanted)][:wanted]


def _rows(card: Task, data: DataFolder, split: str) -> dict[str, Sequence[Row]]:
    """Language -> rows, for the languages that have files."""
    found: dict[str, Sequence[Row]] = {}
    for code in card.languages:
        try:
            found[code] = data.read(card.name, split, code).rows
        except DataError:
            continue
    return found


def batches(encoded: Encoded, pad_id: int) -> list[Batch]:
    """The examples as padded batches, longest first."""
    plan = plan_batches(encoded.lengths, encoded.widths, SAMPLE_BATCH_TOKENS, None)
    return [collate(encoded, examples, pad_id) for examples in plan]


def made_up(tokenizer: Any, lengths: Sequence[int]) -> Encoded:
    """Sequences of random pieces of these lengths (in tokens, including special ones), the same in every call."""
    generator = np.random.default_rng(0)
    special = set(tokenizer.all_special_ids)
    pieces = np.array(sorted(set(tokenizer.get_vocab().values()) - special))
    prefix, suffix = frame(tokenizer)
    builder = Builder()
    for row, length in enumerate(lengths):
        inside = generator.choice(pieces, max(1, length - len(prefix) - len(suffix)))
        builder.example(row, [[*prefix, *inside.tolist(), *suffix]])
    return builder.build()


@dataclass(frozen=True)
class Workload:
    """Rows to measure on, as one model's tokens."""

    name: str
    encoded: Encoded
    pad_id: int
    languages: tuple[str, ...]
    """Language of each example ("" for made-up rows)."""
    content: str
    """SHA-256 of the rows' texts ("" for made-up rows)."""

    @property
    def digest(self) -> str:
        """SHA-256 of the texts and of the sequences' lengths. With a trimmed vocabulary the ids change,
        but the work and the digest stay the same."""
        digest = hashlib.sha256(self.content.encode())
        for ends in (self.encoded.offsets, self.encoded.groups):
            digest.update(np.ascontiguousarray(ends).tobytes())
        return digest.hexdigest()

    @property
    def lengths(self) -> Array:
        """(sequences,) tokens of each sequence."""
        lengths: Array = np.diff(self.encoded.offsets)
        return lengths


def workload(tokenizer: Any, task: str | None, limits: Limits, data: DataFolder | None, count: int) -> Workload:
    """At most `count` rows for a model with this tokenizer whose head was trained on this card (None: unknown).

    Raises UsageError for a count below 1.
    """
    if count < 1:
        raise UsageError(f"--rows {count}: there is nothing to measure", fix="a number from 1 up; 200 or more is good")
    sample = next(_target_samples(task, data, count), None) or card_sample("text", data, ("train",), count)
    return _made_up_workload(tokenizer, limits, count) if sample is None else workload_of(sample, tokenizer, limits)


def workload_of(sample: Sample, tokenizer: Any, limits: Limits) -> Workload:
    """The rows of a sample as a workload."""
    encoded = sample.encoded(tokenizer, limits)
    languages = tuple(sample.rows[row].language for row in encoded.rows)
    return Workload(sample.name, encoded, tokenizer.pad_token_id, languages, rows_key(sample.rows))


def _made_up_workload(tokenizer: Any, limits: Limits, count: int) -> Workload:
    generator = np.random.default_rng(0)
    drawn = generator.lognormal(np.log(MEAN_TOKENS) - LENGTH_SIGMA**2 / 2, LENGTH_SIGMA, count)
    lengths = np.clip(np.rint(drawn), min(SHORTEST, limits.max_length), limits.max_length).astype(int)
    encoded = made_up(tokenizer, lengths.tolist())
    name = "made-up rows (random pieces, lengths as in MultiNLI)"
    return Workload(name, encoded, tokenizer.pad_token_id, ("",) * len(encoded), "")
