"""Bit flips on disk are detected in every file of a stage; read permissions of a store are left to the umask."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from viaduct.errors import StoreError
from viaduct.results import checksums
from viaduct.results.checksums import LIST, damaged, require_whole, seal, verify
from viaduct.results.store import Store
from viaduct.results.working import working_folder

FILES = ("encoder/model.safetensors", "head.safetensors", "predictions/de.jsonl", "scores.json", "outcomes.npz")


def make(store: Store, path: str = "mini/none/xnli/seed-1/train") -> Path:
    """A finished stage with files of every kind."""
    claim = store.claim(path, {"fingerprint": "f"})
    assert claim is not None
    for name in FILES:
        (claim.output / name).parent.mkdir(exist_ok=True)
        (claim.output / name).write_bytes(random.Random(name).randbytes(500))
    save_file({"weight": torch.ones(3)}, claim.output / FILES[0])
    claim.finish({"seconds": 1.0})
    return store.directory(path)


def flip(path: Path, seed: int = 1) -> None:
    content = bytearray(path.read_bytes())
    at = random.Random(seed).randrange(len(content) * 8)
    content[at // 8] ^= 1 << at % 8
    path.write_bytes(content)


@pytest.mark.parametrize("name", [*FILES, "stage.json"])
def test_a_changed_bit_is_noticed_in_every_file(tmp_path: Path, name: str) -> None:
    folder = make(Store(tmp_path))
    require_whole(folder)
    flip(folder / name)
    assert damaged(folder) == damaged(folder, name) == [name]
    with pytest.raises(StoreError, match=rf"{name} is damaged(.|\n)*remove the whole folder"):
        require_whole(folder)
    require_whole(folder, *({*FILES} - {name}))
    (folder / name).unlink()
    assert damaged(folder) == [name]


def test_the_list_is_what_sha256sum_reads(tmp_path: Path) -> None:
    folder = make(Store(tmp_path))
    done = subprocess.run(["sha256sum", "--check", "--strict", LIST], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(": OK") == len(FILES) + 1


def test_verify_names_damaged_files_and_stages_of_before(tmp_path: Path) -> None:
    store = Store(tmp_path)
    older, whole, broken = make(store, "a"), make(store, "b"), make(store, "c")
    (older / LIST).unlink()
    flip(broken / "scores.json")
    claim = store.claim("d", {"fingerprint": "f"})
    assert claim is not None
    found = verify(tmp_path)
    claim.release()
    assert (found.whole, found.unlisted, found.damaged) == (1, (older,), (broken / "scores.json",))
    require_whole(older)
    assert whole.is_dir()
    flip(broken / LIST)
    assert verify(tmp_path).damaged


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "\0" * len(text),
        lambda text: text.replace("scores.json", "scopes.json"),
        lambda text: "".join(line for line in text.splitlines(True) if "scores.json" not in line),
        lambda text: text[:-40],
        lambda text: "<html>" + text,
    ],
)
def test_a_damaged_list_does_not_switch_checking_off(tmp_path: Path, damage: Callable[[str], str]) -> None:
    store = Store(tmp_path)
    folder = make(store, "a")
    flip(folder / "scores.json")
    (folder / LIST).write_text(damage((folder / LIST).read_text()))
    for check in (lambda: store.file("a", "scores.json"), lambda: require_whole(folder)):
        with pytest.raises(StoreError, match=r"(scores.json|SHA256SUMS) is damaged|scopes.json is gone"):
            check()
    assert verify(tmp_path).damaged and not verify(tmp_path).whole


def test_what_is_not_in_the_list_is_damage_too(tmp_path: Path) -> None:
    folder = make(Store(tmp_path))
    (folder / "later.json").write_text("{}")
    assert damaged(folder) == damaged(folder, "later.json") == ["later.json"] and damaged(folder, "none.json") == []


@pytest.mark.parametrize("name", ["cost.json", "stage.json"])
@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff\xfe", b"[" * 50_000, b'{"fingerprint": "f", "identity": []}']
)
def test_a_damaged_record_is_one_message(tmp_path: Path, name: str, content: bytes) -> None:
    store = Store(tmp_path)
    folder = make(store, "a")
    (folder / name).write_bytes(content)
    read = store.cost if name == "cost.json" else store.record
    with pytest.raises(StoreError, match=f"{name} is damaged"):
        read("a")
    if name == "stage.json":
        (folder / LIST).unlink()
        with pytest.raises(StoreError, match=r"stage.json is (damaged|not a record)"):
            read("a")


def test_costs_have_a_checksum_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = make(store, "a")
    assert store.cost("a") == {"seconds": 1.0} and verify(tmp_path).damaged == ()
    text = (folder / "cost.json").read_text()
    (folder / "cost.json").write_text(text.replace('"seconds": ', '"seconds": 9'))
    with pytest.raises(StoreError, match=r"cost.json is damaged(.|\n)*remove the whole folder"):
        store.cost("a")
    assert verify(tmp_path)[0::2] == (0, (folder / "cost.json",))
    (folder / "cost.json").write_text('{"seconds": 3}')  # from before there were checksums
    assert store.cost("a") == {"seconds": 3}
    (folder / "cost.json").unlink()
    assert verify(tmp_path)[0::2] == (0, (folder / "cost.json",))
    with pytest.raises(StoreError, match=r"cost.json is gone"):
        store.cost("a")


def test_a_stage_that_was_moved_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for path in ("a", "b"):
        claim = store.claim(path, {"fingerprint": path, "path": path})
        assert claim is not None
        claim.finish({"seconds": 1.0})
    for old, new in (("a", "c"), ("b", "a"), ("c", "b")):
        (tmp_path / old).rename(tmp_path / new)
    assert verify(tmp_path) == (0, (), (tmp_path / "a" / "stage.json", tmp_path / "b" / "stage.json"))
    with pytest.raises(StoreError, match=r"a holds the stage b: its folder was moved\n.*move it back"):
        store.record("a")


def test_a_file_is_hashed_once_while_it_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(Store(tmp_path))
    require_whole(folder)
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.sha256", None)
        require_whole(folder)
    flip(folder / "scores.json")
    assert damaged(folder)


@pytest.mark.parametrize(("umask", "file", "directory"), [(0o027, 0o640, 0o750), (0o002, 0o664, 0o775)])
def test_who_may_read_is_left_to_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int, file: int, directory: int
) -> None:
    monkeypatch.setattr(checksums, "mode_mask", lambda: umask)
    before = os.umask(umask)
    try:
        folder = make(Store(tmp_path / "store"))
        with working_folder(tmp_path / "cache") as made:
            seal(made)
            made.rename(tmp_path / "made")
    finally:
        os.umask(before)
    paths = [folder, *folder.rglob("*"), tmp_path / "made", tmp_path / "made" / LIST, folder.with_name("train.lock")]
    for path in paths:
        assert path.stat().st_mode & 0o777 == (directory if path.is_dir() else file), path


def test_working_folders_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, time; from viaduct.results.working import working_folder\n"
        f"with working_folder(pathlib.Path({str(tmp_path)!r})) as made:\n"
        "    (made / 'model').write_text('large'); print(made, flush=True); time.sleep(60)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in "12"]
    try:
        outputs = [process.stdout for process in processes]
        killed, living = (Path(output.readline().strip()) for output in outputs if output is not None)
        processes[0].kill()
        processes[0].wait()
        (tmp_path / "notes").mkdir()
        with working_folder(tmp_path) as own:
            assert living.is_dir() and own.is_dir() and not killed.exists()
        assert {path.name for path in tmp_path.iterdir()} == {"notes", living.name}
    finally:
        for process in processes:
            process.kill()
            process.communicate()
