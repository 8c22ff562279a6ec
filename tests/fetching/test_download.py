"""One file from a publisher's server, with everything that can go wrong on the way."""

from __future__ import annotations

import datetime
import hashlib
import multiprocessing
import time
from email.utils import format_datetime
from pathlib import Path

import pytest
from huggingface_hub import constants
from local_server import Fault, LocalServer

from viaduct.errors import DataError, StoreError, unwritable
from viaduct.fetching import download as downloading
from viaduct.fetching.download import Wanted, download
from viaduct.fetching.places import fetch_published, mirrored
from viaduct.fetching.publishers import PublishedFile

CONTENT = bytes(range(256)) * 4_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def file(server: LocalServer) -> Wanted:
    server.files["/data.bin"] = CONTENT
    return Wanted(f"{server.address}/data.bin", len(CONTENT), SHA256)


def is_alone(path: Path) -> bool:
    """Whether nothing but the file is in its folder."""
    return list(path.parent.iterdir()) == [path]


def test_a_file_arrives_whole_and_tells_how_far_it_is(file: Wanted, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    assert download(file, tmp_path / "x", lambda done, total: told.append((done, total))) == SHA256
    assert (tmp_path / "x").read_bytes() == CONTENT and is_alone(tmp_path / "x")
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_a_cut_connection_is_taken_up_where_it_broke(server: LocalServer, file: Wanted, tmp_path: Path) -> None:
    server.faults["/data.bin"] = [Fault(cut_after=300_000), Fault(cut_after=200_000)]
    download(file, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert server.requests("/data.bin") == ["", "bytes=300000-", "bytes=500000-"]


def test_connections_may_break_often_as_long_as_bytes_arrive(server: LocalServer, file: Wanted, tmp_path: Path) -> None:
    server.faults["/data.bin"] = [Fault(cut_after=50_000) for _ in range(3 * downloading.TRIES)]
    download(file, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_killed_download_goes_on(server: LocalServer, file: Wanted, tmp_path: Path) -> None:
    server.faults["/data.bin"] = [Fault(cut_after=400_000)] + [Fault(status=503)] * downloading.TRIES
    with pytest.raises(DataError, match=r"503 Service Unavailable, 6 times\n.*what has arrived is kept"):
        download(file, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    download(file, tmp_path / "x")
    assert server.requests("/data.bin")[-1] == "bytes=400000-" and (tmp_path / "x").read_bytes() == CONTENT


@pytest.mark.parametrize("known", [True, False])
def test_halves_of_two_versions_are_not_joined(server: LocalServer, file: Wanted, tmp_path: Path, known: bool) -> None:
    server.faults["/data.bin"] = [Fault(cut_after=400_000, body=CONTENT[::-1])]
    wanted = file if known else Wanted(file.address)
    download(wanted, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert is_alone(tmp_path / "x")


def test_a_server_that_ignores_ranges_gives_the_file_anew(server: LocalServer, file: Wanted, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"?" * 1_000)
    server.faults["/data.bin"] = [Fault(status=200, body=CONTENT)]
    download(file, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_part_that_is_not_of_the_file_is_thrown_away_once(server: LocalServer, file: Wanted, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"?" * 1_000)
    download(file, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert server.requests("/data.bin") == ["bytes=1000-", ""]


def test_a_part_longer_than_the_file_is_thrown_away(server: LocalServer, file: Wanted, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"?" * (len(CONTENT) + 1))
    (tmp_path / "x.part.version").write_text(f'"{SHA256}"')
    download(Wanted(file.address), tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_redirects_are_followed(server: LocalServer, file: Wanted, tmp_path: Path) -> None:
    server.redirects["/moved"] = "/data.bin"
    download(Wanted(f"{server.address}/moved", sha256=SHA256), tmp_path / "x")
    server.redirects["/round"] = "/round"
    with pytest.raises(DataError, match="redirects"):
        download(Wanted(f"{server.address}/round"), tmp_path / "y")


def test_a_busy_server_is_waited_for_as_it_asks(server: LocalServer, file: Wanted, tmp_path: Path) -> None:
    soon = format_datetime(datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3), usegmt=True)
    server.faults["/data.bin"] = [Fault(status=429, headers={"Retry-After": "1"}), Fault(503, {"Retry-After": soon})]
    started = time.monotonic()
    download(file, tmp_path / "x")
    assert 1.9 <= time.monotonic() - started < 20  # dates have whole seconds only
    server.faults["/data.bin"] = [Fault(status=429, headers={"Retry-After": "86400"})]
    with pytest.raises(DataError, match="asks to wait 86,400 s"):
        download(file, tmp_path / "y")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(status=404), "is no longer there .404 Not Found.\n.*--mirror"),
        (Fault(status=403), "does not give it to everyone .403 Forbidden."),
        (Fault(status=418), "the server says 418"),
        (Fault(body=CONTENT[:-1]), "the server sends 1,023,999 bytes, but 1,024,000 were published"),
        (Fault(body=CONTENT + b"?", without_length=True), "sends 1,024,001 bytes|sends 1,02., bytes"),
        (Fault(body=CONTENT[:-9], without_length=True), "the server sends 1,023,991 bytes, but 1,024,000"),
        (Fault(body=CONTENT[::-1]), f"has the SHA-256 .*, but {SHA256} was published"),
    ],
)
def test_what_is_not_the_published_file_is_refused(
    server: LocalServer, file: Wanted, tmp_path: Path, fault: Fault, message: str
) -> None:
    server.faults["/data.bin"] = [fault]
    with pytest.raises(DataError, match=message) as caught:
        download(file, tmp_path / "x")
    assert str(caught.value).startswith(file.address) and not list(tmp_path.iterdir())
    download(file, tmp_path / "x")


def test_a_web_page_in_the_place_of_data_is_told(server: LocalServer, file: Wanted, tmp_path: Path) -> None:
    server.files["/page"] = b"<!DOCTYPE html><html>Please log in</html>"
    with pytest.raises(DataError, match="the file is a web page"):
        download(Wanted(f"{server.address}/page"), tmp_path / "x")


def test_without_a_network_there_is_one_message_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be reached: .*\n.*--mirror"):
        download(Wanted("http://127.0.0.1:9/x"), tmp_path / "x")


def test_a_proxy_that_refuses_is_told(server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.address)
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(DataError, match=r"the proxy refuses: .*\n.*HTTPS_PROXY"):
        download(Wanted("https://example.org/x"), tmp_path / "x")


def test_offline_variables_are_honoured(
    server: LocalServer, file: Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE forbids"):
        download(file, tmp_path / "x")
    assert server.asked == []


def test_a_file_that_cannot_fit_is_not_begun(server: LocalServer, file: Wanted, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"takes 1,000,000\.0 GB, and its disk has"):
        download(Wanted(file.address, 10**15), tmp_path / "x")
    assert server.asked == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
def test_a_disk_that_fills_up_is_told_and_what_arrived_is_kept(file: Wanted, tmp_path: Path) -> None:
    (tmp_path / "x.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        download(file, tmp_path / "x")
    assert "the disk of x is full" in str(unwritable(caught.value, "x"))


def test_two_at_once_download_once(server: LocalServer, file: Wanted, tmp_path: Path) -> None:
    published = PublishedFile(file.address, "set/data.bin", file.size, file.sha256)
    fork = multiprocessing.get_context("fork")
    both = [
        fork.Process(target=fetch_published, args=(published, tmp_path, (), lambda _done, _total: None), daemon=True)
        for _ in range(2)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert [one.exitcode for one in both] == [0, 0] and len(server.requests("/data.bin")) == 1
    assert (tmp_path / "set/data.bin").read_bytes() == CONTENT


def test_mirrors_have_the_hosts_below_them_or_stand_for_one() -> None:
    address = "https://dl.fbaipublicfiles.com/XNLI/XNLI-1.0.zip?x=1"
    assert mirrored(address, ["http://m/all/"]) == "http://m/all/dl.fbaipublicfiles.com/XNLI/XNLI-1.0.zip?x=1"
    assert mirrored(address, ["dl.fbaipublicfiles.com=http://m/fb"]) == "http://m/fb/XNLI/XNLI-1.0.zip?x=1"
    assert mirrored(address, ["elsewhere=http://m"]) == address
    with pytest.raises(Exception, match="--mirror m: not a base address"):
        mirrored(address, ["m"])
