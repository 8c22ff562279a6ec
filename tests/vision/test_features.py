"""Features are computed once, survive killed processes, and are read back as the tower gave them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import small_towers
from feature_worker import ROW_BYTES, Counting, build, opener
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from viaduct.errors import DataError, UsageError
from viaduct.vision import features as features_module
from viaduct.vision import shards as shards_module
from viaduct.vision.features import Features, digest
from viaduct.vision.rows import Picture
from viaduct.vision.towers import load_tower


@pytest.fixture
def files(tmp_path: Path) -> list[tuple[str, Picture]]:
    """Ten pictures, each in a file of its own."""
    return write(tmp_path / "images", range(10))


def write(folder: Path, seeds: Sequence[int] | range) -> list[tuple[str, Picture]]:
    folder.mkdir(exist_ok=True)
    for seed in seeds:
        small_towers.picture(seed).save(folder / f"{seed}.png")
    return [(f"p{seed}", Picture(str(folder / f"{seed}.png"))) for seed in seeds]


def small_shards(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(features_module, "SHARD_BYTES", rows * ROW_BYTES)


def same(found: Features, pictures: Sequence[tuple[str, Picture]]) -> bool:
    """Whether every picture has the features that the tower gives for it alone."""
    tower = Counting()
    for name, picture in pictures:
        tokens_NPD, vector_ND = tower.encode([opener(picture)])
        np.testing.assert_array_equal(found.tokens([name]), tokens_NPD)
        np.testing.assert_array_equal(found.pooled([name]), vector_ND)
    return found.ids == tuple(dict.fromkeys(name for name, _ in pictures))


def test_what_is_read_is_what_the_tower_gives(files: Any, tmp_path: Path) -> None:
    found = build(files, Counting(), tmp_path)
    assert len(found) == 10 and found.missing == {} and "p3" in found and "p10" not in found
    assert found.tokens(["p1"]).dtype == np.float16 and found.pooled(["p1"]).dtype == np.float32
    assert same(found, files)


@settings(max_examples=40, deadline=None)
@given(wanted=st.lists(st.integers(0, 9), max_size=30))
def test_any_order_with_any_repeats_is_read(wanted: list[int], shared_features: tuple[Features, np.ndarray]) -> None:
    found, every_NPD = shared_features
    ids = [f"p{number}" for number in wanted]
    np.testing.assert_array_equal(found.tokens(ids), every_NPD[wanted])
    np.testing.assert_array_equal(found.tokens(np.array(wanted, dtype=np.int64)), every_NPD[wanted])
    np.testing.assert_array_equal(found.tokens(found.index(ids)), every_NPD[wanted])
    assert found.pooled(ids).shape == (len(wanted), 12)


@pytest.fixture(scope="module")
def shared_features(tmp_path_factory: pytest.TempPathFactory) -> tuple[Features, np.ndarray]:
    """Features in three shards, and the features that the tower gives for each image alone."""
    folder = tmp_path_factory.mktemp("shared")
    pictures = write(folder / "images", range(10))
    with pytest.MonkeyPatch.context() as patch:
        small_shards(patch, 4)
        found = build(pictures, Counting(), folder, batch=2)
    tower = Counting()
    return found, np.concatenate([tower.encode([opener(picture)])[0] for _, picture in pictures])


def test_a_model_gives_the_same_alone_and_from_the_cache(files: Any, tmp_path: Path) -> None:
    tower = load_tower(str(small_towers.write("vit", tmp_path / "vit")), None)
    found = build(files, tower, tmp_path)
    for name, picture in files:
        np.testing.assert_array_equal(found.tokens([name]), tower.encode([opener(picture)])[0])
    assert found.tokens([]).shape == (0, 64, 32)


def test_nothing_is_computed_or_opened_twice(files: Any, tmp_path: Path) -> None:
    first = Counting()
    build(files, first, tmp_path)

    def unopened(picture: Picture) -> Image.Image:
        raise AssertionError(f"{picture} was opened")

    assert same(build(files, Counting(stop=0), tmp_path, opener=unopened), files)
    (tmp_path / "images" / "copy.png").write_bytes((tmp_path / "images" / "4.png").read_bytes())
    small_towers.picture(5).save(tmp_path / "images" / "other.bmp")
    more = [("copy", Picture(str(tmp_path / "images" / "copy.png"))), ("x", files[2][1]), ("p2", files[2][1])]
    more.append(("bmp", Picture(str(tmp_path / "images" / "other.bmp"))))
    found = build([*more, *files, files[0]], Counting(stop=0), tmp_path)
    np.testing.assert_array_equal(found.tokens(["copy", "bmp", "x"]), found.tokens(["p4", "p5", "p2"]))
    build(more, Counting(stop=0), tmp_path, opener=unopened)
    assert first.computed == 10


def test_members_of_one_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "all.tar").write_bytes(b"")
    pictures = [(f"m{seed}", Picture(str(tmp_path / "all.tar"), f"{seed}.png")) for seed in range(4)]

    def member(picture: Picture) -> Image.Image:
        return small_towers.picture(int(str(picture.member).partition(".")[0]))

    found = build(pictures, Counting(), tmp_path, opener=member)
    expected = Counting().encode([small_towers.picture(seed) for seed in range(4)])
    np.testing.assert_array_equal(found.tokens(found.ids), expected[0])


def test_a_changed_file_is_computed_anew(files: Any, tmp_path: Path) -> None:
    build(files, Counting(), tmp_path)
    small_towers.picture(99).save(files[0][1].path)
    again = Counting()
    assert same(build(files, again, tmp_path), files)
    assert again.computed == 1


def test_other_pixels_under_the_same_size_and_time_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"  # the same number of bytes for any content
    small_towers.picture(1).save(path)
    files = [("a", Picture(str(path)))]
    build(files, Counting(), tmp_path)
    before = path.stat()
    small_towers.picture(2).resize(small_towers.picture(1).size).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    again = Counting()
    assert same(build(files, again, tmp_path), files) and again.computed == 1


def test_another_key_never_reads_these(files: Any, tmp_path: Path) -> None:
    build(files, Counting(), tmp_path)
    other = Counting(key="other")
    build(files, other, tmp_path)
    assert other.computed == 10
    with pytest.raises(DataError, match="describes other features"):
        build(files, Counting(tokens=64, width=3), tmp_path)


def test_an_id_has_one_picture(files: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'p0' has two pictures"):
        build([*files, ("p0", files[1][1])], Counting(), tmp_path)


def test_an_unknown_id_is_an_error(files: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'nobody' has no features: it is not among"):
        build(files, Counting(), tmp_path).tokens(["p1", "nobody"])


def test_no_pictures_are_no_features_and_no_folder(tmp_path: Path) -> None:
    found = build([], Counting(), tmp_path)
    assert len(found) == 0 and found.tokens([]).shape == (0, 16, 12) and found.pooled([]).shape == (0, 12)
    assert list(tmp_path.iterdir()) == []


def test_damaged_images_are_counted_and_named(files: Any, tmp_path: Path) -> None:
    paths = [Path(picture.path) for _, picture in files]
    for path in paths[1:8]:
        path.write_bytes(path.read_bytes()[:60])
    paths[8].unlink()
    Image.new("RGB", (500, 3)).save(paths[9])
    tower = Counting()
    with pytest.raises(DataError, match=r"9 of 10 images cannot be read:\n    p1: .*1\.png: ") as caught:
        build(files, tower, tmp_path)
    message = str(caught.value)
    assert "p5" in message and "p6" not in message and "and 4 more" in message
    assert "download it again" not in message and "how to fix: repair or replace" in message
    found = build(files, tower, tmp_path, skip_damaged=True)
    assert found.ids == ("p0",) and list(found.missing) == [f"p{number}" for number in range(1, 10)]
    assert "500 x 3 pixels is too narrow" in found.missing["p9"] and "No such file" in found.missing["p8"]
    assert tower.computed == 1
    with pytest.raises(DataError, match=r"'p3' has no features: .*3\.png"):
        found.tokens(["p3"])
    for seed, path in enumerate(paths):
        small_towers.picture(seed).save(path)
    assert same(build(files, tower, tmp_path), files) and tower.computed == 10


@pytest.mark.parametrize("stop", range(0, 10, 2))
def test_what_was_finished_before_an_interruption_stays(
    stop: int, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch, 4)
    interrupted = Counting(stop=stop)
    with pytest.raises(KeyboardInterrupt):
        build(files, interrupted, tmp_path, batch=2)
    going_on = Counting()
    assert same(build(files, going_on, tmp_path, batch=2), files)
    assert going_on.computed == 10 - stop // 4 * 4


@pytest.mark.parametrize("writes", range(9))
def test_a_crash_while_writing_leaves_nothing_half_written(
    writes: int, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies while writing its n-th array."""
    small_shards(monkeypatch, 4)
    save, written = np.save, []

    def dying(file: Any, array: Any, **options: Any) -> None:
        written.append(array)
        if len(written) > writes:
            file.write(b"\x93NUMPY half")
            file.flush()
            raise MemoryError
        save(file, array, **options)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", dying)
        with pytest.raises(MemoryError):
            build(files, Counting(), tmp_path, batch=2)
    assert list((tmp_path / "features" / "counting").glob(".*.tmp"))
    going_on = Counting()
    found = build(files, going_on, tmp_path, batch=2)
    assert same(found, files)
    assert going_on.computed == 10 - 4 * ((writes + 1) // 4)  # four arrays per shard, the last one for places
    assert not list((tmp_path / "features" / "counting").glob(".*.tmp"))


def worker(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).parent / "feature_worker.py"), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_killed_processes_leave_what_they_finished(files: Any, tmp_path: Path) -> None:
    """Processes are killed outright, one after another, at some image or in the middle of writing."""
    random = Random(1)
    for at in (2, 3, 6, 9):
        process = worker(tmp_path)
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == str(at):
                break
        time.sleep(random.random() / 20)
        process.send_signal(signal.SIGKILL)
        process.wait()
    shards = list((tmp_path / "features" / "counting").glob("shard-*.json"))
    going_on = Counting()
    found = build(files, going_on, tmp_path)
    assert same(found, files)
    assert shards and going_on.computed == 10 - 2 * len(shards)
    assert not list((tmp_path / "features" / "counting").glob("claim-*")), "those of the dead are gone"


