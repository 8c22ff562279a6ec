"""The nodes of a Ray cluster: connecting to it, checking each node before anything runs there, a stage's resources.

Ray is an optional dependency, imported here and in `viaduct.runs.cluster`, inside functions, for `--executor ray`.
"""

from __future__ import annotations

import importlib
import re
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viaduct.errors import StoreError, UsageError
from viaduct.interruption import handlers_kept
from viaduct.runs.encoder import shape_of
from viaduct.runs.execute import Options
from viaduct.runs.host import versions
from viaduct.runs.plan import Plan
from viaduct.runs.stage import Stage, kind_of

ANSWER_SECONDS = 5.0
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""The start of an HTTP/2 connection, as gRPC opens it; the server answers with a SETTINGS frame (RFC 9113, 3.4). Ray
itself would keep trying for minutes to reach something that does not answer."""
NODE_SECONDS = 120.0
"""How long to wait for a node's answer; loading Python from a network file system takes some time."""
SEEN_SECONDS = 10.0
"""How long a network file system may take to show a node what another one wrote."""
MARK = "driver"
"""File in a folder of the store, by which each node of a run proves that it sees the store."""
MOST_THREADS = 4
GPU_BYTES = 16e9
"""Memory of the GPU to which a stage's share refers."""
SHARES = (0.25, 0.5, 1.0)


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Ray's module, connected to the cluster at HOST:PORT, or to the one that this machine is a node of; an existing
    connection is used as it is. Raises UsageError without Ray, and if no cluster answers within a few seconds."""
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        fix = "pip install 'viaduct-nlp[cluster]', on every node"
        raise UsageError("--executor ray: Ray is not installed here", fix=fix) from error
    if ray.is_initialized():
        yield ray
        return
    _require_answer(address)
    try:
        with handlers_kept():  # Ray would end the process at SIGTERM
            ray.init(address=address or "auto", logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError, ray.exceptions.RayError) as error:
        raise _no_cluster(address, str(error).strip().partition("\n")[0]) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_answer(address: str | None) -> None:
    if address is None:
        return
    found = re.fullmatch(r"(?P<host>[^/]+):(?P<port>\d+)", address)
    if found is None:
        fix = "name the head as HOST:PORT (its port is 6379 unless set otherwise), from a machine that is a node itself"
        raise UsageError(f"--address {address}: not HOST:PORT", fix=fix)
    try:
        with socket.create_connection((found["host"].strip("[]"), int(found["port"])), ANSWER_SECONDS) as line:
            line.sendall(GREETING)
            answer = line.recv(9)
    except OSError as error:
        raise _no_cluster(address, str(error)) from error
    if answer[3:4] != b"\x04":
        raise _no_cluster(address, "something else listens there")


def _no_cluster(address: str | None, why: str) -> UsageError:
    where = "this machine is not a node of a running Ray cluster" if address is None else f"no Ray cluster at {address}"
    return UsageError(
        f"--executor ray: {where} ({why})",
        fix="start one with `ray start --head` here and `ray start --address HOST:6379` on the other nodes"
        " (docs/scaling.md), or name its head with --address HOST:6379",
    )


@dataclass(frozen=True)
class Node:
    """The resources that a node offers to stages."""

    cpus: float
    gpus: float
    memory_bytes: float


@dataclass(frozen=True)
class Meeting:
    """The check that every node must pass; the tasks that run it know nothing else."""

    folder: Path
    """A folder in the store, with a file `MARK` that the driver wrote."""
    mark: str
    data: Path
    versions: Mapping[str, str]

    @classmethod
    def begun(cls, folder: Path, data: Path) -> Meeting:
        """A check that uses a new folder, with the file `MARK` written into it."""
        mark = uuid.uuid4().hex
        (folder / MARK).write_text(mark, encoding="ascii")
        return cls(folder.resolve(), mark, data, versions())

    def require(self) -> None:
        """Called on a node: raise UsageError for versions other than the driver's, and StoreError for a store that
        cannot be seen or written, or data that cannot be seen."""
        where, store, own = f"node {socket.gethostname()}", self.folder.parents[1], versions()
        for name in sorted({*own, *self.versions}):
            there, here = own.get(name, "not installed"), self.versions.get(name, "not installed")
            if there.partition("+")[0] != here.partition("+")[0]:  # +cpu, +cu130: the same version, another processor
                raise UsageError(
                    f"{where} has {name} {there}, and the driver's has {here}",
                    fix="install the same versions on all nodes: different ones may give different numbers",
                )
        if not self._is_seen():
            raise StoreError(
                f"{where} does not see the store {store}",
                fix="mount it there at the same path, or name a --store on a file system that all nodes share",
            )
        try:
            path = self.folder / uuid.uuid4().hex
            path.write_text(where, encoding="utf-8")
            path.unlink()
        except OSError as error:
            fix = "mount it there for writing, as the user that the cluster runs as"
            raise StoreError(f"{where} cannot write to the store {store}: {error.strerror}", fix=fix) from error
        if not self.data.is_dir():
            fix = "mount it there at the same path"
            raise StoreError(f"{where} does not see the data folder {self.data}", fix=fix)

    def _is_seen(self) -> bool:
        end = time.monotonic() + SEEN_SECONDS
        while True:
            try:
                return (self.folder / MARK).read_text(encoding="ascii") == self.mark
            except OSError:
                if time.monotonic() > end:
                    return False
                time.sleep(0.2)


def _require(meeting: Meeting) -> None:
    meeting.require()


def require_nodes(ray: Any, meeting: Meeting) -> Node:
    """The most capable node, after checking each one that can run stages. Raises what `Meeting.require` raises, and
    UsageError for a node on which the check cannot run, or if there is no node."""
    alive = [one for one in ray.nodes() if one["Alive"] and one["Resources"].get("CPU")]
    if not alive:
        raise UsageError("--executor ray: no node of the cluster has a CPU", fix="`ray start` with --num-cpus")
    pinned = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    ask = ray.remote(num_cpus=0, max_retries=0)(_require)
    asked = {
        ask.options(scheduling_strategy=pinned(one["NodeID"], soft=False)).remote(meeting): one["NodeManagerHostname"]
        for one in alive
    }
    for answer, name in asked.items():
        try:
            ray.get(answer, timeout=NODE_SECONDS)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UsageError | StoreError):
                raise error.cause from None
            why = str(error.cause or error).strip().splitlines()[-1]
            raise _unable(name, why) from error
        except ray.exceptions.RayError as error:
            raise _unable(name, str(error).strip().partition("\n")[0] or type(error).__name__) from error
    given = [one["Resources"] for one in alive]
    able = [Node(one.get("CPU", 0.0), one.get("GPU", 0.0), one.get("memory", 0.0)) for one in given]
    return max(able, key=lambda one: (one.gpus, one.memory_bytes, one.cpus))


def _unable(name: str, why: str) -> UsageError:
    fix = "install the same viaduct-nlp[cluster] there, for the same Python, or remove the node from the cluster"
    return UsageError(f"node {name} cannot run stages: {why}", fix=fix)


def asked_of(stage: Stage, plan: Plan, options: Options, node: Node) -> dict[str, float]:
    """The resources that a stage requests from Ray (`num_cpus`, `num_gpus`, `memory` in bytes), at most the node's own.

    Without a model: one CPU and 1 GB. With one: `--threads` CPUs, 4 if it is not given, and all where speed is
    measured, so that nothing disturbs it; memory of 2 GB plus 2 times the encoder, or 6 times if it is trained. On a
    GPU: this memory as a share of 16 GB, rounded up to a quarter, a half or a whole GPU.
    """
    kind = kind_of(stage.work.kind)
    if not kind.uses_torch:
        return {"num_cpus": min(1.0, node.cpus), "num_gpus": 0, "memory": min(1e9, node.memory_bytes)}
    shape = shape_of(plan.recipe.encoder, plan.recipe.revision)
    need = 2e9 + (6 if kind.leaves_encoder else 2) * (shape.num_bytes if shape else 1e9)
    is_measured = kind.threads(stage.work) is not None
    on_gpu = options.device != "cpu" and node.gpus > 0 and not kind.on_cpu(stage.work)
    share = next((one for one in SHARES if need <= one * GPU_BYTES and not is_measured), 1.0)
    return {
        "num_cpus": node.cpus if is_measured else min(options.threads or MOST_THREADS, node.cpus),
        "num_gpus": min(share, node.gpus) if on_gpu else 0,
        "memory": min(need, node.memory_bytes),
    }
