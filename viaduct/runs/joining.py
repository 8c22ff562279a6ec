"""Processes that work on a plan alongside this one: more of the same kind, or ones that take part in its trainings."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from viaduct.doors import loaded
from viaduct.errors import UsageError
from viaduct.runs import execute, processes
from viaduct.runs.display import Display
from viaduct.runs.host import usable_cores
from viaduct.runs.planned import Planned, placed_anew
from viaduct.runs.ranks import ALONE, DISMISS, Ranks, forked, ignore_signals, launched
from viaduct.runs.stage import kind_of

FOLLOW = "viaduct.training.team:follow"
COUNT_GPUS = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"


@contextlib.contextmanager
def others(planned: Planned, options: execute.Options) -> Iterator[Ranks]:
    """While this is open, the processes requested by the options or by a launcher are at work. Yields which of a
    training's processes this one is. A process that a launcher started only to take part exits instead.

    Raises UsageError if more devices are requested than there are.
    """
    ranks, devices = launched(), options.fitting.devices
    if devices > 1 or ranks.count > 1:
        require(options, ranks)
    if ranks.number:
        ignore_signals()
        join(planned, options)
        raise SystemExit
    if ranks.count > 1:
        yield ranks
        loaded(DISMISS)(execute.resolve_device(options.device), tell=True)
    elif devices > 1:
        with forked(devices, lambda: join(planned, options)) as ranks:
            yield ranks
    else:
        with processes.beside(options.processes - 1, lambda: execute.run(planned, options, Display())):
            yield ALONE


def require(options: execute.Options, ranks: Ranks) -> None:
    """Raise UsageError for more devices than there are, or a number other than the launcher's."""
    devices = options.fitting.devices
    if ranks.count > 1 and devices not in (1, ranks.count):
        raise UsageError(
            f"--devices {devices}: a launcher has started {ranks.count} processes", fix="leave --devices out"
        )
    if ranks.count > 1:
        return  # the launcher has checked
    asked = [sys.executable, "-c", COUNT_GPUS]  # in a new process: one to be forked must not load torch
    gpus = 0 if options.device == "cpu" else int(subprocess.check_output(asked, text=True))  # noqa: S603  our own
    there, what = (gpus, "GPUs") if gpus or options.device == "cuda" else (usable_cores(), "usable CPU cores")
    if devices > there:
        raise UsageError(
            f"--devices {devices}: there are {there} {what} here",
            fix=f"--devices {there}, or fewer" if there else "--device cpu, or a machine with GPUs",
        )


def join(planned: Planned, options: execute.Options) -> None:
    """Take part in every training that the leader runs, until there are no more."""
    worker = execute.Worker(planned, options, Display(), launched())

    def take_part(path: str, scratch: str) -> None:
        nonlocal worker
        if path not in worker.identities:  # another setting has since taken the stage's place in the store
            worker = execute.Worker(placed_anew(planned), options, Display(), launched())
        stage = next(stage for stage in worker.plan.stages if stage.path == path)
        with tempfile.TemporaryDirectory() as folder:
            claim = SimpleNamespace(output=Path(folder), scratch=Path(scratch))
            context = worker.context(stage, claim, lambda *_: None)  # type: ignore[arg-type]
            kind_of(stage.work.kind).run(replace(context, checkpoint_seconds=math.inf), stage.work)

    loaded(FOLLOW)(execute.resolve_device(options.device), take_part)
