"""Runs a plan in this process: skips finished stages and those locked by other processes, resumes interrupted ones.

Any number of processes may do this on one store at the same time. The code that does the work lives below the torch
line (it may import torch); a stage's kind imports it when a stage is about to run, and nothing else does.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import functools
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from viaduct.doors import loaded
from viaduct.errors import (
    DataError,
    NumbersError,
    TransientError,
    UsageError,
    ViaductError,
    device_watched,
    no_exit,
    one_message,
)
from viaduct.interruption import stop_if_asked
from viaduct.memory import WHOLE, Fitting, begin_afresh, peak_bytes
from viaduct.paths import cache_directory, planning_cache
from viaduct.results.checksums import require_whole
from viaduct.results.claim import Claim
from viaduct.results.record import StageCost
from viaduct.results.writing import write_atomic
from viaduct.runs.display import Display
from viaduct.runs.encoder import expanded, hub_options
from viaduct.runs.given_up import is_spared
from viaduct.runs.host import machine, noted_threads, usable_cores, versions
from viaduct.runs.identity import changed, difference, is_done, standing
from viaduct.runs.keep import Cleaning, Keep
from viaduct.runs.placement import is_taken
from viaduct.runs.planned import Planned, placed_anew
from viaduct.runs.ranks import ALONE, Ranks, launched
from viaduct.runs.rows import Loaded, Need, source_of, used_files
from viaduct.runs.stage import Context, Progress, Spent, Stage, Track, Work, kind_of, untracked
from viaduct.system import require_linux

require_linux()

THREADS = "viaduct.models.threads"
CLUSTER = "viaduct.runs.cluster:work"
REQUIRE_ENCODER = "viaduct.models.trial:require_encoder"
TRACKERS = "viaduct.training.tracking:Trackers"
DEVICES = ("auto", "cpu", "cuda")
RETRIES = 2
TRANSIENT = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.ENOLCK)
NOTE_SECONDS = 5.0
"""How often the seconds spent so far are recorded, in case the process dies."""


@dataclass(frozen=True)
class Options:
    """Where and how to run; none of it is part of an identity."""

    device: str = "auto"
    threads: int | None = None
    """CPU threads per process; None: as many as a measurement finds worthwhile, at most the usable cores divided by
    `processes`."""
    processes: int = 1
    """Processes working on the plan; each holds its own models in memory."""
    checkpoint_seconds: float = 300.0
    memory_bytes: int = 4 * 10**9
    """Memory limit of a search for nearest sentences."""
    retry_seconds: float = 2.0
    """Delay before the first retry after a transient fault; the second waits four times as long."""
    keep: Keep = "all"
    """What stays in the store when no remaining stage needs it."""
    executor: Literal["local", "ray"] = "local"
    """Where stages run: in this process and `processes` - 1 others, or on the nodes of a Ray cluster."""
    address: str | None = None
    """HOST:PORT of the cluster's head; None: the cluster that this machine is a node of."""
    poll_seconds: float = 5.0
    """How often stages that other processes work on are checked when nothing else can be done."""
    track: tuple[str, ...] = ()
    """Trackers that receive the curves of trainings (`viaduct.training.tracking`)."""
    fitting: Fitting = WHOLE

    def __post_init__(self) -> None:
        if self.executor == "ray" and self.processes > 1:
            raise UsageError("--processes is for one machine", fix="leave it out: Ray shares the work among its nodes")
        if self.executor != "ray" and self.address is not None:
            raise UsageError(f"--address {self.address} names a Ray cluster", fix="add --executor ray")
        if max(self.fitting.devices, launched().count) > 1 and (self.processes > 1 or self.executor == "ray"):
            raise UsageError("--devices cannot be used with --processes or --executor", fix="choose one of them")


