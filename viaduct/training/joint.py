"""The Joint stage: one encoder trained on labelled tasks, captioned images and replayed text at once.

Every step has one member of the mixture (a task, or the captions), drawn by the seed, and replayed text beside it. The
labelled tasks' mean English-dev score chooses the checkpoint; without a labelled task the last step is kept, so that
arms stay matched in steps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from viaduct.encode.batch import Batch, collate
from viaduct.encode.cache import cached
from viaduct.encode.tokens import Array, Encoded, Limits
from viaduct.heads.head import HeadSpec, TaskModel, build_head, head_spec, save_head, trained_head
from viaduct.models.encoder import (
    dropout,
    forward_flops,
    load_encoder,
    load_tokenizer,
    longest_input,
    save_encoder,
    width,
)
from viaduct.models.joint import IMAGE_PARTS, LANGUAGE, JointModel
from viaduct.models.language import load_language_head, save_language_head
from viaduct.models.numerics import derived_seed, prepare, seed_all
from viaduct.models.vocabulary import restore, trim, used_ids
from viaduct.results.record import Record, Retained
from viaduct.rows import Row
from viaduct.runs.stage import Context, JointWork, Spent
from viaduct.tasks.card import Task
from viaduct.tasks.registry import task
from viaduct.training import retention
from viaduct.training.loop import Job, fit
from viaduct.training.order import Order, count_steps
from viaduct.training.replayed import Replayed
from viaduct.training.state import State
from viaduct.training.train import dev_score, require_labels, sample, write_log
from viaduct.vision.captioning import CaptionBatch
from viaduct.vision.member import Illustrated

CAPTIONS = "captions"
"""Name of the captions among the members."""
MOST_NAMED = 4
"""Labels that a head is named by; with more it has their number and a hash."""


@dataclass(frozen=True)
class JointBatch:
    """What one step is trained on."""

    member: str
    main: Batch | CaptionBatch | None
    replay: Batch | None

    def _sum(self, name: str) -> int:
        return sum(int(getattr(one, name)) for one in (self.main, self.replay) if one is not None)

    @property
    def tokens(self) -> int:
        """Real ones through the encoder."""
        return self._sum("tokens")

    @property
    def slots(self) -> int:
        """Tokens with padding."""
        return self._sum("slots")

    @property
    def squares(self) -> int:
        """Sum over sequences of the padded length squared."""
        return self._sum("squares")

    def to(self, device: torch.device) -> JointBatch:
        """The same on a device."""
        main = None if self.main is None else self.main.to(device)
        return JointBatch(self.member, main, None if self.replay is None else self.replay.to(device))


@dataclass(frozen=True)
class Labelled:
    """A labelled task of the mixture."""

    card: Task
    spec: HeadSpec
    rows: int
    encoded: Encoded
    dev_rows: Sequence[Row]
    dev: Encoded
    order: Order

    @property
    def head(self) -> str:
        """Name of its head: tasks with the same kind and labels share one."""
        return head_name(self.spec)


def head_name(spec: HeadSpec) -> str:
    """A name for parts of a model and folders: kind and labels."""
    labels = "-".join(spec.labels)
    if len(spec.labels) > MOST_NAMED:
        labels = f"{len(spec.labels)}-labels-{hashlib.sha256(labels.encode()).hexdigest()[:8]}"
    parts = (spec.kind, labels, "unanswerable" if spec.unanswerable else "")
    return "-".join(part for part in parts if part).replace(".", "_")


def shares(rows: Mapping[str, int], work: JointWork) -> Array:
    """The probability with which each member is drawn, from its number of rows and the mixture's rule."""
    how = work.mixture
    counted = np.array([count if how.cap is None else min(count, how.cap) for count in rows.values()], dtype=float)
    if how.sampling == "uniform":
        counted = np.ones_like(counted)
    elif how.sampling == "temperature":
        counted = counted ** (1 / how.temperature)
    return counted / counted.sum()  # type: ignore[no-any-return]


class Mixed:
    """Which member each step has, and which of its own batches."""

    def __init__(self, orders: Mapping[str, Order], rows: Mapping[str, int], work: JointWork) -> None:
        self.names = list(orders)
        training = work.training
        if len(orders) < 2:
            bounded = training.max_steps or 0
            self.steps = count_steps(next(iter(orders.values())), training) if orders else bounded
            self.member = np.zeros(self.steps, dtype=np.int64)
        else:
            cap = work.mixture.cap
            parts = [
                len(orders[name].plan(0)) * (1.0 if cap is None else min(1.0, cap / rows[name])) for name in orders
            ]
            wanted = max(1, round(training.epochs * sum(parts)))
            self.steps = wanted if training.max_steps is None else min(wanted, training.max_steps)
            generator = np.random.default_rng(derived_seed("mixture", work.seed))
            self.member = generator.choice(len(orders), self.steps, p=shares(rows, work))
        self.own = np.zeros(self.steps, dtype=np.int64)
        for number in range(len(self.names)):
            mine = self.member == number
            self.own[mine] = np.arange(int(mine.sum()))

    def at(self, step: int) -> tuple[str, int]:
        """(the step's member, number of its batch); ("", 0) where there is no member."""
        return (self.names[self.member[step]], int(self.own[step])) if self.names else ("", 0)


