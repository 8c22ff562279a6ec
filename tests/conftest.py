"""Fixtures that several test folders share."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import settings
from rich.console import Console

from viaduct.runs.display import in_words

settings.register_profile("viaduct", deadline=None)  # no test is timed: other work may share the machine
settings.load_profile("viaduct")

SHARED = Path(__file__).resolve().parents[2] / "shared"


MOST_WORKERS = 2
"""Limit for `pytest -n auto`: each worker holds torch and the engines (1 GB) and makes its own session fixtures."""


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    """The number of workers for `pytest -n auto`: one for each core that this process may use, two at most. With only
    one core it is 0 (just pytest's own process), as starting a second process would gain nothing.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS) if cores > 1 else 0


class TimeLeft:
    """Prints every ten seconds how many tests are done and about how long the rest takes, for all workers. Failures
    are printed immediately: a run that is cut off has no summary."""

    def __init__(self, console: Console) -> None:
        self.console, self.total, self.done = console, 0, 0
        self.started = self.said = time.monotonic()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.total, self.started = len(session.items), time.monotonic()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self.total, self.started = len(ids), time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.console.out(f"\n{report.nodeid}, {report.when}:\n{report.longreprtext}")

    def pytest_runtest_logfinish(self) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.said >= 10 and self.done < self.total:
            self.said = now
            left = in_words((now - self.started) / self.done * (self.total - self.done))
            self.console.print(f"\n{self.done:,} of {self.total:,} tests, about {left} left", style="dim")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # pytest-xdist reports finished tests to the process that started it
        config.pluginmanager.register(TimeLeft(Console(stderr=True, highlight=False)), "time-left")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Limits torch to one thread if a collected test has imported it: small tensors gain nothing from more."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def places_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps tests from reading or writing the user's cache and the repository's committed rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIADUCT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("VIADUCT_ROWS", str(tmp_path_factory.getbasetemp() / "no-rows"))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data next to the repository; the test is skipped if it is missing."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"real data are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_oracles() -> Path:
    """The outputs of the official scorers; the test is skipped if they are missing."""
    folder = SHARED / "oracles"
    if not folder.is_dir():
        pytest.skip(f"official scorers' outputs are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """The tokenizer of tests/tiny.py."""
    import tiny

    return tiny.tokenizer()


@pytest.fixture(scope="session")
def tiny_encoder(tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the encoder of tests/tiny.py: random weights, dropout 0.1."""
    import tiny

    from viaduct.models.encoder import save_encoder

    folder = tmp_path_factory.mktemp("tiny") / "encoder"
    save_encoder(tiny.encoder(tiny_tokenizer, dropout=0.1), tiny_tokenizer, folder)
    return folder


MakeOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """A function that returns the folder of a name, made by the given function in whichever worker asks first."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def made(name: str, make: Callable[[Path], object]) -> Path:
        place, unfinished = root / "made-once" / name, root / "unfinished" / name
        with FileLock(root / f"{name}.lock"):
            if not place.is_dir():
                for folder in (place, unfinished):
                    folder.parent.mkdir(exist_ok=True)
                shutil.rmtree(unfinished, ignore_errors=True)  # left by a failed attempt
                make(unfinished)
                unfinished.rename(place)
        return place

    return made


@pytest.fixture
def no_heat_map_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without heat-map image files, which are slow to draw; the page still shows heat maps as tables."""
    monkeypatch.setattr("viaduct.report.figure.heat_map", lambda shown: None)


@pytest.fixture(scope="session")
def preloaded() -> Iterator[Any]:
    """The process of tests/preloaded.py."""
    from preloaded import Preloaded

    process = Preloaded()
    yield process
    process.close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The data folder of tests/small_world.py, with its cards added to the built-in ones and its stage function
    in place."""
    import small_world

    from viaduct.runs.stage import kind_of

    small_world.add_cards(monkeypatch.setattr, small_world.CARDS)
    for kind in small_world.FAKES:
        monkeypatch.setattr(kind_of(kind), "run", lambda context, _work: small_world.run(context))
    return small_world.write_data(tmp_path / "data")
