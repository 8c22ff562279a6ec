"""Runs a plan on a Ray cluster whose nodes share the store, from a driver on one of them.

Each stage that is due becomes a Ray task. Its worker claims the stage in the store like any other process, so
checkpoints, faults and results are the same as on one machine, and a new driver finds what a dead one left. Ray reruns
a task whose node or process was lost; a stage that fails by itself is not rerun, and stops the run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from viaduct import errors
from viaduct.errors import TransientError, UsageError, ViaductError, one_message
from viaduct.interruption import stop_if_asked, stopping
from viaduct.paths import cache_directory
from viaduct.results.working import working_folder
from viaduct.runs.census import Census
from viaduct.runs.display import Display
from viaduct.runs.execute import Options, Worker
from viaduct.runs.nodes import Meeting, Node, asked_of, connected, require_nodes
from viaduct.runs.planned import Planned, census_of
from viaduct.runs.stage import Stage

RETRIES = 3
"""Retries of a task whose node or process was lost."""
TELL_SECONDS = 1.0
"""How often a worker reports its progress, and the driver checks for reports."""
STOP_SECONDS = 120.0
"""Time that running trainings have to write a checkpoint when the run stops."""
ROOM_SECONDS = 30.0
"""Delay before reporting that nothing could start yet."""


@dataclass(frozen=True)
class Job:
    """What a worker needs besides the store; it opens the data itself."""

    planned: Planned
    """The plan, without its census."""
    options: Options
    meeting: Meeting
    notes: Any
    folder: Path
    """The driver's working directory, the base of relative paths in a recipe."""


NO_CENSUS = cast(Census, None)
"""Stands in for the census while a plan is shipped; the receiver creates its own."""


class Notes:
    """Notes from workers to the driver, and whether the workers should stop; an actor on the driver's node. Stopping a
    task with `ray.cancel` instead has crashed the driver (Ray 2.60)."""

    def __init__(self) -> None:
        self._kept: list[tuple[Any, ...]] = []
        self._over = False

    def add(self, *note: object) -> bool:
        """Keep a note until it is taken; returns whether its author should stop."""
        self._kept.append(note)
        return self._over

    def take(self, *, stop: bool = False) -> list[tuple[Any, ...]]:
        """The notes added since the last call; `stop`: from now on all authors should stop."""
        kept, self._kept = self._kept, []
        self._over = self._over or stop
        return kept


class Telling(Display):
    """A worker's display: forwards everything to the driver. If that says to stop, the worker gets SIGTERM."""

    def __init__(self, tell: Callable[..., bool]) -> None:
        super().__init__()
        self._tell, self._told = tell, 0.0

    def start(self, path: str, *, resumed: bool) -> None:
        """Report the start, with the node's name."""
        super().start(path, resumed=resumed)
        self._send("start", path, resumed, socket.gethostname())

    def progress(self, done: float, total: float, note: str) -> None:
        """Report progress if the last report is old enough."""
        if time.monotonic() - self._told >= TELL_SECONDS:
            self._told = time.monotonic()
            self._send("progress", self.current, done, total, note)

    def message(self, text: str) -> None:
        """Forward the message as is."""
        self._send("message", self.current, text)

    def _send(self, *note: object) -> None:
        if self._tell(*note):
            signal.raise_signal(signal.SIGTERM)  # SIGINT is blocked in Ray's workers


def work(worker: Worker, pending: list[Stage], checked: Callable[[], object]) -> None:
    """Run these stages on the cluster in the worker's options; `checked` is called once the nodes' checks have passed.

    Raises what `nodes.connected` and `nodes.require_nodes` raise, what a stage raises, and TransientError for a stage
    whose process was lost too often.
    """
    if not pending:
        checked()
        return
    cache = cache_directory(worker.store.root)
    with connected(worker.options.address) as ray, working_folder(cache, "cluster-") as folder:
        meeting = Meeting.begun(folder, worker.planned.census.data.folder.root)
        node = require_nodes(ray, meeting)
        if worker.options.device == "cuda" and not node.gpus:
            raise UsageError("--device cuda: no node of the cluster has a GPU", fix="use --device cpu or --device auto")
        checked()
        _Driver(ray, worker, meeting, node).do(pending)


