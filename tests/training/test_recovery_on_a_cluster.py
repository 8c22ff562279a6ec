"""A training whose driver is stopped and whose node is then killed ends with the same bytes as an undisturbed one."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cluster_world
import pytest
from whole_runs import TINY, write_data

from viaduct.results.checksums import LIST

VARIES = {"cost.json", "inference.json"}


def start(folder: Path, store: str, *more: object) -> subprocess.Popen[str]:
    command = ["run", folder / "tiny.py", "--device", "cpu", "--threads", "1", "--allow-overlap"]
    command += ["--data", folder / "data", "--store", folder / store, *more]
    given = [sys.executable, "-m", "viaduct", *map(str, command)]
    return subprocess.Popen(given, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def results(root: Path) -> dict[str, bytes]:
    """Every file of every finished stage that does not depend on the clock."""
    folders = [path.parent for path in root.rglob("stage.json")]
    files = [path for one in folders for path in one.rglob("*") if path.is_file() and path.name not in VARIES]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.name != LIST}


def trained(process: subprocess.Popen[str], root: Path, what: str) -> Path:
    """Wait for the first file or folder of this name pattern in a running training, and return it."""
    while process.poll() is None:
        if found := [path for path in root.rglob(what) if ".partial" in str(path)]:
            return found[0]
        time.sleep(0.02)
    raise AssertionError(process.communicate()[1])


def node_of(nodes: Sequence[Any], worker: int) -> Any:
    """The node that a worker process belongs to."""
    about = Path(f"/proc/{worker}/status").read_text(encoding="utf-8")
    parent = int(about.partition("PPid:")[2].split()[0])
    return next(one for one in nodes if one.all_processes["raylet"][0].process.pid == parent)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_it_is_stopped_and_killed_and_leaves_the_same_bytes(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    (tmp_path / "tiny.py").write_text(TINY.replace("STEPS", "2000"), encoding="utf-8")
    whole = start(tmp_path, "whole")
    assert whole.wait(timeout=900) == 0, whole.communicate()[1]
    store = tmp_path / "store"
    with cluster_world.cluster() as found:
        nodes = [cluster_world.add_node(found) for _ in range(2)]
        on_ray = ("--executor", "ray", "--address", found.address)
        stopped = start(tmp_path, "store", *on_ray, "--checkpoint-seconds", 1e9)
        trained(stopped, store, "seconds")  # a stage writes it once it has reported progress for a while
        assert not list(store.rglob("checkpoint-*"))
        stopped.send_signal(signal.SIGINT)
        said = stopped.communicate(timeout=300)[1]
        assert stopped.returncode == 130 and "run the same command again" in said, said
        assert list(store.rglob("checkpoint-*/state.json")), "a training leaves a checkpoint when it is stopped"
        again = start(tmp_path, "store", *on_ray, "--checkpoint-seconds", 0.1)
        at_work = next(one for one in trained(again, store, "checkpoint-*").parents if one.name.endswith(".partial"))
        while (name := re.search(r"-(\d+)-[0-9a-f]{8}\.partial$", str(at_work))) is None:
            at_work = next(iter(store.rglob("*-*.partial")), at_work)
            time.sleep(0.01)
        found.remove_node(node_of(nodes, int(name[1])), allow_graceful=False)
        said = again.communicate(timeout=900)[1]
        assert again.returncode == 0, said
    assert "starting again on" in said or "resuming where it stopped" in said
    assert results(store) == results(tmp_path / "whole")
    assert not list(store.rglob("*.partial"))
