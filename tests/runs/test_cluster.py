"""Runs on a Ray cluster of several nodes, here on one machine, give the same results as a run in one process."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cluster_world
import pytest
import small_world
from cluster_world import add_node, connection
from programs import viaduct
from rich.console import Console
from small_world import recipe

from viaduct import api
from viaduct.errors import DataError, StoreError, UsageError
from viaduct.runs import cluster, nodes
from viaduct.runs.execute import Options
from viaduct.runs.spec import Intermediate, Recipe, Target

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
SMALL = recipe(targets=(Target(task="fruit"),), intermediates=(Intermediate(name="none"),), seeds=(1,))
ON_RAY = Options(device="cpu", threads=1, executor="ray", poll_seconds=0.2)


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)


def go(asked: Recipe, data: Path, store: Path, options: Options, said: io.StringIO | None = None) -> None:
    console = Console(file=said or io.StringIO(), force_terminal=False)
    api.run(asked, data=data, store=store, options=options, console=console, command="test")


def finished(store: Path) -> dict[str, bytes]:
    """All files that stages left, except locks and costs; unfinished stages would show up here."""
    found = (one for one in (store / "mini").rglob("*") if one.is_file() and one.suffix != ".lock")
    return {str(one.relative_to(store)): one.read_bytes() for one in found if one.name != "cost.json"}


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.05)


@needs_ray
def test_a_cluster_comes_to_what_one_process_comes_to(world: Path, tmp_path: Path) -> None:
    said = io.StringIO()
    with cluster_world.cluster() as found:
        add_node(found)
        with connection(found):
            go(SMALL, world, tmp_path / "store", ON_RAY, said)
    go(SMALL, world, tmp_path / "alone", Options(device="cpu", threads=1))
    assert finished(tmp_path / "store") == finished(tmp_path / "alone")
    assert "[4/4] " in said.getvalue() and "pretrain: started" in said.getvalue()
    assert not list((tmp_path / "store").rglob("*.partial"))
    assert {one.state for one in api.status("small", store=tmp_path / "store")} == {"done"}


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_node_that_cannot_take_part_is_one_message_before_anything_begins(world: Path, tmp_path: Path) -> None:
    lacking = {
        "versions": "has viaduct 0.0.9, and the driver's has",
        "store": "does not see the store",
        "writing": "cannot write to the store .*: Read-only file system",
    }
    with cluster_world.cluster() as found, connection(found):
        add_node(found)
        for lacks, told in lacking.items():
            node = add_node(found, NODE_LACKS=lacks)
            with pytest.raises((UsageError, StoreError), match=f"node {socket.gethostname()} {told}"):
                go(SMALL, world, tmp_path / "store", ON_RAY)
            found.remove_node(node)
        cuda = replace(ON_RAY, device="cuda")
        with pytest.raises(UsageError, match="no node of the cluster has a GPU"):
            go(SMALL, world, tmp_path / "store", cuda)
    assert not (tmp_path / "store" / "mini").exists() and not (tmp_path / "store" / "runs").exists()


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_stage_that_fails_by_itself_is_not_tried_again(world: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with cluster_world.cluster(SMALL_WORLD_WRONG="fruit", SMALL_WORLD_LOG=str(log)) as found:
        add_node(found)
        with connection(found), pytest.raises(DataError) as raised:
            go(SMALL, world, tmp_path / "store", ON_RAY)
    said = str(raised.value)
    assert said.startswith("mini/none/fruit/seed-1/train, on node ") and said.endswith("label\n  how to fix: label it")
    assert log.read_text().splitlines().count("fruit") == 1
    assert {one.state for one in api.status("small", store=tmp_path / "store")} == {"done", "interrupted", "waiting"}


class OddError(DataError):
    """An error that another process cannot read, since it cannot be pickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")
        self.kept = lambda: None


