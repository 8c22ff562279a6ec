"""Implementation of the Joint stage: trains one encoder on all members of a mixture at once, plus replayed text.

Every step has one member (a labelled task, or one that a room adds), drawn by the seed, and replayed text with it. The
mean English-dev score of the members that have one chooses the checkpoint; without any the last step is kept, so that
arms stay matched in steps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from viaduct.encode.batch import Batch, BatchSize
from viaduct.encode.tokens import Array, Limits
from viaduct.heads.head import HeadSpec, TaskModel, build_head, save_head
from viaduct.models.encoder import (
    dropout,
    forward_flops,
    load_encoder,
    load_tokenizer,
    longest_input,
    save_encoder,
    width,
)
from viaduct.models.joint import LANGUAGE, JointModel
from viaduct.models.language import load_language_head, save_language_head
from viaduct.models.numerics import derived_seed, prepare, seed_all
from viaduct.models.trial import whole_because
from viaduct.models.vocabulary import restore, trim, used_ids
from viaduct.results.record import Record, Retained
from viaduct.runs.field import added_members
from viaduct.runs.stage import Context, Spent
from viaduct.training import retention
from viaduct.training.finetuning import TaskData, TaskReader
from viaduct.training.job import TrainingJob, asked
from viaduct.training.joint import JointWork
from viaduct.training.loop import fit
from viaduct.training.member import Member
from viaduct.training.order import count_steps
from viaduct.training.replay import ReplayedText
from viaduct.training.state import TrainingState, spent, write_log

LABELS_NAMED = 4
"""A head with more labels than this is named by their count and a hash."""


@dataclass(frozen=True)
class JointBatch:
    """What one step is trained on; `main` is the batch of its member."""

    member: Member | None
    main: Any
    """A `StepBatch`; None if there is no member."""
    replay: Any
    """A `Batch`, or a `Masked` in a part of one; None without replayed text."""
    weight: float = 1.0
    """See `Member.weight`."""
    share: float = 1.0
    """For a part of a batch: 1 / the number of parts."""

    @property
    def size(self) -> BatchSize:
        """Combined size of the main and replay batches."""
        return sum((one.size for one in (self.main, self.replay) if one is not None), BatchSize())

    def to(self, device: torch.device) -> JointBatch:
        """The same batch on a device."""
        main, replay = (None if one is None else one.to(device) for one in (self.main, self.replay))
        return replace(self, main=main, replay=replay)


class LabelledTask(Member):
    """A labelled task of the mixture; tasks with the same kind and labels share a head."""

    is_scored = True

    def __init__(self, data: TaskData) -> None:
        self.data, self.name, self.rows, self.order = data, data.card.name, len(data.rows), data.order
        self.ids = (data.encoded.ids, data.dev.ids)
        self.head = head_name(data.spec)

    def parts(self, encoder: nn.Module) -> Mapping[str, nn.Module]:
        """The head, by its name."""
        return {self.head: build_head(self.data.spec, width(encoder), dropout(encoder))}

    def batch(self, own: int) -> Batch:
        """A batch of the task's rows."""
        return self.data.batch(own)

    def loss(self, model: JointModel, batch: Batch) -> torch.Tensor:
        """Same loss as when the task is trained alone."""
        return self.data.loss(model.head[self.head](model.states(batch)), batch)

    def weight(self, batch: Batch) -> float:
        """Same weight as when the task is trained alone."""
        return self.data.weight(batch)

    def score(self, model: JointModel) -> float:
        """The card's headline metric on its English dev rows."""
        return self.data.score(TaskModel(model.encoder, model.head[self.head], model.trimmed))

    def finish(self, model: JointModel, directory: Path) -> None:
        """Save the head."""
        folder = directory / "heads" / self.head
        folder.mkdir(parents=True, exist_ok=True)
        save_head(model.head[self.head], self.data.spec, folder)


def head_name(spec: HeadSpec) -> str:
    """The name of a head, for model parts and folders: its kind and labels."""
    labels = "-".join(spec.labels)
    if len(spec.labels) > LABELS_NAMED:
        labels = f"{len(spec.labels)}-labels-{hashlib.sha256(labels.encode()).hexdigest()[:8]}"
    parts = (spec.kind, labels, "unanswerable" if spec.unanswerable else "")
    return "-".join(part for part in parts if part).replace(".", "_")


