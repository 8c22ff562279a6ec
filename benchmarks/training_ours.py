"""Our loop on the rows of the training benchmark, assembled as in `viaduct.training.finetuning`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from training_rows import FIRST, LAST, NO_TAG, PAD, SHAPES, UNKNOWN, Rows, Work
from training_timing import LEARNING_RATE, Clock, Request, Timed

LONG = 10_000
"""Steps of a training on a GPU, which is stopped after the timed ones: points of curves, which wait for the GPU, are
then as rare as in a training of typical length."""


class EnoughError(Exception):
    """The timed steps are done."""


def run(request: Request, rows: Rows) -> Timed:
    """Run our steps as one of the variants."""
    from viaduct.encode.batch import Batch, collate
    from viaduct.heads.head import HeadSpec, TaskModel, build_head, trained_head
    from viaduct.models import dropout as dropout_module
    from viaduct.models import linear
    from viaduct.models.encoder import build_encoder, dropout, width
    from viaduct.models.numerics import prepare, seed_all
    from viaduct.models.vocabulary import trim, used_ids
    from viaduct.runs.spec import Architecture, Training
    from viaduct.training.job import TrainingJob
    from viaduct.training.loop import fit
    from viaduct.training.order import Order, count_steps

    shape, work, enough = SHAPES[request.shape], request.rows, request.steps + request.warm_up
    if request.variant == "viaduct_without_onednn":
        linear._AVAILABLE = False
    if request.variant == "viaduct_torch_dropout":
        dropout_module._applies = lambda input: False
    if request.variant == "viaduct_whole_attention":
        dropout_module.CACHED_WEIGHTS = 10**12
    device = prepare(request.device, request.threads)
    encoded = _encoded(work, rows)
    architecture = Architecture(
        layers=shape.layers, hidden=shape.width, heads=shape.heads, feed_forward=shape.feed_forward
    )
    seed_all("model", request.seed)
    encoder = build_encoder(architecture, shape.vocabulary, PAD)
    spec = HeadSpec(work.kind, work.labels)
    head, module = trained_head(spec), build_head(spec, width(encoder), dropout(encoder))
    trimmed = trim(encoder, used_ids(rows.ids, (FIRST, PAD, LAST, UNKNOWN, shape.vocabulary - 1)))
    model = TaskModel(encoder, module, trimmed)
    if request.variant == "viaduct_compiled":
        encoder.compile(dynamic=True)
    budget = rows.tokens_per_step(work)
    precision: Any = "bf16" if "bf16" in request.variant else request.format
    training = Training(learning_rate=LEARNING_RATE, epochs=1.0, batch_tokens=budget, precision=precision)
    order = Order(encoded, budget, request.seed)
    scale = count_steps(order, training) / int(head.units(encoded).sum())
    clock, batches, slots = Clock(enough, request.warm_up, request.device), [], []

    def batch_at(step: int) -> Batch:
        batch = collate(encoded, order.batch(step), PAD)
        batches.append(encoded.lengths[batch.examples])
        slots.append(batch.ids_BL.numel())
        return batch

    def loss(model: Any, batch: Batch) -> Any:
        return head.loss(model(batch), encoded, batch) * scale

    def progress(done: float, total: float, note: str) -> None:
        clock.step_done(round(done))
        if done >= enough and total > enough:
            raise EnoughError

    with TemporaryDirectory() as scratch, suppress(EnoughError):
        fit(
            TrainingJob(
                model=model,
                steps=enough if request.device == "cpu" else LONG,
                batch_at=batch_at,
                loss=loss,
                evaluate=None,
                training=training,
                seed=request.seed,
                device=device,
                scratch=Path(scratch) / "scratch",
                checkpoint_seconds=float("inf"),
                progress=progress,
            )
        )
    return clock.timed(batches, slots, len(trimmed.kept_K))


def _encoded(work: Work, rows: Rows) -> Any:
    from viaduct.encode.tokens import Builder

    builder = Builder()
    for at, (ids, target) in enumerate(zip(rows.ids, rows.targets, strict=True)):
        builder.example(at, [ids], **_fields(work, target))
    return builder.build()


def _fields(work: Work, target: np.ndarray) -> dict[str, list[int]]:
    if work.kind == "pair":
        return {"label": [int(target[0])]}
    if work.kind == "span":
        return {"start": [int(target[0])], "end": [int(target[1])]}
    firsts = np.flatnonzero(target != NO_TAG)
    return {
        "first": firsts.tolist(),
        "word": list(range(len(firsts))),
        "words": [len(firsts)],
        "tag": target[firsts].tolist(),
    }
