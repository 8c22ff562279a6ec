from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter
from small_world import census, expand, recipe

from viaduct.runs.census import Census, Memory
from viaduct.runs.field import make_work
from viaduct.runs.planned import disk_need, estimates, pace
from viaduct.runs.rows import Need
from viaduct.runs.spec import Intermediate, Retrieval, Substitution, Target, Training
from viaduct.runs.stage import kind_of
from viaduct.tasks.catalogue import Catalogue

NONE = (Intermediate(name="none"),)
TRAIN = "mini/none/fruit/seed-1/train"


def tokens(world: Path, training: Training, **changes: object) -> float:
    targets = (Target(task="fruit", training=training),)
    plan = expand(recipe(intermediates=NONE, targets=targets, seeds=(1,), **changes), census(world))
    return estimates(plan, census(world))[TRAIN].tokens


def test_training_grows_with_epochs_until_the_steps_run_out(world: Path) -> None:
    one, four = (tokens(world, Training(epochs=epochs, evaluations=0)) for epochs in (1.0, 4.0))
    characters = sum(len(f"en train {n // 2}second {n}") for n in range(40))
    assert one == characters / 4
    assert four == 4 * one
    assert tokens(world, Training(epochs=4.0, evaluations=0, max_steps=2, batch_tokens=100)) == 200
    half = Substitution(task="fruit", split="train", use_split="train", part=(0.0, 0.5), why="half")
    assert tokens(world, Training(epochs=1.0, evaluations=0), substitutions=(half,)) == one / 2


def test_pace_and_disk_come_from_what_is_done_and_what_is_not(world: Path) -> None:
    plan = expand(recipe(intermediates=NONE, targets=(Target(task="fruit"),), seeds=(1,)), census(world))
    forecast = estimates(plan, census(world))
    assert pace(forecast, {}) is None
    assert pace(forecast, {TRAIN: 3.0}) == 3.0 / forecast[TRAIN].weight
    assert disk_need(plan, []) == 0
    need_one, need_two = disk_need(plan, [TRAIN]), disk_need(plan, [TRAIN, "mini/pretrain"])
    assert need_one is not None and need_two is not None and 0 < need_one < need_two
    ready = plan.recipe.model_copy(update={"encoder": "owner/name", "revision": "abc"})
    assert disk_need(expand(ready, census(world)), [TRAIN]) is None


def test_models_are_saved_in_full_precision_whatever_the_encoder_came_in(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"0" * 100)
    asked = recipe(
        encoder=str(folder), intermediates=NONE, targets=(Target(task="fruit"),), seeds=(1,), compare=(), revision=None
    )
    path = "half/none/fruit/seed-1/train"
    without_sizes = disk_need(expand(asked, census(world)), [path])
    sizes = {"num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 16, "vocab_size": 50}
    (folder / "config.json").write_text(json.dumps(sizes), encoding="utf-8")
    with_sizes = disk_need(expand(asked, census(world)), [path])
    assert without_sizes is not None and with_sizes is not None
    assert with_sizes / without_sizes == 4 * (2 * (4 * 8**2 + 2 * 8 * 16) + 50 * 8) / 100


def test_counts_are_remembered_by_content(world: Path, tmp_path: Path) -> None:
    memory = tmp_path / "census.json"
    first = Census(census(world).data, memory)
    count = first.count("fruit", "test", "en")
    first.memory.save()
    assert (count.found, count.published, count.labelled) == (40, 40, True)
    assert Census(census(world).data, memory).count("fruit", "test", "en") == count
    memory.write_text("{damaged", encoding="utf-8")
    assert Census(census(world).data, memory).count("fruit", "test", "en") == count


def test_of_parallel_text_only_the_lines_that_choose_a_layer_count() -> None:
    def of(needs: Iterable[Need]) -> tuple[int, float]:
        rows = {"tatoeba": 1_000, "ntrex": 2_000}
        found = [rows[task] for task, _, _ in needs]
        return sum(found), 10.0 * sum(found)

    sizes: Any = SimpleNamespace(
        of=of, predicting_bytes=lambda: None, census=SimpleNamespace(task=Catalogue.builtin().task)
    )
    asked: dict[str, Any] = {
        "task": "tatoeba",
        "languages": ("de", "sw"),
        "split": "test",
        "max_length": 9,
        "stride": 0,
    }
    asked["chosen_in"] = ("de", "sw")
    for layers, chosen in (("all", 2 * 200), ((3, 4), 2 * 2_000)):
        work = make_work("predict", retrieval=Retrieval(layers=layers), **asked)
        assert kind_of("predict").forecast(work, sizes).tokens == 10 * (2 * 1_000 + chosen)


@pytest.mark.parametrize("content", ["[1, 2]", '"text"', "7", "null", "{", '{"a": "b"}'])
def test_a_damaged_cache_is_made_again(tmp_path: Path, content: str) -> None:
    path = tmp_path / "cache.json"
    path.write_text(content, encoding="utf-8")
    assert Memory(path, TypeAdapter(int)).known == {}
