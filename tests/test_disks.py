"""Full disks, read-only disks and other people's stores: one message, nothing half-written, and whatever can be done is
done. Uses real file systems of a few MB if they may be mounted."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import small_world
import torch
from programs import viaduct
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from whole_runs import TINY, write_data

from viaduct.errors import StoreError, one_message
from viaduct.results.outcomes import LanguageOutcomes, write_outcomes
from viaduct.results.store import Store
from viaduct.results.writing import write_atomic
from viaduct.runs.stage import kind_of

NOBODY = 65534


class Disk:
    """An in-memory file system whose size can be changed."""

    def __init__(self, folder: Path, kilobytes: int) -> None:
        self.folder = folder
        self._mount("tmpfs", "-o", f"size={kilobytes}k,mode=755")

    def _mount(self, *words: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", *words, str(self.folder)], check=True, capture_output=True)

    def change(self, option: str) -> None:
        """Remount with this option: `size=9k`, `ro` or `rw`."""
        self._mount("tmpfs", "-o", f"remount,{option}")

    def fill(self, leave: int = 0) -> None:
        """Leave this many kilobytes free."""
        free = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize
        (self.folder / "filler").write_bytes(b"x" * max(0, free - leave * 1024))

    def empty(self) -> None:
        (self.folder / "filler").unlink()

    def contents(self, but: str) -> dict[str, bytes]:
        """The contents of every file except the filler and files named `but`."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and path.name not in ("filler", but))
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


@pytest.fixture
def disk() -> Iterator[Disk]:
    with tempfile.TemporaryDirectory(prefix="viaduct-disk-") as folder:
        Path(folder).chmod(0o755)
        try:
            made = Disk(Path(folder), 4096)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no file system may be mounted here: {error}")
        yield made
        subprocess.run(["umount", "-l", folder], check=True)


def message_of(errors: str) -> str:
    """A command's message, after its notes; there must be no traceback."""
    assert "Traceback" not in errors
    return errors[errors.index("viaduct: ") :]


def tensors(folder: Path) -> None:
    save_file({"weight": torch.zeros(100_000)}, folder / "model.safetensors")


def array(folder: Path) -> None:
    np.save(folder / "array.npy", np.zeros(100_000))


def outcomes(folder: Path) -> None:
    values = {"accuracy": np.random.default_rng(1).random(100_000).astype(np.float32)}
    write_outcomes(folder, {"de": LanguageOutcomes(values, np.arange(100_000, dtype=np.int32), "", None, None)})


def table(folder: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"a": np.random.default_rng(1).random(100_000)}), folder / "a.parquet")


def tokenizer(folder: Path) -> None:
    Tokenizer(models.WordLevel({f"word{number}": number for number in range(50_000)}, "word0")).save(
        str(folder / "tokenizer.json")
    )


def text(folder: Path) -> None:
    write_atomic(folder / "about.json", "x" * 500_000)