class _Driver:
    """Submits stages to the cluster and reports what becomes of them."""

    def __init__(self, ray: Any, worker: Worker, meeting: Meeting, node: Node) -> None:
        self.ray, self.worker, self.meeting, self.node = ray, worker, meeting, node
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.notes = ray.remote(num_cpus=0)(Notes).options(scheduling_strategy=here).remote()
        ray.get(self.notes.take.remote())  # notes sent before it exists would be lost with a node that dies
        self.running: dict[Any, Stage] = {}
        self.begun = Counter[str]()
        """How often each stage has started: Ray would restart processes killed for lack of memory forever."""
        self.heard = False
        """Whether any worker has reported anything."""
        self.tasks: dict[tuple[float, ...], Any] = {}
        self.shown: str | None = None
        """The running stage whose progress the display shows."""
        self._ship()

    def _ship(self) -> None:
        """Put the plan in its current state into the cluster's object store, once for all tasks."""
        planned = self.worker.planned
        planned = replace(planned, census=NO_CENSUS, estimates={}, states={}, spent={}, overlaps=(), data=())
        job = Job(planned, self.worker.options, self.meeting, self.notes, Path.cwd())
        self.job = (uuid.uuid4().hex, [self.ray.put(job)])

    def do(self, pending: list[Stage]) -> None:
        """Run these stages; returns when all are done or given up."""
        options, started, looked = self.worker.options, time.monotonic(), time.monotonic()
        try:
            pending = self._begin(pending)
            while pending or self.running:
                ready, _ = self.ray.wait([*self.running], timeout=TELL_SECONDS) if self.running else ((), ())
                self._tell()
                ended = [(self.running[ref], self._ended(ref)) for ref in ready]
                pending += [stage for stage, is_done in ended if not is_done]
                # All are checked now and then, as others may have done them; otherwise only those after what has ended.
                if time.monotonic() - looked >= options.poll_seconds:
                    pending, looked = self._begin(self._placed(pending)), time.monotonic()
                elif ready:
                    pending = self._begin(pending, {stage.path for stage, _ in ended})
                if not self.heard and started and time.monotonic() - started > ROOM_SECONDS:
                    self.worker.display.message(
                        "waiting for free resources; `ray status` shows what the cluster is doing"
                    )
                    started = 0.0
                if not self.running:
                    time.sleep(TELL_SECONDS)
        except BaseException:
            self._stop()
            stop_if_asked()  # raises with the signal: Ray turns every one into a Ctrl-C
            raise

    def _placed(self, pending: list[Stage]) -> list[Stage]:
        """The stages that are still to be done, at their current paths."""
        before, worker = self.worker.planned, self.worker
        pending = [stage for stage in worker.displaced(pending) if not worker.skip(stage)]
        if worker.planned is not before:
            self._ship()
        return pending

    def _begin(self, pending: list[Stage], after: Container[str] | None = None) -> list[Stage]:
        """Submit the stages that are due (if `after` is given, only those with an input in it); returns the others."""
        asked_for = (
            one for one in pending if after is None or any(source.path in after for source in one.inputs.values())
        )
        due = [stage for stage in asked_for if self.worker.is_due(stage)]
        for stage in due:
            asked = asked_of(stage, self.worker.plan, self.worker.options, self.node)
            task = self.tasks.setdefault((*asked.values(),), self.ray.remote(max_retries=RETRIES, **asked)(do_stage))
            threads, on_gpu = max(1, int(asked["num_cpus"])), asked["num_gpus"] > 0
            named = task.options(name=stage.path)
            self.running[named.remote(*self.job, stage.path, threads, on_gpu)] = stage
        given = {stage.path for stage in due}
        return [stage for stage in pending if stage.path not in given]

    def _ended(self, ref: Any) -> bool:
        """Handle the end of a task; returns whether its stage is done, or given up."""
        stage, errors = self.running.pop(ref), self.ray.exceptions
        try:
            if not self.ray.get(ref):
                return False
        except errors.RayTaskError as error:
            if isinstance(error.cause, ViaductError):
                raise error.cause from None
            raise
        except errors.RayError as error:
            raise _lost(stage.path, str(error).strip().partition("\n")[0]) from error
        self.shown = None if self.shown == stage.path else self.shown
        self.worker.cleaning.clean((stage, *stage.inputs.values()))
        self.worker.display.done(stage.path)
        return True

    def _tell(self) -> None:
        """Show what workers have reported, and the progress of one of the running stages."""
        display, running = self.worker.display, {one.path for one in self.running.values()}
        for what, path, *told in self.ray.get(self.notes.take.remote()):
            self.heard = True
            if what == "message":
                display.message(told[0])
            elif what == "start":
                self.begun[path] += 1
                if self.begun[path] > RETRIES + 1:
                    raise _lost(path, "killed, perhaps for lack of memory")
                if self.begun[path] > 1:
                    display.message(f"{path}: starting again on {told[1]}")
            if what != "message" and self.shown in (None, path) and path in running:
                if self.shown is None or what == "start":
                    self.shown = path
                    display.start(path, resumed=what == "start" and told[0])
                if what == "progress":
                    display.progress(*told)

    def _stop(self) -> None:
        """Stop all stages: trainings write a checkpoint first. Tasks that have not started end with the connection."""
        with contextlib.suppress(self.ray.exceptions.RayError):
            notes = self.ray.get(self.notes.take.remote(stop=True))
            begun = {*self.begun, *(path for what, path, *_ in notes if what == "start")}
            if left := [ref for ref, stage in self.running.items() if stage.path in begun]:
                self.ray.wait(left, num_returns=len(left), timeout=STOP_SECONDS)


