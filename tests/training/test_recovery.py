"""A run that is killed repeatedly ends with the same bytes as an undisturbed one: real processes, real SIGKILLs."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from preloaded import Child, Preloaded
from whole_runs import EVERY_KIND, KINDS, TINY, write_data

from viaduct.miniature.world import write as miniature
from viaduct.results.checksums import LIST, verify

VARIES = {"cost.json", "inference.json"}
"""Files that contain seconds, memory and the date; everything else must be equal."""
SLOW_SECONDS = 3000.0


class World:
    """Data and a recipe, and how to run it into a store."""

    def __init__(self, folder: Path, recipe: str, preloaded: Preloaded, checkpoint_seconds: float = 0.1) -> None:
        self.folder, self.preloaded, self.checkpoint_seconds = folder, preloaded, checkpoint_seconds
        (folder / "tiny.py").write_text(recipe, encoding="utf-8")

    def start(self, store: str, log: Path) -> Child:
        """Start a process that runs the recipe; its output goes to `log`."""
        command = ["run", self.folder / "tiny.py", "--device", "cpu", "--threads", "1"]
        command += ["--checkpoint-seconds", self.checkpoint_seconds]
        command += ["--data", self.folder / "data", "--store", self.folder / store, "--allow-overlap"]
        return self.preloaded.viaduct(command, log)

    def results(self, store: str) -> dict[str, bytes]:
        """Every file of every finished stage that does not depend on the clock."""
        root = self.folder / store
        stages = [path.parent for path in root.rglob("stage.json")]
        files = [path for stage in stages for path in stage.rglob("*") if path.is_file() and path.name not in VARIES]
        return {str(path.relative_to(root)): _lasting(path) for path in files}

    def spent(self, store: str) -> dict[str, tuple[object, ...]]:
        """What every stage reports to have used, without time and memory."""
        root = self.folder / store
        costs = {path: json.loads(path.read_text()) for path in root.rglob("cost.json") if "measure" not in path.parts}
        return {
            str(path.parent.relative_to(root)): tuple(cost[name] for name in ("tokens", "flops", "padding_fraction"))
            for path, cost in costs.items()
        }


def _lasting(path: Path) -> bytes:
    """The content of a file, without the checksums of files that vary."""
    lines = path.read_bytes().splitlines(keepends=True)
    varying = tuple(f"  {name}\n".encode() for name in VARIES)
    return b"".join(line for line in lines if path.name != LIST or not line.endswith(varying))


def seen(root: Path) -> set[str]:
    """All paths below the store now; they may change during the walk."""
    return {f"{folder}/{name}" for folder, folders, names in os.walk(root) for name in (*folders, *names)}


def wait_for_work(process: Child, root: Path, changes: int) -> None:
    """Return when the store has changed this many times (a file, a checkpoint, a folder), or the process has ended."""
    before = seen(root)
    while changes and process.poll() is None:
        time.sleep(0.005)
        now = seen(root)
        changes -= now != before
        before = now


def killed_until_done(world: World, store: str, moments: random.Random, *, kills: int, most: int) -> int:
    """Run, kill at a random moment of the work, run again, and let the last run end. Returns the number of kills."""
    killed = 0
    for attempt in range(kills + 1):
        log = world.folder / f"{store}-{attempt}.log"
        process = world.start(store, log)
        if attempt < kills:
            wait_for_work(process, world.folder / store, moments.randint(8, most))
            time.sleep(moments.uniform(0.0, 0.05))
            process.kill()
        status = process.wait(timeout=SLOW_SECONDS)
        assert status in (0, -signal.SIGKILL), log.read_text(encoding="utf-8")
        if status == 0:
            break
        killed += 1
    return killed


def check(world: World, *, kills: int, most: int, seed: int) -> None:
    """Killed this many times, in one store or in several, a run leaves exactly what an undisturbed run leaves."""
    log = world.folder / "whole.log"
    assert world.start("whole", log).wait(timeout=SLOW_SECONDS) == 0, log.read_text(encoding="utf-8")
    whole, moments, killed, stores = world.results("whole"), random.Random(seed), 0, 0
    while killed < kills:
        store = f"parts-{stores}"
        now = killed_until_done(world, store, moments, kills=kills - killed, most=most)
        assert now, "the run was over before it was killed"
        killed, stores, parts = killed + now, stores + 1, world.results(store)
        assert whole.keys() == parts.keys()
        assert not [name for name in whole if whole[name] != parts[name]]
        assert world.spent("whole") == world.spent(store)
        left = [path for pattern in ("*.partial", "*unfinished*") for path in (world.folder / store).rglob(pattern)]
        assert not left and not verify(world.folder / store).damaged
    assert not orphans(world.folder)


def orphans(folder: Path) -> list[str]:
    """Processes that are still working for a run that was killed."""
    time.sleep(0.5)
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in lines if str(folder) in line and "serving.timing" in line]


def test_a_run_killed_a_few_times_ends_with_the_same_bytes(preloaded: Preloaded, tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    world = World(tmp_path, TINY.replace("STEPS", "60"), preloaded)
    check(world, kills=2, most=40, seed=1)
    names = {Path(name).name for name in world.results("whole")}
    assert {"model.safetensors", "head.safetensors", "training.json", "th.jsonl", "scores.json", "stage.json"} <= names


def test_a_run_that_is_asked_to_stop_leaves_a_checkpoint_and_says_so(preloaded: Preloaded, tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    world = World(tmp_path, TINY.replace("STEPS", "3"), preloaded, checkpoint_seconds=1e9)
    process, store, log = world.start("store", tmp_path / "log"), tmp_path / "store", tmp_path / "log"
    while not any("/best-" in name for name in seen(store)) and process.poll() is None:
        time.sleep(0.005)  # until a training has been evaluated once
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=SLOW_SECONDS) == 143, log.read_text(encoding="utf-8")
    assert "run the same command again" in log.read_text(encoding="utf-8")
    assert list(store.rglob("checkpoint-*/state.json"))


@pytest.mark.slow
@pytest.mark.timeout(4 * SLOW_SECONDS)
@pytest.mark.parametrize(("seed", "kills"), [(2, 50)])
def test_a_run_with_every_kind_of_stage_killed_fifty_times_ends_with_the_same_bytes(
    preloaded: Preloaded, tmp_path: Path, seed: int, kills: int
) -> None:
    miniature(tmp_path / "data", scale=0.02)
    world = World(tmp_path, EVERY_KIND.replace("STEPS", "30"), preloaded)
    check(world, kills=kills, most=60, seed=seed)
    records = (json.loads(path.read_text()) for path in (tmp_path / "whole").rglob("stage.json"))
    assert {record["identity"]["kind"] for record in records} == KINDS
