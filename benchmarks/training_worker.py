"""One measurement of the training benchmark: one variant, one shape, in a process of its own.

`python training_worker.py '{...}'` prints one JSON object as its last line. The first optimiser step is a warm-up on
rows of its own; the clock runs from its end to the end of the last step, and everything a loop does in between counts:
choosing, padding and moving a batch, seeding, forward, backward, clipping, optimiser, bookkeeping. Making rows, models
and samplers does not.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from training_rows import BATCH_ROWS, FIRST, LAST, LONGEST, PAD, SHAPES, UNKNOWN, Rows, Shape, make_rows

LEARNING_RATE = 2e-5
STOCK_WINDOW = 50
"""Batches that the Trainer's length-grouped sampler sorts at once in a set of 200 batches or more."""


@dataclass(frozen=True)
class Request:
    """What to measure."""

    variant: str
    shape: str
    timed_rows: int
    threads: int
    seed: int


@dataclass(frozen=True)
class Measurement:
    """What came out. `rows`, `tokens` (real ones), `slots` (with padding) and both clocks are of the timed steps."""

    variant: str
    rows: int
    steps: int
    tokens: int
    slots: int
    seconds: float
    cpu_seconds: float
    peak_mib: float
    embedding_rows: int


class Clock:
    """Wall and CPU seconds between the end of the first step and the end of the last."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.marks: list[tuple[float, float]] = []

    def step_done(self, done: int) -> None:
        if done in (1, self.steps):
            self.marks.append((time.perf_counter(), time.process_time()))

    def passed(self) -> tuple[float, float]:
        (wall, cpu), (wall_end, cpu_end) = self.marks
        return wall_end - wall, cpu_end - cpu


def measure(request: Request) -> Measurement:
    """Run one variant; the timed rows are the first `timed_rows` of the set, the warm-up rows the 32 after them."""
    shape = SHAPES[request.shape]
    rows = make_rows(shape, request.seed)
    if request.variant.startswith("viaduct"):
        return _viaduct(request, shape, rows)
    return _trainer(request, shape, rows)


def _finish(request: Request, clock: Clock, counts: list[tuple[int, int, int]], embedding_rows: int) -> Measurement:
    """counts: (rows, tokens, slots) of every step, the warm-up's first."""
    seconds, cpu_seconds = clock.passed()
    row_count, tokens, slots = (sum(column) for column in zip(*counts[1:], strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Measurement(
        request.variant, row_count, len(counts) - 1, tokens, slots, seconds, cpu_seconds, peak, embedding_rows
    )


# ---- our loop, put together as viaduct.training.train does -----------------------------------------------------------


def _viaduct(request: Request, shape: Shape, rows: Rows) -> Measurement:
    from viaduct.encode.batch import Batch, collate
    from viaduct.models import linear
    from viaduct.models.encoder import build_encoder, dropout, width
    from viaduct.models.heads import HeadSpec, TaskModel, build_head
    from viaduct.models.numerics import prepare, seed_all
    from viaduct.models.vocabulary import trim, used_ids
    from viaduct.runs.spec import Architecture, Training
    from viaduct.training.loop import Job, fit
    from viaduct.training.objectives import task_loss
    from viaduct.training.order import Order, count_steps

    if request.variant == "viaduct_without_onednn":
        linear._AVAILABLE = False
    device = prepare("cpu", request.threads)
    timed = _encoded(rows, range(request.timed_rows))
    warm_up = _encoded(rows, range(request.timed_rows, request.timed_rows + BATCH_ROWS))
    architecture = Architecture(
        layers=shape.layers, hidden=shape.width, heads=shape.heads, feed_forward=shape.feed_forward
    )
    seed_all("model", request.seed)
    encoder = build_encoder(architecture, shape.vocabulary, PAD)
    head = build_head(HeadSpec("pair", ("a", "b", "c")), width(encoder), dropout(encoder))
    trimmed = trim(encoder, used_ids(rows.ids, (FIRST, PAD, LAST, UNKNOWN, shape.vocabulary - 1)))
    model = TaskModel(encoder, head, trimmed)
    budget = batch_tokens(rows)
    training = Training(learning_rate=LEARNING_RATE, epochs=1.0, batch_tokens=budget)
    order = Order.of(timed, budget, request.seed)
    steps = count_steps(order, training)
    scale = 1.0 / (request.timed_rows / steps)
    first = np.arange(max(1, min(BATCH_ROWS, budget // int(warm_up.lengths.max()))))
    clock, counts = Clock(steps + 1), []

    def batch_at(step: int) -> Batch:
        batch = collate(timed, order.batch(step - 1), PAD) if step else collate(warm_up, first, PAD)
        counts.append((len(batch.ids_BL), batch.tokens, batch.ids_BL.numel()))
        return batch

    def loss(module: Any, batch: Batch) -> Any:
        return task_loss("pair", module(batch), timed if len(counts) > 1 else warm_up, batch) * scale

    with tempfile.TemporaryDirectory() as scratch:
        fit(
            Job(
                model=model,
                steps=steps + 1,
                batch_at=batch_at,
                loss=loss,
                evaluate=None,
                training=training,
                seed=request.seed,
                device=device,
                scratch=Path(scratch) / "scratch",
                checkpoint_seconds=float("inf"),
                progress=lambda done, total, note: clock.step_done(round(done)),
            )
        )
    return _finish(request, clock, counts, len(trimmed.kept_K))


def batch_tokens(rows: Rows) -> int:
    """Our token budget per step: the mean number of real tokens in the Trainer's 32 rows."""
    return round(BATCH_ROWS * float(rows.lengths.mean()))


def _encoded(rows: Rows, chosen: range) -> Any:
    from viaduct.encode.tokens import Builder

    builder = Builder()
    for at in chosen:
        builder.example(at, [rows.ids[at]], label=[rows.labels[at]])
    return builder.build()


# ---- transformers' Trainer -------------------------------------------------------------------------------------------


def _trainer(request: Request, shape: Shape, rows: Rows) -> Measurement:
    import torch
    from transformers import (
        DataCollatorWithPadding,
        PrinterCallback,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        XLMRobertaForSequenceClassification,
        default_data_collator,
    )
    from transformers.utils import logging

    logging.set_verbosity_error()
    torch.set_num_threads(request.threads)
    torch.manual_seed(request.seed)
    model = XLMRobertaForSequenceClassification(model_config(shape))
    padded = request.variant == "trainer_default"
    dataset = _Features(rows, request.timed_rows + BATCH_ROWS, LONGEST if padded else None)
    plain = default_data_collator if padded else DataCollatorWithPadding(_padding_tokenizer())
    counts: list[tuple[int, int, int]] = []

    def collate(features: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = plain(features)
        mask = batch["attention_mask"]
        counts.append((len(mask), int(mask.sum()), mask.numel()))
        return batch

    order = _order(request, [len(row) for row in rows.ids[: request.timed_rows]])

    class InOrder(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return order

    steps = 1 + -(-request.timed_rows // BATCH_ROWS)
    clock = Clock(steps)

    class Timing(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            clock.step_done(state.global_step)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=BATCH_ROWS,
            num_train_epochs=1,
            learning_rate=LEARNING_RATE,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            use_cpu=True,
            dataloader_num_workers=0,
            dataloader_pin_memory=False,
            disable_tqdm=True,
            seed=request.seed,
            train_sampling_strategy="group_by_length" if request.variant == "length_grouped" else "random",
        )
        trainer = InOrder(
            model=model, args=arguments, train_dataset=dataset, data_collator=collate, callbacks=[Timing()]
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return _finish(request, clock, counts, shape.vocabulary)


def _order(request: Request, lengths: list[int]) -> list[int]:
    """Row indices: the warm-up batch, then the timed rows as the stock sampler of this variant orders them.

    The length-grouped sampler sorts within windows of 50 batches in a large set but within far fewer in a small one;
    here it always has its 50, because the timed rows stand for a large set.
    """
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    generator = torch.Generator().manual_seed(request.seed)
    if request.variant == "length_grouped":
        timed = get_length_grouped_indices(lengths, BATCH_ROWS, mega_batch_mult=STOCK_WINDOW, generator=generator)
    else:
        timed = torch.randperm(len(lengths), generator=generator).tolist()
    return [*range(len(lengths), len(lengths) + BATCH_ROWS), *timed]


class _Features:
    """The rows as the Trainer wants them, padded beforehand to `longest` where that is given."""

    def __init__(self, rows: Rows, count: int, longest: int | None) -> None:
        self.features = [
            _feature(ids, label, len(ids) if longest is None else longest)
            for ids, label in zip(rows.ids[:count], rows.labels[:count], strict=True)
        ]

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return self.features[at]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.features)


def _feature(ids: np.ndarray, label: int, longest: int) -> dict[str, Any]:
    padding = longest - len(ids)
    return {
        "input_ids": ids.tolist() + [PAD] * padding,
        "attention_mask": [1] * len(ids) + [0] * padding,
        "labels": label,
    }


def model_config(shape: Shape) -> Any:
    """The configuration that viaduct.models.encoder.build_encoder makes of the same numbers, with a classifier."""
    from transformers import XLMRobertaConfig

    return XLMRobertaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=512 + PAD + 1,
        pad_token_id=PAD,
        bos_token_id=FIRST,
        eos_token_id=LAST,
        layer_norm_eps=1e-5,
        type_vocab_size=1,
        num_labels=3,
    )


def _padding_tokenizer() -> Any:
    """A tokenizer that is used for padding only."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = {"<s>": FIRST, "<pad>": PAD, "</s>": LAST, "<unk>": UNKNOWN}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="<unk>")), pad_token="<pad>", unk_token="<unk>"
    )


def speed(threads: int) -> dict[str, Any]:
    """This machine's float32 matrix-product rate (as torch does them) and the versions that go with every number."""
    import platform

    import numpy
    import torch
    import transformers

    torch.set_num_threads(threads)
    left, right = torch.randn(1184, 768), torch.randn(768, 768)
    rates = []
    for _ in range(8):
        start = time.perf_counter()
        left @ right
        rates.append(2 * 1184 * 768 * 768 / (time.perf_counter() - start))
    return {
        "flops_per_second": float(np.median(rates)),
        "device": _processor(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": numpy.__version__,
        },
    }


def _processor() -> str:
    import platform

    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} CPUs"


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    print(json.dumps(speed(wanted["threads"]) if "variant" not in wanted else asdict(measure(Request(**wanted)))))
