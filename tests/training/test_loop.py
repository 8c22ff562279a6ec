from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_trainings import STEPS, StoppedError, batch_at, job, loss_of, network, same, scripted, stop_after
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.errors import NumbersError, ViaductError
from viaduct.interruption import Stopped, exit_status, stop_if_asked, stopping
from viaduct.results.checksums import seal
from viaduct.runs.spec import Training
from viaduct.training.loop import fit
from viaduct.training.optimizer import build_optimizer, set_rate
from viaduct.training.state import TrainingState, checkpoints

RISING = {3: 0.2, 6: 0.9, 9: 0.1, 12: 0.5}


@settings(deadline=None, max_examples=15)
@given(
    stops=st.lists(st.integers(1, STEPS), max_size=3),
    scores=st.one_of(st.none(), st.fixed_dictionaries({step: st.sampled_from([0.1, 0.2, 0.3]) for step in RISING})),
    every=st.sampled_from([0.0, 1e9]),
)
def test_a_resumed_training_is_bit_identical(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int], scores: dict[int, float] | None, every: float
) -> None:
    """Stopped anywhere, any number of times; with checkpoints after every step or never."""
    script = {} if scores is None else scripted(scores)
    whole = job(tmp_path_factory.mktemp("whole"), checkpoint_seconds=1e9, **script)
    expected = fit(whole)
    scratch = tmp_path_factory.mktemp("parts")
    for stop in stops:
        with pytest.raises(StoppedError):
            fit(job(scratch, checkpoint_seconds=every, progress=stop_after(stop), **script))
    if every == 0.0 and max(stops, default=0) > 1:
        last = max(stops) - 1  # this one and the one before it are kept
        assert [path.name for path in checkpoints(scratch)] == [
            f"checkpoint-{step:08d}" for step in (last - 1, last) if step
        ]
    resumed = job(scratch, checkpoint_seconds=every, **script)
    assert fit(resumed) == expected
    assert same(resumed.model, whole.model)


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Lets Ctrl-C reach this process even if the tests run in a shell's background, whose jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def send(number: int, at: int, times: int = 1) -> Callable[[float, float, str], None]:
    """A progress callback that sends this process a signal after `at` steps."""

    def progress(done: float, _total: float, _note: str) -> None:
        for _ in range(times if done == at else 0):
            os.kill(os.getpid(), number)

    return progress


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("at", [1, 5, 6, STEPS])
def test_a_signal_leaves_a_checkpoint_after_the_step_it_meets(
    tmp_path: Path, number: int, status: int, at: int
) -> None:
    whole = job(tmp_path / "whole", checkpoint_seconds=1e9)
    expected = fit(whole)
    parts = tmp_path / "parts"
    with stopping(), pytest.raises(Stopped) as stopped:
        fit(job(parts, checkpoint_seconds=1e9, progress=send(number, at)))
    assert exit_status(stopped.value) == status
    assert [path.name for path in checkpoints(parts)] == [f"checkpoint-{at:08d}"]
    resumed = job(parts, checkpoint_seconds=1e9, progress=send(number, at))  # is already past that step
    if at < STEPS:
        assert fit(resumed) == expected
    else:
        assert fit(replace(resumed, progress=lambda *_: None)) == expected
    assert same(resumed.model, whole.model)


def test_a_signal_during_an_evaluation_stops_it_at_once_and_it_is_made_up_for(tmp_path: Path) -> None:
    def evaluate(model: nn.Module) -> float:
        return float(next(model.parameters()).sum())

    def interrupted(model: nn.Module) -> float:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("it went on")

    whole = job(tmp_path / "whole", checkpoint_seconds=1e9, evaluate=evaluate)
    expected = fit(whole)
    with stopping(), pytest.raises(Stopped):
        fit(job(tmp_path / "parts", checkpoint_seconds=1e9, evaluate=interrupted))
    assert [path.name for path in checkpoints(tmp_path / "parts")] == ["checkpoint-00000003"]
    resumed = job(tmp_path / "parts", checkpoint_seconds=1e9, evaluate=evaluate)
    assert fit(resumed) == expected
    assert same(resumed.model, whole.model)