def test_two_processes_at_once_compute_every_picture_once(files: Any, tmp_path: Path) -> None:
    processes = [worker(tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(int(output.split()[-1]) for output in outputs) == 10
    found = build(files, Counting(stop=0), tmp_path)
    assert same(found, files)


def test_who_comes_later_computes_what_nobody_is_at_and_waits_for_the_rest(files: Any, tmp_path: Path) -> None:
    root = tmp_path / "features" / "counting"
    shards = shards_module.Shards(root, "counting", 16, 12)
    notes: list[str] = []
    results: list[Features] = []
    tower = Counting()
    later = threading.Thread(
        target=lambda: results.append(
            build(files, tower, tmp_path, progress=lambda done, total, note: notes.append(note))
        ),
        daemon=True,
    )
    half = [picture for _, picture in files[:5]]
    places = features_module._places(half)
    root.mkdir(parents=True)
    (root / "claim-dead.lock").touch()  # left by a process that was killed before it wrote its claim
    with shards.claimed(list(places.values()), 5, lambda: None) as mine:
        assert mine == set(places.values())
        later.start()
        end = time.monotonic() + 60
        while tower.computed < 5 or "waiting for another" not in notes[-1]:
            assert time.monotonic() < end and later.is_alive()
            time.sleep(0.01)
        with shards.locked(lambda: None):
            shards.add([digest(opener(one)) for one in half], *Counting().encode([opener(one) for one in half]))
    later.join(timeout=30)
    assert "waiting for another process to compute features, 5 of 10 images" in notes
    assert notes[-1] == "features, 10 of 10 images"
    assert tower.computed == 5 and same(results[0], files)
    assert not list(root.glob("claim-*"))


@pytest.mark.parametrize("what", ["features", "pooled", "pictures"])
@pytest.mark.parametrize("damage", ["cut off", "gone", "a bit"])
def test_a_damaged_shard_is_computed_anew_and_no_other(
    what: str, damage: str, files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_shards(monkeypatch, 4)
    build(files, Counting(), tmp_path, batch=2)
    path = tmp_path / "features" / "counting" / f"{what}-00001.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7] if damage == "cut off" else whole[:-1] + bytes([whole[-1] ^ 1]))
    if damage == "gone":
        path.unlink()
    again = Counting()
    assert same(build(files, again, tmp_path, batch=2), files) and again.computed == 4
    assert same(build(files, Counting(stop=0), tmp_path), files)


def test_a_shard_removed_under_a_reader_does_not_change_what_it_reads(files: Any, tmp_path: Path) -> None:
    build(files[:5], Counting(), tmp_path)
    root = tmp_path / "features" / "counting"
    shards = shards_module.Shards(root, "counting", 16, 12)
    found = Features(shards, {name: shards.rows[digest(opener(picture))] for name, picture in files[:5]}, {})
    (root / "shard-00000.json").unlink()
    build(files[5:], Counting(), tmp_path)  # takes the number that was freed
    with shards.locked(lambda: None):
        shards.add([digest(opener(files[5][1]))], *Counting().encode([opener(files[5][1])]))
    assert same(found, files[:5])
    assert same(build(files, Counting(), tmp_path), files)


def test_damaged_notes_cost_nothing_or_say_what_to_remove(files: Any, tmp_path: Path) -> None:
    build(files, Counting(), tmp_path)
    root = tmp_path / "features" / "counting"
    (root / "places-00000.npy").write_bytes(b"")
    assert same(build(files, Counting(stop=0), tmp_path), files)  # reopened, not recomputed
    for text in ("{}", '{"rows": null}', '{"rows": 10}', '{"rows": 10, "sha256": {}}'):
        (root / "shard-00000.json").write_text(text)
        again = Counting()
        assert same(build(files, again, tmp_path), files) and again.computed == 10
    for text in ("{", "[]"):
        (root / "shard-00000.json").write_text(text)
        assert same(build(files, Counting(), tmp_path), files)
        (root / "meta.json").write_text(text)
        with pytest.raises(DataError, match=r"meta.json: damaged(.|\n)*remove"):
            build(files, Counting(), tmp_path)
        (root / "meta.json").unlink()


def test_a_shard_ends_after_some_time(files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_module, "SHARD_SECONDS", 0.0)
    build(files, Counting(), tmp_path, batch=4)
    root = tmp_path / "features" / "counting"
    rows = [json.loads(path.read_text())["rows"] for path in sorted(root.glob("shard-*.json"))]
    assert rows == [4, 4, 2]
