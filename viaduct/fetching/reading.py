"""Finds out which data a recipe reads, by planning it and recording what is looked up."""

from __future__ import annotations

from pathlib import Path

from viaduct.runs.census import Census
from viaduct.runs.plan import Plan, outline
from viaduct.runs.rows import Need, RecipeData
from viaduct.runs.spec import Recipe
from viaduct.tasks.card import Located
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder


class _Watched(DataFolder):
    """A data folder that records what is looked up in it."""

    def __init__(self, root: Path, catalogue: Catalogue) -> None:
        super().__init__(root, catalogue)
        self.asked: dict[Need, None] = {}

    def locate(self, task: str, split: str, language: str) -> Located:
        self.asked[task, split, language] = None
        return super().locate(task, split, language)


def looked_for(recipe: Recipe, data: Path, memory: Path | None) -> tuple[list[Need], Plan]:
    """(every split and language that planning this recipe looks up, the plan). While data are missing, not everything
    is looked up: call this again when they have arrived."""
    folder = _Watched(data, Catalogue.builtin().with_files(recipe.cards))
    census = Census(RecipeData(folder), memory)
    plan = outline(recipe, census)
    census.memory.save()
    return list(folder.asked), plan
