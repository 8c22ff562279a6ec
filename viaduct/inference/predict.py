"""The Predict stage for tasks with a head, and the prediction of rows that training uses for dev scores.

All languages' rows are sorted together by length into token-budget batches, so there is next to no padding.
Shape letters: B sequences, L tokens, C classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import Batch, collate, padding_fraction, plan_batches, word_positions
from viaduct.encode.cache import cached
from viaduct.encode.tokens import Array, Encoded, Limits
from viaduct.inference import retrieve, spans
from viaduct.metrics.score import Prediction
from viaduct.models.encoder import forward_flops, load_encoder, load_tokenizer, longest_input, width
from viaduct.models.heads import HeadSpec, TaskModel, load_head
from viaduct.models.numerics import prepare
from viaduct.rows import Row, Span
from viaduct.runs.stage import Context, PredictWork, Spent
from viaduct.serving.convert import planned_engine
from viaduct.serving.trained import Trained, Whole
from viaduct.tasks.registry import task

BATCH_TOKENS = 8192
"""Slots of a prediction batch; does not change predictions beyond the last bits of a float."""


def run(context: Context) -> Spent:
    """Predict every language and leave `predictions/LL.jsonl` (and `choices.json`) in the stage's directory."""
    work = context.work
    assert isinstance(work, PredictWork) and context.encoder is not None  # noqa: S101  the executor's contract
    card = task(work.task)
    if card.kind in ("retrieval", "mining"):
        return retrieve.run(context, card)
    device = prepare(context.device, context.threads)
    tokenizer = load_tokenizer(context.encoder, context.revision)
    encoder = load_encoder(context.encoder, context.revision)
    head, spec = load_head(context.inputs["encoder"], width(encoder), dropout=0.0)
    spec = replace(spec, unanswerable=card.unanswerable)  # the questions' own property, whatever trained the head
    limits = Limits(min(work.max_length, longest_input(encoder)), work.stride)
    model: nn.Module = TaskModel(encoder, head).to(device).eval()
    if work.reduced:
        source = Trained(context.inputs["encoder"], Whole(encoder, head).eval(), spec, tokenizer)
        model = planned_engine(source, context, work, limits)

    rows: list[Row] = []
    for language in work.languages:
        rows.extend(_named(row, language) for row in context.load(card.name, work.split, language).rows)
    context.progress(0, 1, "tokenising")
    encoded = cached(rows, tokenizer, (), limits, context.cache)
    with torch.inference_mode():
        found = predict_all(model, spec, rows, encoded, tokenizer.pad_token_id, context.progress)
    write(context.directory / "predictions", work.languages, rows, found)
    lengths = np.diff(encoded.offsets)
    batches = plan_batches(encoded.lengths, encoded.widths, BATCH_TOKENS, None)
    return Spent(
        tokens=int(lengths.sum()),
        padding_fraction=padding_fraction(encoded.lengths, encoded.widths, batches),
        flops=forward_flops(encoder, int(lengths.sum()), int((lengths.astype(np.int64) ** 2).sum())),
        examples=len(rows),
    )


def _named(row: Row, language: str) -> Row:
    """The row itself; a row of another language in this language's file would be scored in the wrong place."""
    if row.language != language:
        raise ValueError(f"row {row.id} of {language} says it is {row.language}")
    return row


def predict_rows(
    model: nn.Module, spec: HeadSpec, rows: Sequence[Row], encoded: Encoded, pad_id: int
) -> dict[str, Prediction]:
    """Predictions by row id, for rows of one language."""
    return {found.id: found for found in predict_all(model, spec, rows, encoded, pad_id, lambda *_: None)}


def predict_all(
    model: nn.Module,
    spec: HeadSpec,
    rows: Sequence[Row],
    encoded: Encoded,
    pad_id: int,
    progress: Callable[[float, float, str], None],
) -> list[Prediction]:
    """One prediction per row, in the rows' order. The model must be in evaluation mode, on its device; an engine of
    `inference.engines` may stand in its place."""
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    collector = _COLLECTORS[spec.kind](spec, rows, encoded)
    batches = plan_batches(encoded.lengths, encoded.widths, BATCH_TOKENS, None)
    tokens = int(encoded.offsets[-1])
    done = 0
    for examples in batches:
        batch = collate(encoded, examples, pad_id)
        collector.add(batch, model(batch.to(device)).float().cpu())
        done += batch.tokens
        progress(done, tokens, f"predicting, {done:,} of {tokens:,} tokens")
    return collector.finish()