def run(
    planned: Planned, options: Options, display: Display, checked: Callable[[], object] = bool, ranks: Ranks = ALONE
) -> Planned:
    """Run every stage of the plan, and return the plan with the paths that they have now; `checked` is called once no
    known problem prevents the start.

    Raises, before anything starts, StoreError if the store holds something else and UsageError for an encoder that
    cannot be used; later, whatever a stage raises. Finished stages stay finished.
    """
    worker = Worker(planned, options, display, ranks)
    stages = worker.displaced(list(planned.plan.stages))
    pending = worker.plan.in_turn({stage.path for stage in stages if not worker.skip(stage)})
    if options.executor == "local":
        worker.store.require_no_other_host([stage.path for stage in pending], display.message)
    worker.cleaning.clean(stages)
    for encoder, revision in dict.fromkeys((stage.encoder, stage.revision) for stage in pending):
        if encoder is not None:  # else an earlier stage makes it
            hub_options(expanded(encoder), revision)  # reports a missing network without loading torch
            loaded(REQUIRE_ENCODER)(expanded(encoder), revision)
    for stage in pending:
        kind_of(stage.work.kind).require(stage)
    (loaded(CLUSTER) if options.executor == "ray" else _work_here)(worker, pending, checked)
    return worker.planned


def _work_here(worker: Worker, pending: list[Stage], checked: Callable[[], object]) -> None:
    """Run these stages in this process."""
    checked()
    looked = time.monotonic()
    while pending:
        done = next((at for at, stage in enumerate(pending) if worker.advance(stage)), None)
        if done is not None:
            del pending[done]
        else:
            worker.display.waiting([stage.path for stage in pending if worker.is_ready(stage)])
            time.sleep(worker.options.poll_seconds)
        # What others did is checked only now and then: checking all stages after each one takes quadratic time.
        if time.monotonic() - looked >= worker.options.poll_seconds:
            pending = [stage for stage in worker.displaced(pending) if not worker.skip(stage)]
            looked = time.monotonic()