def shares(rows: Sequence[int], work: JointWork) -> Array:
    """The probability with which each member is drawn, from its number of rows and the mixture's rule."""
    how = work.mixture
    counted = np.array([count if how.cap is None else min(count, how.cap) for count in rows], dtype=float)
    if how.sampling == "uniform":
        counted = np.ones_like(counted)
    elif how.sampling == "temperature":
        counted = counted ** (1 / how.temperature)
    return counted / counted.sum()  # type: ignore[no-any-return]


class Schedule:
    """Which member each step trains on, and which of that member's batches."""

    def __init__(self, members: Sequence[Member], work: JointWork) -> None:
        self.members, training = members, work.training
        if len(members) < 2:
            self.steps = count_steps(members[0].order, training) if members else training.max_steps or 0
            self.member = np.zeros(self.steps, dtype=np.int64)
        else:
            cap = work.mixture.cap
            parts = [len(one.order.plan(0)) * (1.0 if cap is None else min(1.0, cap / one.rows)) for one in members]
            wanted = max(1, round(training.epochs * sum(parts)))
            self.steps = wanted if training.max_steps is None else min(wanted, training.max_steps)
            generator = np.random.default_rng(derived_seed("mixture", work.seed))
            self.member = generator.choice(len(members), self.steps, p=shares([one.rows for one in members], work))
        self.own = np.zeros(self.steps, dtype=np.int64)
        for number in range(len(members)):
            mine = self.member == number
            self.own[mine] = np.arange(int(mine.sum()))

    def at(self, step: int) -> tuple[Member | None, int]:
        """(the step's member, number of its batch); (None, 0) if there are no members."""
        return (self.members[self.member[step]], int(self.own[step])) if self.members else (None, 0)

    def counts(self) -> dict[str, int]:
        """Number of steps of each member."""
        return {one.name: int((self.member == number).sum()) for number, one in enumerate(self.members)}


def train_jointly(context: Context, work: JointWork) -> Spent:
    """Train, and write the files listed in `training.joint` to the stage's directory."""
    return JointTraining(context, work).run()


