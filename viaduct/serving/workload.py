"""Which rows a measurement runs on, tokenised once, so that every engine gets the same ones.

In order of preference: test rows of a task that the head is for, lines of the text card, and, without a data folder,
made-up rows of natural lengths. Which it was is part of the result.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from viaduct.encode.cache import rows_key
from viaduct.encode.tokens import Array, Encoded, Limits
from viaduct.errors import UsageError
from viaduct.serving.trial import Trial, encoded_rows, made_up, target_rows, text_card_rows

MEAN_TOKENS, LENGTH_SIGMA, SHORTEST = 37.0, 0.5, 5
"""Made-up rows: log-normal lengths with this mean and standard deviation of the logarithm, as MultiNLI's pairs have,
cut at the limit."""

ARRAYS = ("ids", "offsets", "groups", "rows")


@dataclass(frozen=True)
class Workload:
    """Rows to measure on."""

    name: str
    encoded: Encoded
    languages: tuple[str, ...]
    """Language of each example ("" for made-up rows)."""
    content: str
    """SHA-256 of the rows' texts ("" for made-up rows)."""

    @property
    def digest(self) -> str:
        """SHA-256 of the texts and of the sequences' lengths. A trimmed vocabulary, whose ids are others, has the same
        work to do, and the same digest."""
        digest = hashlib.sha256(self.content.encode())
        for ends in (self.encoded.offsets, self.encoded.groups):
            digest.update(np.ascontiguousarray(ends).tobytes())
        return digest.hexdigest()

    @property
    def lengths(self) -> Array:
        """(sequences,) tokens of each sequence."""
        lengths: Array = np.diff(self.encoded.offsets)
        return lengths


def workload(tokenizer: Any, task: str | None, limits: Limits, data: Path | None, count: int) -> Workload:
    """At most `count` rows for a model with this tokenizer whose head was trained on this card (None: not known).

    Raises UsageError for a count below 1.
    """
    if count < 1:
        raise UsageError(f"--rows {count}: there is nothing to measure", fix="a number from 1 on; 200 or more is good")
    trial = target_rows(task, data, count) or text_card_rows(data, count)
    if trial is None:
        return _made(tokenizer, limits, count)
    return of_rows(tokenizer, trial, limits)


def of_rows(tokenizer: Any, trial: Trial, limits: Limits) -> Workload:
    """These rows, under their name."""
    encoded = encoded_rows(trial, tokenizer, limits)
    languages = tuple(trial.rows[row].language for row in encoded.rows)
    return Workload(trial.name, encoded, languages, rows_key(trial.rows))


def _made(tokenizer: Any, limits: Limits, count: int) -> Workload:
    generator = np.random.default_rng(0)
    drawn = generator.lognormal(np.log(MEAN_TOKENS) - LENGTH_SIGMA**2 / 2, LENGTH_SIGMA, count)
    lengths = np.clip(np.rint(drawn), min(SHORTEST, limits.max_length), limits.max_length).astype(int)
    encoded = made_up(tokenizer, lengths.tolist())
    return Workload("made-up rows (random pieces, lengths as in MultiNLI)", encoded, ("",) * len(encoded), "")


def save(work: Workload, path: Path) -> None:
    """Write the token arrays as an .npz file."""
    arrays: dict[str, Any] = {name: getattr(work.encoded, name) for name in ARRAYS}
    if "types" in work.encoded.fields:
        arrays["types"] = work.encoded.fields["types"]
    np.savez(path, **arrays)


def load(path: Path) -> Encoded:
    """The token arrays that `save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        fields = {"types": file["types"]} if "types" in file else {}
        return Encoded(file["ids"], file["offsets"], file["groups"], file["rows"], fields, cut_tokens=0)