def write(folder: Path, languages: Iterable[str], rows: Sequence[Row], found: Sequence[Prediction]) -> None:
    """One file per language: a JSON line per row, in the rows' order."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {language: [] for language in languages}
    for row, one in zip(rows, found, strict=True):
        record = {"id": one.id, "language": one.language, "prediction": one.prediction}
        if one.scores is not None:
            record["scores"] = [float(f"{score:.6g}") for score in one.scores]
        lines[row.language].append(json.dumps(record, ensure_ascii=False))
    for language, texts in lines.items():
        (folder / f"{language}.jsonl").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


class PairCollector:
    """Labels by highest logit; `scores` are the logits in label order."""

    def __init__(self, spec: HeadSpec, rows: Sequence[Row], encoded: Encoded) -> None:
        self.labels, self.rows, self.encoded = spec.labels, rows, encoded
        self.logits: list[Array | None] = [None] * len(rows)

    def add(self, batch: Batch, logits_BC: torch.Tensor) -> None:
        """Take the logits of a batch."""
        for example, logits in zip(batch.examples, logits_BC.numpy(), strict=True):
            self.logits[self.encoded.rows[example]] = logits

    def finish(self) -> list[Prediction]:
        """All rows' predictions."""
        return [
            Prediction(row.id, row.language, self.labels[int(logits.argmax())], tuple(logits.tolist()))
            for row, logits in zip(self.rows, self.logits, strict=True)
            if logits is not None
        ]


class ChoiceCollector(PairCollector):
    """Index of the best ending; `scores` are the endings' logits."""

    def add(self, batch: Batch, logits_BC: torch.Tensor) -> None:
        """Take the logits of a batch, one per ending."""
        parts = torch.split(logits_BC[:, 0], self.encoded.widths[batch.examples].tolist())
        for example, logits in zip(batch.examples, parts, strict=True):
            self.logits[self.encoded.rows[example]] = logits.numpy()

    def finish(self) -> list[Prediction]:
        """All rows' predictions."""
        return [
            Prediction(row.id, row.language, int(logits.argmax()), tuple(logits.tolist()))
            for row, logits in zip(self.rows, self.logits, strict=True)
            if logits is not None
        ]


class TagCollector:
    """A tag per word, put together again where a long sentence was split."""

    def __init__(self, spec: HeadSpec, rows: Sequence[Row], encoded: Encoded) -> None:
        self.labels, self.rows, self.encoded = spec.labels, rows, encoded
        self.tags: list[list[str]] = [[""] * len(row.tokens) for row in rows]  # type: ignore[attr-defined]

    def add(self, batch: Batch, logits_BLC: torch.Tensor) -> None:
        """Take the logits of a batch, at each word's first piece."""
        sequences_W, columns_W, words_W = word_positions(self.encoded, batch, "word")
        best_W = logits_BLC[sequences_W, columns_W].argmax(-1)
        rows = self.encoded.rows[batch.examples]
        for sequence, word, best in zip(sequences_W.tolist(), words_W.tolist(), best_W.tolist(), strict=True):
            self.tags[rows[sequence]][word] = self.labels[best]

    def finish(self) -> list[Prediction]:
        """All rows' predictions."""
        return [Prediction(row.id, row.language, tags) for row, tags in zip(self.rows, self.tags, strict=True)]


class SpanCollector:
    """The best answer over all of a question's windows; `scores` is its (start + end) logit.

    Where questions may have no answer, `scores` also holds the score of "", the lowest of any window, and "" is
    predicted where it is higher than the best answer's: the reference SQuAD 2.0 scripts with their threshold 0.
    """

    def __init__(self, spec: HeadSpec, rows: Sequence[Row], encoded: Encoded) -> None:
        self.rows, self.encoded, self.unanswerable = rows, encoded, spec.unanswerable
        self.best: list[list[spans.Candidate]] = [[] for _ in rows]
        self.none = [math.inf] * len(rows)

    def add(self, batch: Batch, logits_BLC: torch.Tensor) -> None:
        """Keep the best candidates of every window."""
        for example, logits_L2 in zip(batch.examples, logits_BLC.numpy(), strict=True):
            row = self.encoded.rows[example]
            found = spans.candidates(logits_L2, spans.window(self.encoded, int(example)))
            self.best[row] = sorted([*self.best[row], *found], reverse=True)[: spans.BEST]
            self.none[row] = min(self.none[row], spans.no_answer(logits_L2))

    def finish(self) -> list[Prediction]:
        """All rows' predictions; a context without tokens gives the empty answer."""
        predictions = []
        for row, best, none in zip(self.rows, self.best, self.none, strict=True):
            assert isinstance(row, Span)  # noqa: S101  the card's kind says so
            # The piece that begins a word may cover the blank before it.
            text = row.context[best[0].start : best[0].stop].strip() if best else ""
            scores: tuple[float, ...] | None = (best[0].score,) if best else None
            if best and self.unanswerable:
                scores = (best[0].score, none)
                text = "" if none > best[0].score else text
            predictions.append(Prediction(row.id, row.language, text, scores))
        return predictions


_COLLECTORS: dict[str, Callable[[HeadSpec, Sequence[Row], Encoded], PairCollector | TagCollector | SpanCollector]] = {
    "pair": PairCollector,
    "choice": ChoiceCollector,
    "tagged": TagCollector,
    "span": SpanCollector,
}
