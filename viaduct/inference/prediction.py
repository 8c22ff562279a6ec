"""The Predict stage for tasks with a head, and the prediction of rows that training uses for dev scores.

The rows of all languages are sorted together by length into token-budget batches, so there is almost no padding.
Shape letters: B sequences, L tokens, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import collate, padding_fraction, plan_batches
from viaduct.encode.cache import cached
from viaduct.encode.tokens import Encoded, Limits
from viaduct.heads.head import HeadSpec, TaskModel, load_head, require_logits, trained_head
from viaduct.inference.predict import PredictWork
from viaduct.metrics.score import Prediction
from viaduct.models.encoder import forward_flops, load_encoder, load_tokenizer, longest_input, width
from viaduct.models.numerics import fetched, finite, prepare, products_in
from viaduct.rows import Row
from viaduct.runs.field import predictor
from viaduct.runs.sizes import PREDICTION_TOKENS
from viaduct.runs.stage import Context, Spent


@dataclass(frozen=True)
class TrainedModel:
    """The output of a training stage, for engines that predict in place of torch."""

    encoder: nn.Module
    head: nn.Module | None
    """None: the encoder's states are the output."""
    spec: HeadSpec | None
    tokenizer: Any
    limits: Limits


def predict(context: Context, work: PredictWork) -> Spent:
    """Predict every language and write `predictions/LL.jsonl` into the stage's directory."""
    card = context.task(work.task)
    device = prepare(context.device, context.threads)
    tokenizer = load_tokenizer(context.start, context.revision)
    encoder = load_encoder(context.start, context.revision)
    head, spec = load_head(context.inputs["encoder"], width(encoder), dropout=0.0)
    spec = replace(spec, unanswerable=card.unanswerable)  # a property of the questions, not of the head
    limits = Limits(min(work.max_length, longest_input(encoder)), work.stride)
    model = TaskModel(encoder, head).to(device).eval()
    engine = engine_in_place(context, work, lambda: TrainedModel(encoder, head, spec, tokenizer, limits))

    rows: list[Row] = []
    for language in work.languages:
        rows.extend(_named(row, language) for row in context.load(card.name, work.split, language).rows)
    context.progress(0, 1, "tokenising")
    encoded = cached(rows, trained_head(spec).encode, tokenizer, (), limits, context.cache)
    with torch.inference_mode(), products_in(work.products, device):
        found = predict_all(engine or model, spec, rows, encoded, tokenizer.pad_token_id, context.progress)
    write_predictions(context.directory / "predictions", work.languages, found)
    return spent_on(encoder, encoded, len(rows), work.products)


def engine_in_place(context: Context, work: PredictWork, model: Callable[[], TrainedModel]) -> nn.Module | None:
    """The engine of a room that predicts in place of torch and this model; None if there is none."""
    make = predictor(work)
    return None if make is None else make(context, work, model())


def spent_on(encoder: nn.Module, encoded: Encoded, examples: int, products: str) -> Spent:
    """The cost of one pass over these sequences."""
    lengths = np.diff(encoded.offsets).astype(np.int64)
    batches = plan_batches(encoded.lengths, encoded.widths, PREDICTION_TOKENS, None)
    return Spent(
        tokens=int(lengths.sum()),
        padding_fraction=padding_fraction(encoded.lengths, encoded.widths, batches),
        flops=forward_flops(encoder, int(lengths.sum()), int((lengths**2).sum())),
        examples=examples,
        precision=None if products == "fp32" else products,
    )


def _named(row: Row, language: str) -> Row:
    """The row itself, checked to be in this language: otherwise it would be scored in the wrong place."""
    if row.language != language:
        raise ValueError(f"row {row.id} of {language} says it is {row.language}")
    return row


def predict_all(
    model: nn.Module,
    spec: HeadSpec,
    rows: Sequence[Row],
    encoded: Encoded,
    pad_id: int,
    progress: Callable[[float, float, str], None] = lambda *_: None,
) -> list[Prediction]:
    """One prediction per row, in the rows' order. The model must be in evaluation mode, on its device; it may also be
    an engine of `viaduct.serving`. Raises NumbersError for non-finite logits."""
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    head = trained_head(spec)
    said: list[list[Any]] = [[] for _ in rows]
    batches = plan_batches(encoded.lengths, encoded.widths, PREDICTION_TOKENS, None)
    tokens = int(encoded.offsets[-1])
    done = 0
    made = (collate(encoded, examples, pad_id) for examples in batches)
    for batch, logits in fetched((one, model(one.to(device)).float()) for one in made):
        require_logits(logits, batch, encoded, rows)
        for row, one in zip(encoded.rows[batch.examples], head.read(logits, encoded, batch), strict=True):
            said[row].append(one)
        done += batch.tokens
        progress(done, tokens, f"predicting, {done:,} of {tokens:,} tokens")
    return [head.predict(row, parts, spec) for row, parts in zip(rows, said, strict=True)]


def write_predictions(folder: Path, languages: Iterable[str], found: Iterable[Prediction]) -> None:
    """Write one file per language, with a JSON line per prediction in the given order. Raises NumbersError for
    non-finite scores."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {language: [] for language in languages}
    for one in found:
        record = {"id": one.id, "language": one.language, "prediction": one.prediction}
        if one.scores is not None:
            what = f"a score of '{one.id}' ({one.language})"
            record["scores"] = [float(f"{finite(score, what):.6g}") for score in one.scores]
        lines[one.language].append(json.dumps(record, ensure_ascii=False))
    for language, texts in lines.items():
        (folder / f"{language}.jsonl").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