class JointTraining:
    """A running Joint stage."""

    def __init__(self, context: Context, work: JointWork) -> None:
        self.context, self.work, self.source = context, work, context.start
        self.device = prepare(context.device, context.threads)
        self.tokenizer = load_tokenizer(self.source, context.revision)
        encoder = load_encoder(self.source, context.revision)
        self.before = {name: tensor.detach().clone() for name, tensor in encoder.state_dict().items()}
        context.progress(0, 1, "reading and tokenising")
        limits = Limits(min(work.training.max_length, longest_input(encoder)), work.training.stride)
        reader = TaskReader(context, work.training, work.seed, self.tokenizer, limits)
        self.tasks = [
            LabelledTask(reader.read(context.task(name), work.languages, derived_seed(name, work.seed)))
            for name in work.tasks
        ]
        self.added: list[Member] = [make(context, work, self.tokenizer, limits) for make in added_members(work)]
        self.members: list[Member] = [*self.tasks, *self.added]
        self.replay = None if work.replay is None else ReplayedText(context, work, work.replay, self.tokenizer)
        self.model, self.head_origin = self._model(encoder)
        self.start = retention.kept_rows(encoder, self.before, self.model.trimmed)
        self.schedule = Schedule(self.members, work)

    def _model(self, encoder: nn.Module) -> tuple[JointModel, str]:
        """The model on its device, ready to be trained, and where its masked-LM head comes from ("" without one).

        The order of the parts determines the random draws and the order in which the gradient norm is summed, so it
        must not change: the tasks' heads, the masked-LM head, what rooms add.
        """
        context, work = self.context, self.work
        seed_all("parts", work.seed)
        parts: dict[str, nn.Module] = {}
        for one in self.tasks:
            for name, module in one.parts(encoder).items():  # drawn for every task, even if a head is shared
                parts.setdefault(name, module)
        trimmed, origin = None, ""
        if self.replay is not None or any(member.needs_vocabulary for member in self.members):
            stage = context.inputs.get("encoder")
            parts[LANGUAGE], origin = load_language_head(self.source, context.revision, stage, encoder)
        for member in self.added:
            parts |= member.parts(encoder)  # at the scale of all word embeddings, not only of those kept
        if LANGUAGE not in parts:
            ids = [one for member in self.members for one in member.ids]
            trimmed = trim(encoder, used_ids(ids, self.tokenizer.all_special_ids))
        model = JointModel(encoder, parts, trimmed, self.tokenizer.mask_token_id).to(self.device)
        if self.replay is not None:
            context.progress(0, 1, "measuring the losses on text before the stage")
            self.replay.begin(model, work.retention)
        retention.begin(encoder, work.retention)
        return model.to(self.device), origin

    def batch_at(self, step: int) -> JointBatch:
        """The batch of this step."""
        member, own = self.schedule.at(step)
        main = None if member is None else member.batch(own)
        weight = 1.0 if member is None else member.weight(main)
        return JointBatch(member, main, None if self.replay is None else self.replay.batch(step), weight)

    def cut(self, batch: JointBatch, count: int) -> list[JointBatch]:
        """The batch in parts that pair parts of the member's and the replayed batch; one of the two may have fewer."""
        main = [] if batch.member is None else batch.member.cut(self.model, batch.main, count)
        replay = [] if self.replay is None else self.replay.masking.of_batch(batch.replay).cut(count)
        share = 1 / max(len(main), len(replay))
        return [replace(batch, main=one, replay=text, share=share) for one, text in zip_longest(main, replay)]

    def loss(self, _module: nn.Module, batch: JointBatch) -> torch.Tensor:
        """The sum of the step's losses; the member's comes first, so that its masks are drawn alike in arms with and
        without replay."""
        total = self.alone = torch.zeros((), device=self.device)
        if batch.member is not None and batch.main is not None:
            total = total + batch.member.loss(self.model, batch.main)
            self.alone = total.detach()
        if self.replay is not None and batch.replay is not None:
            total = total + self.replay.loss(self.model, batch.replay)
        if self.work.retention.l2_sp:
            moved = retention.weight_distance(self.model.encoder, self.start)
            total = total + batch.share * self.work.retention.l2_sp * moved
        return total

    def weighed(self, loss: torch.Tensor, batch: JointBatch) -> tuple[torch.Tensor, float]:
        """Values for a curve of means over the members' units, with the other losses of their steps added."""
        return self.alone + batch.weight * (loss - self.alone), batch.weight * batch.share

    def evaluate(self, _module: nn.Module) -> float:
        """The mean English-dev score of the members that have one."""
        scores = [member.score(self.model) for member in self.members if member.is_scored]
        return sum(scores) / len(scores)

    def run(self) -> Spent:
        """Train and save."""
        context, work = self.context, self.work
        state = fit(
            TrainingJob(
                model=self.model,
                steps=self.schedule.steps,
                batch_at=self.batch_at,
                loss=self.loss,
                cut=self.cut,
                weighed=self.weighed,
                evaluate=self.evaluate if any(member.is_scored for member in self.members) else None,
                training=work.training,
                seed=work.seed,
                device=self.device,
                **asked(context),
            )
        )
        encoder = self.model.encoder
        retention.end(encoder, self.start, work.retention)
        self.model.eval()
        for member in self.members:
            member.finish(self.model, context.directory)
        forgotten = Retained(distance=0.0, before={}, after={}, head=self.head_origin)
        if self.replay is not None:
            context.progress(1, 1, "measuring the losses on text after the stage")
            forgotten = forgotten.model_copy(update=self.replay.forgotten(self.model))
        self._save(encoder, state, forgotten)
        flops = 3 * forward_flops(encoder, state.tokens, state.squares)
        return spent(state, flops, sum(member.rows for member in self.members))

    def _save(self, encoder: nn.Module, state: TrainingState, forgotten: Retained) -> None:
        directory = self.context.directory
        self.model.cpu()
        restore(encoder, self.model.trimmed)
        after = encoder.state_dict()
        if {name: one.shape for name, one in after.items()} != {name: one.shape for name, one in self.before.items()}:
            raise AssertionError("the stage changed the names or shapes of the encoder's parameters")
        moved = sum(float((after[name] - tensor).abs().sum()) for name, tensor in self.before.items())
        weights = sum(tensor.numel() for tensor in self.before.values())
        write_record(directory / "retention.json", forgotten.model_copy(update={"distance": moved / weights}))
        save_encoder(encoder, self.tokenizer, directory / "encoder")
        if LANGUAGE in self.model.head:
            save_language_head(self.model.language, directory)
        whole = {} if LANGUAGE in self.model.head else whole_because(encoder)
        write_log(directory, state, steps_by_member=self.schedule.counts(), **whole)


def write_record(path: Path, record: Record) -> None:
    """Write a record as JSON."""
    path.write_text(json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
