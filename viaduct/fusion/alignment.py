"""Pairs the token sequences of rows with those of their translations.

All languages' sequences are joined into one `Encoded`; a couple is a sequence and that of its translation. Long
contexts have several windows: the n-th window of one side goes with the n-th of the other, or with its last one.
Shape letters: P couples, E examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from viaduct.encode.batch import Batch, plan_batches, split
from viaduct.encode.tokens import Array, Encoded
from viaduct.errors import DataError
from viaduct.models.numerics import derived_seed
from viaduct.training.order import Order

NO_GOLD = -100
"""Replaces a gold value that one side lacks: torch's cross-entropy ignores it."""

GOLD = {"label": "", "start": "", "end": "", "tag": "first"}
"""Gold field -> the field that has the same length; "": one value per example."""


def join(parts: Sequence[Encoded]) -> Encoded:
    """Concatenate the parts; gold that a part lacks becomes `NO_GOLD`."""
    names = {name for part in parts for name in part.fields}
    fields = {name: np.concatenate([_field(part, name) for part in parts]) for name in sorted(names)}
    shifts = np.cumsum([0, *(len(part.ids) for part in parts)])
    offsets = [np.asarray(part.offsets[1:]) + shift for part, shift in zip(parts, shifts, strict=False)]
    ends = np.arange(sum(map(len, parts)) + 1)
    return Encoded(
        ids=np.concatenate([part.ids for part in parts]),
        offsets=np.concatenate([np.zeros(1, np.int64), *offsets]),
        groups=ends,
        rows=np.concatenate([part.rows for part in parts]),
        fields=fields,
        cut_tokens=sum(part.cut_tokens for part in parts),
    )


def _field(part: Encoded, name: str) -> Array:
    if name in part.fields:
        return part.fields[name]
    return np.full(len(part.fields[GOLD[name]]) if GOLD[name] else len(part), NO_GOLD, np.int32)


def couples(first: Array, second: Array, *, every: bool) -> Array:
    """(P, 2) indices of the examples that go together, for two sides whose examples belong to the rows `first` (E,) and
    `second` (E,), both ascending; rows that only one side has give no couple. `every`: all examples of both sides take
    part; otherwise, all of the first side's."""
    found: list[tuple[int, int]] = []
    ours, theirs = _spans(first), _spans(second)
    for row, (begin, count) in ours.items():
        if row in theirs:
            start, other = theirs[row]
            for at in range(max(count, other) if every else count):
                found.append((begin + min(at, count - 1), start + min(at, other - 1)))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _spans(rows: Array) -> Mapping[int, tuple[int, int]]:
    """Row -> (its first example, its number of examples)."""
    unique, begins, counts = np.unique(np.asarray(rows), return_index=True, return_counts=True)
    return dict(zip(unique.tolist(), zip(begins.tolist(), counts.tolist(), strict=True), strict=True))


class CoupleOrder(Order):
    """Batches of couples; in every epoch each English row comes once, with a newly drawn translation."""

    def __init__(self, encoded: Encoded, by_language: Sequence[Array], batch_tokens: int, seed: int) -> None:
        """`by_language`: one (P, 3) array per language with the row and both examples of each couple."""
        super().__init__(encoded, batch_tokens, seed)
        self.couples = np.concatenate(by_language)
        if not len(self.couples):
            raise DataError("no training row has a translation", fix="check the ids of the translations")
        self.language = np.repeat(np.arange(len(by_language)), [len(one) for one in by_language])
        self.there = np.zeros((int(self.couples[:, 0].max()) + 1, len(by_language)), bool)
        self.there[self.couples[:, 0], self.language] = True

    def planned(self, epoch: int, seed: int) -> list[Array]:
        """The batches of this epoch: examples of both sides alternating, text first."""
        draw = np.random.default_rng(derived_seed("translation", self.seed, epoch))
        chosen = np.where(self.there, draw.random(self.there.shape), -1.0).argmax(1)
        drawn = self.couples[chosen[self.couples[:, 0]] == self.language][:, 1:]
        return batches_of(drawn, self.lengths, self.batch_tokens, seed)


def batches_of(found: Array, lengths: Array, batch_tokens: int, seed: int | None) -> list[Array]:
    """Couples (P, 2) in batches of at most `batch_tokens` slots over both sides, which alternate within a batch."""
    longest = lengths[found].max(1)
    plan = plan_batches(longest, np.full(len(found), 2), batch_tokens, seed)
    return [found[batch].reshape(-1) for batch in plan]


class Couples(Batch):
    """A batch in which texts and translations alternate."""

    def cut(self, count: int) -> list[Batch]:
        """The batch in at most `count` parts; no couple is split."""
        return [self.take(np.arange(2 * at[0], 2 * at[-1] + 2)) for at in split(len(self.examples) // 2, count)]


def side(batch: Batch, at: int) -> Batch:
    """One side of a batch of couples: 0 the text, 1 the translation."""
    return Batch(
        ids_BL=batch.ids_BL[at::2],
        mask_BL=None if batch.mask_BL is None else batch.mask_BL[at::2],
        types_BL=None if batch.types_BL is None else batch.types_BL[at::2],
        examples=batch.examples[at::2],
        tokens=batch.tokens,
    )
