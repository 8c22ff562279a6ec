"""A run looks up the files of a split and language once, and reads labelled ones once, however often it needs them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import small_world
from rich.console import Console
from small_world import recipe

from viaduct import api
from viaduct.results import store as stores
from viaduct.runs.execute import Options
from viaduct.runs.spec import Substitution
from viaduct.tasks import folder


def test_files_are_found_once_and_read_once(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: Counter[tuple[str, ...]] = Counter()
    read: Counter[tuple[str, ...]] = Counter()
    locate, read_located = folder.locate, folder.read_located

    def count_locate(card: Any, root: Path, language: str, split: str) -> Any:
        found[card.name, split, language] += 1
        return locate(card, root, language, split)

    def count_read(card: Any, located: Any, language: str, split: str) -> Any:
        read[card.name, split, language] += 1
        return read_located(card, located, language, split)

    monkeypatch.setattr(folder, "locate", count_locate)
    monkeypatch.setattr(folder, "read_located", count_read)
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)
    halves = tuple(
        Substitution(task="fruit", split=split, use_split="train", part=part, without_rows_of=("berry",), why="no dev")
        for split, part in (("train", (0.0, 0.5)), ("dev", (0.5, 1.0)))
    )
    options = Options(device="cpu", threads=1, poll_seconds=0.01)
    api.run(
        recipe(substitutions=halves),
        data=world,
        store=tmp_path / "store",
        options=options,
        console=Console(quiet=True),
        command="test",
    )
    assert {found["fruit", "train", "en"], found["fruit", "test", "de"], found["berry", "test", "de"]} == {1}
    assert max(found.values()) == 1, found
    labelled = {key: count for key, count in read.items() if key[0] != "prose"}
    assert max(labelled.values()) == 1 and ("twins", "test", "sw") in labelled, labelled


def test_a_second_plan_reads_nothing_where_the_store_is_not_there_yet(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIADUCT_CACHE", str(tmp_path / "cache" / "viaduct"))
    first = api.plan(recipe(), data=world, store=tmp_path / "store")

    def refuse(card: Any, *_: object) -> Any:
        raise AssertionError(f"{card.name} is read again")

    monkeypatch.setattr(folder, "read_located", refuse)
    second = api.plan(recipe(), data=world, store=tmp_path / "store")
    assert second.identities == first.identities and second.overlaps == first.overlaps
    assert not (tmp_path / "store").exists()


def test_a_stage_is_looked_at_a_few_times_however_many_there_are(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During a run any stage may be another process's work; checking all of them after each one would be quadratic."""
    looked: Counter[Path] = Counter()
    read = stores._read_record

    def count(partial: Path) -> Any:
        looked[partial] += 1
        return read(partial)

    monkeypatch.setattr(stores, "_read_record", count)
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)
    stores._finished.cache_clear()
    many = recipe(seeds=tuple(range(1, 9)))
    planned = api.plan(many, data=world, store=tmp_path / "store")
    api.run(
        many,
        data=world,
        store=tmp_path / "store",
        options=Options(device="cpu", threads=1, poll_seconds=1e9),
        console=Console(quiet=True),
        command="test",
    )
    assert max(looked.values()) <= 16, looked.most_common(3)
    assert stores._finished.cache_info().misses == len(planned.plan.stages)
