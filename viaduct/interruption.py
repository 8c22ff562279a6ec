"""Signals that ask a run to stop: Ctrl-C, and the SIGTERM that clusters send before they kill. A training run writes a
checkpoint first; everything else stops immediately."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_come: list[int] = []
"""Signals received while `stopping` was open. Needed as Python drops exceptions raised while deleting an object."""


class Stopped(KeyboardInterrupt):
    """A signal asked to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def exit_status(stopped: KeyboardInterrupt) -> int:
    """The exit status a shell reports: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (stopped.number if isinstance(stopped, Stopped) else signal.SIGINT)


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """While this is open, both signals raise `Stopped`; if Python drops that exception, nothing is printed."""
    dropped = sys.unraisablehook

    def stop(number: int, _frame: object) -> None:
        _come.append(number)
        raise Stopped(number)

    def tell(found: sys.UnraisableHookArgs) -> None:
        if not isinstance(found.exc_value, Stopped):
            dropped(found)

    sys.unraisablehook = tell
    try:
        with _handled(stop):
            yield
    finally:
        sys.unraisablehook = dropped
        _come.clear()


def stop_if_asked() -> None:
    """Raise `Stopped` if a signal was received but its exception was dropped."""
    if _come:
        raise Stopped(_come[0])


class HeldBack:
    """Holds a signal back until the work may be stopped; a second Ctrl-C is not held back."""

    def __init__(self) -> None:
        self.asked = _come[0] if _come else None
        self.waits = True

    def note(self, number: int, _frame: object) -> None:
        """The signal handler."""
        if number == self.asked == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = self.asked or number
        if not self.waits:
            self.stop_if_asked()

    def stop_if_asked(self) -> None:
        """Raise `Stopped` if a signal has been received."""
        if self.asked is not None:
            raise Stopped(self.asked)

    @contextlib.contextmanager
    def let_through(self) -> Iterator[None]:
        """While this is open, a signal raises `Stopped` immediately: nothing here changes what a checkpoint holds."""
        self.waits = False
        try:
            self.stop_if_asked()
            yield
        finally:
            self.waits = True


@contextlib.contextmanager
def held_back() -> Iterator[HeldBack]:
    """While this is open, both signals wait until the work checks for them, at the latest until it ends."""
    kept = HeldBack()
    with _handled(kept.note):
        yield kept
    kept.stop_if_asked()


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Restore the signal handlers after the block, which may load a library that installs its own."""
    mine = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in mine}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Both signals go to `handler`, except signals that are ignored, as by a shell's background jobs. Only the main
    thread receives signals."""
    mine = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in mine}
    changed = [number for number, was in before.items() if was not in (signal.SIG_IGN, None)]
    for number in changed:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, before[number])
