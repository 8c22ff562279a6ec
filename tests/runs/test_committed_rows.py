"""Committed rows take the place of the stages that made them, and their report equals the store's."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_world
from rich.console import Console
from small_world import recipe
from typer.testing import CliRunner

from viaduct import api, cli, plans
from viaduct.errors import StoreError, UsageError, ViaductError
from viaduct.metrics.classification import accuracy
from viaduct.results.claim import stage_name
from viaduct.results.committed import PARTS, CommittedRows, KeptStage, add_part, packed, part_name
from viaduct.results.outcomes import LanguageOutcomes, read_outcomes, write_outcomes
from viaduct.runs import committed
from viaduct.runs.execute import Options
from viaduct.runs.spec import Recipe, Target, Training

FRUIT = Target(task="fruit")
SEEDS = (1, 2, 3)
TABLES = ("main_table", "per_language", "transfer_gap", "contrasts")


@pytest.fixture(autouse=True)
def outcomes_of_pairs(world: Path, monkeypatch: pytest.MonkeyPatch, no_heat_map_files: None) -> None:
    cards = [replace(one, metric=accuracy, metrics=("accuracy",)) for one in small_world.CARDS if one.kind == "pair"]
    small_world.add_cards(monkeypatch.setattr, cards)


def asked(*seeds: int, **changes: object) -> Recipe:
    return recipe(**{"targets": (FRUIT, Target(task="twins")), "seeds": seeds, **changes})


def go(wanted: Recipe, data: Path, store: Path, rows: Path) -> Path:
    options = Options(device="cpu", threads=1, poll_seconds=0.01)
    quiet = Console(quiet=True)
    return api.run(wanted, data=data, store=store, rows=rows, options=options, console=quiet, command="x").directory


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that were run, as paths below `mini/` in their store."""
    found: list[str] = []
    original = small_world.run

    def noted(context: object) -> object:
        folder = context.directory.parent  # type: ignore[attr-defined]
        found.append(str(folder.with_name(stage_name(folder.name))).partition("/mini/")[2])
        return original(context)  # type: ignore[arg-type]

    monkeypatch.setattr(small_world, "run", noted)
    return found


def tables(run: Path) -> dict[str, bytes]:
    """A report's tables and rows as bytes, without times (which some claims state)."""
    names = (*(f"{name}.csv" for name in TABLES), "rows.jsonl")
    return {name: (run / name).read_bytes() for name in names}


def test_the_report_of_rows_alone_is_that_of_the_store(world: Path, tmp_path: Path) -> None:
    store, rows = tmp_path / "store", tmp_path / "results"
    run = go(asked(*SEEDS), world, store, rows)
    assert {line["verdict"] for line in csv.DictReader((run / "contrasts.csv").open())} - {"no verdict", ""}
    folder, added = api.add_rows("small", store=store, rows=rows)
    assert (folder, added) == (rows / "small", (10, 0, 0, 0))
    before, whole = tables(run), json.loads((run / "report.json").read_text())
    shutil.rmtree(world)
    run.parent.parent.rename(tmp_path / "lost")
    page = api.report("small", store=tmp_path / "new", rows=rows, console=Console(quiet=True))
    assert tables(page.parent) == before
    assert json.loads((page.parent / "report.json").read_text())["records"] == whole["records"]
    for name in ("costs.jsonl", "cost.csv", "claims.json"):
        assert (page.parent / name).read_bytes() == (tmp_path / "lost/runs/small" / name).read_bytes()
    words = "10 scores are taken from the committed rows of small, which have their costs but no models"
    assert words in page.read_text() and words not in (tmp_path / "lost/runs/small/report.html").read_text()
    by_folder = api.report(folder, store=tmp_path / "third", console=Console(quiet=True))
    assert by_folder.read_bytes() == page.read_bytes()
    assert {one.state for one in api.status("small", store=tmp_path / "new", rows=rows)} == {"done"}
    assert str(tmp_path).encode() not in committed.unpacked(folder / committed.RECORD)


