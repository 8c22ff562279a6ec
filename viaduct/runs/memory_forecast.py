"""How much memory a stage holds at its largest, about: from the encoder's shape and the size of a batch.

Measured on the CPU in float32 (`benchmarks/memory.py`), where it says so. On a GPU the libraries and the tokenizer are
not there, so that it needs less than this beside what CUDA itself takes.
"""

from __future__ import annotations

import math

from viaduct.runs.encoder import Shape
from viaduct.runs.parts import Training

LIBRARIES = 450e6
"""Of the process with torch, transformers and a stage's rows (measured)."""
PIECE_BYTES = 350.0
"""Of the tokenizer for each piece of its vocabulary (measured)."""
HEAD_WIDTH = 64
"""Of one head of attention, in all usual encoders."""
WIDTHS_KEPT, SQUARES_KEPT = 66.0, 9.0
"""Bytes that a layer keeps of each token for its gradient: for each unit of the width, and for each head and token of
the row, whose attention with dropout is kept in full (arXiv 2205.05198, section 4.1, with 4 bytes a number)."""
SCRATCH = 1.45
"""What is held beside that on the way back, and in holes between blocks (measured)."""
WIDTHS_PASSING = 40.0
"""Bytes of each token for each unit of the width while a layer only predicts (measured)."""
GUESSED_ROWS = 1_024
"""Positions whose scores of the whole vocabulary are held at once."""
COPIES = {"full": 4, "lora": 1, "frozen": 1}
"""Of the weights in training: themselves, gradients and two moments."""
GRADIENTS = 2
"""More of word embeddings that score the vocabulary: of them as inputs, as scores, and the sum are there at once."""


def used_rows(tokens: float, shape: Shape) -> int:
    """Embedding rows that so many tokens of text use, about: 20,000 to 28,000 of 560,000 tokens (docs/benchmarks.md),
    growing as Heaps' law has it."""
    return min(shape.vocabulary, round(110.0 * math.pow(tokens, 0.4)))


def training_bytes(
    shape: Shape, training: Training, tokens: float, *, beside: int | None = None, mask_fraction: float | None = None
) -> float:
    """Of a training on so many tokens of text in all. `beside`: tokens of text in a joint stage's batches beside what
    the training says, and such a stage keeps the weights that it began with; `mask_fraction`: where it guesses masked
    words of the whole vocabulary, else only embedding rows in use are trained."""
    table, in_use = 4.0 * shape.vocabulary * shape.width, 4.0 * used_rows(tokens, shape) * shape.width
    layers, copies = 4.0 * shape.weights, COPIES[training.encoder]
    batch = training.batch_tokens + (beside or 0)
    if mask_fraction is None:
        weights, saved = table + copies * (layers + in_use), 2 * table + layers
        scores = 0.0
    else:
        weights, saved = copies * (layers + table) + GRADIENTS * table, table + layers
        positions = min(float(GUESSED_ROWS), mask_fraction * (beside or batch))
        scores = 4.0 * shape.vocabulary * positions
    kept = 0.0 if training.encoder == "frozen" else batch * _kept(shape, training.max_length)
    before = 0.0 if beside is None else layers + table
    return _process(shape) + before + max(weights + scores + kept, saved)


def predicting_bytes(shape: Shape, batch_tokens: float) -> float:
    """Of a stage that only predicts."""
    return _process(shape) + shape.num_bytes + batch_tokens * WIDTHS_PASSING * shape.width


def _process(shape: Shape) -> float:
    return LIBRARIES + PIECE_BYTES * shape.vocabulary


def _kept(shape: Shape, length: int) -> float:
    """Bytes of a token in all layers."""
    squares = SQUARES_KEPT * max(1.0, shape.width / HEAD_WIDTH) * length
    return SCRATCH * shape.layers * (WIDTHS_KEPT * shape.width + squares)
