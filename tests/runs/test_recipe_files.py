"""The recipes of this repository: they load, mean what they say, and can be planned without any data."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small_world import census

from viaduct.results.xtreme import INTERMEDIATES, TARGETS
from viaduct.runs.description import roles
from viaduct.runs.plan import outline
from viaduct.runs.recipes import load_recipe
from viaduct.runs.validate import validate

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
FILES = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_says_what_it_asks_and_how_to_run_it(path: Path) -> None:
    made = load_recipe(path)
    validate(made, census(path.parent))
    words = path.read_text(encoding="utf-8").partition('"""')[2].partition('"""')[0]
    assert made.name == path.stem and made.hypothesis
    assert "Hypothesis" in words and "Command:" in words and "Cost:" in words


def test_the_papers_grid_is_whole() -> None:
    made = load_recipe(FOLDER / "xstilts.py")
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
    made = load_recipe(FOLDER / "xstilts.py", seeds=(1,), overrides=["targets=[{task: tatoeba}, {task: xnli}]"])
    plan = outline(made, census(tmp_path))
    assert set(plan.left_out) == {"ccg", "ccg+replay", "all_nine"}
    assert "all_but_ccg" in {cell.arm for cell in plan.cells}
    assert ("ccg+replay", "ccg") not in plan.recipe.compare and ("mnli+replay", "mnli") in plan.recipe.compare
    assert plan.missing and {cell.target.task for cell in plan.cells} == {"tatoeba", "xnli"}


def test_the_small_grid_trains_every_arm_equally_long_and_on_nothing_it_evaluates() -> None:
    made = load_recipe(FOLDER / "xstilts_small.py")
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
