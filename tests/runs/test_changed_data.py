"""Data that change while a stage reads them: the stage is not finished, one message says so, a rerun restarts it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import small_world
from rich.console import Console

from viaduct import api
from viaduct.errors import DataError
from viaduct.runs.execute import Options
from viaduct.runs.spec import Recipe, Target
from viaduct.runs.stage import Context, Spent, Work, kind_of

SMALL = small_world.recipe(targets=(Target(task="fruit"),), seeds=(1,))


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)


def go(data: Path, store: Path, recipe: Recipe = SMALL) -> None:
    options = Options(device="cpu", threads=1, poll_seconds=0.01)
    api.run(recipe, data=data, store=store, options=options, console=Console(quiet=True), command="")


def predictions(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("predictions/*.jsonl")}


def after_reading(monkeypatch: pytest.MonkeyPatch, kind: str, change: Callable[[], object]) -> None:
    """Make this change once, after a stage of this kind has read its inputs and just before it is finished."""
    original, waiting = kind_of(kind).run, [change]

    def run(context: Context, work: Work) -> Spent:
        spent = original(context, work)
        if waiting:
            waiting.pop()()
        return spent

    monkeypatch.setattr(kind_of(kind), "run", run)


def swap_labels(path: Path) -> None:
    """Swap the first two label values throughout the file; its size and modification time stay the same."""
    state, text = path.stat(), path.read_text(encoding="utf-8")
    first, second = sorted({line.rpartition("\t")[2] for line in text.splitlines()})[:2]
    places = str.maketrans({first[0]: second[0], second[0]: first[0]})
    lines = [line.rpartition("\t") for line in text.splitlines()]
    path.write_text("".join(f"{head}\t{label.translate(places)}\n" for head, _, label in lines), encoding="utf-8")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.read_text(encoding="utf-8") != text and path.stat().st_mtime_ns == state.st_mtime_ns


@pytest.mark.parametrize(("kind", "split"), [("train", "train"), ("predict", "test"), ("score", "test")])
def test_a_stage_is_not_finished_and_begins_again(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, split: str
) -> None:
    go(world, tmp_path / "untouched")
    file, store = world / "fruit" / f"{split}-en.tsv", tmp_path / "store"
    content = file.read_bytes()
    after_reading(monkeypatch, kind, lambda: swap_labels(file))
    with pytest.raises(DataError, match=rf"fruit {split} .* have changed since the run was planned") as raised:
        go(world, store)
    assert "how to fix: run the same command again" in str(raised.value)
    assert not list(store.rglob("*.partial"))  # nothing to resume from
    file.write_bytes(content)
    go(world, store)
    assert predictions(store) == predictions(tmp_path / "untouched")


def test_an_encoder_that_changes_is_not_taken_for_the_one_that_was_planned(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_encoder: Path
) -> None:
    encoder, store = tmp_path / "tiny", tmp_path / "store"
    shutil.copytree(tiny_encoder, encoder)
    (encoder / "weights").write_text("1", encoding="utf-8")  # read by the stages of this test
    weights = encoder / "model.safetensors"
    content = weights.read_bytes()
    monkeypatch.setattr("viaduct.models.trial.require_encoder", lambda *_: None)
    after_reading(monkeypatch, "train", lambda: weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1])))
    made = small_world.recipe(targets=(Target(task="fruit"),), seeds=(1,), encoder=str(encoder), allow_unknown=True)
    with pytest.raises(DataError, match=r"encoder.model.safetensors: \w+ -> \w+.*: files that it reads have changed"):
        go(world, store, made)
    assert not list(store.rglob("scores.json")) and not list(store.rglob("*.partial"))
    weights.write_bytes(content)
    go(world, store, made)
    assert list(store.rglob("scores.json"))


def test_a_file_that_is_written_anew_with_the_same_content_changes_nothing(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = sorted((world / "fruit").glob("test-*.tsv"))[0]
    after_reading(monkeypatch, "predict", lambda: file.write_bytes(file.read_bytes()))
    go(world, tmp_path / "store")


def test_a_file_that_is_gone_is_one_message(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = sorted((world / "fruit").glob("test-*.tsv"))[0]
    after_reading(monkeypatch, "predict", file.unlink)
    with pytest.raises(DataError, match=f"{file.name}: cannot be read: No such file"):
        go(world, tmp_path / "store")
