"""Several devices in one training: processes like this one, each with a part of every batch.

The first process leads: it plans, claims, writes and reports. The others wait until it reaches a training, run the same
stage up to that point, take part, and wait for the next. They are started here, or by a launcher such as `accelerate
launch`, which is recognised by its variables (RANK, WORLD_SIZE, ...); processes started here get the same variables.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from viaduct.doors import loaded
from viaduct.errors import ViaductError
from viaduct.interruption import SIGNALS
from viaduct.runs.processes import end_with_parent

DISMISS = "viaduct.training.team:dismiss"
LOST = 2
"""Exit status if another process was lost and this one would hang."""
GRACE_SECONDS = 10.0
"""How long the operation that this process waits for has to notice a lost process."""
AGAIN = "run the same command again, which resumes from the last checkpoint"


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, and which of them this one is."""

    count: int = 1
    number: int = 0
    """Number of this process; 0 leads."""
    told: Any = None
    """What the others need to know about a stage to run it."""
    begin: Callable[[], object] = bool
    """Called by the leader before the first training."""
    why: Callable[[], str] = lambda: "another process of the training has ended"
    """Says what happened to the others if they do not answer."""


ALONE = Ranks()


def launched() -> Ranks:
    """The rank that a launcher gave this process; equal to `ALONE` without one."""
    return Ranks(int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0")))


@dataclass
class _Others:
    """Forked copies of this process, which wait for a port number on their pipes."""

    copies: list[Any] = field(default_factory=list)
    pipes: list[Connection] = field(default_factory=list)
    before: dict[str, str] | None = None
    """The environment before it was changed; None before the first training."""
    closing: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """On the first call, send the copies the port at which they meet this process."""
        if self.before is not None:
            return
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        self.before = dict(os.environ)
        os.environ.update(_variables(0, len(self.copies) + 1, port))
        for pipe in self.pipes:
            pipe.send(port)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        """End this process if another one is lost and the device does not notice: on GPUs it would wait for ever."""
        wait([copy.sentinel for copy in self.copies])
        if not self.closing.wait(GRACE_SECONDS):
            shown_again = "\x1b[?25h" if sys.stderr.isatty() else ""  # the cursor, which a progress bar hides
            sys.stderr.write(f"{shown_again}viaduct: {ViaductError(self.why(), fix=AGAIN)}\n")
            sys.stderr.flush()
            os._exit(LOST)

    def why(self) -> str:
        """Which of the copies has ended, and how."""
        end = time.monotonic() + GRACE_SECONDS / 2
        while time.monotonic() < end:
            for number, (copy, pipe) in enumerate(zip(self.copies, self.pipes, strict=True), 2):
                if copy.exitcode is not None:
                    said = f"was ended by signal {-copy.exitcode}" if copy.exitcode < 0 else "ended"
                    with contextlib.suppress(EOFError, OSError):
                        said = str(pipe.recv()) if pipe.poll() else said
                    return f"process {number} of {len(self.copies) + 1} of the training: {said}"
            time.sleep(0.05)
        return "the processes of the training lost contact with each other"

    def close(self) -> None:
        """End the copies and restore the environment."""
        self.closing.set()
        for copy in self.copies:
            copy.kill()
            copy.join()
        if self.before is not None:
            loaded(DISMISS)()
            os.environ.clear()
            os.environ.update(self.before)


@contextlib.contextmanager
def forked(count: int, work: Callable[[], object]) -> Iterator[Ranks]:
    """While this is open, `count` - 1 more processes, forked from this one, do `work` from its first training on; they
    are killed afterwards. Call this before anything has imported torch."""
    others = _Others()
    context = multiprocessing.get_context("fork")
    try:
        for number in range(1, count):
            ours, theirs = context.Pipe()
            others.copies.append(context.Process(target=_follow, args=(number, count, theirs, work)))
            others.pipes.append(ours)
            others.copies[-1].start()
        yield Ranks(count, begin=others.begin, why=others.why)
    finally:
        others.close()


def _variables(number: int, count: int, port: int) -> dict[str, str]:
    ranks = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    threads = os.environ.get("OMP_NUM_THREADS", "1")  # else Accelerate warns and takes all cores; stages set their own
    return {
        **{name: str(value) for name, value in ranks.items()},
        "MASTER_ADDR": "127.0.0.1",
        "OMP_NUM_THREADS": threads,
    }


def _follow(number: int, count: int, pipe: Connection, work: Callable[[], object]) -> None:
    end_with_parent()
    ignore_signals()
    os.environ.update(_variables(number, count, pipe.recv()))
    try:
        work()
    except Exception as error:
        if not isinstance(error, ViaductError):
            traceback.print_exc()
        pipe.send(str(error))
        sys.exit(1)


def ignore_signals() -> None:
    """Ignore the signals that stop the leader, which ends the others after its current step."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
