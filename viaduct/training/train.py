"""The Train stage: an encoder and a new head on one card's English train split, chosen on its English dev split.

Used for intermediate and target tasks alike. Only the embedding rows that train and dev rows use are held while
training (`models.vocabulary`): the result is the same as with all of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import Batch, collate
from viaduct.encode.cache import cached
from viaduct.encode.tokens import Encoded, Limits
from viaduct.errors import DataError
from viaduct.heads.head import HeadSpec, TaskModel, build_head, head_spec, save_head, trained_head
from viaduct.inference.predict import predict_rows
from viaduct.models.encoder import (
    dropout,
    forward_flops,
    load_encoder,
    load_tokenizer,
    longest_input,
    save_encoder,
    width,
)
from viaduct.models.numerics import derived_seed, prepare, seed_all
from viaduct.models.vocabulary import restore, trim, used_ids
from viaduct.rows import Row
from viaduct.runs.stage import Context, Spent, TrainWork
from viaduct.tasks.card import Task
from viaduct.tasks.registry import task
from viaduct.training.loop import Job, fit
from viaduct.training.order import Order, count_steps
from viaduct.training.state import State


def run(context: Context) -> Spent:
    """Train, and leave `encoder/`, the head and `training.json` in the stage's directory."""
    work = context.work
    assert isinstance(work, TrainWork) and context.encoder is not None  # noqa: S101  the executor's contract
    device = prepare(context.device, context.threads)
    card = task(work.task)
    tokenizer = load_tokenizer(context.encoder, context.revision)
    encoder = load_encoder(context.encoder, context.revision)
    training = work.training
    limits = Limits(min(training.max_length, longest_input(encoder)), training.stride)
    train_rows = sample(context.load(card.name, "train", "en").rows, training.train_rows, work.seed)
    dev_rows = context.load(card.name, "dev", "en").rows[: training.dev_rows]
    require_labels(card.name, "train", train_rows)
    require_labels(card.name, "dev", dev_rows)
    context.progress(0, 1, "tokenising")
    spec = head_spec(card, train_rows)
    head = trained_head(spec)
    encoded = cached(train_rows, head.encode, tokenizer, spec.labels, limits, context.cache)
    dev = cached(dev_rows, head.encode, tokenizer, (), limits, context.cache)

    seed_all("head", work.seed)
    module = build_head(spec, width(encoder), dropout(encoder))
    trimmed = trim(encoder, used_ids([encoded.ids, dev.ids], tokenizer.all_special_ids))
    model = TaskModel(encoder, module, trimmed)
    order = Order.of(encoded, training.batch_tokens, work.seed)
    scale = 1.0 / (head.units(encoded) / len(order.plan(0)))

    def loss(model: nn.Module, batch: Batch) -> torch.Tensor:
        return head.loss(model(batch), encoded, batch) * scale

    def evaluate(module: nn.Module) -> float:
        return dev_score(module, card, spec, dev_rows, dev, tokenizer.pad_token_id)

    state = fit(
        Job(
            model=model,
            steps=count_steps(order, training),
            batch_at=lambda step: collate(encoded, order.batch(step), tokenizer.pad_token_id),
            loss=loss,
            evaluate=evaluate,
            training=training,
            seed=work.seed,
            device=device,
            scratch=context.scratch,
            checkpoint_seconds=context.checkpoint_seconds,
            progress=context.progress,
        )
    )
    restore(encoder.cpu(), trimmed)
    module.cpu()
    save_encoder(encoder, tokenizer, context.directory / "encoder")
    save_head(module, spec, context.directory)
    write_log(context.directory, state, rows=len(train_rows), examples=len(encoded), cut_tokens=encoded.cut_tokens)
    flops = 3 * forward_flops(encoder, state.tokens, state.squares)
    return Spent(state.tokens, 1 - state.tokens / state.slots, flops, len(train_rows), state.precision)


def require_labels(name: str, split: str, rows: Sequence[Row]) -> None:
    """Nothing. Raises DataError when a row has no gold label: it could be neither learned from nor scored."""
    bare = [row.id for row in rows if not row.is_labelled]
    if bare:
        raise DataError(
            f"{name} {split}: {len(bare):,} of {len(rows):,} rows have no label, the first is '{bare[0]}'",
            fix="use files with labels, or declare a substitution in the recipe",
        )


def sample(rows: Sequence[Row], count: int | None, seed: int) -> tuple[Row, ...]:
    """`count` of the rows drawn by the seed, in file order; all of them when there are no more than that."""
    if count is None or count >= len(rows):
        return tuple(rows)
    chosen = np.random.default_rng(derived_seed("sample", seed)).choice(len(rows), count, replace=False)
    return tuple(rows[at] for at in sorted(chosen))


def dev_score(
    model: nn.Module, card: Task, spec: HeadSpec, rows: Sequence[Row], encoded: Encoded, pad_id: int
) -> float:
    """The card's headline metric on these rows."""
    if card.metric is None:
        raise DataError(f"the card {card.name} has no metric to choose a checkpoint by")
    found = predict_rows(model, spec, rows, encoded, pad_id)
    return card.metric(rows, found)[0].value


def write_log(directory: Path, state: State, **facts: Any) -> None:
    """training.json: what the training saw and how it was chosen; the same bytes for the same training."""
    log = {
        "steps": state.step,
        "best_step": state.best_step or state.step,
        "tokens": state.tokens,
        "padding_fraction": 1 - state.tokens / state.slots,
        "precision": state.precision,
        "evaluations": state.evaluations,
        **facts,
    }
    (directory / "training.json").write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
