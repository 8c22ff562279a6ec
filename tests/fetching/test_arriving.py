"""Whole tasks and recipes: what is fetched, from where, what is checked, and what is reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from local_server import Fault, LocalServer, Repository
from publications import MIRROR, hub_files
from typer.testing import CliRunner

from viaduct.cli import app
from viaduct.fetching import publishers
from viaduct.languages import LANGUAGES
from viaduct.tasks import panx
from viaduct.tasks.card import XTREME_HUB, read
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.hashes import file_sha256

XNLI_ZIP = f"{MIRROR}/dl.fbaipublicfiles.com/XNLI/XNLI-1.0.zip"


@pytest.fixture
def fetch(published: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs `viaduct fetch` in an empty folder; returns (exit status, output)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIADUCT_MIRROR", published.address + MIRROR)
    monkeypatch.setenv("VIADUCT_CACHE", str(tmp_path / "own"))

    def run(*words: str, yes: bool = True) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["fetch", *words, *(["--yes"] if yes else [])])
        error = "" if done.exception is None or isinstance(done.exception, SystemExit) else str(done.exception)
        return done.exit_code, " ".join((done.output + error).split())

    return run


def test_a_task_arrives_from_its_publisher_and_is_counted(fetch, published: LocalServer, tmp_path: Path) -> None:
    status, said = fetch("xnli", "--languages", "de,fr")
    assert status == 0, said
    assert "xnli: XNLI; licence: CC BY-NC 4.0; from dl.fbaipublicfiles.com" in said
    assert "xnli test: 12 rows in 2 languages, 2 fetched now; the published count holds in 2" in said
    assert read(Catalogue.builtin().task("xnli"), tmp_path / "data", "fr", "test").layout == "official"
    records = {json.loads(path.read_text())["address"] for path in (tmp_path / "data/.fetched").glob("*.json")}
    assert "https://dl.fbaipublicfiles.com/XNLI/XNLI-1.0.zip" in records
    published.asked.clear()
    status, said = fetch("xnli", "--languages", "de,fr")
    assert status == 0 and published.asked == [] and "12 rows in 2 languages, there before" in said


def test_nothing_is_asked_for_before_somebody_agrees(fetch, published: LocalServer) -> None:
    status, said = fetch("xnli", yes=False)
    assert status == 1 and "licence: CC BY-NC 4.0" in said and "pass --yes" in said
    assert published.asked == []


def test_where_the_publisher_fails_the_hub_is_asked(fetch, published: LocalServer, tmp_path: Path, world: Path) -> None:
    published.datasets[XTREME_HUB.repository] = Repository(hub_files(panx.CARD, world), str(XTREME_HUB.revision))
    status, said = fetch("panx", "--languages", "de")
    there = read(panx.CARD, tmp_path / "data", "de", "test")
    assert there.layout == "hub" and there.rows == tuple(read(panx.CARD, world, "de", "test").rows)
    assert status == 1 and "panx test: missing in de: there are" in said, "the real counts are others"


def test_files_that_changed_since_are_refused(fetch, published: LocalServer, tmp_path: Path) -> None:
    published.files[XNLI_ZIP] = published.files[XNLI_ZIP][:-1] + b"?"
    status, said = fetch("xnli", "--languages", "de")
    assert status == 1 and "has the SHA-256" in said and "could not be fetched" in said
    assert not (tmp_path / "data/XNLI-1.0").exists()


def test_rows_that_are_not_as_many_as_published_are_told(fetch, published: LocalServer) -> None:
    expected = Catalogue.builtin().task("xquad").expected
    expected["de", "test"] = 7
    status, said = fetch("xquad", "--languages", "de")
    assert status == 1 and "xquad test: missing in de: " in said and "rows, but 7 were published" in said


def test_languages_that_a_publisher_does_not_have_are_named(fetch, published: LocalServer) -> None:
    status, said = fetch("tatoeba", "--languages", "de,sw")
    assert status == 1 and "tatoeba test: missing in sw: " in said and "404" in said
    assert "in 1 languages, 1 fetched now" in said


def test_a_file_of_the_users_own_stays(fetch, tmp_path: Path) -> None:
    own = tmp_path / "data/xquad/xquad.de.json"
    own.parent.mkdir(parents=True)
    own.write_text('{"data": []}')
    status, said = fetch("xquad", "--languages", "de")
    assert status == 1 and "is not the file that was published" in said
    assert own.read_text() == '{"data": []}'


def test_a_half_file_from_before_is_completed(fetch, published: LocalServer, tmp_path: Path) -> None:
    whole = published.files[f"{MIRROR}/github.com/deepmind/xquad/raw/master/xquad.de.json"]
    half = tmp_path / "data/xquad/xquad.de.json"
    half.parent.mkdir(parents=True)
    half.write_bytes(whole[: len(whole) // 2])
    status, said = fetch("xquad", "--languages", "de")
    assert status == 0, said
    assert half.read_bytes() == whole


def test_a_busy_publisher_is_asked_again(fetch, published: LocalServer) -> None:
    published.faults[XNLI_ZIP] = [Fault(status=503), Fault(cut_after=100), Fault(status=429)]
    status, said = fetch("xnli", "--languages", "de")
    assert status == 0, said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ccg"], "CCGbank (LDC2005T13) needs a licence from the Linguistic Data Consortium"),
        (["flickr8k"], "no known place provides it; `viaduct tasks flickr8k` says where it is looked for"),
        (["xnlj"], "unknown task or recipe 'xnlj'. Did you mean 'xnli'?"),
        (["xnli", "xqad"], "unknown task 'xqad'. Did you mean 'xquad'?"),
        (["xnli", "--languages", "de,klingon"], "unknown language 'klingon'"),
        (["xcopa", "--languages", "de"], "xcopa has none of the languages de"),
        (["xnli", "--mirror", "here"], "--mirror here: not a base address"),
    ],
)
def test_what_cannot_be_fetched_is_said_in_one_message(fetch, words: list[str], message: str) -> None:
    status, said = fetch(*words)
    assert status != 0 and message in said


def test_every_published_file_has_a_card_and_lies_where_it_reads() -> None:
    catalogue = Catalogue.builtin()
    for name, files in publishers.SOURCES.items():
        card = catalogue.task(name)
        for file in files:
            assert set(file.languages or ()) <= set(LANGUAGES) and file.address.startswith("http")
            assert (file.sha256 is None) or (len(file.sha256) == 64 and file.size)
        assert card.sources


def test_real_files_have_the_published_hashes() -> None:
    """Runs only if the real XQuAD is present."""
    folder = Path(__file__).resolve().parents[3] / "shared/data/xquad"
    if not folder.is_dir():
        pytest.skip("no real data set folder")
    files = [file.of("test", code) for file in publishers.SOURCES["xquad"] for code in file.languages or ()]
    found = {file.to: file_sha256(folder.parent / file.to) for file in files if file is not None}
    assert found == {file.to: file.sha256 for file in files if file is not None} and len(found) == 11
