"""Several devices in one training: processes like this one, each with a part of every batch.

The first one leads: it plans, claims, writes and reports. The others wait for it to come to a training, run the same
stage up to there, take part, and wait for the next. They are begun here, or by a launcher such as `accelerate launch`,
whose variables (RANK, WORLD_SIZE, ...) say so; with ours they are the same.
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
from viaduct.runs.processes import end_with

DISMISS = "viaduct.training.team:dismiss"
LOST = 2
"""Exit status where another process was lost and this one could only hang."""
GRACE_SECONDS = 10.0
"""In which a lost process must show in what this one waits for."""
AGAIN = "run the same command again, which goes on from the last checkpoint"


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, and which of them this one is."""

    count: int = 1
    number: int = 0
    """0 leads."""
    told: Any = None
    """What the others have to know of a stage to run it."""
    begin: Callable[[], object] = bool
    """Called by the leader before the first training."""
    why: Callable[[], str] = lambda: "another process of the training has ended"
    """What became of the others, when they do not answer."""


ALONE = Ranks()


def launched() -> Ranks:
    """What a launcher has begun this process as; `ALONE` without one."""
    return Ranks(int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0")))


@dataclass
class _Others:
    """Copies of this process, which wait for a port on their pipes."""

    copies: list[Any] = field(default_factory=list)
    pipes: list[Connection] = field(default_factory=list)
    before: dict[str, str] | None = None
    """The environment before it was changed; None before the first training."""
    closing: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Have them meet this process at a port, at the first call."""
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
        """End this process where another one is lost and a device does not say so: on GPUs it would wait for ever."""
        wait([copy.sentinel for copy in self.copies])
        if not self.closing.wait(GRACE_SECONDS):
            shown_again = "\x1b[?25h" if sys.stderr.isatty() else ""  # the cursor, which a bar of progress hides
            sys.stderr.write(f"{shown_again}viaduct: {ViaductError(self.why(), fix=AGAIN)}\n")
            sys.stderr.flush()
            os._exit(LOST)

    def why(self) -> str:
        """Which of them has ended, and how."""
        end = time.monotonic() + GRACE_SECONDS / 2
        while time.monotonic() < end:
            for number, (copy, pipe) in enumerate(zip(self.copies, self.pipes, strict=True), 2):
                if copy.exitcode is not None:
                    said = f"was ended by signal {-copy.exitcode}" if copy.exitcode < 0 else "ended"
                    with contextlib.suppress(EOFError, OSError):
                        said = str(pipe.recv()) if pipe.poll() else said
                    return f"process {number} of {len(self.copies) + 1} of the training: {said}"
            time.sleep(0.05)
        return "the processes of the training lost each other"

    def close(self) -> None:
        """End them."""
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
    """While this is open, `count` - 1 more processes do `work` from this one's first training on, begun as copies of
    it; they are gone afterwards. Call it before anything has imported torch."""
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
    threads = os.environ.get("OMP_NUM_THREADS", "1")  # else Accelerate takes all cores, and warns; stages set their own
    return {
        **{name: str(value) for name, value in ranks.items()},
        "MASTER_ADDR": "127.0.0.1",
        "OMP_NUM_THREADS": threads,
    }


def _follow(number: int, count: int, pipe: Connection, work: Callable[[], object]) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101  it was begun by one
    end_with(parent.sentinel)
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
    """What stops the leader ends the others too, after the step that it is in."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