def test_patience_that_had_run_out_when_a_signal_came_has_run_out_after_it(tmp_path: Path) -> None:
    changes = {"training": Training(learning_rate=0.05, evaluations=4, patience=1), "checkpoint_seconds": 1e9}
    with stopping(), pytest.raises(Stopped):
        fit(job(tmp_path, progress=send(signal.SIGTERM, 9), **changes, **scripted(RISING)))
    assert fit(job(tmp_path, **changes, **scripted(RISING))).step == 9


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    with stopping(), pytest.raises(KeyboardInterrupt) as stopped:
        fit(job(tmp_path, checkpoint_seconds=1e9, progress=send(signal.SIGINT, 2, times=2)))
    assert exit_status(stopped.value) == 130 and not checkpoints(tmp_path)


def test_a_signal_that_came_while_something_was_deleted_is_not_lost_and_no_traceback_tells_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    class Deleted:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):  # an exception from a handler is dropped here
                pass

    for work in (stop_if_asked, lambda: fit(job(tmp_path, checkpoint_seconds=1e9))):
        with stopping(), pytest.raises(Stopped):
            gone: Deleted | None = Deleted()
            gone = None
            assert gone is None
            work()
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-00000001"]
    stop_if_asked()  # the signal is no longer pending
    assert not told and sys.unraisablehook == told.append


def test_signals_go_where_they_went_before_once_a_training_is_over(tmp_path: Path) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    fit(job(tmp_path))
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_checkpoint_cut_short_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from viaduct.training import state

    whole = job(tmp_path / "whole")
    fit(whole)
    save, written = state.save_file, []

    def failing(tensors: Any, path: Path) -> None:
        if len(written) == 5:
            path.write_bytes(b"half of a file")
            raise StoppedError
        written.append(path)
        save(tensors, path)

    with monkeypatch.context() as patch:
        patch.setattr(state, "save_file", failing)
        with pytest.raises(StoppedError):
            fit(job(tmp_path / "parts"))
    assert len(checkpoints(tmp_path / "parts")) == 1
    resumed = job(tmp_path / "parts")
    fit(resumed)
    assert same(resumed.model, whole.model)


@pytest.mark.parametrize("stop", [2, 5, 6, 7, 10, 12])
def test_the_best_weights_are_kept_across_a_resume(tmp_path: Path, stop: int) -> None:
    at_best = job(tmp_path / "short", progress=stop_after(6))
    with pytest.raises(StoppedError):
        fit(at_best)
    with pytest.raises(StoppedError):
        fit(job(tmp_path / "long", progress=stop_after(stop), **scripted(RISING)))
    resumed = job(tmp_path / "long", **scripted(RISING))
    state = fit(resumed)
    assert state.best_step == 6
    assert state.step == STEPS
    assert [(one["step"], one["score"]) for one in state.evaluations] == list(RISING.items())
    assert same(resumed.model, at_best.model)
    assert not resumed.model.training


def test_of_equally_good_weights_the_first_are_kept(tmp_path: Path) -> None:
    assert fit(job(tmp_path, **scripted(dict.fromkeys(RISING, 0.5)))).best_step == 3


@pytest.mark.parametrize(("patience", "last"), [(1, 9), (2, 12), (None, 12)])
def test_patience_ends_a_training_that_no_longer_gets_better(tmp_path: Path, patience: int | None, last: int) -> None:
    training = Training(learning_rate=0.05, evaluations=4, patience=patience)
    state = fit(job(tmp_path, training=training, **scripted(RISING)))
    assert (state.step, state.best_step) == (last, 6)


def test_without_dev_scores_the_last_weights_are_kept_and_losses_are_means(tmp_path: Path) -> None:
    losses = []

    def noting(model: nn.Module, batch: Batch) -> torch.Tensor:
        loss = loss_of(model, batch)
        losses.append(float(loss.detach()))
        return loss

    state = fit(job(tmp_path, loss=noting))
    assert [one["step"] for one in state.evaluations] == [3, 6, 9, 12]
    for at, one in enumerate(state.evaluations):
        assert one["loss"] == pytest.approx(sum(losses[3 * at : 3 * at + 3]) / 3)
    assert (state.tokens, state.slots, state.squares) == (12 * STEPS, 12 * STEPS, 4 * 9 * STEPS)


