"""A local server for every test, and no waiting between retries."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from local_server import LocalServer
from publications import believe, publish

from viaduct.fetching import download as downloading
from viaduct.fetching import publishers
from viaduct.miniature.world import write as make_world
from viaduct.tasks.catalogue import Catalogue


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer().running() as one:
        yield one


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "FIRST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(logging, "raiseExceptions", False)  # the Hub's library logs to a stream an earlier test closed


@pytest.fixture
def hub(server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalServer:
    """The server as this process's Hub; in a new process HF_ENDPOINT and HF_HOME do this."""
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return server


PUBLISHED = ("xnli", "mnli", "tatoeba", "xquad", "squad", "tydiqa", "pawsx", "bucc", "udpos")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("publishers") / "world"
    make_world(folder, scale=0.02)
    return folder


@pytest.fixture
def published(world: Path, hub: LocalServer) -> Iterator[LocalServer]:
    """The server with the small world on it, which this process takes for the real one."""
    hub.files, known = publish(world, PUBLISHED)
    cards = {name: Catalogue.builtin().task(name) for name in PUBLISHED}
    counts = {name: dict(card.expected) for name, card in cards.items()}
    sources = dict(publishers.SOURCES)
    believe(known)
    yield hub
    publishers.SOURCES.update(sources)
    for name, card in cards.items():
        card.expected.clear()
        card.expected.update(counts[name])
