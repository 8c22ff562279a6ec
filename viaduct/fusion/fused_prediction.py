"""Runs the PredictFused stage: predicts rows together with their translations, and measures what that costs.

Shape letters: B sequences, L tokens.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from viaduct.encode.batch import Batch, collate, padding_fraction, plan_batches
from viaduct.encode.cache import cached
from viaduct.encode.tokens import Array, Encoded, Limits
from viaduct.fusion.alignment import batches_of, couples, join, side
from viaduct.fusion.fused_encoder import FusedModel, fused_flops
from viaduct.fusion.matching import match
from viaduct.fusion.predict_fused import PredictFusedWork
from viaduct.fusion.records import Coverage, FusedInference, Way
from viaduct.heads.head import HeadSpec, load_head, require_logits, trained_head
from viaduct.inference.prediction import write_predictions
from viaduct.languages import ENGLISH
from viaduct.metrics.score import Prediction
from viaduct.models.encoder import load_encoder, load_tokenizer, longest_input, width
from viaduct.models.numerics import fetched, prepare, products_in
from viaduct.results.writing import canonical
from viaduct.rows import Row
from viaduct.runs.sizes import PREDICTION_TOKENS
from viaduct.runs.stage import Context, Progress, Spent
from viaduct.tasks.card import Task

TIMED, REPEATS = 64, 3
"""Number of rows that are timed, and of repeats in batches, of which the fastest counts."""


@dataclass(frozen=True)
class Material:
    """Rows, their translations, and which sequences go together or are read alone."""

    rows: Sequence[Row]
    encoded: Encoded
    """Examples of the rows, followed by those of the translations."""
    count: int
    """Number of examples of the rows."""
    together: Array
    """(P, 2) indices of the couples: text and translation."""
    alone: Array
    """Indices of the examples of rows without a translation."""
    coverage: tuple[Coverage, ...]


def predict(context: Context, work: PredictFusedWork) -> Spent:
    """Predict every language; leave `fused_inference.json` and, unless it is an oracle, `predictions/LL.jsonl`."""
    card = context.task(work.task)
    device = prepare(context.device, context.threads)
    tokenizer = load_tokenizer(context.start, context.revision)
    encoder = load_encoder(context.start, context.revision)
    head, spec = load_head(context.inputs["encoder"], width(encoder), dropout=0.0)
    spec = replace(spec, unanswerable=card.unanswerable)
    model = FusedModel(encoder, head, None, local=work.local, fused=work.fused).to(device).eval()
    limits = Limits(min(work.max_length, longest_input(encoder)), work.stride)
    material = _read(context, work, spec, tokenizer, limits)
    with torch.inference_mode(), products_in(work.products, device):
        found = predict_couples(model, spec, material, tokenizer.pad_token_id, context.progress)
        load = os.getloadavg()[0]
        ways = _ways(model, material, tokenizer.pad_token_id) if len(material.together) else (None, None)
    scores = _scores(card, material.rows, found, work.languages) if work.card is None else {}
    if work.card is not None:
        write_predictions(context.directory / "predictions", work.languages, found)
    record = FusedInference(
        task=work.task,
        oracle=work.card is None,
        scores=scores,
        coverage=material.coverage,
        alone=ways[0],
        together=ways[1],
        sample=min(TIMED, len(material.together)),
        threads=context.threads,
        load_average=load,
    )
    text = canonical(record.model_dump(mode="json"))
    (context.directory / "fused_inference.json").write_text(text, encoding="utf-8")
    return _spent(model, material)


def _read(context: Context, work: PredictFusedWork, spec: HeadSpec, tokenizer: Any, limits: Limits) -> Material:
    """The rows of all languages, and the translations that are available."""
    rows, translations, at, coverage = list[Row](), list[Row](), list[Array](), list[Coverage]()
    for code in work.languages:
        own = context.load(work.task, work.split, code).rows
        if code in work.translated:
            source = (work.task, ENGLISH) if work.card is None else (work.card, code)
            others = context.load(source[0], work.split, source[1]).rows
            one = match(own, others, code, work.most_missing, f"{source[0]} {work.split}")
            at.append(one.at + len(rows))
            translations += one.translations
            coverage.append(one.coverage)
        elif code != ENGLISH:
            one = match(own, (), code, work.most_missing, f"{work.card or work.task} {work.split}")
            coverage.append(one.coverage)
        rows += own
    context.progress(0, 1, "tokenising")
    encode = trained_head(spec).encode
    first, second = (cached(part, encode, tokenizer, (), limits, context.cache) for part in (rows, translations))
    whose = np.concatenate(at)[np.asarray(second.rows)] if at else np.zeros(0, np.int64)
    together = couples(np.asarray(first.rows), whose, every=False)
    alone = np.setdiff1d(np.arange(len(first)), together[:, 0])
    together = together + np.array([0, len(first)])
    return Material(rows, join([first, second]), len(first), together, alone, tuple(coverage))


def predict_couples(
    model: FusedModel, spec: HeadSpec, material: Material, pad_id: int, progress: Progress
) -> list[Prediction]:
    """One prediction per row, in row order; rows without a translation are read alone."""
    head, encoded = trained_head(spec), material.encoded
    said: list[list[Any]] = [[] for _ in material.rows]
    jobs = _jobs(model, material.together, material.alone, encoded)
    device = next(model.parameters()).device
    made = ((call, collate(encoded, examples, pad_id), step) for call, examples, step in jobs)
    outputs = (((batch, step), call(batch.to(device))[::step].float()) for call, batch, step in made)
    for number, ((batch, step), logits) in enumerate(fetched(outputs)):
        own = side(batch, 0) if step == 2 else batch
        require_logits(logits, own, encoded, material.rows)
        for row, one in zip(encoded.rows[own.examples], head.read(logits, encoded, own), strict=True):
            said[row].append(one)
        progress(number + 1, len(jobs), f"predicting, batch {number + 1:,} of {len(jobs):,}")
    return [head.predict(row, parts, spec) for row, parts in zip(material.rows, said, strict=True)]


Reads = Callable[[Batch], torch.Tensor]
Job = tuple[Reads, Array, int]
"""(function that reads a batch, its examples, 2 if they are couples and 1 if they are read alone)."""


def _jobs(model: FusedModel, together: Array, alone: Array, encoded: Encoded) -> list[Job]:
    jobs: list[Job] = [
        (model.couples, batch, 2) for batch in batches_of(together, encoded.lengths, PREDICTION_TOKENS, None)
    ]
    return jobs + [(model, batch, 1) for batch in _single(alone, encoded)]


def _single(examples: Array, encoded: Encoded) -> list[Array]:
    """Batches of sequences that are read alone."""
    lengths = encoded.lengths[examples]
    return [examples[at] for at in plan_batches(lengths, np.ones_like(lengths), PREDICTION_TOKENS, None)]


def _scores(card: Task, rows: Sequence[Row], found: Sequence[Prediction], languages: Sequence[str]) -> dict[str, float]:
    """Language -> the task's headline score."""
    if card.metric is None:
        return {}
    scores = {}
    for code in languages:
        own = [row for row in rows if row.language == code]
        said = {one.id: one for one in found if one.language == code}
        scores[code] = card.metric(own, said)[0].value
    return scores


