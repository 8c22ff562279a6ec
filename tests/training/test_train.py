from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from viaduct.encode.tokens import Limits
from viaduct.errors import DataError
from viaduct.metrics.tagging import tag_accuracy
from viaduct.models.encoder import load_encoder
from viaduct.rows import Row, Tagged
from viaduct.runs.spec import Training
from viaduct.runs.stage import Context, Spent
from viaduct.tasks.card import Task
from viaduct.training import finetuning
from viaduct.training.job import TrainingJob
from viaduct.training.order import Order, count_steps, sample_rows
from viaduct.training.train import TrainWork


def stage(
    kind: str,
    folder: Path,
    start: Path,
    *,
    rows: list[Row] | None = None,
    dev: list[Row] | None = None,
    card: Task | None = None,
    **changes: Any,
) -> Context:
    card = card or tiny.CARDS[kind]
    name = card.name
    rows = tiny.rows(kind, 16) if rows is None else rows
    parts = {(name, "train", "en"): rows, (name, "dev", "en"): rows[:8] if dev is None else dev}
    work = TrainWork(task=name, training=tiny.training(**changes), seed=1)
    return tiny.context(work, folder, parts, encoder=start, cards=(card,))


def outputs(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", list(tiny.CARDS))
def test_every_head_learns_eight_rows_by_heart(kind: str, precision: str, tiny_encoder: Path, tmp_path: Path) -> None:
    context = stage(
        kind,
        tmp_path,
        tiny_encoder,
        rows=tiny.rows(kind, 8),
        learning_rate=4e-3,
        epochs=60.0,
        batch_tokens=2000,
        evaluations=6,
        max_length=64,
        precision=precision,
    )
    spent = tiny.run(context)
    log = json.loads((context.directory / "training.json").read_text())
    best = {one["step"]: one["score"] for one in log["evaluations"]}[log["best_step"]]
    assert best == 1.0
    assert log["evaluations"][-1]["loss"] < log["evaluations"][0]["loss"] / 2
    assert spent.tokens == log["tokens"] > 0
    assert spent.flops is not None and spent.flops > 0
    assert log["rows"] == spent.examples == 8
    assert log["precision"] == spent.precision == precision


def test_a_head_learns_which_questions_have_no_answer(tiny_encoder: Path, tmp_path: Path) -> None:
    card = replace(tiny.CARDS["span"], unanswerable=True)
    rows = [replace(row, answers=() if at % 2 else row.answers) for at, row in enumerate(tiny.rows("span", 8))]
    context = stage(
        "span", tmp_path, tiny_encoder, rows=rows, card=card, learning_rate=4e-3, epochs=60.0, batch_tokens=2000
    )
    tiny.run(context)
    log = json.loads((context.directory / "training.json").read_text())
    assert max(one["score"] for one in log["evaluations"]) == 1.0


def test_an_open_tag_set_is_that_of_the_training_rows_and_other_tags_are_wrong(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    card = replace(tiny.CARDS["tagged"], labels=(), metric=tag_accuracy, metrics=("token_accuracy",))
    rows = tiny.rows("tagged", 8)
    unseen = replace(rows[0], tags=("PART",) * len(rows[0].tokens))
    context = stage(
        "tagged",
        tmp_path,
        tiny_encoder,
        rows=rows,
        dev=[unseen],
        card=card,
        learning_rate=4e-3,
        epochs=60.0,
        batch_tokens=2000,
    )
    tiny.run(context)
    assert json.loads((context.directory / "head.json").read_text())["labels"] == ["ADJ", "NOUN", "NUM"]
    log = json.loads((context.directory / "training.json").read_text())
    assert {one["score"] for one in log["evaluations"]} == {0.0}
    assert log["evaluations"][-1]["loss"] < log["evaluations"][0]["loss"] / 2


def test_the_trained_encoder_has_the_keys_and_shapes_it_came_with(tiny_encoder: Path, tmp_path: Path) -> None:
    context = stage("pair", tmp_path, tiny_encoder)
    tiny.run(context)
    before, after = (
        load_file(folder / "model.safetensors") for folder in (tiny_encoder, context.directory / "encoder")
    )
    assert {name: tensor.shape for name, tensor in before.items()} == {
        name: tensor.shape for name, tensor in after.items()
    }
    unused = before["embeddings.word_embeddings.weight"] == after["embeddings.word_embeddings.weight"]
    assert 0.5 < unused.all(dim=1).float().mean() < 1.0
    assert set(outputs(context.directory)) == {
        "encoder/config.json",
        "encoder/model.safetensors",
        "encoder/tokenizer.json",
        "encoder/tokenizer_config.json",
        "head.json",
        "head.safetensors",
        "training.json",
        "curve.json",
    }
    load_encoder(str(context.directory / "encoder"), None)


def changed(context: Context, encoder: Path) -> dict[str, torch.Tensor]:
    """The weights that a stage changed, as differences from those it began with."""
    before, after = (load_file(folder / "model.safetensors") for folder in (encoder, context.directory / "encoder"))
    assert before.keys() == after.keys()
    return {name: after[name] - before[name] for name in before if not torch.equal(before[name], after[name])}


def test_a_probe_learns_and_leaves_the_encoder_as_it_was(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = {"encoder": "frozen", "learning_rate": 1e-2, "max_steps": 20, "epochs": 20.0}
    context = stage("tagged", tmp_path / "frozen", tiny_encoder, **frozen)
    spent = tiny.run(context)
    assert changed(context, tiny_encoder) == {}
    losses = [one["loss"] for one in json.loads((context.directory / "training.json").read_text())["evaluations"]]
    assert losses[-1] < 0.7 * losses[0]
    whole = tiny.run(stage("tagged", tmp_path / "whole", tiny_encoder, **{**frozen, "encoder": "full"}))
    assert spent.flops is not None and whole.flops == pytest.approx(3 * spent.flops)
    model = captured(stage("pair", tmp_path / "pair", tiny_encoder, **frozen), monkeypatch).model.train()
    assert model.head.training and not model.encoder.training, "a probe reads what predictions will read"


def test_an_adapter_changes_linear_layers_by_its_rank_and_is_merged(tiny_encoder: Path, tmp_path: Path) -> None:
    context = stage("pair", tmp_path, tiny_encoder, encoder="lora", lora_rank=2, learning_rate=1e-2)
    tiny.run(context)
    found = changed(context, tiny_encoder)
    assert found and not any("embeddings" in name or "LayerNorm" in name or name.endswith("bias") for name in found)
    assert max(int(torch.linalg.matrix_rank(tensor, rtol=1e-3)) for tensor in found.values()) == 2
    assert outputs(context.directory).keys() >= {"encoder/model.safetensors", "head.safetensors"}


class StoppedError(Exception):
    """Stand-in for a process that dies."""


def stop_after(step: int) -> Any:
    def progress(done: float, total: float, _note: str) -> None:
        if total > 1 and done >= step:
            raise StoppedError

    return progress


@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(
    kind=st.sampled_from(list(tiny.CARDS)),
    stops=st.lists(st.integers(1, 9), min_size=1, max_size=2),
    encoder=st.sampled_from(["full", "lora", "frozen"]),
)
def test_a_resumed_stage_leaves_the_same_bytes(
    tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory, kind: str, stops: list[int], encoder: str
) -> None:
    changes = {"max_steps": 9, "evaluations": 3, "epochs": 9.0, "encoder": encoder}
    whole = stage(kind, tmp_path_factory.mktemp("whole"), tiny_encoder, **changes)
    spent = tiny.run(whole)
    parts = tmp_path_factory.mktemp("parts")
    for stop in stops:
        with pytest.raises(StoppedError):
            tiny.run(tiny.with_progress(stage(kind, parts, tiny_encoder, **changes), stop_after(stop)))
    resumed = stage(kind, parts, tiny_encoder, **changes)
    assert tiny.run(resumed) == spent
    assert outputs(resumed.directory) == outputs(whole.directory)


def captured(context: Context, monkeypatch: pytest.MonkeyPatch) -> TrainingJob:
    """The job that the stage would pass to the training loop."""
    jobs = []

    def catch(job: TrainingJob) -> Any:
        jobs.append(job)
        raise StoppedError

    monkeypatch.setattr(finetuning, "fit", catch)
    with pytest.raises(StoppedError):
        tiny.run(context)
    return jobs[0]


@pytest.mark.parametrize("kind", list(tiny.CARDS))
def test_the_loss_is_a_mean_over_rows_whatever_the_batches(
    kind: str, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean of the scaled loss over an epoch's steps is the mean over all units, for any batch size."""
    means = []
    for tokens in (32, 10_000):
        context = stage(kind, tmp_path / str(tokens), tiny_encoder, epochs=1.0, batch_tokens=tokens)
        job = captured(context, monkeypatch)
        job.model.eval()
        with torch.inference_mode():
            losses = [job.loss(job.model, job.batch_at(step)).item() for step in range(job.steps)]
        assert (job.steps > 3) == (tokens == 32)
        means.append(np.mean(losses))
    assert means[0] == pytest.approx(means[1], rel=1e-4)


@pytest.mark.parametrize("kind", list(tiny.CARDS))
def test_the_curve_has_the_mean_loss_of_the_units_whatever_the_batches(
    kind: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    rows = tiny.rows(kind, 13)
    context = stage(kind, tmp_path, tiny_encoder, rows=rows, batch_tokens=100, evaluations=1)
    made, sums, units = finetuning.FineTuning(context, context.work), [], []  # type: ignore[arg-type]
    data = made.data

    def noting(logits: torch.Tensor, encoded: Any, batch: Any) -> torch.Tensor:
        summed = data.head.loss(logits, encoded, batch)
        seen = [data.rows[encoded.rows[example]] for example in batch.examples]
        sums.append(float(summed.detach()))
        units.append(sum(len(row.tokens) if isinstance(row, Tagged) else 1 for row in seen))
        return summed

    made.data = replace(data, head=replace(data.head, loss=noting))
    made.run()
    assert len(set(units)) > 1
    told = json.loads((context.directory / "curve.json").read_text())["loss"]
    assert told == pytest.approx([one / count for one, count in zip(sums, units, strict=True)], rel=1e-4)
    (whole,) = json.loads((context.directory / "training.json").read_text())["evaluations"]
    assert whole["loss"] == pytest.approx(sum(sums) / sum(units), rel=1e-4)


@pytest.mark.parametrize(("encoder", "rate"), [("full", 1e-3), ("lora", 1e-3), ("frozen", 0.5)])
def test_the_rate_of_a_curve_is_one_that_trains_something(
    encoder: str, rate: float, tiny_encoder: Path, tmp_path: Path
) -> None:
    context = stage("pair", tmp_path, tiny_encoder, encoder=encoder, learning_rate=1e-3, head_learning_rate=0.5)
    tiny.run(context)
    assert max(json.loads((context.directory / "curve.json").read_text())["learning_rate"]) == pytest.approx(rate)
    words = tiny.training(encoder=encoder, head_learning_rate=0.5).words()
    assert words.startswith("learning rate 0.001 (head: 0.5), 2 epochs of all rows, ")


@pytest.mark.parametrize(
    ("kind", "bare"), [("pair", {"label": None}), ("tagged", {"tags": None}), ("span", {"answers": None})]
)
def test_rows_without_labels_are_refused(kind: str, bare: dict[str, None], tiny_encoder: Path, tmp_path: Path) -> None:
    rows = tiny.rows(kind)
    mixed = [*rows[:5], replace(rows[5], **bare), *rows[6:]]
    with pytest.raises(DataError, match=rf"tiny-{kind} train: 1 of 8 rows have no label, the first is '{rows[5].id}'"):
        tiny.run(stage(kind, tmp_path, tiny_encoder, rows=mixed, dev=rows))
    with pytest.raises(DataError, match=rf"tiny-{kind} dev: 1 of 8 rows"):
        tiny.run(stage(kind, tmp_path, tiny_encoder, rows=rows, dev=mixed))


def test_no_rows_are_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training rows"):
        tiny.run(stage("pair", tmp_path, tiny_encoder, rows=[], dev=tiny.rows("pair")))


def test_a_sample_is_drawn_by_the_seed_in_file_order() -> None:
    rows = tiny.rows("pair", 50)
    first = sample_rows(rows, 20, 1)
    assert [row.id for row in first] == [row.id for row in rows if row in first]
    assert len(set(first)) == 20
    assert sample_rows(rows, 20, 1) == first != finetuning.sample_rows(rows, 20, 2)
    assert sample_rows(rows, None, 1) == sample_rows(rows, 50, 1) == sample_rows(rows, 99, 1) == tuple(rows)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(epochs=st.floats(0.1, 3.4), max_steps=st.one_of(st.none(), st.integers(1, 12)))
def test_epochs_pass_over_all_rows_each_in_another_order(
    tiny_tokenizer: Any, epochs: float, max_steps: int | None
) -> None:
    encoded = tiny.encode(tiny.rows("pair", 30), tiny_tokenizer, ("no", "yes"), Limits(64))
    plan = Order(encoded, 128, seed=1)
    steps = count_steps(plan, Training(epochs=epochs, max_steps=max_steps))
    batches = [plan.batch(step).tolist() for step in range(steps)]
    lengths = [len(plan.plan(epoch)) for epoch in range(4)]
    whole = int(epochs)
    wanted = sum(lengths[:whole]) + int(np.ceil((epochs - whole) * lengths[whole]))
    assert steps == max(1, wanted if max_steps is None else min(wanted, max_steps))
    start = 0
    orders = []
    for length in lengths:
        one = batches[start : start + length]
        if len(one) < length:
            break
        assert sorted(example for batch in one for example in batch) == list(range(30))
        orders.append(one)
        start += length
    assert all(earlier != later for earlier, later in pairwise(orders))


def test_dev_scores_use_the_first_dev_rows_and_the_cards_metric(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def counting(rows: Any, predictions: Any) -> Any:
        seen.append([row.id for row in rows])
        assert set(predictions) == set(seen[-1])
        return tiny.share_right(rows, predictions)

    card = replace(tiny.CARDS["pair"], metric=counting)
    tiny.run(stage("pair", tmp_path, tiny_encoder, dev=tiny.rows("pair", 8), card=card, dev_rows=5, evaluations=2))
    assert seen == [["p0", "p1", "p2", "p3", "p4"]] * 2


def test_what_is_spent_is_counted_over_all_steps(tiny_encoder: Path, tmp_path: Path) -> None:
    context = stage("pair", tmp_path, tiny_encoder, epochs=2.0)
    spent = tiny.run(context)
    tokenizer_ids = tiny.encode(
        tiny.rows("pair", 16), finetuning.load_tokenizer(str(tiny_encoder), None), ("no", "yes"), Limits(64)
    ).ids
    assert spent.tokens == 2 * len(tokenizer_ids)
    assert isinstance(spent, Spent)
    assert 0 <= spent.padding_fraction < 0.5


def test_a_stage_that_trains_in_another_way_changes_what_it_wants(tiny_encoder: Path, tmp_path: Path) -> None:
    """A subclass freezes the encoder and adds to the loss; all else, including the files, is as in a plain stage."""

    class HeadOnly(finetuning.FineTuning):
        def begin(self) -> None:
            self.model.encoder.requires_grad_(False)

        def loss(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
            return super().loss(model, batch) + self.data.weight(batch)  # 1 for every row

    plain, other = stage("pair", tmp_path / "plain", tiny_encoder), stage("pair", tmp_path / "other", tiny_encoder)
    tiny.run(plain)
    HeadOnly(other, other.work).run()
    assert set(outputs(other.directory)) == set(outputs(plain.directory))
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_encoder, other.directory / "encoder"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    losses = [
        json.loads((made.directory / "training.json").read_text())["evaluations"][0]["loss"] for made in (plain, other)
    ]
    assert losses[1] > losses[0] + 0.95
