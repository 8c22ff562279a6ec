"""Archives: the requested members arrive whole, and nothing is written outside the folder."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from viaduct.errors import DataError
from viaduct.fetching.unpack import unpack

FILES = {"set/a.tsv": b"first\n" * 500, "set/deep/b.tsv": b"second\n", "set/readme.md": b"not wanted"}


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def taped(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


BOTH = pytest.mark.parametrize("pack", [zipped, taped])


@BOTH
def test_what_is_wanted_arrives_and_nothing_else(tmp_path: Path, pack: Callable[..., Path]) -> None:
    archive = pack(tmp_path / "x", FILES)
    sizes = unpack(archive, tmp_path / "data", ["set/*.tsv"], tmp_path / "work")
    assert sizes == {"set/a.tsv": 3_000, "set/deep/b.tsv": 7}
    assert (tmp_path / "data/set/deep/b.tsv").read_bytes() == b"second\n"
    assert not (tmp_path / "data/set/readme.md").exists() and not (tmp_path / "work").exists()


@BOTH
@pytest.mark.parametrize("name", ["../out", "set/../../out", "/etc/out", "..\\out", "C:/out"])
def test_a_name_that_leads_out_of_the_folder_stops_everything(
    tmp_path: Path, pack: Callable[..., Path], name: str
) -> None:
    archive = pack(tmp_path / "x", {**FILES, name: b"out"})
    with pytest.raises(DataError, match="names a file outside of the folder"):
        unpack(archive, tmp_path / "in/data", ["*"], tmp_path / "in/work")
    assert list(tmp_path.rglob("*")) == [archive]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "x", "w") as archive:
        member = tarfile.TarInfo("set/a.tsv")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DataError, match=r"'set/a\.tsv' is a link or a device"):
        unpack(tmp_path / "x", tmp_path / "data", ["set/*"], tmp_path / "work")
    assert not (tmp_path / "data").exists()


@BOTH
def test_half_unpacked_folders_from_before_are_completed(tmp_path: Path, pack: Callable[..., Path]) -> None:
    archive = pack(tmp_path / "x", FILES)
    half = tmp_path / "data/set/a.tsv"
    half.parent.mkdir(parents=True)
    half.write_bytes(FILES["set/a.tsv"][:100])
    (tmp_path / "work/set").mkdir(parents=True)
    (tmp_path / "work/set/a.tsv").write_bytes(b"of an unpacking that was killed")
    unpack(archive, tmp_path / "data", ["set/*.tsv"], tmp_path / "work")
    assert half.read_bytes() == FILES["set/a.tsv"] and (tmp_path / "data/set/deep/b.tsv").is_file()


@BOTH
def test_another_file_of_the_users_is_not_written_over(tmp_path: Path, pack: Callable[..., Path]) -> None:
    archive = pack(tmp_path / "x", FILES)
    own = tmp_path / "data/set/deep/b.tsv"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"my own\n")
    with pytest.raises(DataError, match=r"b\.tsv: is not the file that was published"):
        unpack(archive, tmp_path / "data", ["set/deep/*"], tmp_path / "work")
    assert own.read_bytes() == b"my own\n"


@BOTH
def test_damaged_archives_are_told_and_nothing_of_them_stays(tmp_path: Path, pack: Callable[..., Path]) -> None:
    archive = pack(tmp_path / "x", {"set/a.tsv": os.urandom(50_000), "set/b.tsv": b"b"})
    content = bytearray(archive.read_bytes())
    content[20_000] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DataError, match="x: the archive is damaged"):
        unpack(archive, tmp_path / "data", ["set/*"], tmp_path / "work")
    assert not (tmp_path / "data").exists() and not (tmp_path / "work").exists()


def test_what_is_no_archive_or_holds_other_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"text")
    with pytest.raises(DataError, match="is not a zip or tar archive"):
        unpack(tmp_path / "x", tmp_path / "data", ["*"], tmp_path / "work")
    with pytest.raises(DataError, match=r"the archive has no other/\*"):
        unpack(zipped(tmp_path / "y", FILES), tmp_path / "data", ["other/*"], tmp_path / "work")
