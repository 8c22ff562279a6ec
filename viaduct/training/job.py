"""One training, and the gradient of one of its steps: of the whole batch, or of parts that fit the device's memory.

A batch is cut by rows into parts whose losses, and so their gradients, add up to its own; anything random in it (masks,
wrong images) is drawn first. If memory still runs out, the size of the parts is halved.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from viaduct.encode.batch import BatchSize
from viaduct.errors import UsageError, is_full
from viaduct.models.numerics import products_in, seed_all
from viaduct.runs.parts import Training
from viaduct.runs.ranks import ALONE, Ranks
from viaduct.runs.stage import Context, Progress, Track, untracked
from viaduct.training.state import TrainingState
from viaduct.training.team import Team

_LOG = logging.getLogger(__name__)


class StepBatch(Protocol):
    """What one step is trained on, for example an `encode.batch.Batch`."""

    @property
    def size(self) -> BatchSize:
        """The size of what goes through the encoder."""

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""


BatchT = TypeVar("BatchT", bound=StepBatch)


@dataclass(frozen=True)
class TrainingJob(Generic[BatchT]):
    """One training: the model, its batches, its loss, and how to choose among its checkpoints."""

    model: nn.Module
    steps: int
    batch_at: Callable[[int], BatchT]
    """Step (0-based) -> batch; must depend only on the step."""
    loss: Callable[[nn.Module, Any], torch.Tensor]
    """Scalar loss of a batch or a part of one, already scaled so that every row weighs the same over an epoch."""
    evaluate: Callable[[nn.Module], float] | None
    """Dev score, higher is better; None: the last step's weights are kept."""
    training: Training
    seed: int
    device: torch.device
    scratch: Path
    checkpoint_seconds: float
    progress: Progress
    track: Track = untracked
    weighed: Callable[[torch.Tensor, Any], tuple[torch.Tensor, float]] | None = None
    """(loss, batch or part) -> (value that curves sum up, weight to divide it by), called after `loss`; by default each
    step's loss."""
    cut: Callable[[Any, int], Sequence[Any]] = lambda batch, count: batch.cut(count)
    """The batch in at most this many parts whose losses add up to its own; anything random in it is drawn first."""
    micro_batch_tokens: int | None = None
    """A batch with more tokens, including padding, is computed in parts of about this many; None: whole."""
    ranks: Ranks = ALONE
    """The processes that share the parts of each batch."""
    gradient_checkpointing: bool = False
    """Whether activations are recomputed in the backward pass instead of kept."""


def asked(context: Context) -> dict[str, Any]:
    """The arguments of a `TrainingJob` that come from the stage's context."""
    names = ("scratch", "checkpoint_seconds", "progress", "track", "ranks")
    fitting = {name: getattr(context.fitting, name) for name in ("micro_batch_tokens", "gradient_checkpointing")}
    return {**{name: getattr(context, name) for name in names}, **fitting}


@contextmanager
def recomputing(model: nn.Module, *, asked: bool) -> Iterator[None]:
    """While this is open, the encoder's layers are recomputed in the backward pass, if that was requested. Raises
    UsageError for an encoder that does not support it."""
    encoder: Any = getattr(model, "encoder", None)
    if not asked:
        yield
        return
    if not getattr(encoder, "supports_gradient_checkpointing", False):
        kind = getattr(getattr(encoder, "config", None), "model_type", type(model).__name__)
        raise UsageError(
            f"--gradient-checkpointing: the layers of this model ({kind}) cannot be recomputed",
            fix="leave it out and use --micro-batch-tokens",
        )
    # Its public form changes name between versions, and also makes the embeddings require gradients not needed here.
    encoder._set_gradient_checkpointing(True, partial(checkpoint, use_reentrant=False))
    try:
        yield
    finally:
        encoder._set_gradient_checkpointing(False)


def gradient(
    job: TrainingJob[BatchT],
    team: Team,
    backward: Callable[[torch.Tensor], object],
    state: TrainingState,
    precision: str,
    batch: BatchT,
) -> tuple[torch.Tensor, float]:
    """(value that curves sum up for the step, weight to divide it by); leaves the gradient in the model's parameters.

    If a device's memory runs out, the size of the parts is halved for the rest of the training, and the step restarts.
    Raises UsageError if a single row does not fit.
    """
    slots, several, own = batch.size.slots, job.ranks.count, job.ranks.number
    while True:
        limit = min(job.micro_batch_tokens or slots, state.micro_batch_tokens or slots)
        parts: Sequence[Any] = [batch]
        count = several * -(-slots // (limit * several))
        told, failed = [(torch.zeros((), device=job.device), 0.0)], False
        try:
            seed_all("step", job.seed, state.step)
            if count > 1:
                with products_in(precision, job.device):
                    parts = job.cut(batch, count)
            if own:
                seed_all("step", job.seed, state.step, own)  # else all processes would draw the same dropout
            told = [of_part(job, backward, precision, one, len(parts)) for one in parts[own::several]] or told
        except (MemoryError, RuntimeError) as error:
            if not is_full(error):
                raise
            failed = True
        summed, weight = reduce(add, (one for one, _ in told)), sum(one for _, one in told)
        if team.several:
            summed, weight, failed = team.sum(job.model, summed, weight, failed=failed)
        if not failed:
            return summed, weight
        job.model.zero_grad(set_to_none=True)  # only here: the error no longer holds the failed attempt's tensors
        if job.device.type == "cuda":
            torch.cuda.empty_cache()
        _halve(state, slots // count, is_finest=1 < len(parts) < count)


def of_part(
    job: TrainingJob[BatchT],
    backward: Callable[[torch.Tensor], object],
    precision: str,
    part: Any,
    count: int,
) -> tuple[torch.Tensor, float]:
    """(value that curves sum up for a part, weight to divide it by); its gradient is added to the others'. `count`: the
    number of the batch's parts."""
    with products_in(precision, job.device):
        loss = job.loss(job.model, part)
    summed, weight = (loss.detach(), 1 / count) if job.weighed is None else job.weighed(loss.detach(), part)
    backward(loss)
    return summed, weight


def _halve(state: TrainingState, limit: int, *, is_finest: bool) -> None:
    """Halve the limit for the rest of the training, and log a warning."""
    if is_finest or limit < 2:
        raise UsageError(
            f"the memory is too small for one row of step {state.step}",
            fix="use --gradient-checkpointing, lower `max_length`, or train with `encoder: lora`",
        )
    state.micro_batch_tokens = limit // 2
    _LOG.warning(
        "the batch of step %s did not fit into memory: from now on batches are computed in parts of %s tokens, with the"
        " same result (--micro-batch-tokens)",
        f"{state.step:,}",
        f"{state.micro_batch_tokens:,}",
    )
