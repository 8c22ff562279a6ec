"""Cleaning a store during or after a run: nothing that a result depends on is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import small_world
from rich.console import Console
from small_world import recipe

from viaduct import api
from viaduct.errors import StoreError
from viaduct.results.checksums import require_whole
from viaduct.results.claim import stage_name
from viaduct.runs.execute import Options
from viaduct.runs.keep import Keep, peak
from viaduct.runs.spec import Recipe, Target
from viaduct.runs.stage import Context, Spent, kind_of

QUICK = Options(device="cpu", threads=1, poll_seconds=0.01)
SMALL = recipe(targets=(Target(task="fruit"),), seeds=(1,))
LARGER = recipe(targets=(Target(task="fruit"), Target(task="berry")), seeds=(1,))


def go(asked: Recipe, data: Path, store: Path, keep: Keep = "all") -> api.Result:
    options = replace(QUICK, keep=keep)
    return api.run(asked, data=data, store=store, options=options, console=Console(quiet=True), command="test")


def models(store: Path) -> set[str]:
    return {str(path.parent.relative_to(store / "mini")) for path in (store / "mini").rglob("encoder")}


def predictions(store: Path) -> list[Path]:
    return list((store / "mini").rglob("*.jsonl"))


@pytest.mark.parametrize("keep", ["needed", "scores"])
def test_results_are_the_same_without_models(world: Path, tmp_path: Path, keep: Keep) -> None:
    whole, less = go(SMALL, world, tmp_path / "all"), go(SMALL, world, tmp_path / "less", keep)
    assert whole.scores.equals(less.scores)
    assert len(models(tmp_path / "all")) > 3 and models(tmp_path / "less") == {"pretrain"}
    assert bool(predictions(tmp_path / "less")) is (keep == "needed")
    found = api.verify(tmp_path / "less")
    assert not found.damaged and found.whole
    assert {one.state for one in api.status("small", store=tmp_path / "less")} == {"done"}


def test_what_is_needed_again_is_made_again(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, original, ran = tmp_path / "store", small_world.run, []
    whole = go(LARGER, world, tmp_path / "whole")
    go(SMALL, world, store, "needed")
    before = {path: path.read_bytes() for path in (store / "mini").rglob("scores.json")}

    def note(context: Context) -> Spent:
        folder = context.directory.parent
        ran.append(str(folder.with_name(stage_name(folder.name)).relative_to(store / "mini")))
        return original(context)

    monkeypatch.setattr(small_world, "run", note)
    go(SMALL, world, store, "needed")
    assert ran == []
    found = go(LARGER, world, store, "needed")
    assert any("intermediate" in one for one in ran) or any("fruit" in one and one.endswith("train") for one in ran)
    assert not any("pretrain" in one for one in ran)
    assert {path: path.read_bytes() for path in before} == before
    assert found.scores.equals(whole.scores) and models(store) == {"pretrain"}


def test_a_run_that_kept_all_can_be_cleaned_later(world: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    go(SMALL, world, store)
    freed = api.clean("small", data=world, store=store)
    assert freed > 0 and models(store) == {"pretrain"} and predictions(store)
    assert api.clean("small", data=world, store=store) == 0
    assert api.clean("small", keep="scores", data=world, store=store) > 0 and not predictions(store)
    with pytest.raises(StoreError, match="removed to make room"):
        require_whole(store / "mini/none/fruit/seed-1/predict")


def test_a_kill_while_cleaning_loses_nothing(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = go(SMALL, world, tmp_path / "whole")
    store, unlink, left = tmp_path / "store", Path.unlink, [3]

    def killed(path: Path, missing_ok: bool = False) -> None:
        if "encoder" in path.parts and not (left := left_one()):
            raise KeyboardInterrupt(left)
        unlink(path, missing_ok)

    def left_one() -> int:
        left[0] -= 1
        return left[0] + 1

    with monkeypatch.context() as while_killed, pytest.raises(KeyboardInterrupt):
        while_killed.setattr(Path, "unlink", killed)
        go(SMALL, world, store, "needed")
    assert go(SMALL, world, store, "needed").scores.equals(whole.scores)
    assert models(store) == {"pretrain"} and not api.verify(store).damaged


def test_the_forecast_of_disk_counts_what_is_there_at_once(world: Path, tmp_path: Path) -> None:
    planned = api.plan(LARGER.model_copy(update={"seeds": (1, 2, 3, 4)}), data=world, store=tmp_path / "store")
    sizes = {stage.path: 1 for stage in planned.plan.stages if kind_of(stage.work.kind).leaves_encoder}
    assert len(sizes) == 13  # the pretrained one, 4 after quiz, and 8 on fruit, shared with berry
    assert peak(planned.plan.in_turn([stage.path for stage in planned.plan.stages]), sizes, "all") == len(sizes)
    # The pretrained one, the one after quiz, and 4 on fruit until berry is predicted.
    assert peak(planned.plan.in_turn([stage.path for stage in planned.plan.stages]), sizes, "needed") == 6
    need = [planned.need_bytes(keep) for keep in ("all", "needed", "scores")]
    assert None not in need and need[2] == need[1] < need[0]
    done = go(LARGER, world, tmp_path / "store", "all")
    assert len(done.scores) and api.plan(LARGER, data=world, store=tmp_path / "store").need_bytes() == 0


def test_the_forecast_of_disk_and_memory_grows_with_the_rows_that_are_read(world: Path, tmp_path: Path) -> None:
    few = api.plan(SMALL, data=world, store=tmp_path / "store")
    path = world / "fruit" / "train-en.tsv"
    rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
    more = 4_000 // len(rows)
    path.write_text("".join(f"{at}-{row}" for at in range(more) for row in rows), encoding="utf-8")
    many = api.plan(SMALL, data=world, store=tmp_path / "store")
    (_, before), (_, after) = few.largest or (None, 0.0), many.largest or (None, 0.0)
    assert after - before > 400 * (more - 1) * len(rows)
    assert (many.need_bytes() or 0) - (few.need_bytes() or 0) > 4 * (more - 1) * len(rows)
