"""Batches in parts: the same losses as whole batches, and what happens when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_trainings
import tiny
import torch
from in_parts import assert_parts_have_the_same_losses, in_float64, losses
from joint_stages import BOTH, REPLAYED, TRAINING, contexts
from small_trainings import same
from torch import nn

from viaduct.encode.batch import Batch, collate
from viaduct.encode.tokens import Limits
from viaduct.errors import UsageError
from viaduct.memory import Fitting
from viaduct.models.encoder import save_encoder
from viaduct.rows import Sentence
from viaduct.runs.spec import Pretrain, Replay, Retention, Training
from viaduct.runs.stage import Context
from viaduct.training import finetuning
from viaduct.training.job import TrainingJob
from viaduct.training.loop import fit
from viaduct.training.pretrain import PretrainWork
from viaduct.training.state import checkpoints
from viaduct.training.train import TrainWork

ROWS = 8
FULL = "the batch of step"


def trained(kind: str, folder: Path, tokenizer: Any, dropout: float = 0.0, **changes: Any) -> Context:
    save_encoder(tiny.encoder(tokenizer, dropout=dropout), tokenizer, folder / "start" / "encoder")
    asked = {"epochs": 99.0, "max_steps": 8, "batch_tokens": 200, "evaluations": 2, **changes}
    rows = tiny.rows(kind, 24)
    parts = {(f"tiny-{kind}", split, "en"): rows for split in ("train", "dev")}
    work = TrainWork(task=f"tiny-{kind}", training=tiny.training(**asked), seed=1)
    return tiny.context(work, folder, parts, encoder=folder / "start" / "encoder")


@pytest.mark.parametrize("kind", list(tiny.CARDS))
def test_a_task_in_parts_has_the_same_losses_and_scores(kind: str, tmp_path: Path, tiny_tokenizer: Any) -> None:
    assert_parts_have_the_same_losses(lambda name: trained(kind, tmp_path / name, tiny_tokenizer))


@pytest.mark.parametrize("kind", list(tiny.CARDS))
def test_parts_are_exact_over_fifty_steps_at_a_high_rate(kind: str, tmp_path: Path, tiny_tokenizer: Any) -> None:
    long = {"max_steps": 50, "learning_rate": 1e-3}
    with in_float64(finetuning):
        assert_parts_have_the_same_losses(lambda name: trained(kind, tmp_path / name, tiny_tokenizer, **long))


SHORT = {**REPLAYED, "replay": Replay(batch_tokens=128, lines=40, max_length=16)}
JOINT = {
    "tasks": {"tasks": BOTH},
    "replay": {"tasks": ("tiny-pair",), **SHORT},
    "kl": {**SHORT, "retention": Retention(kl=0.5, l2_sp=0.01)},
}


@pytest.mark.parametrize("settings", JOINT.values(), ids=JOINT.keys())
def test_what_is_trained_jointly_in_parts_has_the_same_losses(
    settings: dict[str, Any], tmp_path: Path, tiny_tokenizer: Any
) -> None:
    make = contexts(tmp_path, tiny_tokenizer)
    assert_parts_have_the_same_losses(lambda name: make(name, training=TRAINING, **settings))


def test_pretraining_in_parts_has_the_same_losses(tmp_path: Path) -> None:
    architecture = tiny.ARCHITECTURE.model_copy(update={"layers": 1, "vocabulary": 300, "dropout": 0.0})
    training = tiny.training(max_steps=6, epochs=99.0, batch_tokens=256, max_length=32)
    work = PretrainWork(
        pretrain=Pretrain(name="t", text=("text",), architecture=architecture, training=training), languages=("en",)
    )
    rows = [Sentence(str(at), "en", text) for at, text in enumerate(tiny.sentences("en") * 3)]
    assert_parts_have_the_same_losses(lambda name: tiny.context(work, tmp_path / name, {("text", "train", "en"): rows}))


def test_an_example_is_never_cut_and_parts_know_their_share(tiny_tokenizer: Any) -> None:
    encoded = tiny.encode(tiny.rows("choice", 7), tiny_tokenizer, (), Limits(64))
    batch = collate(encoded, np.array([4, 0, 5, 2, 6]), 1)
    for count in (1, 2, 3, 5, 9):
        parts = batch.cut(count)
        assert len(parts) == min(count, 5) and sum(part.share for part in parts) == pytest.approx(1)
        assert np.concatenate([part.examples for part in parts]).tolist() == batch.examples.tolist()
        assert torch.equal(torch.cat([part.ids_BL for part in parts]), batch.ids_BL)
        for part in parts:
            assert len(part.ids_BL) == encoded.widths[part.examples].sum()
            sequences = [one for at in part.examples for one in range(encoded.groups[at], encoded.groups[at + 1])]
            assert part.tokens == np.diff(encoded.offsets)[sequences].sum()
    assert (batch.cut(2)[0].cut(1)[0].widths == encoded.widths[[4, 0, 5]]).all()


def batch_at(step: int) -> Batch:
    ids_BL = torch.from_numpy(np.random.default_rng(step).integers(0, 20, (ROWS, 3)))
    return Batch(ids_BL, None, None, np.arange(ROWS), 3 * ROWS)


def loss_of(model: nn.Module, batch: Batch) -> torch.Tensor:
    return (model(batch.ids_BL)[:, 0] - batch.ids_BL.sum(dim=1) / 20).pow(2).sum() / ROWS


class Device:
    """Has room for this many rows at a time; for more, it raises the error of torch's allocator."""

    def __init__(self, room: int, *, backward: bool = False) -> None:
        self.room, self.backward, self.seen = room, backward, list[int]()

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        self.seen.append(len(batch.ids_BL))
        loss = loss_of(model, batch)
        if len(batch.ids_BL) > self.room:
            if not self.backward:
                torch.empty(2**48)
            loss.register_hook(lambda _: torch.empty(2**48))
        return loss


