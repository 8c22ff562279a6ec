"""The processes of one training, through Accelerate: each computes its parts of every batch, and gradients are summed.

All have the same weights, batches and random numbers, so all take the same step. The model is called through many
methods (states, heads, parts of it), while DistributedDataParallel supports only `forward`; summing gradients after
the backward pass is exact, and leaves parameters that no process used untouched, as in a single process.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, broadcast, broadcast_object_list
from torch import nn

from viaduct.errors import NumbersError, TransientError, ViaductError
from viaduct.runs.ranks import AGAIN, Ranks, launched

PATIENCE = datetime.timedelta(days=30)
"""How long the others wait for a leader that is busy elsewhere; one that has ended is noticed immediately."""
BUCKET = 1 << 23
"""Number of gradient values that are summed at once."""


Value = TypeVar("Value")


class PartDone(Exception):  # noqa: N818  it is no error
    """A training is over for a process that only takes part in it: the leader does everything else."""


def accelerator_of(device: str, count: int) -> Accelerator:
    """Accelerate's accelerator; joins the `count` processes if that has not been done yet."""
    if count == 1 or torch.distributed.is_initialized():
        return Accelerator(cpu=device == "cpu")
    AcceleratorState._reset_state(reset_partial_state=True)  # an earlier training of this process may have run alone
    threads = torch.get_num_threads()
    made = Accelerator(cpu=device == "cpu", kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)])
    torch.set_num_threads(threads)
    return made


class Team:
    """The processes of a training, seen from one of them; with a single process there is nothing to synchronise."""

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        """The leader calls the others to take part."""
        self.ranks, self.several = ranks, ranks.count > 1
        ranks.begin()
        with self._answering():
            self.accelerator = accelerator_of(device.type, ranks.count)
            if self.several and not ranks.number:
                broadcast_object_list([ranks.told])

    def __enter__(self) -> Team:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """The others are in the middle of a step: an error that may be retried in a single process may not be here."""
        if self.several and isinstance(error, (OSError, TransientError)):
            raise ViaductError(f"training on {self.ranks.count} devices failed: {error}", fix=AGAIN) from error

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, torch.distributed.DistError) as error:
            if not self.several:
                raise
            raise ViaductError(self.ranks.why(), fix=AGAIN) from error

    def leader_first(self, work: Callable[[], Value]) -> Value:
        """The result of `work` in this process; the leader runs it before the others."""
        if self.ranks.number:
            self._meet()
        found = work()
        if not self.ranks.number:
            self._meet()
        return found

    def _meet(self) -> None:
        with self._answering():
            self.accelerator.wait_for_everyone()

    def part(self) -> None:
        """Raise `PartDone` in a process that only takes part."""
        if self.ranks.number:
            raise PartDone

    def align(self, model: nn.Module) -> None:
        """Give all processes the leader's weights: newly made, or read from a checkpoint."""
        if self.several:
            with self._answering(), torch.no_grad():
                for tensor in model.state_dict().values():
                    broadcast(tensor)

    def from_leader(self, value: Callable[[], float]) -> float:
        """The leader's value, in every process. If it fails, the leader raises the error and the others `PartDone`."""
        if not self.several:
            return value()
        told: list[float | None] = [None]
        try:
            if not self.ranks.number:
                told = [value()]
        finally:
            with self._answering():
                broadcast_object_list(told)
        if told[0] is None:
            raise PartDone
        return told[0]

    def sum(
        self, model: nn.Module, summed: torch.Tensor, weight: float, *, failed: bool
    ) -> tuple[torch.Tensor, float, bool]:
        """(sums of `summed` and `weight` over all processes, whether any failed); if none did, also sums gradients."""
        parameters = [one for one in model.parameters() if one.requires_grad]
        own = [float(failed), weight, *(float(one.grad is not None) for one in parameters)]
        with self._answering():
            told = torch.cat([summed.double().view(1), torch.tensor(own, dtype=torch.double, device=summed.device)])
            told = self.accelerator.reduce(told)
            any_failed, whole, *used = told[1:].tolist()
            if not any_failed:
                self._sum_gradients([one for one, count in zip(parameters, used, strict=True) if count])
        return told[0], whole, bool(any_failed)

    def _sum_gradients(self, parameters: list[nn.Parameter]) -> None:
        while parameters:
            bucket, size = list[nn.Parameter](), 0
            while parameters and (not bucket or size + parameters[0].numel() <= BUCKET):
                bucket.append(parameters.pop(0))
                size += bucket[-1].numel()
            grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in bucket]
            flat = self.accelerator.reduce(torch.cat([grad.flatten() for grad in grads]))
            for one, grad in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
                one.grad = grad.view_as(one)


def follow(device: str, take_part: Callable[..., Any]) -> None:
    """Take part in every training that the leader starts, until it says that there are no more."""
    accelerator_of(device, launched().count)
    while True:
        told: list[Any] = [None]
        broadcast_object_list(told)
        if told[0] is None:
            return
        with contextlib.suppress(PartDone, NumbersError):
            take_part(*told[0])


def dismiss(device: str = "cpu", *, tell: bool = False) -> None:
    """Go back to a single process; with `tell`, first tell the others, which a launcher started, that there are no more
    trainings."""
    if tell:
        accelerator_of(device, 2)
        broadcast_object_list([None])
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == "gloo":
        torch.distributed.destroy_process_group()
    AcceleratorState._reset_state(reset_partial_state=True)