def _lost(path: str, why: str) -> TransientError:
    return TransientError(
        f"{path}: its process was lost {RETRIES + 1} times, the last time because: {why}",
        fix="run the same command again to resume; if it ran out of memory, on nodes that have more",
    )


def do_stage(key: str, shipped: Iterable[Any], path: str, threads: int, on_gpu: bool) -> bool:
    """The Ray task: returns whether the stage is done or given up; False if another setting's stage has taken its
    place, or its process was told to stop."""
    with _telling(path), contextlib.suppress(KeyboardInterrupt), stopping():
        worker, stages = _opened(key, tuple(shipped))
        worker.options = replace(worker.options, threads=threads, device="cuda" if on_gpu else "cpu")
        stage = stages[path]
        while not worker.advance(stage):
            if worker.is_displaced(stage):
                return False
            worker.display.waiting([path])
            time.sleep(worker.options.poll_seconds)  # a dead process still holds it, or the file system lags behind
        return True
    return False


@contextlib.contextmanager
def _telling(path: str) -> Iterator[None]:
    """Adds the stage and node to errors, and turns them into types that any process can unpickle: Ray would report a
    lost process for a card's or plug-in's own errors that cannot be unpickled."""
    where = f"{path}, on node {socket.gethostname()}"
    try:
        with one_message("the store"):
            yield
    except ViaductError as error:
        ours = next(one for one in type(error).__mro__ if one.__module__ == errors.__name__)
        raise ours(f"{where}: {str(error).removeprefix(f'{path}: ')}") from None
    except Exception:
        raise RuntimeError(f"{where}\n{traceback.format_exc()}") from None


@lru_cache(maxsize=1)
def _opened(_key: str, shipped: tuple[Any, ...]) -> tuple[Worker, dict[str, Stage]]:
    """(the worker of this process, path -> stage)."""
    import ray

    job: Job = ray.get(shipped[0])
    job.meeting.require()  # this node may have joined later
    if job.folder.is_dir():
        os.chdir(job.folder)
    planned = replace(job.planned, census=census_of(job.planned.plan.recipe, job.meeting.data, job.planned.store.root))
    worker = Worker(planned, job.options, Telling(lambda *note: ray.get(job.notes.add.remote(*note))))
    return worker, {stage.path: stage for stage in planned.plan.stages}