@pytest.mark.parametrize(
    ("raised", "told", "said"),
    [
        (DataError("no label", fix="label it"), DataError, "a/b, on node .*: no label\n  how to fix: label it"),
        (UsageError("a/b: no"), UsageError, "a/b, on node [^:]*: no"),
        (OddError("one", "two"), DataError, "a/b, on node .*: one and two"),
        (PermissionError(errno.EACCES, "denied", "x"), StoreError, "a/b, on node .*: x cannot be written"),
        (ZeroDivisionError("by zero"), RuntimeError, "(?s)a/b, on node .*Traceback.*ZeroDivisionError: by zero"),
    ],
)
def test_what_fails_on_a_node_is_told_with_the_stage_and_read_by_any_process(
    raised: Exception, told: type, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: object) -> None:
        raise raised

    monkeypatch.setattr(cluster, "_opened", fail)
    with pytest.raises(told, match=said) as found:
        cluster.do_stage("key", (), "a/b", 1, on_gpu=False)
    copy = pickle.loads(pickle.dumps(found.value))
    assert type(copy) is told and str(copy) == str(found.value)


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_stages_of_a_node_that_dies_run_again_elsewhere_from_their_checkpoints(world: Path, tmp_path: Path) -> None:
    asked, said, store = recipe(seeds=(1,)), io.StringIO(), tmp_path / "store"
    with cluster_world.cluster(SMALL_WORLD_PAUSE="1") as found, connection(found) as ray, ThreadPoolExecutor(1) as pool:
        doomed = add_node(found)
        running = pool.submit(go, asked, world, store, ON_RAY, said)
        wait_for(lambda: any(f'"step": {step}' in text for text in states(store) for step in (2, 3)))
        found.remove_node(doomed, allow_graceful=False)
        add_node(found)
        add_node(found)
        running.result(timeout=300)
        assert [one["Alive"] for one in ray.nodes()].count(False) == 1
    assert "mini/pretrain: starting again on" in said.getvalue()
    go(asked, world, tmp_path / "alone", Options(device="cpu", threads=1))
    assert finished(store) == finished(tmp_path / "alone")


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_driver_that_is_stopped_or_killed_is_started_again(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    (tmp_path / "recipe.json").write_text(recipe(seeds=(1,)).model_dump_json(), encoding="utf-8")
    program = [sys.executable, cluster_world.__file__]
    with cluster_world.cluster(SMALL_WORLD_PAUSE="0.5") as found:
        add_node(found)
        add_node(found)
        given = [*program, found.address, str(tmp_path / "recipe.json"), str(world), str(store)]
        for number in (signal.SIGTERM, signal.SIGKILL, None):
            begun = states(store)
            driver = subprocess.Popen(given, stderr=subprocess.PIPE, text=True)
            try:
                if number is not None:
                    wait_for(lambda: states(store) != begun or driver.poll() is not None)  # noqa: B023
                    driver.send_signal(number)
                said = driver.communicate(timeout=200)[1]
            finally:
                driver.kill()
            assert driver.returncode == (143 if number == signal.SIGTERM else -(number or 0)), said
            found_states = {one.state for one in api.status("small", store=store)}
            assert number != signal.SIGTERM or "running" not in found_states  # no process goes on working
    go(recipe(seeds=(1,)), world, tmp_path / "alone", Options(device="cpu", threads=1))
    assert finished(store) == finished(tmp_path / "alone")


def states(store: Path) -> list[str]:
    """The contents of the checkpoints' state files."""
    found = []
    for path in sorted(store.rglob("state.json")):
        with contextlib.suppress(OSError):
            found.append(path.read_text())
    return found


def test_without_ray_or_a_cluster_it_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        with pytest.raises(UsageError, match="Ray is not installed here"), nodes.connected(None):
            pytest.fail("connected")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setattr(nodes, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"no Ray cluster at {address}"), nodes.connected(address):
            pytest.fail("connected")
    with pytest.raises(UsageError, match=f"no Ray cluster at {address}.*refused"), nodes.connected(address):
        pytest.fail("connected")
    with pytest.raises(UsageError, match="not HOST:PORT"), nodes.connected("ray://head:10001"):
        pytest.fail("connected")


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    common = ["run", "demo", "--store", str(tmp_path)]
    for given, told in (
        (["--executor", "ray", "--processes", "2"], "--processes is for one machine"),
        (["--address", "head:6379"], "names a Ray cluster"),
        (["--executor", "rai"], "Did you mean 'ray'?"),
    ):
        done = viaduct(*common, *given)
        assert done.status == 2 and told in done.errors and "how to fix" in done.errors


def test_what_a_stage_asks_of_a_node(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = api.plan(recipe(seeds=(1,)), data=world, store=tmp_path).plan
    stages = {stage.work.kind: stage for stage in plan.stages}
    large = nodes.Node(cpus=64, gpus=8, memory_bytes=512e9)
    on_gpu, on_cpu = Options(), Options(device="cpu", threads=2)
    size = 10**9
    monkeypatch.setattr(nodes, "shape_of", lambda *_: SimpleNamespace(num_bytes=size))
    assert nodes.asked_of(stages["score"], plan, on_gpu, large) == {"num_cpus": 1, "num_gpus": 0, "memory": 1e9}
    assert nodes.asked_of(stages["train"], plan, on_gpu, large) == {"num_cpus": 4, "num_gpus": 0.5, "memory": 8e9}
    assert nodes.asked_of(stages["predict"], plan, on_gpu, large) == {"num_cpus": 4, "num_gpus": 0.25, "memory": 4e9}
    assert nodes.asked_of(stages["train"], plan, on_cpu, large) == {"num_cpus": 2, "num_gpus": 0, "memory": 8e9}
    size = 10**11
    assert nodes.asked_of(stages["train"], plan, on_gpu, large) == {"num_cpus": 4, "num_gpus": 1, "memory": 512e9}
    small = nodes.Node(cpus=1, gpus=0, memory_bytes=1e9)  # a task that requests more would wait forever
    assert nodes.asked_of(stages["train"], plan, on_gpu, small) == {"num_cpus": 1, "num_gpus": 0, "memory": 1e9}
