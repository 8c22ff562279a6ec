"""Losses that are read only every few steps, and steps whose loss is not a number."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_trainings import STEPS, StoppedError, batch_at, job, loss_of, network, same, scripted, stop_after
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.errors import NumbersError
from viaduct.runs.spec import Training
from viaduct.training.loop import fit
from viaduct.training.state import checkpoints


@pytest.fixture
def read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes losses be read as from an accelerator: every few steps, not after each one."""
    monkeypatch.setattr("viaduct.training.readings.steps_together", lambda _: 5)


@pytest.mark.usefixtures("read_together")
@pytest.mark.parametrize("stop", [None, 4, 7])
def test_numbers_that_are_read_after_some_steps_are_those_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int | None
) -> None:
    every = {
        "checkpoint_seconds": 1e9 if stop is None else 0.0,
        "training": Training(learning_rate=0.05, evaluations=2),
    }
    script = scripted({6: 0.2, 12: 0.1}, **every)
    monkeypatch.setattr("viaduct.training.state.POINTS", 3)
    if stop is not None:
        with pytest.raises(StoppedError):
            fit(job(tmp_path / "together", progress=stop_after(stop), **script))
    together = job(tmp_path / "together", **script)
    found = fit(together)
    with monkeypatch.context() as patch:
        patch.setattr("viaduct.training.readings.steps_together", lambda _: 1)
        each = job(tmp_path / "each", **script)
        assert fit(each) == found and len(found.curve) == 4
    assert same(together.model, each.model)


def broken_at(step: int, formats: tuple[torch.dtype, ...]) -> Callable[[nn.Module, Batch], torch.Tensor]:
    """A loss that is NaN at this step if products are in one of these formats; small enough for float16."""

    def loss(model: nn.Module, batch: Batch) -> torch.Tensor:
        found = loss_of(model, batch) * 1e-3
        format = model[2](torch.ones(1, 24)).dtype  # type: ignore[index]
        return found * math.nan if torch.equal(batch.ids_BL, batch_at(step).ids_BL) and format in formats else found

    return loss


@pytest.mark.usefixtures("read_together")
def test_no_step_after_one_that_is_no_number_reaches_weights_checkpoints_or_evaluations(tmp_path: Path) -> None:
    made = job(tmp_path / "broken", loss=broken_at(6, (torch.float32,)), checkpoint_seconds=1e9)
    with pytest.raises(NumbersError, match="loss at step 6 is no finite number but nan"):
        fit(made)
    whole = job(tmp_path / "whole", progress=stop_after(6), loss=broken_at(STEPS, ()), checkpoint_seconds=1e9)
    with pytest.raises(StoppedError):
        fit(whole)
    assert same(made.model, whole.model) and not checkpoints(tmp_path / "broken")


@pytest.mark.parametrize("together", [1, 5])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_step_that_overflows_is_made_again_in_float32_and_no_other(
    tmp_path: Path, precision: str, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viaduct.training.readings.steps_together", lambda _: together)
    format = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    training = Training(learning_rate=0.05, evaluations=4, precision=precision)
    made = job(tmp_path / "broken", training=training, loss=broken_at(6, (format,)))
    state = fit(made)
    assert (state.step, state.made_again, state.tokens) == (STEPS, 1, 12 * STEPS)
    assert state.scale == (2.0**15 if precision == "fp16" else 2.0**16)
    smooth = job(tmp_path / "smooth", training=training, loss=broken_at(STEPS, ()))
    assert fit(smooth).made_again == 0
    for one, other in zip(made.model.parameters(), smooth.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.02)
        assert not torch.equal(one, other)
    with pytest.raises(NumbersError, match="loss at step 6"):
        fit(job(tmp_path / "never", training=training, loss=broken_at(6, (format, torch.float32))))


def test_float16_keeps_gradients_that_it_could_not_hold_unscaled(tmp_path: Path) -> None:
    """A loss of about 1e-7 has gradients below float16's smallest number; Adam divides their size out again."""
    exact, half = (
        job(
            tmp_path / precision,
            training=Training(learning_rate=0.05, evaluations=1, precision=precision),
            loss=lambda model, batch: loss_of(model, batch) * 1e-6,
        )
        for precision in ("fp32", "fp16")
    )
    fit(exact)
    assert fit(half).scale == 2.0**16
    start = network()
    for one, other, before in zip(exact.model.parameters(), half.model.parameters(), start.parameters(), strict=True):
        moved, apart = (float((one - it).detach().abs().max()) for it in (before, other))
        assert moved > 0.1 and apart < 0.1 * moved


def test_the_scale_grows_back_after_so_many_steps_and_survives_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viaduct.training.readings.GROWTH_STEPS", 4)
    training = Training(learning_rate=0.05, evaluations=4, precision="fp16")
    whole = job(tmp_path / "whole", training=training, loss=broken_at(2, (torch.float16,)))
    expected = fit(whole)
    assert (expected.scale, expected.scaled_at) == (2.0**17, 10)  # halved at 2, doubled at 6 and 10
    with pytest.raises(StoppedError):
        fit(job(tmp_path / "parts", training=training, loss=whole.loss, progress=stop_after(7)))
    resumed = job(tmp_path / "parts", training=training, loss=whole.loss)
    assert fit(resumed) == expected and same(resumed.model, whole.model)
