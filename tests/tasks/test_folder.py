"""A data folder finds and reads every file once, and never returns the old contents of a changed file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from viaduct.errors import DataError, UsageError
from viaduct.tasks import folder as folder_module
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder
from viaduct.tasks.hashes import file_sha256

LINES = "Ann\tB-PER\ncame\tO\n\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """PAN-X in XTREME's layout, and a file of plain text."""
    for name, text in (("panx/test-en.tsv", LINES), ("text/en.txt.gz", "Tea.\n")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the calls that access the disk."""
    called: list[str] = []
    for name in ("locate", "read_located"):
        function = getattr(folder_module, name)
        monkeypatch.setattr(
            folder_module, name, lambda *args, name=name, function=function: (called.append(name), function(*args))[1]
        )
    return called


def test_files_are_found_and_read_once(data: Path, calls: list[str]) -> None:
    folder = DataFolder(data, Catalogue.builtin())
    first = folder.read("panx", "test", "en")
    assert folder.has("panx", "test", "en") and folder.read("panx", "test", "en") is first
    assert folder.digest("panx", "test", "en") == ("xtreme", hashlib.sha256(LINES.encode()).hexdigest())
    assert calls == ["locate", "read_located"]


def test_plain_text_is_not_kept_in_memory(data: Path, calls: list[str]) -> None:
    folder = DataFolder(data, Catalogue.builtin())
    assert folder.read("text", "train", "en") is not folder.read("text", "train", "en")
    assert calls == ["locate", "read_located", "read_located"]


def test_the_datasets_used_last_are_kept(data: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "REMEMBERED", 2)
    for code in ("de", "fr"):
        (data / "panx" / f"test-{code}.tsv").write_text(LINES, encoding="utf-8")
    folder = DataFolder(data, Catalogue.builtin())
    for code in ("de", "fr", "de", "en", "de", "fr"):
        folder.read("panx", "test", code)
    assert calls.count("read_located") == 4  # fr again, after en


def test_a_changed_file_is_read_again(data: Path) -> None:
    folder = DataFolder(data, Catalogue.builtin())
    path = data / "panx" / "test-en.tsv"
    old = folder.read("panx", "test", "en"), folder.digest("panx", "test", "en")
    state = path.stat()
    path.write_text(LINES.replace("Ann", "Bob"), encoding="utf-8")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # same size, same modification time
    assert folder.read("panx", "test", "en") != old[0] and folder.digest("panx", "test", "en") != old[1]
    assert file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    with pytest.raises(DataError, match=r"test-en.tsv: cannot be read: No such file"):
        folder.read("panx", "test", "en")


def test_absent_files_and_unknown_names_are_told_each_time(data: Path, calls: list[str]) -> None:
    folder = DataFolder(data, Catalogue.builtin())
    for _ in range(2):
        with pytest.raises(DataError, match=r"no files for panx, split test, language de; looked for "):
            folder.read("panx", "test", "de")
    assert not folder.has("panx", "test", "de") and calls == ["locate"]
    with pytest.raises(UsageError, match="unknown task 'panxx'"):
        folder.locate("panxx", "test", "de")
    with pytest.raises(UsageError, match="unknown language of panx"):
        folder.locate("panx", "test", "xx")