def test_two_halves_make_the_whole_and_nothing_runs_again(world: Path, tmp_path: Path, ran: list[str]) -> None:
    rows, none = tmp_path / "results", tmp_path / "none"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("viaduct.report.page.write", small_world.write_no_report)
        go(asked(1, 2), world, tmp_path / "a", none)
        go(asked(3), world, tmp_path / "b", none)
    whole = tables(go(asked(*SEEDS), world, tmp_path / "whole", none))
    assert api.add_rows("small", store=tmp_path / "a", rows=rows)[1].scores == 7
    first = {path: path.read_bytes() for path in (rows / "small").glob(PARTS)}
    assert api.add_rows("small", store=tmp_path / "b", rows=rows)[1] == (3, 1, 6, 0)
    assert all(path.read_bytes() == content for path, content in first.items())
    ran.clear()
    assert tables(go(asked(*SEEDS), world, tmp_path / "c", rows)) == whole
    assert ran == [] and not (tmp_path / "c" / "mini").exists()
    assert api.add_rows("small", store=tmp_path / "c", rows=rows)[1] == (0, 10, 0, 0)
    alone = api.report("small", store=tmp_path / "d", rows=rows, console=Console(quiet=True))
    assert tables(alone.parent) == whole


@pytest.mark.usefixtures("no_report")
def test_only_what_is_not_committed_is_run_again(world: Path, tmp_path: Path, ran: list[str]) -> None:
    rows = tmp_path / "results"
    go(asked(1), world, tmp_path / "a", rows)
    api.add_rows("small", store=tmp_path / "a", rows=rows)
    ran.clear()
    planned = api.plan(asked(1, 2), data=world, store=tmp_path / "b", rows=rows)
    assert {path for path, state in planned.states.items() if "seed-1" in path and state != "done"} == set()
    assert planned.states["mini/pretrain"] == "waiting" and planned.seconds is None
    assert "4 scores are taken from the committed rows of small" in plans.text(planned)
    go(asked(1, 2), world, tmp_path / "b", rows)
    assert "pretrain" in ran and all("seed-2" in path or path == "pretrain" for path in ran)
    assert api.add_rows("small", store=tmp_path / "b", rows=rows)[1] == (3, 4, 0, 0)
    again = sorted((rows / "small").glob("*"))
    assert api.add_rows("small", store=tmp_path / "b", rows=rows)[1] == (0, 7, 0, 0)
    assert sorted((rows / "small").glob("*")) == again


def test_rows_of_another_recipe_are_counted_and_not_used(world: Path, tmp_path: Path, ran: list[str]) -> None:
    rows = tmp_path / "results"
    go(asked(1), world, tmp_path / "a", rows)
    api.add_rows("small", store=tmp_path / "a", rows=rows)
    short = asked(1, targets=(FRUIT.model_copy(update={"training": Training(epochs=1.0)}), Target(task="twins")))
    planned = api.plan(short, data=world, store=tmp_path / "b", rows=rows)
    assert planned.store.foreign == 2 and planned.states["mini/none/fruit/seed-1/score"] == "waiting"
    assert "2 scores are of other settings, seeds or data in the committed rows of small: not used" in plans.text(
        planned
    )
    ran.clear()
    page = go(short, world, tmp_path / "b", rows) / "report.html"
    assert "none/fruit/seed-1/train" in ran and "none/twins/predict" not in ran
    assert "2 scores are of other settings" in page.read_text()
    (world / "fruit" / "test-sw.tsv").write_text("1\tsw a\tsw b\tyes\n")
    changed = api.plan(asked(1), data=world, store=tmp_path / "c", rows=rows)
    assert changed.store.foreign == 2


