"""A recipe's field `miniature`: its data are the generated world, which is created if no data folder is given."""

from __future__ import annotations

from pathlib import Path

from viaduct.runs.field import RecipeField
from viaduct.runs.parts import RecipeParts


class MiniatureField(RecipeField[bool]):
    """The data are the generated world: the report says prominently that it is no evidence."""

    name = "miniature"
    owner = "recipe"
    model = bool
    default = False
    generates_data = True

    def generate(self, recipe: RecipeParts, cache: Path) -> Path:
        """The world with seed 1 at full size; generating it takes ten seconds if it is not there yet."""
        from viaduct.miniature.world import write  # loads Matplotlib, Babel and emoji

        write(cache / self.name)
        return cache / self.name


MINIATURE = MiniatureField()
