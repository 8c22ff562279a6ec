"""Processes that work alongside this one, and end when it does, however it ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait

from viaduct.errors import ViaductError, one_message

HEAD_START_SECONDS = 0.3
"""Head start of the process whose progress is shown, so that it gets the first stage, which is often the longest."""
ORPHANED = 1
"""Exit status of a process whose parent has died."""


def end_with(pipe: int) -> None:
    """End this process, as a kill would, once nobody holds the other end of a pipe: its parent has died then."""

    def watch() -> None:
        wait([pipe])
        os._exit(ORPHANED)

    threading.Thread(target=watch, daemon=True).start()


def end_with_parent() -> None:
    """End this forked process once the one that forked it has died."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  it was begun by one
    end_with(parent.sentinel)


@contextlib.contextmanager
def beside(count: int, work: Callable[[], object]) -> Iterator[None]:
    """While this is open, `count` more processes, forked from this one, do `work`; they are terminated afterwards.
    If a model is too small to keep all cores busy, two processes with one thread each are faster than one with two.

    An error in one of them is not reported here: its stage is released, and whoever takes it next meets the same error.
    Call this before anything has imported torch, whose threads a forked process would lack.
    """
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
    end_with_parent()
    time.sleep(HEAD_START_SECONDS)
    with contextlib.suppress(ViaductError, KeyboardInterrupt), one_message("the store"):
        work()
