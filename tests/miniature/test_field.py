"""A recipe on the generated world needs no data folder: the world is made in the store's cache, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from viaduct import api
from viaduct.errors import StoreError, UsageError
from viaduct.miniature import field, world
from viaduct.runs.recipes import load_recipe


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders in which a world was requested; small worlds are written."""
    asked: list[Path] = []
    write = world.write

    def write_small(directory: Path) -> None:
        asked.append(directory)
        write(directory, scale=0.02)

    monkeypatch.setattr(world, "write", write_small)
    return asked


OVERRIDES = ("targets=[{task: xnli, languages: available}]", "intermediates=[{name: none}]", "measure=null")


def test_a_miniature_recipe_makes_its_world_in_the_stores_cache(
    small: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIADUCT_DATA", str(tmp_path / "real"))  # where other recipes' data would be
    recipe = load_recipe("demo", overrides=OVERRIDES)
    planned = api.plan(recipe, store=tmp_path / "store")
    assert small == [tmp_path / "store" / "cache" / "miniature"] and not planned.plan.missing
    assert {note.language for note in planned.data if note.task == "xnli"} >= {"en", "de"}
    named = world.write  # a folder that is named takes precedence
    named(tmp_path / "mine")
    assert api.plan(recipe, data=tmp_path / "mine", store=tmp_path / "other").plan.stages
    assert not (tmp_path / "other" / "cache" / "miniature").exists()
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be made"):
        api.plan(recipe, store=tmp_path / "file")


def test_other_recipes_are_not_given_a_generated_world(
    small: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIADUCT_DATA", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match=r"the data folder .*absent does not exist"):
        api.plan(load_recipe("real_small"), store=tmp_path / "store")
    assert not small and not field.MINIATURE.default
