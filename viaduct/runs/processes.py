"""Several processes at work on one plan: where a model is too small to keep all cores busy, two processes with a thread
each are faster than one with two."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator

from viaduct.errors import UsageError, ViaductError

HEAD_START_SECONDS = 0.3
"""So that the first stage, often the longest, is done by the process whose progress is shown."""


@contextlib.contextmanager
def beside(count: int, work: Callable[[], None]) -> Iterator[None]:
    """While this is open, `count` more processes do `work`, begun as copies of this one; they are gone afterwards.

    An error in one of them is not repeated here: what it was doing is free again, and who takes it up meets the same.
    Call it before anything has imported torch, whose threads a copy would lack. Raises UsageError where processes
    cannot be copied.
    """
    if count and "fork" not in multiprocessing.get_all_start_methods():
        raise UsageError("--processes: this system cannot copy a process", fix="start the command in several terminals")
    copies = [multiprocessing.get_context("fork").Process(target=_quietly, args=(work,)) for _ in range(count)]
    try:
        for copy in copies:
            copy.start()
        yield
    finally:
        for copy in copies:
            copy.terminate()
            copy.join()


def _quietly(work: Callable[[], None]) -> None:
    time.sleep(HEAD_START_SECONDS)
    with contextlib.suppress(ViaductError, KeyboardInterrupt):
        work()
