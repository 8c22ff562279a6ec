from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from viaduct.errors import StoreError
from viaduct.results.store import Store
from viaduct.results.writing import canonical, write_atomic

RECORD = {"fingerprint": "f", "identity": {"epochs": 3}, "path": "a/b"}


def finish(store: Store, path: str = "a/b", text: str = "result") -> None:
    claim = store.claim(path, RECORD)
    assert claim is not None
    (claim.output / "deep").mkdir()
    (claim.output / "deep" / "file").write_text(text)
    claim.finish({"seconds": 1.5})


def test_a_stage_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.state("a/b") == "waiting"
    claim = store.claim("a/b", RECORD)
    assert claim is not None
    (claim.output / "file").write_text("half")
    assert store.record("a/b") is None and not store.directory("a/b").exists()
    claim.finish({"seconds": 1.5})
    assert store.state("a/b") == "done"
    assert store.record("a/b") == RECORD
    assert store.cost("a/b") == {"seconds": 1.5}
    assert sorted(path.name for path in store.directory("a/b").iterdir()) == [
        "SHA256SUMS",
        "cost.json",
        "file",
        "stage.json",
    ]
    assert not (tmp_path / "a" / "b.partial").exists()


def test_a_finished_stage_cannot_be_claimed(tmp_path: Path) -> None:
    finish(Store(tmp_path))
    assert Store(tmp_path).claim("a/b", RECORD) is None


def test_an_interrupted_attempt_keeps_its_checkpoints_but_not_its_output(tmp_path: Path) -> None:
    store = Store(tmp_path)
    claim = store.claim("a/b", RECORD)
    assert claim is not None and not claim.resumed
    (claim.scratch / "checkpoint").write_text("step 5")
    (claim.output / "half").write_text("half")
    claim.note_seconds(12.5)
    claim.release()
    assert (store.state("a/b"), store.seconds("a/b")) == ("interrupted", 12.5)
    again = store.claim("a/b", RECORD)
    assert again is not None and again.resumed and again.seconds_before == 12.5
    assert (again.scratch / "checkpoint").read_text() == "step 5"
    assert list(again.output.iterdir()) == []
    again.release()


def test_checkpoints_of_something_else_are_discarded_and_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    claim = store.claim("a/b", {**RECORD, "fingerprint": "other"})
    assert claim is not None
    (claim.scratch / "checkpoint").write_text("stale")
    claim.note_seconds(99.0)
    claim.release()
    again = store.claim("a/b", RECORD)
    assert again is not None and not again.resumed and again.seconds_before == 0.0
    assert again.discarded == {**RECORD, "fingerprint": "other"}
    assert list(again.scratch.iterdir()) == []
    again.release()


def test_only_one_process_has_a_stage_and_its_death_frees_it(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, time; from viaduct.results.store import Store;"
        f"claim = Store(pathlib.Path({str(tmp_path)!r})).claim('a/b', {RECORD!r});"
        "print('have it', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "have it\n"
        store = Store(tmp_path)
        assert store.state("a/b") == "running"
        assert store.claim("a/b", RECORD) is None
    finally:
        process.kill()
        process.wait()
    assert store.state("a/b") == "interrupted"
    claim = store.claim("a/b", RECORD)
    assert claim is not None and claim.resumed
    claim.release()


def test_what_a_dying_process_left_beside_a_finished_stage_is_swept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    finish(store)
    scratch = tmp_path / "a" / "b.partial" / "scratch"
    scratch.mkdir(parents=True)
    store.sweep("a/b")
    assert not scratch.exists() and store.state("a/b") == "done"


def test_a_directory_that_is_no_stage_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "thesis.tex").write_text("years of work")
    store = Store(tmp_path)
    for ask in (store.record, store.state, lambda path: store.claim(path, RECORD)):
        with pytest.raises(StoreError, match="not a finished stage"):
            ask("a/b")
    (tmp_path / "a" / "b" / "stage.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        store.record("a/b")
    assert (tmp_path / "a" / "b" / "thesis.tex").read_text() == "years of work"


def test_equal_values_give_equal_bytes() -> None:
    assert canonical({"b": 1, "a": [0.1, "ж"]}) == canonical(json.loads(canonical({"a": [0.1, "ж"], "b": 1})))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "\ud800")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
