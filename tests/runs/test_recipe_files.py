"""The recipes that come with Viaduct: they load, mean what they say, and can be planned without any data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small_world import census

from viaduct.errors import UsageError
from viaduct.results.xtreme import INTERMEDIATES, TARGETS
from viaduct.runs.census import Census
from viaduct.runs.description import roles
from viaduct.runs.plan import outline
from viaduct.runs.recipes import SHIPPED, load_recipe, shipped
from viaduct.runs.rows import RecipeData
from viaduct.runs.validate import validate
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder

FILES = [SHIPPED / f"{one.name}.py" for one in shipped()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_says_what_it_asks_and_how_to_run_it(path: Path) -> None:
    made = load_recipe(path)
    catalogue = Catalogue.builtin().with_files(made.cards)
    validate(made, Census(RecipeData(DataFolder(path.parent, catalogue))))
    words = path.read_text(encoding="utf-8").partition('"""')[2].partition('"""')[0]
    assert made.name == path.stem and made.hypothesis
    assert all(f"\n{part}" in words for part in ("Hypothesis", "Command:", "Cost:", "Result:"))


def test_the_list_of_recipes_says_what_each_asks_expects_and_costs() -> None:
    listed = {one.name: one for one in shipped()}
    assert {"demo", "real_small", "xstilts", "multimodal", "compression_miniature"} <= listed.keys()
    assert all(one.question and one.hypothesis and one.cost for one in listed.values())
    assert listed["demo"].cost == "four to six minutes on two cores" and "\n" not in listed["xstilts"].hypothesis


def test_a_file_goes_before_a_shipped_recipe_of_that_name_and_a_wrong_name_is_answered_with_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"did you mean xstilts_small.*\n.*one of: compression_miniature, cost_e5, "):
        load_recipe("xstilts_smal")
    (tmp_path / "demo").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="demo: a recipe is a"):
        load_recipe("demo")


def test_the_papers_grid_is_whole() -> None:
    made = load_recipe("xstilts")
    found = roles(made)
    wanted = {
        "none",
        "all_nine",
        "replay",
        "mnli_translated",
        *INTERMEDIATES,
        *(f"{name}+replay" for name in INTERMEDIATES),
    }
    assert set(found.values()) == wanted
    assert {arm.name for arm in made.intermediates} - found.keys() == {"all_but_ccg"}
    assert {arm.name for arm in made.intermediates if arm.optional} == {"ccg", "ccg+replay", "all_nine"}
    assert tuple(target.task for target in made.targets) == TARGETS
    assert all(target.languages == "all" for target in made.targets)
    assert {target.retrieval.layers for target in made.targets if target.task in ("bucc", "tatoeba")} == {(14,)}
    trained = [arm.training for arm in made.intermediates[1:]]
    assert {one.learning_rate for one in trained} == {1e-5}
    assert re.fullmatch("[0-9a-f]{40}", made.revision or "")
    assert len(made.seeds) >= 3


def test_without_licensed_data_only_its_arms_go(tmp_path: Path) -> None:
    made = load_recipe("xstilts", seeds=(1,), overrides=["targets=[{task: tatoeba}, {task: xnli}]"])
    plan = outline(made, census(tmp_path))
    assert set(plan.left_out) == {"ccg", "ccg+replay", "all_nine"}
    assert "all_but_ccg" in {cell.arm for cell in plan.cells}
    assert ("ccg+replay", "ccg") not in plan.recipe.compare and ("mnli+replay", "mnli") in plan.recipe.compare
    assert plan.missing and {cell.target.task for cell in plan.cells} == {"tatoeba", "xnli"}


def test_the_small_grid_trains_every_arm_equally_long_and_on_nothing_it_evaluates() -> None:
    made = load_recipe("xstilts_small")
    arms = made.intermediates[1:]
    assert {arm.training.max_steps for arm in arms} == {150}
    assert {"anli_plus", "mnli", "qqp", "squad2", "squad", "hellaswag", "cosmosqa", "commonsenseqa"} <= set(
        roles(made).values()
    )
    assert "all_together" not in roles(made) and "ccg_pmb" not in roles(made)
    declared = {(one.task, one.split): one for one in made.substitutions}
    assert len(declared) == len(made.substitutions)
    assert declared["squad2", "train"].without_contexts_of == "xquad"
    assert declared["ccg_pmb", "train"].without_rows_of == ("tatoeba", "udpos")