def flipped(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("pattern", [PARTS, committed.RECORD])
@pytest.mark.parametrize("change", ["flip", "cut", "empty"])
def test_a_damaged_file_is_refused_in_one_message(world: Path, tmp_path: Path, pattern: str, change: str) -> None:
    rows = tmp_path / "results"
    go(asked(1), world, tmp_path / "a", rows)
    folder, _ = api.add_rows("small", store=tmp_path / "a", rows=rows)
    (path,) = folder.glob(pattern)
    whole = path.read_bytes()
    read: Callable[[Path], object] = CommittedRows if pattern == PARTS else committed.load_rows
    read(folder)
    for place in range(0, len(whole), max(1, len(whole) // 40)) if change == "flip" else (len(whole) - 1,):
        path.write_bytes(whole[: 0 if change == "empty" else place])
        if change == "flip":
            path.write_bytes(whole)
            flipped(path, place)
        with pytest.raises(StoreError, match=r"is damaged: .*\n.*git checkout"):
            read(folder)
    told = CliRunner().invoke(cli.app, ["report", "small", "--store", str(tmp_path / "b"), "--rows", str(rows)])
    assert isinstance(told.exception, StoreError) and str(path) in str(told.exception)


def changed(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object], name: str = "") -> None:
    """Replaces this part with a changed one named by its content, or writes the changed one under a given name."""
    with np.load(io.BytesIO(committed.unpacked(path)), allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    about = json.loads(bytes(arrays["about"]))
    change(about, arrays)
    content = io.BytesIO()
    np.savez(content, **{**arrays, "about": np.frombuffer(json.dumps(about).encode(), np.uint8)})  # type: ignore[arg-type]
    if not name:
        path.unlink()
    path.with_name(name or part_name(content.getvalue())).write_bytes(packed(content.getvalue()))


def better(about: dict[str, Any], _: object) -> None:
    for stage in about["stages"]:
        stage["files"] = {key: text.replace('"value": 0.', '"value": 0.9') for key, text in stage["files"].items()}


def shorter(_: object, arrays: dict[str, Any]) -> None:
    arrays["0/accuracy"] = arrays["0/accuracy"][:-1]


@pytest.mark.usefixtures("no_report")
def test_parts_that_are_not_what_was_added_are_refused(world: Path, tmp_path: Path) -> None:
    rows = tmp_path / "results"
    go(asked(1), world, tmp_path / "a", rows)
    folder, _ = api.add_rows("small", store=tmp_path / "a", rows=rows)
    (path,) = folder.glob(PARTS)
    whole = path.read_bytes()

    def refused(words: str) -> None:
        with pytest.raises(ViaductError, match=words):
            CommittedRows(folder)
        shutil.rmtree(folder)
        folder.mkdir()
        path.write_bytes(whole)

    changed(path, better)
    (folder / "zz.rows.xz").write_bytes(whole)
    refused("zz.rows.xz is damaged: its content does not match its name")
    changed(path, lambda about, arrays: arrays.pop("0/units"))
    refused("is damaged: .*0/units")
    changed(path, shorter)
    refused(r"is damaged: .*accuracy of list 0 is \(")
    path.write_bytes(whole + whole)
    refused("its content does not match its name")
    os.mkfifo(folder / "a.rows.xz")
    refused("is a pipe")
    changed(path, better)
    path.write_bytes(whole)
    refused(r"have different scores for one stage \(\w+\), and nothing says which are right")
    changed(path, lambda about, _: [stage["cost"].update(seconds=5) for stage in about["stages"]])
    path.write_bytes(whole)
    assert len(list(folder.glob(PARTS))) == 2 and CommittedRows(folder).stages  # costs may differ


@pytest.mark.usefixtures("no_report")
def test_rows_that_are_gone_and_records_of_others_are_told(world: Path, tmp_path: Path) -> None:
    rows = tmp_path / "results"
    go(asked(1), world, tmp_path / "a", rows)
    folder, _ = api.add_rows("small", store=tmp_path / "a", rows=rows)
    go(asked(1, 2), world, tmp_path / "a", tmp_path / "none")
    api.add_rows("small", store=tmp_path / "a", rows=rows)
    first, second = sorted(folder.glob(PARTS))
    for path, words in ((first, f"{first.name} is gone"), (second, f"{first.name} is gone")):
        path.unlink()
        with pytest.raises(StoreError, match=rf"{words}, but run.json.xz lists them\n.*git checkout"):
            api.report("small", store=tmp_path / "b", rows=rows)
    folder.rename(rows / "other")
    with pytest.raises(StoreError, match=r"belongs to a run of the recipe small\n.*rename its folder to small"):
        api.status("other", store=tmp_path / "b", rows=rows)


@pytest.mark.usefixtures("no_report")
def test_what_is_there_stays_when_adding_is_stopped(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tmp_path / "results"
    go(asked(1), world, tmp_path / "a", rows)
    folder, _ = api.add_rows("small", store=tmp_path / "a", rows=rows)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    go(asked(1, 2), world, tmp_path / "a", tmp_path / "none")
    for stopped_at in (1, 2):
        with monkeypatch.context() as patch:
            left = iter(range(1, 10))

            def stop(descriptor: int, left: object = left, at: int = stopped_at) -> None:
                if next(left) == at:  # type: ignore[call-overload]
                    raise KeyboardInterrupt

            patch.setattr("os.fsync", stop)
            with pytest.raises(KeyboardInterrupt):
                api.add_rows("small", store=tmp_path / "a", rows=rows)
        assert {path: path.read_bytes() for path in before} == before
        assert len(CommittedRows(folder).stages) and not [one for one in folder.iterdir() if one.suffix == ".tmp"]
    added = api.add_rows("small", store=tmp_path / "a", rows=rows)[1]
    assert added.scores + added.before == 7
    assert len(committed.load_rows(folder).cells) == 7


@pytest.mark.usefixtures("no_report")
def test_mistakes_are_named(world: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no run 'small'"):
        api.add_rows("small", store=tmp_path / "a", rows=tmp_path / "results")
    go(asked(1), world, tmp_path / "a", tmp_path / "results")
    shutil.rmtree(tmp_path / "a" / "mini")
    with pytest.raises(UsageError, match="no score of small is done"):
        api.add_rows("small", store=tmp_path / "a", rows=tmp_path / "results")
    assert not (tmp_path / "results").exists()
    go(asked(1), world, tmp_path / "a", tmp_path / "results")
    told = CliRunner().invoke(
        cli.app, ["rows", "small", "--store", str(tmp_path / "a"), "--rows", str(tmp_path / "results")]
    )
    assert told.exit_code == 0 and "results/small (4 scores added to 0)" in told.output.replace("\n", "")
    with pytest.raises(UsageError, match=r"there is no run 'smal'(.|\n)*small"):
        api.report("smal", store=tmp_path / "b", rows=tmp_path / "results")


def outcomes(*, seed: int, examples: int = 70) -> dict[str, LanguageOutcomes]:
    draw = np.random.default_rng(seed)
    units = np.arange(examples, dtype=np.int32)[::-1]
    shares = {
        "f1": draw.choice([0, 1 / 3, 1], examples).astype(np.float32),
        "exact": draw.integers(0, 2, examples) * 1.0,
    }
    counts = {name: draw.integers(0, 300, examples) for name in ("correct", "predicted", "gold")}
    return {
        "de": LanguageOutcomes(shares, units, "first", 0.5, None),
        "sw": LanguageOutcomes(counts, units + 5, "second", None, 0.1),
    }


def test_outcomes_come_back_as_a_score_stage_has_them_and_equal_ones_give_equal_files(tmp_path: Path) -> None:
    given = {f"model {seed}": outcomes(seed=seed) for seed in range(11)} | {"other rows": outcomes(seed=0, examples=3)}
    given["one language"] = {"sw": given["model 3"]["sw"]}
    stages = [KeptStage(kind="score", fingerprint=one, inputs={}, cost={}, files={}) for one in [*given, "without"]]
    path = add_part(tmp_path / "a", stages, given)
    again = add_part(tmp_path / "b", stages, given)
    assert path is not None and again is not None and path.name == again.name
    assert path.read_bytes() == again.read_bytes() and add_part(tmp_path / "b", [], {}) is None
    rows = CommittedRows(tmp_path / "a")
    assert rows.outcomes("without") is None and list(rows.stages) == [one.fingerprint for one in stages]
    for model, wanted in given.items():
        write_outcomes(tmp_path, wanted)
        left, found = read_outcomes(tmp_path), rows.outcomes(model)
        assert left is not None and found is not None and list(found) == list(left) == list(wanted)
        for code, one in found.items():
            assert (one.ids, one.chance, one.majority) == (left[code].ids, left[code].chance, left[code].majority)
            for mine, theirs in (
                (one.units, left[code].units),
                *zip(one.values.values(), left[code].values.values(), strict=True),
            ):
                assert mine.dtype == theirs.dtype and (mine == theirs).all()
            assert list(one.values) == list(left[code].values)
