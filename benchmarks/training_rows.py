"""The benchmarks' training data: a model's shape and seeded token rows. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LONGEST = 128
"""Longest row of pairs, and the length that a naive loop pads them to."""

ZIPF_EXPONENT, ZIPF_SHIFT = 1.35, 2.7
"""A token's probability is proportional to (rank + shift) ** -exponent, with ranks shuffled over the vocabulary."""

PAD, FIRST, LAST, UNKNOWN = 1, 0, 2, 3
NO_TAG = -100
"""Tag of tokens that do not begin a word: torch's losses ignore it."""


@dataclass(frozen=True)
class Work:
    """One kind of training data. Row lengths in tokens are log-normal with this mean and this standard deviation of the
    logarithm, clipped."""

    kind: str
    mean: float
    sigma: float
    shortest: int
    longest: int
    batch_rows: int
    """Rows in each of the Trainer's steps."""
    share: float
    """Rows in the whole set, as a share of the shape's `set_rows`."""
    labels: tuple[str, ...] = ()


WORKS = {
    "pairs": Work("pair", 37.0, 0.5, 8, LONGEST, 32, 1.0, ("a", "b", "c")),
    "windows": Work("span", 223.0, 0.38, 40, 384, 8, 1 / 6),
    "tagging": Work("tagged", 24.0, 0.7, 4, LONGEST, 32, 1.0, tuple(f"T{number}" for number in range(17))),
}
"""Spreads like those of word counts in MNLI's training pairs (0.52), SQuAD's questions with their paragraphs (0.38) and
UD English's sentences (0.87; many have only one or two words). SQuAD asks several questions about each paragraph, so
its windows have fewer distinct tokens than rows drawn one by one: hence the smaller number of rows."""
PIECES_PER_WORD = 1.25


@dataclass(frozen=True)
class Shape:
    """One model size: XLM-R's architecture with these dimensions."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    vocabulary: int = 250_002
    set_rows: int = 15_000
    """Pairs in the whole training set: all of it, not only the timed rows, decides which embedding rows are kept."""

    def forward_flops(self, tokens: float, squares: float) -> float:
        """FLOPs of a forward pass: two per token and weight of the layers, plus attention's own, which grow with
        `squares`, the sum of the rows' squared lengths. Embeddings are not counted."""
        weights = self.layers * (4 * self.width**2 + 2 * self.width * self.feed_forward)
        return 2.0 * weights * tokens + 4.0 * self.width * self.layers * squares


SHAPES = {
    "24x1024": Shape(24, 1024, 16, 4096, set_rows=60_000),
    "12x768": Shape(12, 768, 12, 3072),
    "12x384": Shape(12, 384, 12, 1536),
    "6x384": Shape(6, 384, 6, 1536),
    "2x32": Shape(2, 32, 2, 64, vocabulary=1000, set_rows=200),
}


@dataclass(frozen=True)
class Rows:
    """Token ids and targets of every row of the set, in random order. A target is (1,) a label's number, (2,) the first
    and the last token of an answer, or (tokens,) tags, `NO_TAG` where no word begins."""

    ids: list[np.ndarray]
    targets: list[np.ndarray]

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(row) for row in self.ids])

    def tokens_per_step(self, work: Work) -> int:
        """Our token budget: the mean number of real tokens in a step of the Trainer."""
        return round(work.batch_rows * float(self.lengths.mean()))


def make_rows(shape: Shape, seed: int, work: Work = WORKS["pairs"]) -> Rows:
    """The whole training set."""
    generator = np.random.default_rng(seed)
    count = round(shape.set_rows * work.share)
    drawn = generator.lognormal(np.log(work.mean) - work.sigma**2 / 2, work.sigma, count)
    lengths = np.clip(np.round(drawn), work.shortest, work.longest).astype(int)
    flat = draw_pieces(shape, generator, int(lengths.sum()))
    ids = np.split(flat, np.cumsum(lengths)[:-1])
    for row in ids:
        row[0], row[-1] = FIRST, LAST
    if work.kind == "pair":
        return Rows(ids, list(generator.integers(0, len(work.labels), (count, 1))))
    return Rows(ids, [_target(work, generator, length) for length in lengths.tolist()])


def _target(work: Work, generator: np.random.Generator, length: int) -> np.ndarray:
    if work.kind == "span":
        return np.sort(generator.integers(1, length - 1, 2))
    tags = generator.integers(0, len(work.labels), length)
    inside = generator.random(length) > 1 / PIECES_PER_WORD
    inside[1] = False
    tags[inside] = tags[0] = tags[-1] = NO_TAG
    return tags


def draw_pieces(shape: Shape, generator: np.random.Generator, count: int) -> np.ndarray:
    """(count,) token ids, none of them special, from the distribution above."""
    pieces = generator.permutation(np.arange(UNKNOWN + 1, shape.vocabulary - 1))
    weights = (np.arange(1, len(pieces) + 1) + ZIPF_SHIFT) ** -ZIPF_EXPONENT
    ranks = np.searchsorted(np.cumsum(weights / weights.sum()), generator.random(count) * (1 - 1e-9))
    return pieces[ranks]
