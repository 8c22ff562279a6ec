"""Implementation of the Train stage: trains an encoder and a new head on one card; English dev chooses the checkpoint.

Only the embedding rows that train and dev rows use are held during training (`models.vocabulary`): the result is the
same as with all of them. A stage that trains in another way subclasses `FineTuning`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from viaduct.encode.batch import Batch, collate
from viaduct.encode.cache import cached
from viaduct.encode.tokens import Array, Encoded, Limits
from viaduct.errors import DataError
from viaduct.heads.head import Head, HeadSpec, TaskModel, build_head, head_spec, save_head, trained_head
from viaduct.inference.prediction import predict_all
from viaduct.languages import ENGLISH
from viaduct.models.encoder import (
    dropout,
    forward_flops,
    load_encoder,
    load_tokenizer,
    longest_input,
    save_encoder,
    width,
)
from viaduct.models.numerics import prepare, seed_all
from viaduct.models.trial import whole_because
from viaduct.models.vocabulary import restore, trim, used_ids
from viaduct.rows import Row
from viaduct.runs.parts import Retention, Training
from viaduct.runs.sizes import passes
from viaduct.runs.stage import Context, Spent
from viaduct.tasks.card import Task
from viaduct.training import retention
from viaduct.training.job import TrainingJob, asked
from viaduct.training.loop import fit
from viaduct.training.order import Order, count_steps, sample_rows
from viaduct.training.state import TrainingState, spent, write_log
from viaduct.training.train import TrainWork


@dataclass(frozen=True)
class TaskData:
    """Train and dev rows of one labelled task as token sequences; `units`: loss units of each train example."""

    card: Task
    spec: HeadSpec
    head: Head
    rows: Sequence[Row]
    encoded: Encoded
    dev_rows: Sequence[Row]
    dev: Encoded
    order: Order
    pad_id: int
    units: Array
    all_units: int

    def batch(self, step: int) -> Batch:
        """The batch of this step, counted over the task's own steps."""
        return collate(self.encoded, self.order.batch(step), self.pad_id)

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The batch's loss, scaled so that every unit weighs the same and an average batch has a weight of 1."""
        return self.head.loss(logits, self.encoded, batch) * (self.order.end(0) / self.all_units)

    def weight(self, batch: Batch) -> float:
        """The weight of a batch; its loss divided by this is the mean per unit."""
        return int(self.units[batch.examples].sum()) * self.order.end(0) / self.all_units

    def score(self, model: nn.Module) -> float:
        """The card's headline metric on the dev rows. Raises DataError for a card that has no metric."""
        if self.card.metric is None:
            raise DataError(f"the card {self.card.name} has no metric to choose a checkpoint by")
        found = predict_all(model, self.spec, self.dev_rows, self.dev, self.pad_id)
        return self.card.metric(self.dev_rows, {one.id: one for one in found})[0].value


@dataclass(frozen=True)
class TaskReader:
    """Reads labelled tasks for one training."""

    context: Context
    training: Training
    seed: int
    """Seed for sampling training rows."""
    tokenizer: Any
    limits: Limits

    def read(self, card: Task, languages: Sequence[str], order_seed: int) -> TaskData:
        """Train rows of these languages and English dev rows. Raises DataError if rows have no gold label."""
        rows = [row for code in languages for row in self.context.load(card.name, "train", code).rows]
        dev_rows = self.context.load(card.name, "dev", ENGLISH).rows[: self.training.dev_rows]
        return self.of(card, sample_rows(rows, self.training.train_rows, self.seed), dev_rows, order_seed)

    def of(self, card: Task, rows: Sequence[Row], dev_rows: Sequence[Row], order_seed: int) -> TaskData:
        """The task's data from these rows. Raises DataError if any has no gold label."""
        require_labels(card.name, "train", rows)
        require_labels(card.name, "dev", dev_rows)
        spec = head_spec(card, rows)
        head = trained_head(spec)
        encoded = cached(rows, head.encode, self.tokenizer, spec.labels, self.limits, self.context.cache)
        dev = cached(dev_rows, head.encode, self.tokenizer, (), self.limits, self.context.cache)
        order = Order(encoded, self.training.batch_tokens, order_seed)
        pad_id, units = self.tokenizer.pad_token_id, head.units(encoded)
        return TaskData(card, spec, head, rows, encoded, dev_rows, dev, order, pad_id, units, int(units.sum()))


