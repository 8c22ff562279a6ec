"""What a person sees while stages run: two bars with the time left on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_SECONDS = 10.0
"""Minimum time between two plain progress lines."""
PACE_SECONDS = 30.0
"""Minimum time for estimating a pace: the first seconds are spent on loading."""


def in_words(seconds: float) -> str:
    """A duration for people: "40 s", "12 min", "3 h 20 min", "5 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds >= 72 * 3600:
        return f"{seconds / 86400:,.0f} days"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


class Display:
    """What the executor reports about its work: overall progress, with stages weighted by their rough cost (path ->
    weight), and the time left, from the pace since the first one began. This base class shows nothing: a process that
    was started alongside another one leaves the reporting on all stages to that one."""

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self.weights = dict(weights or {})
        self.total = sum(self.weights.values()) or 1.0
        self.finished: set[str] = set()
        self._done = 0.0
        """Total weight of the finished stages."""
        self.current: str | None = None
        self.part = 0.0
        self._phase = 0.0
        """What the stage's current phase counts up to; phases that follow each other mostly differ in it."""
        self.begun: tuple[float, float] | None = None
        """Start of the pace estimate, a time and the fraction that was done by then: other processes' work since counts
        too, as it will until the end. It is when the first stage began; while that one runs, when its current phase
        began (loading says nothing about the pace), and this stays if the stage resumed from a checkpoint."""
        self._is_resumed = False
        self._first: tuple[float, float] | None = None
        """Start of the pace estimate for after the first stage; kept while that stage runs."""
        self._waited: tuple[str, ...] = ()

    def start(self, path: str, *, resumed: bool) -> None:
        """A stage begins."""
        self.current, self.part, self._is_resumed = path, 0.0, resumed
        if self.begun is None:
            self.begun = self._first = time.monotonic(), self.fraction

    def progress(self, done: float, total: float, note: str) -> None:
        """The progress of the stage that started last."""
        part = min(1.0, done / total) if total > 0 else 0.0
        is_new_phase = total != self._phase or part < self.part
        self.part, self._phase = part, total
        if self._first is not None and (self.begun is self._first or is_new_phase):
            self.begun = time.monotonic(), self.fraction

    def done(self, path: str) -> bool:
        """A stage is done, here or elsewhere; returns whether that is new."""
        if path in self.finished:
            return False
        self.finished.add(path)
        self._done += self.weights.get(path, 0.0)
        if path == self.current:
            self.current, self.part = None, 0.0
            if self._first is not None and not self._is_resumed:
                self.begun = self._first
            self._first = None
        return True

    @property
    def fraction(self) -> float:
        """Share of the total weight that is done, in [0, 1]."""
        running = self.part * self.weights.get(self.current or "", 0.0)
        return min(1.0, (self._done + running) / self.total)

    @property
    def count(self) -> str:
        """Finished stages out of all stages."""
        return f"{len(self.finished)}/{len(self.weights)}"

    def left(self) -> str:
        """Time left in words, "time left unknown" while there is too little to go by."""
        begun, before = self.begun or (time.monotonic(), 0.0)
        seconds, gained = time.monotonic() - begun, self.fraction - before
        if seconds < PACE_SECONDS or gained <= 0:
            return "time left unknown"
        return f"about {in_words(seconds * (1.0 - self.fraction) / gained)} left"

    def message(self, text: str) -> None:
        """Something a person should know."""

    def waiting(self, paths: Iterable[str]) -> None:
        """Nothing can be done until other processes finish these stages; reported once for the same ones."""
        names = tuple(paths)
        if self._waited != names:
            self._waited = names
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            self.message(f"waiting for another process, which is working on {shown}")


class PlainDisplay(Display):
    """One line per event, progress at most every `PLAIN_SECONDS`: for logs and pipes."""

    def __init__(self, console: Console, weights: Mapping[str, float]) -> None:
        super().__init__(weights)
        self.console = console
        self._spoken = -PLAIN_SECONDS
        self._started = 0.0

    def _is_time(self) -> bool:
        return time.monotonic() - self._spoken >= PLAIN_SECONDS

    def start(self, path: str, *, resumed: bool) -> None:
        """Print a line if the last one is old enough, and always if the stage resumes from a checkpoint."""
        super().start(path, resumed=resumed)
        self._started = time.monotonic()
        if resumed or self._is_time():
            self.message(f"{path}: {'resuming where it stopped' if resumed else 'started'}, {self.left()}")

    def progress(self, done: float, total: float, note: str) -> None:
        """Print a line if the last one is old enough."""
        super().progress(done, total, note)
        if self._is_time():
            share = 0.0 if total <= 0 else done / total
            self.message(f"{self.current}: {share:.0%} {note}, {self.left()}")

    def done(self, path: str) -> bool:
        """Print a line for stages that were done here."""
        here, news = path == self.current, super().done(path)
        if news and here:
            self.message(f"{path}: done in {in_words(time.monotonic() - self._started)}, {self.left()}")
        return news

    def message(self, text: str) -> None:
        """Print a line that begins with the number of finished stages."""
        self._spoken = time.monotonic()
        self.console.print(f"[{self.count}] {text}", markup=False, highlight=False, soft_wrap=True)


class BarDisplay(Display):
    """Two bars on a terminal: the whole run with the time left, and the current stage with its note."""

    def __init__(self, console: Console, weights: Mapping[str, float]) -> None:
        super().__init__(weights)
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
        )
        self._all = self.bars.add_task(f"{self.count} stages", total=1.0, note="")
        self._one = self.bars.add_task("", total=1.0, note="", visible=False)

    def _refresh(self) -> None:
        self.bars.update(self._all, completed=self.fraction, description=f"{self.count} stages", note=self.left())

    def start(self, path: str, *, resumed: bool) -> None:
        """Give the second bar to this stage."""
        super().start(path, resumed=resumed)
        self.bars.reset(self._one, description=path, visible=True, note="going on" if resumed else "")
        self._refresh()

    def progress(self, done: float, total: float, note: str) -> None:
        """Move both bars."""
        super().progress(done, total, note)
        self.bars.update(self._one, completed=self.part, note=note)
        self._refresh()

    def done(self, path: str) -> bool:
        """Hide the second bar."""
        if path == self.current:
            self.bars.update(self._one, visible=False)
        if news := super().done(path):
            self._refresh()
        return news

    def message(self, text: str) -> None:
        """Print above the bars."""
        self.bars.console.print(text, markup=False, highlight=False)


@contextmanager
def shown(console: Console, weights: Mapping[str, float]) -> Iterator[Display]:
    """A display of stages with these weights: bars on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield PlainDisplay(console, weights)
        return
    display = BarDisplay(console, weights)
    with display.bars:
        yield display