@dataclass
class Worker:
    """One process working on a plan."""

    planned: Planned
    options: Options
    display: Display
    ranks: Ranks = ALONE
    device: str | None = None
    """The device, resolved when the first stage that needs it is about to run."""
    threads: int | None = None
    """Measured once, when the first stage that needs it is about to run."""

    def __post_init__(self) -> None:
        self._work_from(self.planned)
        self.trackers = loaded(TRACKERS)(self.options.track, self.store.root, self.plan.recipe.run_name)

    def _work_from(self, planned: Planned) -> None:
        self.planned = planned
        self.plan, self.identities, self.store = planned.plan, planned.identities, planned.store
        self.cleaning = Cleaning(self.plan, self.store, self.options.keep)

    def is_displaced(self, stage: Stage) -> bool:
        """Whether a stage of another setting has taken this one's place in the store meanwhile."""
        return is_taken(self.store, stage.path, self.identities[stage.path].fingerprint)

    def displaced(self, pending: list[Stage]) -> list[Stage]:
        """The same stages, at new paths if stages of other settings have taken their places in the store meanwhile.

        Raises StoreError for a place that holds something else than another setting's stage."""
        if not any(map(self.is_displaced, pending)):
            return pending
        before = self.plan.stages
        self._work_from(placed_anew(self.planned))
        moved = {was.path: stage for was, stage in zip(before, self.plan.stages, strict=True)}
        for stage in moved.values():
            is_done(self.store, stage, self.identities[stage.path])
        return [moved[stage.path] for stage in pending]

    def skip(self, stage: Stage) -> bool:
        """Whether the stage is already done, or given up."""
        if self._is_done(stage):
            self.store.sweep(stage.path)
        elif not self._is_given_up(stage):
            return False
        self.display.done(stage.path)
        return True

    def advance(self, stage: Stage) -> bool:
        """Run the stage if it is its turn; returns whether it is now done, here or by another process, or given up."""
        return self.is_due(stage) and (self.skip(stage) or self.work_on(stage, is_lost=self._is_lost(stage)))

    def is_due(self, stage: Stage) -> bool:
        """Whether the stage's inputs are done, or one was given up, and no other setting has taken its place."""
        return (self._is_lost(stage) or self.is_ready(stage)) and not self.is_displaced(stage)

    def _is_lost(self, stage: Stage) -> bool:
        return any(map(self._is_given_up, stage.inputs.values()))

    def is_ready(self, stage: Stage) -> bool:
        """Whether all inputs are done; another setting's stage in the place of one does not count."""
        return all(map(self._is_done, stage.inputs.values()))

    def _is_given_up(self, stage: Stage) -> bool:
        return standing(self.store, stage.path, self.identities[stage.path].fingerprint) == "given up"

    def _is_done(self, stage: Stage) -> bool:
        return self.store.has(stage.path, self.identities[stage.path].fingerprint)

    def work_on(self, stage: Stage, *, is_lost: bool = False) -> bool:
        """Run the stage here, or give it up, as happens if an input is lost (`is_lost`); returns False if another
        process has it."""
        identity = self.identities[stage.path]
        record = {"fingerprint": identity.fingerprint, "identity": dict(identity.content), "path": stage.path}
        claim = self.store.claim(stage.path, record)
        if claim is None:
            return False
        try:
            if claim.discarded is not None:
                fields = "; ".join(difference(claim.discarded.get("identity", {}), identity.content))
                self.display.message(f"{stage.path}: unfinished work of another recipe is discarded ({fields})")
            self.display.start(stage.path, resumed=claim.resumed)
            with one_message(f"{self.store.root} ({stage.path})"):
                if is_lost:
                    claim.give_up("what it takes was given up")
                else:
                    self._run(stage, claim)
        except NumbersError as error:
            if not is_spared(self.plan, stage, self._is_given_up):
                raise
            claim.give_up(str(error))
            self.display.message(f"given up, with all that follows from it: {error}")
        except Exception:
            claim.require_held()  # raises if another host has the stage: that is then the cause
            raise
        finally:
            claim.release()
        self.cleaning.clean((stage, *stage.inputs.values()))
        self.display.done(stage.path)
        return True

    def _run(self, stage: Stage, claim: Claim) -> None:
        started = time.monotonic()
        noted = started

        def progress(done: float, total: float, note: str) -> None:
            nonlocal noted
            now = time.monotonic()
            if now - noted >= NOTE_SECONDS:
                noted = now
                claim.note_seconds(claim.seconds_before + now - started)
            self.display.progress(done, total, note)
            stop_if_asked()

        try:
            with self.trackers.stage(stage, self.plan.places[stage.path].seed, claim.scratch) as track:
                context = self.context(stage, claim, progress, track)
                begin_afresh()
                spent = self._attempt(stage, claim, context)
        except BaseException:
            with contextlib.suppress(OSError):  # such as a full disk, which is reported anyway
                claim.note_seconds(claim.seconds_before + time.monotonic() - started)
            raise
        try:
            self._require_same(stage)
        except ViaductError:
            claim.forget()  # what was learnt from other data must not be resumed
            raise
        seconds = claim.seconds_before + time.monotonic() - started
        claim.finish(self._cost(stage, context, spent, seconds).model_dump(mode="json"))

    def _attempt(self, stage: Stage, claim: Claim, context: Context) -> Spent:
        for attempt in range(RETRIES + 1):
            try:
                with device_watched(stage.path), no_exit(f"{stage.path} (its code, or its card's)"):
                    return kind_of(stage.work.kind).run(context, stage.work)
            except NumbersError as error:
                raise NumbersError(f"{stage.path}: {error}") from error
            except (TransientError, OSError) as error:
                transient = isinstance(error, TransientError) or error.errno in TRANSIENT
                if not transient or attempt == RETRIES:
                    raise
                pause = self.options.retry_seconds * 4**attempt
                self.display.message(f"{stage.path}: {error}; trying again in {pause:g} s")
                time.sleep(pause)
                claim.empty_output()
        raise AssertionError("the loop returns or raises")

    def context(self, stage: Stage, claim: Claim, progress: Progress, track: Track = untracked) -> Context:
        """The context that the stage runs with."""
        work = stage.work
        on_cpu = kind_of(work.kind).on_cpu(work)
        if self.device is None and not on_cpu:
            self.device = resolve_device(self.options.device)
        inputs = {role: self.store.directory(source.path) for role, source in stage.inputs.items()}
        for folder in inputs.values():
            require_whole(folder)
        encoder = str(inputs["encoder"] / "encoder") if "encoder" in inputs else stage.encoder
        cache = cache_directory(self.store.root)
        cache.mkdir(parents=True, exist_ok=True)
        return Context(
            work=work,
            directory=claim.output,
            scratch=claim.scratch,
            inputs=inputs,
            encoder=None if encoder is None else expanded(encoder),
            revision=stage.revision,
            load=functools.partial(self._rows, stage),
            catalogue=self.planned.census.data.folder.catalogue,
            cache=cache,
            device="cpu" if on_cpu else self.device or "cpu",
            threads=self._threads(work, claim),
            checkpoint_seconds=self.options.checkpoint_seconds,
            memory_bytes=self.options.memory_bytes,
            progress=progress,
            track=track,
            fitting=self.options.fitting,
            ranks=replace(self.ranks, told=(stage.path, str(claim.scratch))),
        )

    def _rows(self, stage: Stage, task: str, split: str, language: str) -> Loaded:
        """The rows after substitution that the stage's fingerprint covers, and no others; none from files that were
        missing when it was planned."""
        declared, data = stage.work.declared, self.planned.census.data
        if (need := (task, split, language)) in self.plan.needs[stage.path]:
            self._require_unchanged(stage, need)
            return data.load(task, split, language, declared)
        if data.folder.has(*source_of(task, split, declared), language):
            raise AssertionError(f"{stage.path} reads {task} {split} {language}: not part of its fingerprint")
        return Loaded((), None)

    def _require_same(self, stage: Stage) -> None:
        """Raise DataError if what the stage has read is no longer what its fingerprint covers."""
        planned, data, needs = self.identities[stage.path], self.planned.census.data, self.plan.needs[stage.path]
        if fields := changed(stage, planned, data, needs, planning_cache(self.store.root)):
            what = f"{stage.path} ({'; '.join(fields)}): files that it reads have changed since the run was planned"
            raise DataError(what, fix="run the same command again")
        for source in stage.inputs.values():
            require_whole(self.store.directory(source.path))

    def _require_unchanged(self, stage: Stage, need: Need) -> None:
        """Raise DataError if the files are no longer the planned ones, which the stage's fingerprint describes."""
        planned = self.planned.identities[stage.path].content["data"]
        found = self.planned.census.data.fingerprint((need,), stage.work.declared)
        for name in (" ".join(need), used_files(need)):
            if planned.get(name) != found.get(name):
                raise DataError(
                    f"the files of {' '.join(need)} have changed since the run was planned",
                    fix="run the same command again",
                )

    def _threads(self, work: Work, claim: Claim) -> int:
        kind = kind_of(work.kind)
        if (given := kind.threads(work)) is not None:
            return given
        most = max(1, usable_cores() // (self.options.processes * self.ranks.count))
        if self.options.threads or most == 1 or not kind.uses_torch:
            return self.options.threads or most
        # A stage resumes with the number of threads it began with: summing in another order would change the result.
        noted = claim.scratch / "threads"
        if noted.is_file():
            return min(most, noted_threads(noted))
        if self.threads is None:
            self.threads = int(importlib.import_module(THREADS).fastest(most))
        write_atomic(noted, f"{self.threads}\n")
        return self.threads

    def _cost(self, stage: Stage, context: Context, spent: Spent, seconds: float) -> StageCost:
        return StageCost(
            **vars(self.plan.places[stage.path]),
            encoder=self.plan.encoder,
            stage=stage.work.kind,
            path=stage.path,
            seconds=round(seconds, 3),
            tokens=spent.tokens,
            padding_fraction=spent.padding_fraction,
            flops=spent.flops,
            peak_memory_bytes=peak_bytes(),
            device=context.device,
            machine=machine(context.device),
            threads=context.threads,
            devices=1 if spent.precision is None else self.ranks.count,  # all else runs on the leader only
            precision=spent.precision,
            speed=spent.speed,
            versions=versions(),
            finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )


def resolve_device(asked: str) -> str:
    """ "cuda" or "cpu". Raises UsageError for an unknown device, and for "cuda" on a machine that has none."""
    if asked not in DEVICES:
        raise UsageError(f"unknown device '{asked}'", fix=f"use one of: {', '.join(DEVICES)}")
    if asked == "cpu":
        return "cpu"
    there = bool(importlib.import_module("torch").cuda.is_available())
    if asked == "cuda" and not there:
        raise UsageError("--device cuda: PyTorch finds no CUDA device here", fix="use --device cpu or --device auto")
    return "cuda" if there else "cpu"
