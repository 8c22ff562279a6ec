"""Joint stages: what is trained together, in which order, and what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from joint_stages import (
    BOTH,
    REPLAYED,
    TRAINING,
    assert_a_part_of_the_vocabulary_is_enough,
    assert_an_encoder_of_the_same_shape_has_learned,
    assert_bfloat16_has_about_the_same_losses,
    assert_broken_off_it_gives_the_same_bytes,
    contexts,
    steps,
    weights,
)
from safetensors.torch import load_file

from viaduct.errors import NumbersError
from viaduct.models.numerics import seed_all
from viaduct.runs.spec import Mixture, Retention
from viaduct.training import joint_training
from viaduct.training.joint import JointWork
from viaduct.training.joint_training import JointTraining
from viaduct.training.replay import linear_cka


@pytest.fixture
def make(tmp_path: Path, tiny_tokenizer: Any) -> Any:
    """A function that maps a stage's name and work settings to its context."""
    return contexts(tmp_path, tiny_tokenizer)


EVERY = {
    "tasks": {"tasks": BOTH},
    "replay": {"tasks": ("tiny-pair",), **REPLAYED},
    "kl": {"training": TRAINING, **REPLAYED, "retention": Retention(kl=0.5, l2_sp=0.01)},
}


@pytest.mark.parametrize("settings", EVERY.values(), ids=EVERY.keys())
def test_in_bfloat16_every_stage_has_about_the_same_losses(make: Any, settings: dict[str, Any]) -> None:
    assert_bfloat16_has_about_the_same_losses(make, settings)


@pytest.mark.parametrize("settings", EVERY.values(), ids=EVERY.keys())
def test_every_stage_leaves_an_encoder_of_the_same_shape_that_has_learned(make: Any, settings: dict[str, Any]) -> None:
    assert_an_encoder_of_the_same_shape_has_learned(make, settings)


def test_linear_cka_is_the_correlation_of_similarities_and_knows_no_rotation() -> None:
    torch.manual_seed(0)
    x_ND, y_ND = torch.randn(40, 6), torch.randn(40, 5)
    centre_NN = torch.eye(40) - 1 / 40
    grams = [centre_NN @ one @ one.T @ centre_NN for one in (x_ND, y_ND)]
    expected = (grams[0] * grams[1]).sum() / (grams[0].norm() * grams[1].norm())
    assert linear_cka(x_ND, y_ND) == pytest.approx(float(expected), rel=1e-4)
    rotation_DD, _ = torch.linalg.qr(torch.randn(6, 6))
    assert linear_cka(x_ND, 3 * x_ND @ rotation_DD + 1) == pytest.approx(1)


def test_a_stage_done_twice_or_broken_off_gives_the_same_bytes(make: Any) -> None:
    assert_broken_off_it_gives_the_same_bytes(make, {**REPLAYED, "tasks": ("tiny-pair",)}, "retention.json")


def test_a_loss_of_replayed_text_that_is_no_number_is_not_recorded(make: Any) -> None:
    context = make("a", tasks=("tiny-pair",), **REPLAYED)
    stage = joint_training.JointTraining(context, context.work)
    with torch.no_grad():
        next(stage.model.parameters()).fill_(torch.nan)
    with pytest.raises(NumbersError, match=r"the masked-LM loss in '\w+' is no finite number but nan"):
        stage.replay.losses(stage.model)


def test_members_are_drawn_by_the_mixture(make: Any) -> None:
    work = JointWork(tasks=BOTH, training=TRAINING, seed=1)
    rows = (100, 400)
    assert joint_training.shares(rows, work).tolist() == pytest.approx([0.2, 0.8])
    capped = work.model_copy(update={"mixture": Mixture(cap=100)})
    assert joint_training.shares(rows, capped).tolist() == [0.5, 0.5]
    warm = work.model_copy(update={"mixture": Mixture(sampling="temperature", cap=None, temperature=2.0)})
    assert joint_training.shares(rows, warm).tolist() == pytest.approx([1 / 3, 2 / 3])
    alike = work.model_copy(update={"mixture": Mixture(sampling="uniform")})
    assert joint_training.shares(rows, alike).tolist() == [0.5, 0.5]
    batches = steps(make("a", tasks=BOTH, training=TRAINING.model_copy(update={"max_steps": 40})))
    names = [batch.member.name for batch in batches]
    assert set(names) == set(BOTH)
    firsts = [batch.main.examples.tolist() for batch in batches if batch.member.name == "tiny-pair"]
    assert firsts != sorted(firsts)


