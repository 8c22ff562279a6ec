"""Two hosts that share a store but do not see each other's locks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import other_host
import pytest
import small_world
from rich.console import Console
from small_world import recipe

from viaduct import api
from viaduct.results import claim, working
from viaduct.results import store as store_module
from viaduct.results.store import Store
from viaduct.runs.execute import Options
from viaduct.runs.spec import Intermediate, Target

ASKED = recipe(targets=(Target(task="fruit"),), intermediates=(Intermediate(name="none"),), seeds=(1,))
FIRST, SECOND = "aaaaaaaa", "bbbbbbbb"
RECORD = {"fingerprint": "f", "identity": {}, "path": "a/b"}


def launch(host: str, data: Path, folder: Path, pause: float) -> subprocess.Popen[str]:
    path = folder / "recipe.json"
    path.write_text(ASKED.model_dump_json(), encoding="utf-8")
    program = [sys.executable, str(Path(other_host.__file__)), host, str(path), str(data), str(folder / "store")]
    return subprocess.Popen([*program, str(pause)], stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.02)


def files(store: Path) -> dict[str, bytes]:
    """All files that stages left, except locks and costs."""
    found = (one for one in (store / "mini").rglob("*") if one.is_file() and one.suffix != ".lock")
    found = (one for one in found if one.name != "cost.json")
    return {str(path.relative_to(store)): path.read_bytes() for path in found}


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def become(host: str) -> None:
        monkeypatch.setattr(claim, "host", lambda: host)
        monkeypatch.setattr(working, "host", lambda: host)
        monkeypatch.setattr(Store, "_lock_file", lambda self, path: Path(f"{self.root / path}.{host}.lock"))

    monkeypatch.setattr(claim, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(claim, "LEASE_SECONDS", 0.5)
    return become


def test_a_second_host_ends_with_the_way_while_the_first_one_works(world: Path, tmp_path: Path) -> None:
    first = launch(FIRST, world, tmp_path, 200.0)
    try:
        wait_for(lambda: list((tmp_path / "store").rglob("scratch")))
        second = launch(SECOND, world, tmp_path, 0.0)
        said = second.communicate(timeout=60)[1]
        assert second.returncode != 0 and "is at work in this store" in said and "docs/scaling.md" in said
        assert first.poll() is None
    finally:
        first.kill()
    assert {one.state for one in api.status("small", store=tmp_path / "store")} == {"running", "waiting"}


def test_what_a_stopped_host_had_is_taken_over_and_it_writes_nothing_when_it_goes_on(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    first = launch(FIRST, world, tmp_path, 0.2)
    try:
        wait_for(lambda: list(store.rglob("state.json")))
        os.kill(first.pid, signal.SIGSTOP)
        second = launch(SECOND, world, tmp_path, 0.0)
        said = second.communicate(timeout=60)[1]
        assert second.returncode == 0, said
        assert "may be at work" in said and "pretrain: resuming where it stopped" in said
        before = files(store)
        os.kill(first.pid, signal.SIGCONT)
        said = first.communicate(timeout=60)[1]
        assert first.returncode != 0 and "another host took this stage over" in said
    finally:
        first.kill()
    assert files(store) == before and not list(store.rglob("*.partial"))
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)
    alone, options = tmp_path / "alone", Options(device="cpu", threads=1)
    api.run(ASKED, data=world, store=alone, options=options, console=Console(quiet=True), command="")
    costs = ("cost.json",)
    assert [one for one in before if not one.endswith(costs)] == [
        one for one in files(alone) if not one.endswith(costs)
    ]
    assert all(files(alone)[name] == content for name, content in before.items() if not name.endswith(costs))


def test_of_two_owners_the_last_rename_of_the_one_that_lost_fails(
    tmp_path: Path, on_host: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    monkeypatch.setattr(claim, "_beat_until", lambda over, alive: None)  # like a stopped process
    on_host(FIRST)
    lost = store.claim("a/b", RECORD)
    assert lost is not None
    (lost.scratch / "checkpoint").write_text("5")
    on_host(SECOND)
    assert store.claim("a/b", RECORD) is None and store.state("a/b") == "running"
    time.sleep(0.6)
    assert store.state("a/b") == "interrupted"
    won = store.claim("a/b", RECORD)
    assert won is not None and won.resumed and (won.scratch / "checkpoint").read_text() == "5"
    lost.output.mkdir(parents=True)  # as stages may do
    (lost.output / "half").write_text("half")
    with pytest.raises(claim.StoreError, match="another host took this stage over"):
        lost.finish({"seconds": 1.0})
    lost.release()
    (won.output / "whole").write_text("whole")
    won.finish({"seconds": 1.0})
    assert store.state("a/b") == "done" and (tmp_path / "a" / "b" / "whole").exists()
    assert [path.name for path in (tmp_path / "a").iterdir() if path.is_dir()] == ["b"]


@pytest.mark.parametrize("moment", ["take", "canonical"])
def test_a_host_that_is_stopped_while_it_begins_has_lost_the_stage(
    tmp_path: Path, on_host: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    stage, original, won = Store(tmp_path), getattr(store_module, moment), []
    monkeypatch.setattr(claim, "_beat_until", lambda over, alive: None)  # like a stopped process

    def stopped(given: Any) -> Any:
        monkeypatch.setattr(store_module, moment, original)
        found = original(given)
        on_host(SECOND)
        wait_for(lambda: won or won.extend(filter(None, [stage.claim("a/b", RECORD)])))
        on_host(FIRST)
        return found

    on_host(FIRST)
    monkeypatch.setattr(store_module, moment, stopped)
    assert stage.claim("a/b", RECORD) is None and won
    assert [path.name for path in (tmp_path / "a").iterdir() if path.is_dir()] == [won[0].partial.name]
    won[0].finish({"seconds": 1.0})
    assert stage.state("a/b") == "done"


def test_clocks_an_hour_apart_take_nothing_from_a_living_host(tmp_path: Path, on_host: Callable[[str], None]) -> None:
    store = Store(tmp_path)
    on_host(FIRST)
    held = store.claim("a/b", RECORD)
    assert held is not None
    held._over.set()
    on_host(SECOND)
    end, hour = time.monotonic() + 1.5, 3600.0
    while time.monotonic() < end:
        os.utime(held.partial / claim.ALIVE, (time.time() - hour, time.time() - hour))
        assert store.claim("a/b", RECORD) is None
        time.sleep(0.02)
    wait_for(lambda: store.claim("a/b", RECORD))  # no heartbeat from now on


def test_two_hosts_that_begin_at_once_do_not_both_have_it(
    tmp_path: Path, on_host: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, original, other = Store(tmp_path), claim.unfinished, []

    def slow(free: Path) -> Path:
        monkeypatch.setattr(claim, "unfinished", original)
        found = original(free)
        on_host(SECOND)
        other.append(store.claim("a/b", RECORD))  # after the first host's check, before it makes its folder
        on_host(FIRST)
        return found

    on_host(FIRST)
    monkeypatch.setattr(claim, "unfinished", slow)
    assert store.claim("a/b", RECORD) is None and other[0] is not None
    other[0].finish({"seconds": 1.0})
    assert store.state("a/b") == "done" and store.claim("a/b", RECORD) is None


def test_an_unfinished_folder_of_an_earlier_version_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "a" / "b.partial" / "scratch").mkdir(parents=True)
    (tmp_path / "a" / "b.partial" / "scratch" / "checkpoint").write_text("5")
    (tmp_path / "a" / "b.partial" / "stage.json").write_text(claim.canonical(RECORD))
    store = Store(tmp_path)
    assert store.state("a/b") == "interrupted"
    found = store.claim("a/b", RECORD)
    assert found is not None and found.resumed and (found.scratch / "checkpoint").read_text() == "5"
    found.release()
    assert (tmp_path / "a" / "b.partial" / "scratch" / "checkpoint").exists()  # the earlier version can resume from it


def test_folders_in_which_another_host_makes_something_are_left_to_it(
    tmp_path: Path, on_host: Callable[[str], None]
) -> None:
    on_host(FIRST)
    with working.working_folder(tmp_path) as theirs:
        held = theirs.rename(theirs.with_name(f"{theirs.name}-moved"))  # its lock is not visible
    on_host(SECOND)
    with working.working_folder(tmp_path):
        assert held.exists()
    os.utime(held, (0, time.time() - 2 * working.LEFT_SECONDS))
    with working.working_folder(tmp_path):
        assert not held.exists()
