"""A stage's approximate peak memory, from the encoder's shape and the size of a batch.

Values marked as measured were measured on the CPU in float32 (`benchmarks/memory.py`). A GPU does not hold the
libraries and the tokenizer, so it needs less than this, not counting what CUDA itself takes.
"""

from __future__ import annotations

import math

from viaduct.runs.encoder import Shape
from viaduct.runs.parts import Training

LIBRARIES = 450e6
"""Bytes of the process with torch, transformers and a stage's rows (measured)."""
PIECE_BYTES = 350.0
"""Memory of the tokenizer per piece of its vocabulary (measured)."""
HEAD_WIDTH = 64
"""Width of one attention head in all usual encoders."""
WIDTHS_KEPT, SQUARES_KEPT = 66.0, 9.0
"""Bytes per token that a layer keeps for the backward pass: per unit of the width, and per head and token of the row,
because attention with dropout is kept in full (arXiv 2205.05198, section 4.1, with 4 bytes a number)."""
SCRATCH = 1.45
"""Factor for what the backward pass holds on top of that, and for fragmentation (measured)."""
WIDTHS_PASSING = 40.0
"""Bytes per token and unit of the width while a layer only predicts (measured)."""
GUESSED_ROWS = 1_024
"""Positions whose logits over the whole vocabulary are held at the same time."""
COPIES = {"full": 4, "lora": 1, "frozen": 1}
"""Copies of the weights in training: the weights themselves and, if trained, gradients and two moments."""
GRADIENTS = 2
"""Extra gradients of word embeddings that also give logits: as inputs, as outputs, and the sum exist together."""


def used_rows(tokens: float, shape: Shape) -> int:
    """Approximate number of embedding rows used by this many tokens of text: 20,000 to 28,000 for 560,000 tokens
    (docs/benchmarks.md), growing by Heaps' law."""
    return min(shape.vocabulary, round(110.0 * math.pow(tokens, 0.4)))


def training_bytes(
    shape: Shape, training: Training, tokens: float, *, beside: int | None = None, mask_fraction: float | None = None
) -> float:
    """Peak bytes of a training on this many tokens of text in total. `beside`: tokens per batch that a joint stage adds
    to the training's own; such a stage also keeps the weights it began with. `mask_fraction`: set if masked words are
    guessed among the whole vocabulary; otherwise only the embedding rows in use are trained."""
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
    """Peak bytes of a stage that only predicts."""
    return _process(shape) + shape.num_bytes + batch_tokens * WIDTHS_PASSING * shape.width


def _process(shape: Shape) -> float:
    return LIBRARIES + PIECE_BYTES * shape.vocabulary


def _kept(shape: Shape, length: int) -> float:
    """Bytes that all layers keep per token for the backward pass; `length`: tokens of a row."""
    squares = SQUARES_KEPT * max(1.0, shape.width / HEAD_WIDTH) * length
    return SCRATCH * shape.layers * (WIDTHS_KEPT * shape.width + squares)