@pytest.mark.parametrize("write", [tensors, array, outcomes, table, tokenizer, text])
def test_a_full_disk_is_one_message_whoever_writes(disk: Disk, write: Callable[[Path], None]) -> None:
    disk.fill(leave=64)
    with (
        pytest.raises(StoreError, match=r"the disk of a place is full\n  how to fix: make room"),
        one_message("a place"),
    ):
        write(disk.folder)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(FileNotFoundError), one_message("a place"):
        Path("/nowhere/at/all").read_bytes()
    with pytest.raises(ZeroDivisionError), one_message("a place"):
        1 / 0  # noqa: B018


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """`--data` for a small world whose stages compute nothing; its recipe is in the working folder."""
    small_world.add_cards(monkeypatch.setattr, small_world.CARDS)
    for kind in small_world.FAKES:
        monkeypatch.setattr(kind_of(kind), "run", lambda context, _work: small_world.run(context))
    monkeypatch.setattr("viaduct.report.figure.heat_map", lambda shown: None)
    monkeypatch.setattr("viaduct.api.require_space", lambda planned, keep: None)  # otherwise nothing starts
    (tmp_path / "small.py").write_text("from small_world import recipe\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    data = small_world.write_data(tmp_path / "data")
    return ("--data", str(data))


def run(disk: Disk, world: tuple[str, ...]) -> tuple[int, str]:
    done = viaduct(
        "run", "small.py", *world, "--store", str(disk.folder / "store"), "--device", "cpu", "--threads", "1"
    )
    return done.status, done.errors


def test_a_report_is_whole_or_the_old_one(disk: Disk, world: tuple[str, ...]) -> None:
    assert run(disk, world)[0] == 0
    place = str(disk.folder / "store" / "runs" / "small")
    before = disk.contents(but="run.json")  # which every run rewrites when it starts
    assert {"report.html", "report.json", "main_table.csv"} <= {Path(name).name for name in before}
    for leave in (0, 8, 40, 120):
        disk.fill(leave)
        done = viaduct("report", place)
        assert done.status == 2 and "is full" in message_of(done.errors)
        status, errors = run(disk, world)
        assert status == 2 and "is full" in message_of(errors)
        assert disk.contents(but="run.json") == before
        disk.empty()
    assert viaduct("report", place).status == 0


def test_a_run_on_a_disk_that_grows_says_that_it_is_full_until_it_is_done(disk: Disk, world: tuple[str, ...]) -> None:
    stopped = 0
    for kilobytes in range(40, 4000, 120):
        disk.change(f"size={kilobytes}k")
        status, errors = run(disk, world)
        if status == 0:
            break
        stopped += 1
        assert status == 2 and message_of(errors).count("\n") == 2 and "is full" in errors
    assert status == 0 and stopped > 3
    assert not list(disk.folder.rglob("*unfinished*")) and not list(disk.folder.rglob("*.tmp"))
    assert viaduct("verify", str(disk.folder / "store")).status == 0


@pytest.mark.slow
def test_a_real_run_on_a_disk_that_grows_ends_with_the_bytes_of_one_with_room(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, optimisers, tokenizers, arrays, vectors: the disk may be full at any of them."""
    monkeypatch.setattr("viaduct.api.require_space", lambda planned, keep: None)
    write_data(tmp_path / "data")
    (tmp_path / "tiny.py").write_text(TINY.replace("STEPS", "20"), encoding="utf-8")

    def one(store: Path) -> tuple[int, str]:
        options = ("--data", str(tmp_path / "data"), "--store", str(store), "--checkpoint-seconds", "0")
        done = viaduct("run", str(tmp_path / "tiny.py"), *options, "--device", "cpu", "--threads", "1")
        return done.status, done.errors

    assert one(tmp_path / "whole")[0] == 0
    stopped, kilobytes = 0, 60
    while True:
        disk.change(f"size={kilobytes}k")
        status, errors = one(disk.folder / "store")
        if status == 0:
            break
        assert status == 2 and "is full" in message_of(errors), errors
        stopped, kilobytes = stopped + 1, kilobytes + 60
    assert stopped > 10
    for path in Store(disk.folder / "store").root.rglob("model.safetensors"):
        assert path.read_bytes() == (tmp_path / "whole" / path.relative_to(disk.folder / "store")).read_bytes()


def test_a_store_that_may_only_be_read_is_planned_reported_and_looked_at(
    disk: Disk, world: tuple[str, ...], tmp_path: Path
) -> None:
    assert run(disk, world)[0] == 0
    store = ("--store", str(disk.folder / "store"))
    disk.change("ro")
    assert "0 to do" in viaduct("plan", "small.py", *world, *store).output
    assert viaduct("status", "small", *store).status == 0
    assert viaduct("verify", store[1]).status == viaduct("verify", "--store", store[1]).status == 0
    done = viaduct("report", "small", *store)
    assert done.status == 2 and "Read-only file system" in message_of(done.errors) and "--to" in done.errors
    done = viaduct("report", "small", *store, "--to", str(tmp_path / "mine"))
    assert done.status == 0 and (tmp_path / "mine" / "report.html").is_file()
    status, errors = run(disk, world)
    assert status == 2 and "Read-only file system" in message_of(errors)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Gives this process another user's rights."""
    if os.geteuid():
        pytest.skip("only root may take another user's rights")
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_another_users_store_is_planned_and_reported_elsewhere(disk: Disk, world: tuple[str, ...]) -> None:
    assert run(disk, world)[0] == 0
    store = ("--store", str(disk.folder / "store"))
    mine = disk.folder / "mine"
    mine.mkdir(mode=0o777)
    mine.chmod(0o777)
    for folder in (Path.cwd(), *Path.cwd().parents[:3]):
        folder.chmod(0o755)
    with as_nobody():
        assert "0 to do" in viaduct("plan", "small.py", *world, *store).output
        assert viaduct("status", "small", *store).status == 0
        done = viaduct("report", "small", *store)
        assert done.status == 2 and "Permission denied" in message_of(done.errors)
        assert viaduct("report", "small", *store, "--to", str(mine / "report")).status == 0
        status, errors = run(disk, world)
        assert status == 2 and "Permission denied" in message_of(errors)
