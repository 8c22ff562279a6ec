"""What the benchmarks train on: a model's shape and seeded token rows. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MEAN_TOKENS, LENGTH_SIGMA, SHORTEST, LONGEST = 37.0, 0.5, 8, 128
"""Row lengths: log-normal with this mean and this standard deviation of the logarithm, clipped. (The words of MNLI's
training pairs have 0.52.)"""

ZIPF_EXPONENT, ZIPF_SHIFT = 1.35, 2.7
"""A token's probability is in proportion to (rank + shift) ** -exponent, ranks shuffled over the vocabulary."""

PAD, FIRST, LAST, UNKNOWN = 1, 0, 2, 3
BATCH_ROWS = 32


@dataclass(frozen=True)
class Shape:
    """One model size: XLM-R's architecture with these numbers."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    vocabulary: int = 250_002
    set_rows: int = 15_000
    """Rows of the whole training set: it decides which embedding rows trimming keeps, not only the rows timed."""


SHAPES = {
    "12x768": Shape(12, 768, 12, 3072),
    "6x384": Shape(6, 384, 6, 1536),
    "2x32": Shape(2, 32, 2, 64, vocabulary=1000, set_rows=200),
}


@dataclass(frozen=True)
class Rows:
    """Token ids and a label of every row of the set, in a random order."""

    ids: list[np.ndarray]
    labels: list[int]

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(row) for row in self.ids])


def make_rows(shape: Shape, seed: int) -> Rows:
    """The whole training set."""
    generator = np.random.default_rng(seed)
    drawn = generator.lognormal(np.log(MEAN_TOKENS) - LENGTH_SIGMA**2 / 2, LENGTH_SIGMA, shape.set_rows)
    lengths = np.clip(np.round(drawn), SHORTEST, LONGEST).astype(int)
    flat = draw_pieces(shape, generator, int(lengths.sum()))
    ids = np.split(flat, np.cumsum(lengths)[:-1])
    for row in ids:
        row[0], row[-1] = FIRST, LAST
    return Rows(ids, generator.integers(0, 3, shape.set_rows).tolist())


def draw_pieces(shape: Shape, generator: np.random.Generator, count: int) -> np.ndarray:
    """(count,) token ids, none of them special, by the law above."""
    pieces = generator.permutation(np.arange(UNKNOWN + 1, shape.vocabulary - 1))
    weights = (np.arange(1, len(pieces) + 1) + ZIPF_SHIFT) ** -ZIPF_EXPONENT
    ranks = np.searchsorted(np.cumsum(weights / weights.sum()), generator.random(count) * (1 - 1e-9))
    return pieces[ranks]