def _ways(model: FusedModel, material: Material, pad_id: int) -> tuple[Way, Way]:
    """The cost of rows alone and with translations: FLOPs and tokens for all rows, times on a sample, alternating."""
    encoded, found = material.encoded, material.together
    chosen = found[np.linspace(0, len(found) - 1, min(TIMED, len(found))).astype(np.int64)]
    batches = [_single(chosen[:, 0], encoded), batches_of(chosen, encoded.lengths, PREDICTION_TOKENS, None)]
    seconds: tuple[list[float], list[float]] = ([], [])
    for call in (model, model.couples):
        _seconds(model, call, encoded, [chosen[0]], pad_id)  # warms up
    for couple in chosen:
        seconds[0].append(_seconds(model, model, encoded, [couple[:1]], pad_id))
        seconds[1].append(_seconds(model, model.couples, encoded, [couple], pad_id))
    calls: tuple[Reads, Reads] = (model, model.couples)
    batched = [
        min(_seconds(model, call, encoded, some, pad_id) for _ in range(REPEATS))
        for call, some in zip(calls, batches, strict=True)
    ]
    ways = []
    for way, (examples, fused) in enumerate(((found[:, :1], 0), (found, model.fused))):
        tokens, squares, crossed = sums(encoded, examples)
        ways.append(
            Way(
                tokens=tokens / len(found),
                flops=fused_flops(model.encoder, tokens, squares, fused, crossed) / len(found),
                latency_ms=1e3 * float(np.median(seconds[way])),
                rows_per_second=len(chosen) / batched[way],
            )
        )
    return ways[0], ways[1]


def sums(encoded: Encoded, examples: Array) -> tuple[int, int, int]:
    """Sums of the lengths, of the squared lengths, and of twice the product of both sides' lengths, without padding."""
    lengths = encoded.lengths[examples].astype(np.int64)
    squares = int((lengths**2).sum())
    return int(lengths.sum()), squares, int((lengths.sum(1) ** 2).sum()) - squares


def _seconds(
    model: FusedModel, call: Callable[[Batch], torch.Tensor], encoded: Encoded, batches: Sequence[Array], pad_id: int
) -> float:
    device = next(model.parameters()).device
    given = [collate(encoded, np.asarray(examples), pad_id).to(device) for examples in batches]
    started = time.perf_counter()
    for batch in given:
        call(batch)[0].cpu()
    return time.perf_counter() - started


def _spent(model: FusedModel, material: Material) -> Spent:
    """The tokens, FLOPs and padding of one pass over all rows."""
    encoded = material.encoded
    both, single = sums(encoded, material.together), sums(encoded, material.alone[:, None])
    flops = fused_flops(model.encoder, *both[:2], model.fused, both[2])
    flops += fused_flops(model.encoder, *single[:2], 0)
    examples = material.together.reshape(-1)
    batches = batches_of(np.arange(len(examples)).reshape(-1, 2), encoded.lengths[examples], PREDICTION_TOKENS, None)
    padding = padding_fraction(encoded.lengths[examples], np.ones_like(examples), batches) if len(examples) else None
    return Spent(tokens=both[0] + single[0], padding_fraction=padding, flops=flops, examples=len(material.rows))
