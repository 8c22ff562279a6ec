"""Does fusion cost what its tokens and its attention imply? Training and prediction against our plain loop.

    python benchmarks/fusion.py [--quick] [--threads N] [--repeats N]

Both sides read the same texts and translations, of made-up tokens with lengths like XNLI's, in batches of the same
token budget, built as in training and prediction: the plain loop reads each text alone, fusion reads couples. "implied"
is the ratio of operations (`fused_flops`: real tokens, no padding), "measured" that of seconds per token, timed in
turns, median over repeats; their quotient is what padding and data movement add. Prints a table, and a JSON object as
its last line.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch

from viaduct.encode.batch import collate, plan_batches
from viaduct.encode.tokens import Array, Builder, Encoded
from viaduct.fusion.alignment import batches_of
from viaduct.fusion.fused_encoder import FusedModel, fused_flops
from viaduct.heads.pair import PAIR, SequenceHead
from viaduct.models.encoder import build_encoder
from viaduct.models.numerics import prepare
from viaduct.runs.sizes import PREDICTION_TOKENS
from viaduct.runs.spec import Architecture, Training
from viaduct.training.optimizer import build_optimizer

SHAPES = {
    "12x384": Architecture(layers=12, hidden=384, heads=12, feed_forward=1536, vocabulary=4_000),
    "2x64": Architecture(layers=2, hidden=64, heads=2, feed_forward=128, vocabulary=500),
}
FUSED = {"12x384": (1, 11), "2x64": (1,)}
"""k, with m = 1: as published for pairs, and for the larger shape also as for questions."""
TRAINING_TOKENS = 2_048
COUPLES = 128
MEAN_LENGTH = 42


def made(vocabulary: int, seed: int) -> tuple[Encoded, Array]:
    """Labelled texts followed by their translations, of about the same length (one standard deviation is a factor of
    e^0.15); and the couples."""
    random = np.random.default_rng(seed)
    lengths = np.clip(random.gamma(3.0, MEAN_LENGTH / 3.0, COUPLES), 10, 128)
    others = np.clip(lengths * np.exp(random.normal(0.0, 0.15, COUPLES)), 10, 128)
    builder = Builder()
    for number, length in enumerate(np.concatenate([lengths, others]).astype(int)):
        builder.example(number, [random.integers(5, vocabulary, length)], label=[number % 3])
    return builder.build(), np.column_stack([np.arange(COUPLES), np.arange(COUPLES) + COUPLES])


Way = tuple[Callable[[Any], torch.Tensor], Sequence[Array]]
"""(function that reads a batch, its batches)."""


def train(model: FusedModel, way: Way, encoded: Encoded, steps: int, first: int) -> tuple[float, int]:
    """(seconds, tokens) of `steps` optimiser steps, starting from batch `first`."""
    optimizer = build_optimizer(model.train(), Training())
    call, batches = way
    given = [collate(encoded, batches[(first + at) % len(batches)], 1) for at in range(steps)]
    started = time.perf_counter()
    for batch in given:
        PAIR.loss(call(batch), encoded, batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - started, sum(batch.tokens for batch in given)


def predict(model: FusedModel, way: Way, encoded: Encoded, _steps: int, _first: int) -> tuple[float, int]:
    """(seconds, tokens) of one pass over all batches."""
    model.eval()
    call, batches = way
    given = [collate(encoded, batch, 1) for batch in batches]
    started = time.perf_counter()
    with torch.inference_mode():
        for batch in given:
            call(batch)
    return time.perf_counter() - started, sum(batch.tokens for batch in given)


def measure(shape: str, fused: int, what: str, options: argparse.Namespace) -> dict[str, Any]:
    """Implied and measured cost of a token in couples, relative to a token in texts read alone."""
    torch.manual_seed(1)
    encoder = build_encoder(SHAPES[shape], SHAPES[shape].vocabulary, 1)
    model = FusedModel(encoder, SequenceHead(SHAPES[shape].hidden, 3, 0.1), None, local=1, fused=fused)
    encoded, couples = made(SHAPES[shape].vocabulary, seed=1)
    tokens, seed = (TRAINING_TOKENS, 1) if what == "training" else (PREDICTION_TOKENS, None)
    alone = plan_batches(encoded.lengths, encoded.widths, tokens, seed)
    ways: list[Way] = [(model, alone), (model.couples, batches_of(couples, encoded.lengths, tokens, seed))]
    run = train if what == "training" else predict
    for way in ways:
        run(model, way, encoded, 1, 0)
    samples: list[list[float]] = [[], []]
    for at in range(options.repeats):
        for number, way in enumerate(ways):
            seconds, count = run(model, way, encoded, options.steps, at * options.steps)
            samples[number].append(seconds / count)
    lengths = encoded.lengths.astype(np.int64)
    # operations of the layers only: fused attention sees the sum of both lengths
    squares = int(lengths.dot(lengths)), int(((lengths[couples].sum(1)) ** 2).sum())
    plain = fused_flops(encoder, int(lengths.sum()), squares[0], 0)
    more = 4.0 * SHAPES[shape].hidden * fused * (squares[1] - squares[0])
    implied, measured = 1 + more / plain, median(samples[1]) / median(samples[0])
    found = {"shape": shape, "fused": fused, "what": what, "implied": implied, "measured": measured}
    return {**found, "quotient": measured / implied, "samples": samples}


def main() -> None:
    """Measure, and print the table and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the small shape only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of training, in each repeat")
    options = parser.parse_args()
    prepare("cpu", options.threads)
    load = os.getloadavg()[0]
    print(f"{'shape':8}{'k':>4} {'':12}{'implied':>9}{'measured':>10}{'quotient':>10}")
    lines = []
    for shape in ("2x64",) if options.quick else tuple(SHAPES):
        for fused in FUSED[shape]:
            for what in ("training", "prediction"):
                one = measure(shape, fused, what, options)
                lines.append(one)
                told = f"{one['implied']:9.3f}{one['measured']:10.3f}{one['quotient']:10.3f}"
                print(f"{shape:8}{fused:4} {what:12}{told}", flush=True)
    print(json.dumps({"lines": lines, "threads": options.threads, "load_average_before": load}))


if __name__ == "__main__":
    main()