def require_labels(name: str, split: str, rows: Sequence[Row]) -> None:
    """Raise DataError when a row has no gold label: it could be neither learned from nor scored."""
    bare = [row.id for row in rows if not row.is_labelled]
    if bare:
        raise DataError(
            f"{name} {split}: {len(bare):,} of {len(rows):,} rows have no label, the first is '{bare[0]}'",
            fix="use files with labels, or declare a substitution in the recipe",
        )


def fine_tune(context: Context, work: TrainWork) -> Spent:
    """Train, and write `encoder/`, the head and `training.json` to the stage's directory."""
    return FineTuning(context, work).run()


class FineTuning:
    """A running Train stage. A subclass may read other rows, do more in `begin`, or use another `loss`."""

    def __init__(self, context: Context, work: TrainWork) -> None:
        self.context, self.work = context, work
        self.device = prepare(context.device, context.threads)
        self.tokenizer = load_tokenizer(context.start, context.revision)
        encoder = load_encoder(context.start, context.revision)
        context.progress(0, 1, "reading and tokenising")
        limits = Limits(min(work.training.max_length, longest_input(encoder)), work.training.stride)
        self.data = self.read(TaskReader(context, work.training, work.seed, self.tokenizer, limits))
        seed_all("head", work.seed)
        module = build_head(self.data.spec, width(encoder), dropout(encoder))
        ids = (self.data.encoded.ids, self.data.dev.ids)
        self.trimmed = trim(encoder, used_ids(ids, self.tokenizer.all_special_ids))
        self.model = TaskModel(encoder, module, self.trimmed)

    def read(self, reader: TaskReader) -> TaskData:
        """Read the data to train on and to choose the checkpoint on."""
        return reader.read(self.context.task(self.work.task), (ENGLISH,), self.work.seed)

    def begin(self) -> None:
        """Called before the first step, with the model's new weights in place, for example to freeze some of them."""

    def batch(self, step: int) -> Batch:
        """The batch of this step."""
        return self.data.batch(step)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The loss of a batch, scaled like that of `data`: the losses of its parts add up to that of the whole."""
        return self.data.loss(model(batch), batch)

    def run(self) -> Spent:
        """Train and save."""
        context, work, data = self.context, self.work, self.data
        self.begin()
        kept = Retention(lora_rank=work.training.lora_rank if work.training.encoder == "lora" else None)
        retention.begin(self.model.encoder, kept)
        if work.training.encoder == "frozen":
            self.model.encoder.requires_grad_(False)
        state = fit(
            TrainingJob(
                model=self.model,
                steps=count_steps(data.order, work.training),
                batch_at=self.batch,
                loss=self.loss,
                weighed=lambda loss, batch: (loss, data.weight(batch)),
                evaluate=data.score,
                training=work.training,
                seed=work.seed,
                device=self.device,
                **asked(context),
            )
        )
        encoder = self.model.encoder.cpu()
        retention.end(encoder, {}, kept)
        restore(encoder, self.trimmed)
        save_encoder(encoder, self.tokenizer, context.directory / "encoder")
        save_head(self.model.head.cpu(), data.spec, context.directory)
        counts = {"rows": len(data.rows), "examples": len(data.encoded), "cut_tokens": data.encoded.cut_tokens}
        write_log(context.directory, state, **counts, **whole_because(encoder))
        return spent(state, self.flops(state), len(data.rows))

    def flops(self, state: TrainingState) -> float:
        """Floating-point operations of the training, forward and backward."""
        return passes(self.work.training) * forward_flops(self.model.encoder, state.tokens, state.squares)