def job(scratch: Path, **changes: Any) -> TrainingJob[Batch]:
    training = Training(learning_rate=0.05, weight_decay=0.1, evaluations=3, clip_norm=0.5)
    own = {"steps": 6, "batch_at": batch_at, "loss": loss_of, "training": training}
    return small_trainings.job(scratch, **{**own, **changes})


def test_onednn_says_otherwise_that_memory_is_full(tmp_path: Path) -> None:
    asked, seen = job(tmp_path / "asked", micro_batch_tokens=12), list[int]()
    fit(asked)

    def loss(model: nn.Module, batch: Batch) -> torch.Tensor:
        seen.append(len(batch.ids_BL))
        if len(batch.ids_BL) > 4:
            raise RuntimeError("could not create a primitive")
        return loss_of(model, batch)

    found = job(tmp_path / "found", loss=loss)
    fit(found)
    assert same(found.model, asked.model) and seen == [8, *[4] * 2 * 6]


@pytest.mark.parametrize("backward", [False, True])
def test_where_memory_runs_out_parts_are_halved_as_if_that_had_been_asked_for(
    backward: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The weights are bit-identical, including dropout: failed attempts leave no trace."""
    asked = job(tmp_path / "asked", micro_batch_tokens=6)
    fit(asked)
    device = Device(room=2, backward=backward)
    found = job(tmp_path / "found", loss=device.loss)
    with caplog.at_level(logging.WARNING):
        fit(found)
    assert same(found.model, asked.model)
    assert device.seen == [8, 4, *[2] * 4 * 6]
    told = [record.getMessage() for record in caplog.records]
    assert [FULL in one for one in told] == [True, True] and "parts of 12 tokens" in told[0] and "6 tokens" in told[1]


def test_what_fits_is_known_to_a_training_that_is_resumed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = job(tmp_path / "whole", micro_batch_tokens=12)
    fit(whole)

    def stop(done: float, _total: float, _note: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(job(tmp_path / "parts", loss=Device(room=4).loss, progress=stop))
    assert checkpoints(tmp_path / "parts")
    caplog.clear()
    device = Device(room=4)
    resumed = job(tmp_path / "parts", loss=device.loss)
    fit(resumed)
    assert set(device.seen) == {4} and not caplog.records and same(resumed.model, whole.model)


def test_a_row_that_does_not_fit_is_one_message_with_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"too small for one row of step 0\n  how to fix: .*--gradient-checkpointing"):
        fit(job(tmp_path, loss=Device(room=0).loss))


def test_other_errors_are_what_they_are(tmp_path: Path) -> None:
    def broken(*_: Any) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        fit(job(tmp_path, loss=broken))


@pytest.mark.parametrize("encoder", ["full", "lora"])
def test_gradient_checkpointing_computes_layers_twice_and_changes_nothing(
    encoder: str, tmp_path: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaSelfAttention

    calls: list[bool] = []
    plain: Callable[..., Any] = XLMRobertaSelfAttention.forward

    def counted(self: nn.Module, *given: Any, **named: Any) -> Any:
        calls.append(self.training)
        return plain(self, *given, **named)

    monkeypatch.setattr(XLMRobertaSelfAttention, "forward", counted)
    found, counts = [], []
    for asked in (False, True):
        made = trained("pair", tmp_path / str(asked), tiny_tokenizer, 0.1, encoder=encoder)
        calls.clear()
        found.append(losses(replace(made, fitting=Fitting(gradient_checkpointing=asked))))
        counts.append(sum(calls))
    assert found[0] == found[1] and counts[1] == 2 * counts[0]


def test_layers_that_cannot_be_computed_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--gradient-checkpointing: .*Sequential.*\n.*--micro-batch-tokens"):
        fit(job(tmp_path, gradient_checkpointing=True))