def test_a_curve_has_a_hundred_points_and_one_for_each_evaluation(tmp_path: Path) -> None:
    losses, told = [], []

    def noting(model: nn.Module, batch: Batch) -> torch.Tensor:
        loss = loss_of(model, batch)
        losses.append(float(loss.detach()))
        return loss

    training = Training(learning_rate=0.05, warmup_fraction=0.1, evaluations=3)
    steps, scores = 250, {83: 0.25, 167: 0.5, 250: 0.75}
    track = {"track": lambda step, values: told.append((step, values))}
    state = fit(
        job(tmp_path, checkpoint_seconds=1e9, **scripted(scores, steps=steps, training=training, loss=noting, **track))
    )
    at = [int(point["step"]) for point in state.curve]
    assert at == sorted({*scores, *range(5, 251, 5), *(5 * n - 2 for n in range(1, 51))}) and len(at) <= 100 + len(
        scores
    )
    for before, point in zip([0, *at], state.curve, strict=False):
        step = int(point["step"])
        assert point["loss"] == pytest.approx(sum(losses[before:step]) / (step - before), rel=1e-5)
        assert point["tokens"] == 12 * step and point.get("score") == scores.get(step)
        rate = 0.05 * (step / 25 if step <= 25 else (251 - step) / 226)
        assert point["learning_rate"] == pytest.approx(rate, rel=1e-5)
    assert [step for step, _ in told] == at and len(state.speed) == len(at) and min(state.speed) > 0
    assert [set(values) for step, values in told if step in (3, 83)] == [
        {"loss", "learning_rate", "tokens_per_second"},
        {"loss", "learning_rate", "tokens_per_second", "dev_score"},
    ]


def test_a_checkpoint_of_before_there_were_curves_is_gone_on_from(tmp_path: Path) -> None:
    whole = job(tmp_path / "whole", checkpoint_seconds=1e9)
    expected = fit(whole)
    with pytest.raises(StoppedError):
        fit(job(tmp_path / "parts", progress=stop_after(8)))
    place = checkpoints(tmp_path / "parts")[-1]
    state = json.loads((place / "state.json").read_text())
    (place / "state.json").write_text(
        json.dumps({name: state[name] for name in state.keys() - {"curve", "speed", "since_point"}})
    )
    seal(place)
    resumed = job(tmp_path / "parts", checkpoint_seconds=1e9)
    assert fit(resumed).curve == expected.curve[7:] and same(resumed.model, whole.model)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_with_the_step_and_what_to_do(tmp_path: Path, value: float) -> None:
    def breaking(model: nn.Module, batch: Batch) -> torch.Tensor:
        loss = loss_of(model, batch)
        return loss * value if torch.equal(batch.ids_BL, batch_at(4).ids_BL) else loss

    with pytest.raises(ViaductError, match=r"loss at step 4 is no finite number but (nan|inf)\n.*fix: lower"):
        fit(job(tmp_path, loss=breaking))
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-00000003", "checkpoint-00000004"]


def test_a_gradient_that_is_no_number_stops_before_it_reaches_the_weights(tmp_path: Path) -> None:
    """The square root of 0 is 0 but its slope is not finite; after the last step nothing would check the weights."""

    def steep(model: nn.Module, batch: Batch) -> torch.Tensor:
        loss = loss_of(model, batch)
        return loss + (loss - loss).sqrt() if torch.equal(batch.ids_BL, batch_at(STEPS - 1).ids_BL) else loss

    made = job(tmp_path, loss=steep)
    with pytest.raises(NumbersError, match=rf"gradient at step {STEPS - 1} is no finite number but (nan|inf)"):
        fit(made)
    assert all(weight.isfinite().all() for weight in made.model.parameters())