def test_a_mixture_of_one_kept_whole_is_trained_as_the_plain_stage_would_be(make: Any, tmp_path: Path) -> None:
    """The same rows in batches of the same plan reach the same loss; only the order of epochs differs by its seed."""
    context = make("a", tasks=("tiny-pair",), training=TRAINING.model_copy(update={"max_steps": 30}))
    tiny.run(context)
    log = json.loads((context.directory / "training.json").read_text())
    assert log["evaluations"][-1]["loss"] < log["evaluations"][0]["loss"]
    assert (context.directory / "heads" / "pair-no-yes" / "head.safetensors").is_file()


def test_a_point_of_the_curve_is_the_mean_of_the_members_units_and_what_is_beside_it(make: Any) -> None:
    training = TRAINING.model_copy(update={"batch_tokens": 100})
    context = make("a", **{**REPLAYED, "tasks": ("tiny-pair",), "training": training})
    stage = JointTraining(context, context.work)
    (member,) = stage.tasks
    for batch in map(stage.batch_at, range(3)):
        assert batch.replay is not None and batch.main is not None
        seed_all("step", 1)
        alone = member.data.head.loss(
            stage.model.head[member.head](stage.model.states(batch.main)), member.data.encoded, batch.main
        )
        beside = stage.replay.loss(stage.model, batch.replay)  # type: ignore[union-attr]
        seed_all("step", 1)
        summed, weight = stage.weighed(stage.loss(stage.model, batch).detach(), batch)
        expected = (alone.detach() / len(batch.main.examples) + beside.detach()).item()
        assert float(summed) / weight == pytest.approx(expected, rel=1e-4)


def test_interpolation_and_lora_end_where_they_say(make: Any) -> None:
    plain, half = make("a", tasks=("tiny-pair",)), make("b", tasks=("tiny-pair",), retention=Retention(interpolate=0.5))
    tiny.run(plain)
    tiny.run(half)
    before, after, between = load_file(Path(plain.encoder) / "model.safetensors"), weights(plain), weights(half)
    for name, tensor in before.items():
        torch.testing.assert_close(between[name], (tensor + after[name]) / 2, atol=1e-6, rtol=0)
    low = make("c", tasks=("tiny-pair",), retention=Retention(lora_rank=2))
    tiny.run(low)
    for name, tensor in weights(low).items():
        change = tensor - before[name]
        if tensor.ndim == 2 and "embeddings" not in name:
            assert torch.linalg.matrix_rank(change, tol=1e-5) <= 2
        else:
            assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize(
    "settings",
    [
        {"tasks": ("tiny-pair",)},
        {"tasks": ("tiny-tagged",)},
        {"tasks": ("tiny-span",)},
        {"tasks": ("tiny-choice",)},
        {"tasks": tuple(card.name for card in tiny.CARDS.values()), "retention": Retention(l2_sp=0.1)},
    ],
    ids=["pair", "tagged", "span", "choice", "together"],
)
def test_a_stage_with_a_part_of_the_vocabulary_is_bit_identical(
    make: Any, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_a_part_of_the_vocabulary_is_enough(make, settings, monkeypatch)


def test_being_held_to_the_original_encoder_costs_nothing_until_it_moves(make: Any) -> None:
    """KL(original || current) is 0 at first; later its slope along its gradient matches finite differences."""
    context = make("a", **REPLAYED, retention=Retention(kl=1.0))
    stage = JointTraining(context, context.work)
    model, replayed_text = stage.model.eval(), stage.replay
    original, batch = replayed_text.original, stage.batch_at(0).replay

    def divergence() -> torch.Tensor:
        losses = []
        for held_to in (original, None):
            replayed_text.original = held_to
            torch.manual_seed(1)  # the same masks
            losses.append(replayed_text.loss(model, batch))
        return losses[0] - losses[1]

    assert divergence().item() == pytest.approx(0.0, abs=1e-5)
    torch.manual_seed(2)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter in weights:
            parameter.add_(0.1 * torch.randn_like(parameter))
    slopes = torch.autograd.grad(divergence(), weights, allow_unused=True)
    size = torch.sqrt(sum(slope.square().sum() for slope in slopes if slope is not None))
    assert size > 0.1

    def beside(step: float) -> float:
        with torch.no_grad():
            for parameter, slope in zip(weights, slopes, strict=True):
                parameter.add_(0 if slope is None else slope * (step / size))
            value = divergence().item()
            for parameter, slope in zip(weights, slopes, strict=True):
                parameter.sub_(0 if slope is None else slope * (step / size))
        return value

    assert (beside(0.01) - beside(-0.01)) / 0.02 == pytest.approx(size.item(), rel=0.01)
