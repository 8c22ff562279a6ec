"""Recipes with committed rows have the fingerprints of those rows.

For each recipe, `pinned_recipes.json` has one digest over the fingerprints of all its stages, and one for each arm and
kind of stage, to show where they differ. `python tests/runs/test_pinned_recipes.py RECIPE ...` updates it, using the
data folder next to the repository. Do this for a recipe without committed rows, or one whose rows are removed in the
same commit because a number in them was wrong. Do not do it just because this test is in the way: a change that makes
rows foreign throws away hours of computing, so it must declare what held before (`bounds.later`), or wait.

The files of encoders and image towers are not needed: their names replace them. So changed files go unnoticed here.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from viaduct.runs import identity
from viaduct.runs.census import Census
from viaduct.runs.plan import outline
from viaduct.runs.recipes import load_recipe
from viaduct.runs.rows import RecipeData
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder
from viaduct.vision import fields

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PINNED = Path(__file__).with_name("pinned_recipes.json")
ALL = "all stages"


def digests(name: str, data: Path, memory: Path | None = None) -> dict[str, str]:
    """`ALL` and each arm with each kind of stage -> the digest of the fingerprints."""
    recipe = load_recipe(name)
    census = Census(RecipeData(DataFolder(data, Catalogue.builtin().with_files(recipe.cards))), memory)
    with (
        patch.object(identity, "start_identity", _named),
        patch.object(fields, "encoder_identity", _named),
        patch.object(fields, "model_gaps", lambda *_: []),
    ):
        plan = outline(recipe, census)
        found = identity.identities(plan, census.data)
    census.memory.save()
    groups: dict[str, list[str]] = {ALL: [f"missing: {gap}" for gap in plan.missing]}
    for stage in plan.stages:
        line = f"{stage.path} {found[stage.path].fingerprint}"
        for group in (ALL, f"{plan.places[stage.path].arm or 'shared'}: {stage.work.kind}"):
            groups.setdefault(group, []).append(line)
    return {group: hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] for group, lines in groups.items()}


def _named(model: str, *_: object) -> dict[str, str]:
    return {"name": Path(model).name}


@pytest.mark.parametrize("name", json.loads(PINNED.read_text(encoding="utf-8")))
def test_a_pinned_recipe_has_the_fingerprints_of_its_committed_rows(
    name: str, shared_data: Path, pytestconfig: pytest.Config
) -> None:
    assert pytestconfig.cache is not None
    found = digests(name, shared_data, pytestconfig.cache.mkdir("pinned_recipes") / "census.json")
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))[name]
    differing = [group for group in {**pinned, **found} if pinned.get(group) != found.get(group)]
    assert not differing, f"{name}: committed rows would be foreign; see {Path(__file__).name}. Differing: {differing}"


def main() -> None:
    """Write the digests of the recipes named on the command line, and keep those of other recipes."""
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))
    pinned |= {name: digests(name, DATA) for name in sys.argv[1:]}
    PINNED.write_text(json.dumps(pinned, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