def test_fewer_steps_than_evaluations(tmp_path: Path) -> None:
    state = fit(job(tmp_path, steps=2, **scripted({1: 0.1, 2: 0.2})))
    assert [one["step"] for one in state.evaluations] == [1, 2]


def test_gradients_are_clipped_to_the_norm(tmp_path: Path) -> None:
    """Even with a tiny norm Adam steps by its learning rate, so this checks the first moment, which is (1 - beta) g."""
    training = Training(learning_rate=0.0, clip_norm=1e-3, evaluations=1)
    fit(job(tmp_path, training=training, steps=3))
    from safetensors.torch import load_file

    tensors = load_file(checkpoints(tmp_path)[-1] / "optimizer.safetensors")
    first = torch.cat([tensor.flatten() for name, tensor in tensors.items() if name.endswith("exp_avg")])
    assert 0 < first.norm() <= (1 - 0.9**2) * 1e-3 * 1.0001


@settings(deadline=None)
@given(steps=st.integers(2, 200), warmup=st.floats(0.0, 0.5))
def test_the_rate_peaks_once_and_ends_near_zero(steps: int, warmup: float) -> None:
    optimizer = build_optimizer(network(), Training(learning_rate=2.0))
    rates = []
    for step in range(steps):
        set_rate(optimizer, step, steps, warmup)
        rates.append(optimizer.param_groups[0]["lr"])
    peak = max(1, round(steps * warmup)) - 1
    assert rates[peak] == pytest.approx(2.0)
    assert all(later > earlier for earlier, later in pairwise(rates[: peak + 1]))
    assert all(later < earlier for earlier, later in pairwise(rates[peak:]))
    assert 0 < rates[-1] <= 2.0 / (steps - peak) + 1e-9


def test_only_weight_matrices_outside_embeddings_decay_and_heads_have_their_own_rate() -> None:
    model = nn.ModuleDict(
        {"encoder": nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4)), "head": nn.Linear(4, 2)}
    )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, Training(learning_rate=1.0, head_learning_rate=3.0, weight_decay=0.1))
    found = {
        names[id(parameter)]: (group["base_lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found == {
        "encoder.0.weight": (1.0, 0.0),
        "encoder.1.weight": (1.0, 0.1),
        "encoder.1.bias": (1.0, 0.0),
        "encoder.2.weight": (1.0, 0.0),
        "encoder.2.bias": (1.0, 0.0),
        "head.weight": (3.0, 0.1),
        "head.bias": (3.0, 0.0),
    }


def test_a_fresh_folder_is_a_fresh_start(tmp_path: Path) -> None:
    from viaduct.training.state import resume

    model = network()
    assert resume(tmp_path / "none", model, build_optimizer(model, Training())) == TrainingState()


def test_products_in_bfloat16_are_rounded_and_weights_are_not(tmp_path: Path) -> None:
    exact, rounded = job(tmp_path / "exact"), job(tmp_path / "rounded")
    rounded = replace(rounded, training=rounded.training.model_copy(update={"precision": "bf16"}))
    assert fit(exact).precision == "fp32"
    assert fit(rounded).precision == "bf16"
    pairs = zip(exact.model.state_dict().values(), rounded.model.state_dict().values(), strict=True)
    for one, other in pairs:
        assert other.dtype == torch.float32 and not torch.equal(one, other)
        torch.testing.assert_close(one, other, rtol=0, atol=0.2)


def test_a_training_ends_in_the_precision_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example, a stage that began on a machine with bfloat16 instructions resumes on one without them."""
    half = Training(learning_rate=0.05, evaluations=4, precision="bf16")
    whole = job(tmp_path / "whole", training=half)
    fit(whole)
    with pytest.raises(StoppedError):
        fit(job(tmp_path / "parts", training=half, progress=stop_after(5)))
    monkeypatch.setattr("viaduct.training.loop.training_precision", lambda *_: "fp32")
    resumed = job(tmp_path / "parts", training=half)
    assert fit(resumed).precision == "bf16"
    assert same(resumed.model, whole.model)
