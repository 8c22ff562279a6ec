"""Downloading from the Hub: one pinned revision, only what is needed, and one message when it cannot be done."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path

import huggingface_hub
import pyarrow
import pyarrow.parquet
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from viaduct.errors import DataError, UsageError
from viaduct.tasks import bucc, mnli, pawsx, tatoeba, xnli
from viaduct.tasks import hub as hub_module
from viaduct.tasks.card import Hub, read
from viaduct.tasks.hub import RECORD, fetch

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """Stands in for the Hub: writes the files it has got and remembers what was asked."""

    files: tuple[str, ...] = ()
    asked: list[tuple[str, str, list[str]]] = field(default_factory=list)

    def download(
        self, repository: str, *, repo_type: str, revision: str, local_dir: Path, allow_patterns: list[str]
    ) -> None:
        assert repo_type == "dataset"
        self.asked.append((repository, revision, allow_patterns))
        rows = pyarrow.table({"premise": ["a"], "hypothesis": ["b"], "label": [1]})
        for name in self.files:
            path = local_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pyarrow.parquet.write_table(rows, path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.download)
    monkeypatch.setattr(hub_module, "unreachable", lambda: None)
    return fake


def test_what_is_fetched_is_what_the_card_reads(tmp_path: Path, hub: FakeHub) -> None:
    hub.files = ("sw/validation-00000-of-00001.parquet",)
    folder = fetch(xnli.CARD, tmp_path, "sw", "dev")
    assert folder == tmp_path / "hub/facebook/xnli"
    pinned = next(source.hub for source in xnli.CARD.sources if source.hub is not None)
    assert hub.asked == [("facebook/xnli", pinned.revision, ["sw/validation-*.parquet"])]
    assert (folder / RECORD).read_text().strip() == pinned.revision
    assert read(xnli.CARD, tmp_path, "sw", "dev").rows[0].label == "neutral"
    fetch(xnli.CARD, tmp_path, "sw", "dev")
    assert len(hub.asked) == 1


def test_a_folder_of_the_users_own_is_used_but_never_added_to(tmp_path: Path, hub: FakeHub) -> None:
    own = tmp_path / "hub/facebook/xnli/de"
    own.mkdir(parents=True)
    (own / "test-00000-of-00001.parquet").write_bytes(b"")
    assert fetch(xnli.CARD, tmp_path, "de", "test") == own.parent
    with pytest.raises(DataError, match="files without a record of their revision"):
        fetch(xnli.CARD, tmp_path, "fr", "test")
    assert hub.asked == []


def test_an_interrupted_download_is_completed(tmp_path: Path, hub: FakeHub) -> None:
    hub.files = ("data/train-00000-of-00002.parquet",)
    with pytest.raises(DataError, match="has no data/train"):
        fetch(mnli.CARD, tmp_path, "en", "train")
    hub.files = ("data/train-00001-of-00002.parquet",)
    fetch(mnli.CARD, tmp_path, "en", "train")
    assert len(hub.asked) == 2


def test_without_a_network_there_is_one_message_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise LocalEntryNotFoundError("Name or service not known\nand much more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", failing)
    monkeypatch.setattr(hub_module, "unreachable", lambda: None)
    with pytest.raises(DataError) as caught:
        fetch(pawsx.CARD, tmp_path, "ko", "test")
    message = str(caught.value)
    assert "paws-x cannot be downloaded from the Hugging Face Hub: Name or service not known\n" in message
    assert "ko/test-*.parquet there by hand" in message


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (socket.gaierror(-2, "Name or service not known"), "https://huggingface.co cannot be reached (Name or"),
        (ConnectionRefusedError(111, "Connection refused"), "https://huggingface.co cannot be reached (Connection ref"),
        (TimeoutError("slow"), None),
        (None, None),
    ],
)
def test_a_missing_network_is_known_at_once_and_a_slow_one_is_not_taken_for_it(
    fault: OSError | None, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(place: tuple[str, int], timeout: float) -> socket.socket:
        assert place == ("huggingface.co", 443) and timeout <= 2
        if fault is not None:
            raise fault
        return socket.socket()

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "https://huggingface.co")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(socket, "create_connection", connect)
    found = hub_module.unreachable()
    assert found is None if problem is None else found is not None and found.startswith(problem)
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://proxy"})
    assert hub_module.unreachable() is None, "names are the proxy's to find"


def test_revisions_are_commits_and_are_never_mixed(tmp_path: Path, hub: FakeHub) -> None:
    with pytest.raises(UsageError, match="tatoeba pins no revision"):
        fetch(tatoeba.CARD, tmp_path, "de", "test")
    with pytest.raises(UsageError, match="'main' is not a commit"):
        fetch(tatoeba.CARD, tmp_path, "de", "test", revision="main")
    with pytest.raises(UsageError, match="xnli is pinned to revision"):
        fetch(xnli.CARD, tmp_path, "de", "test", revision=COMMIT)
    hub.files = ("tatoeba.deu/validation-00000-of-00001.parquet",)
    fetch(tatoeba.CARD, tmp_path, "de", "test", revision=COMMIT)
    with pytest.raises(DataError, match=f"holds files of revision {COMMIT}"):
        fetch(tatoeba.CARD, tmp_path, "fr", "test", revision=COMMIT[::-1])


def test_a_card_without_a_hub_dataset_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bucc has no Hub dataset with a test split"):
        fetch(bucc.CARD, tmp_path, "de", "test")
    with pytest.raises(UsageError, match="mnli has no Hub dataset with a test split"):
        fetch(mnli.CARD, tmp_path, "en", "test")


def test_pinned_revisions_are_whole_commits() -> None:
    hubs = [source.hub for card in (mnli.CARD, xnli.CARD, pawsx.CARD) for source in card.sources if source.hub]
    assert len(hubs) == 3
    assert all(isinstance(hub, Hub) and hub.revision is not None and len(hub.revision) == 40 for hub in hubs)