def run(context: Context) -> Spent:
    """Train, and leave what `runs.stage` says in the stage's directory."""
    return Joint(context).run()


class Joint:
    """A joint stage while it runs."""

    def __init__(self, context: Context) -> None:
        work = context.work
        assert isinstance(work, JointWork) and context.encoder is not None  # noqa: S101  the executor's contract
        self.context, self.work = context, work
        self.device = prepare(context.device, context.threads)
        self.tokenizer = load_tokenizer(context.encoder, context.revision)
        self.pad_id = self.tokenizer.pad_token_id
        encoder = load_encoder(context.encoder, context.revision)
        self.before = {name: tensor.detach().clone() for name, tensor in encoder.state_dict().items()}
        context.progress(0, 1, "reading and tokenising")
        limits = Limits(min(work.training.max_length, longest_input(encoder)), work.training.stride)
        self.tasks = {name: self._labelled(task(name), limits) for name in work.tasks}
        self.illustrated = None
        if work.captions is not None:
            self.illustrated = Illustrated(context, work, work.captions, self.tokenizer, limits)
        self.replayed = None if work.replay is None else Replayed(context, work, work.replay, self.tokenizer)
        self.model, self.head_origin = self._model(encoder)
        self.start = retention.kept_rows(encoder, self.before, self.model.trimmed)
        self.views = {
            name: TaskModel(encoder, self.model.head[member.head], self.model.trimmed)
            for name, member in self.tasks.items()
        }
        orders = {name: member.order for name, member in self.tasks.items()}
        rows = {name: member.rows for name, member in self.tasks.items()}
        if self.illustrated is not None:
            orders[CAPTIONS] = self.illustrated.train.order
            rows[CAPTIONS] = len(self.illustrated.train.data.captions)
        self.mixed = Mixed(orders, rows, work)

    def _labelled(self, card: Task, limits: Limits) -> Labelled:
        work, context = self.work, self.context
        rows = [row for code in work.languages for row in context.load(card.name, "train", code).rows]
        rows = list(sample(rows, work.training.train_rows, work.seed))
        dev_rows = context.load(card.name, "dev", "en").rows[: work.training.dev_rows]
        require_labels(card.name, "train", rows)
        require_labels(card.name, "dev", dev_rows)
        spec = head_spec(card, rows)
        encode = trained_head(spec).encode
        encoded = cached(rows, encode, self.tokenizer, spec.labels, limits, context.cache)
        dev = cached(dev_rows, encode, self.tokenizer, (), limits, context.cache)
        seed = derived_seed(card.name, work.seed)
        order = Order.of(encoded, work.training.batch_tokens, seed)
        return Labelled(card, spec, len(rows), encoded, dev_rows, dev, order)

    def _model(self, encoder: nn.Module) -> tuple[JointModel, str]:
        """The model on its device, ready to be trained, and where its masked-LM head is from ("" without one)."""
        context, work = self.context, self.work
        assert context.encoder is not None  # noqa: S101  checked above
        seed_all("parts", work.seed)
        parts: dict[str, nn.Module] = {}
        for one in self.tasks.values():
            parts.setdefault(one.head, build_head(one.spec, width(encoder), dropout(encoder)))
        trimmed, origin = None, ""
        if self.replayed is not None or (self.illustrated is not None and self.illustrated.speaks):
            stage = context.inputs.get("encoder")
            parts[LANGUAGE], origin = load_language_head(context.encoder, context.revision, stage, encoder)
        if self.illustrated is not None:
            parts |= self.illustrated.parts(encoder)  # at the scale of all word embeddings, not only of those kept
        if LANGUAGE not in parts:
            ids = [one for member in self.tasks.values() for one in (member.encoded.ids, member.dev.ids)]
            ids += self.illustrated.ids if self.illustrated is not None else []
            trimmed = trim(encoder, used_ids(ids, self.tokenizer.all_special_ids))
        model = JointModel(encoder, parts, trimmed, self.tokenizer.mask_token_id).to(self.device)
        former = None
        if work.retention.kl:
            former = retention.Former.of(encoder, model.language)
        if self.replayed is not None:
            self.replayed.begin(model, work.retention, former)
        retention.begin(encoder, work.retention)
        return model.to(self.device), origin

    def batch_at(self, step: int) -> JointBatch:
        """What step `step` is trained on."""
        name, own = self.mixed.at(step)
        main: Batch | CaptionBatch | None = None
        if name == CAPTIONS and self.illustrated is not None:
            main = self.illustrated.train.batch(own, self.pad_id)
        elif name:
            member = self.tasks[name]
            main = collate(member.encoded, member.order.batch(own), self.pad_id)
        return JointBatch(name, main, None if self.replayed is None else self.replayed.batch(step, self.pad_id))

    def loss(self, module: nn.Module, batch: JointBatch) -> torch.Tensor:
        """The sum of the step's losses; captions first, whose masks all arms must share."""
        total = torch.zeros((), device=self.device)
        if isinstance(batch.main, CaptionBatch) and self.illustrated is not None:
            total = total + self.illustrated.objectives.loss(self.model, batch.main)
        elif isinstance(batch.main, Batch):
            member = self.tasks[batch.member]
            head = trained_head(member.spec)
            scale = len(member.order.plan(0)) / head.units(member.encoded)
            logits = self.views[batch.member](batch.main)
            total = total + scale * head.loss(logits, member.encoded, batch.main)
        if batch.replay is not None and self.replayed is not None:
            total = total + self.replayed.loss(self.model, batch.replay)
        if self.work.retention.l2_sp:
            total = total + self.work.retention.l2_sp * retention.distance(self.model.encoder, self.start)
        return total

    def evaluate(self, module: nn.Module) -> float:
        """The mean of the tasks' English-dev scores."""
        scores = [
            dev_score(self.views[name], member.card, member.spec, member.dev_rows, member.dev, self.pad_id)
            for name, member in self.tasks.items()
        ]
        return sum(scores) / len(scores)

    def run(self) -> Spent:
        """Train and save."""
        context, work = self.context, self.work
        state = fit(
            Job(
                model=self.model,
                steps=self.mixed.steps,
                batch_at=self.batch_at,
                loss=self.loss,
                evaluate=self.evaluate if self.tasks else None,
                training=work.training,
                seed=work.seed,
                device=self.device,
                scratch=context.scratch,
                checkpoint_seconds=context.checkpoint_seconds,
                progress=context.progress,
            )
        )
        encoder = self.model.encoder
        retention.end(encoder, self.start, work.retention)
        if self.illustrated is not None:
            use = self.illustrated.use(self.model.eval(), context.progress)
            write_record(context.directory / "images.json", use)
        retained = Retained(
            distance=0.0,
            before={} if self.replayed is None else self.replayed.before,
            after={} if self.replayed is None else self.replayed.losses(self.model.eval()),
            head=self.head_origin,
            similarity=() if self.replayed is None else self.replayed.similarity(self.model),
        )
        self._save(encoder, state, retained)
        flops = 3 * forward_flops(encoder, state.tokens, state.squares)
        rows = sum(member.rows for member in self.tasks.values())
        rows += 0 if self.illustrated is None else len(self.illustrated.train.data.captions)
        return Spent(state.tokens, 1 - state.tokens / state.slots, flops, rows, state.precision)

    def _save(self, encoder: nn.Module, state: State, retained: Retained) -> None:
        directory = self.context.directory
        self.model.cpu()
        if self.model.trimmed is not None:
            restore(encoder, self.model.trimmed)
        after = encoder.state_dict()
        if {name: tensor.shape for name, tensor in after.items()} != {
            name: tensor.shape for name, tensor in self.before.items()
        }:
            raise AssertionError("the stage changed the names or shapes of the encoder's parameters")
        moved = sum(float((after[name] - tensor).abs().sum()) for name, tensor in self.before.items())
        weights = sum(tensor.numel() for tensor in self.before.values())
        write_record(directory / "retention.json", retained.model_copy(update={"distance": moved / weights}))
        save_encoder(encoder, self.tokenizer, directory / "encoder")
        for member in self.tasks.values():
            folder = directory / "heads" / member.head
            folder.mkdir(parents=True, exist_ok=True)
            save_head(self.model.head[member.head], member.spec, folder)
        if LANGUAGE in self.model.head:
            save_language_head(self.model.language, directory)
        image_side = {
            f"{part}.{name}": tensor.contiguous()
            for part in IMAGE_PARTS
            if part in self.model.head
            for name, tensor in self.model.head[part].state_dict().items()
        }
        if image_side:
            save_file(image_side, directory / "visual.safetensors")
        counts = {name: int((self.mixed.member == at).sum()) for at, name in enumerate(self.mixed.names)}
        write_log(directory, state, steps_by_member=counts)


def write_record(path: Path, record: Record) -> None:
    """Write a record as JSON."""
    path.write_text(json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
