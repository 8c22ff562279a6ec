"""Processes that work beside this one, and end when it does, however that is."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait

from viaduct.errors import UsageError, ViaductError, one_message

HEAD_START_SECONDS = 0.3
"""Of the process whose progress is shown, so that the first stage, often the longest, is done by it."""
ORPHANED = 1
"""Exit status of a process whose parent is dead."""


def end_with(pipe: int) -> None:
    """End this process as a kill would as soon as nobody holds the other end of a pipe: its parent is dead then."""

    def watch() -> None:
        wait([pipe])
        os._exit(ORPHANED)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def beside(count: int, work: Callable[[], object]) -> Iterator[None]:
    """While this is open, `count` more processes do `work`, begun as copies of this one; they are gone afterwards.
    Where a model is too small to keep all cores busy, two processes with a thread each are faster than one with two.

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


def _quietly(work: Callable[[], object]) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  it was begun by one
    end_with(parent.sentinel)
    time.sleep(HEAD_START_SECONDS)
    with contextlib.suppress(ViaductError, KeyboardInterrupt), one_message("the store"):
        work()
