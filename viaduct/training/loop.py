"""The only training loop. Stages differ in data, head and objective, never in the loop.

Resuming is exact: step n depends on the weights after step n - 1, on the batch plan (from the seed) and on the random
numbers of step n (seeded by the step), so a checkpoint holds weights, optimiser state and counters, and a resumed run
on the same machine ends bit-identical to an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from functools import partial

import torch

from viaduct.interruption import HeldBack, Stopped, held_back
from viaduct.models.numerics import FreedMemory, training_precision
from viaduct.training import state as checkpointing
from viaduct.training.job import BatchT, TrainingJob, gradient, recomputing
from viaduct.training.optimizer import build_optimizer, set_rate
from viaduct.training.readings import Reading, Readings
from viaduct.training.team import Team


def fit(job: TrainingJob[BatchT]) -> checkpointing.TrainingState:
    """Train to the end (from the newest checkpoint if there is one); the model then holds the chosen weights.

    Raises NumbersError, with the step and what to change, when loss or gradient are no longer finite; `Stopped` on a
    signal, after writing a checkpoint.
    """
    team, model = Team(job.ranks, job.device), job.model.to(job.device)
    optimizer = build_optimizer(model, job.training)
    state = team.leader_first(lambda: checkpointing.resume(job.scratch, model, optimizer))
    team.align(model)
    state.precision = state.precision or training_precision(job.training.precision, job.device)
    readings = Readings(optimizer, state, job.device)
    saved, freed, evaluate_at = time.monotonic(), FreedMemory(), _evaluation_steps(job)
    model.train()
    with held_back() as signals, recomputing(model, asked=job.gradient_checkpointing), team:
        while _is_due(evaluate_at, state) or not _is_over(job, state):
            if not _is_due(evaluate_at, state):  # else it was interrupted before the evaluation
                _step(job, team, readings)
                freed.bound()
                readings.read(now=state.step in evaluate_at or state.is_point(job.steps))
            try:
                if _is_due(evaluate_at, state):
                    _evaluate(job, team, state, signals)
                    model.train()
                if told := state.new_point(job.steps):
                    with signals.let_through():
                        job.track(state.step, told)
                _report(job, state)
                signals.stop_if_asked()
            except Stopped:
                readings.read()
                checkpointing.save_checkpoint(job.scratch, job.model, optimizer, state)
                raise
            if time.monotonic() - saved >= job.checkpoint_seconds and state.step < job.steps:
                readings.read()
                checkpointing.save_checkpoint(job.scratch, job.model, optimizer, state)
                saved = time.monotonic()
    team.part()
    if job.evaluate is not None:
        checkpointing.load_best(job.scratch, job.model, state)
    job.model.eval()
    return state


def _evaluation_steps(job: TrainingJob[BatchT]) -> frozenset[int]:
    """The steps after which an evaluation is due."""
    count = max(1, min(job.training.evaluations, job.steps))
    return frozenset(round(job.steps * (number + 1) / count) for number in range(count))


def _is_due(evaluate_at: frozenset[int], state: checkpointing.TrainingState) -> bool:
    """Whether an evaluation is due after the last step and has not been done."""
    return state.step in evaluate_at and not any(past["step"] == state.step for past in state.evaluations)


def _is_over(job: TrainingJob[BatchT], state: checkpointing.TrainingState) -> bool:
    """Whether all steps are done, or patience has run out."""
    if state.step >= job.steps or job.evaluate is None or job.training.patience is None:
        return state.step >= job.steps
    return sum(past["step"] > state.best_step for past in state.evaluations) >= job.training.patience


def _step(job: TrainingJob[BatchT], team: Team, readings: Readings) -> None:
    state, optimizer, accelerator = readings.state, readings.optimizer, team.accelerator
    precision, scale = readings.begin()
    rate = set_rate(optimizer, state.step, job.steps, job.training.warmup_fraction)
    batch = job.batch_at(state.step).to(job.device)
    backward = accelerator.backward if scale == 1.0 else lambda loss: accelerator.backward(loss * scale)
    summed, weight = gradient(job, team, backward, state, precision, batch)
    if scale != 1.0:
        torch._foreach_div_([one.grad for one in job.model.parameters() if one.grad is not None], scale)
    norm = accelerator.clip_grad_norm_(job.model.parameters(), job.training.clip_norm)
    readings.add(Reading(state.step, precision, scale, summed, norm, weight, batch.size, rate))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    state.step += 1


def _evaluate(job: TrainingJob[BatchT], team: Team, state: checkpointing.TrainingState, signals: HeldBack) -> None:
    """Record loss and dev score, and keep the weights if they are the best."""
    record = {"step": float(state.step), "loss": state.loss_sum / state.loss_steps}
    if job.evaluate is not None:
        job.model.eval()
        with torch.inference_mode(), signals.let_through():
            record["score"] = team.from_leader(partial(job.evaluate, job.model))
        best = max((past["score"] for past in state.evaluations), default=-math.inf)
        if record["score"] > best:
            state.best_step = state.step
            if not job.ranks.number:
                checkpointing.save_best(job.scratch, job.model, state)
    state.loss_sum, state.loss_steps = 0.0, 0
    state.evaluations.append(record)


def _report(job: TrainingJob[BatchT], state: checkpointing.TrainingState) -> None:
    note = f"step {state.step:,} of {job.steps:,}"
    if state.loss_steps:
        note += f", loss {state.loss_sum / state.loss_steps:.3f}"
    if state.evaluations and "score" in state.evaluations[-1]:
        note += f", dev {state.evaluations[-1]['score']:.3f}"
    job.progress(state.step, job.steps, note)
