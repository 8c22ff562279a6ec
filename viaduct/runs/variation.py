"""Settings of one recipe that are tried side by side (`vary`)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from viaduct.errors import UsageError
from viaduct.runs.parts import RecipeParts
from viaduct.runs.recipes import changed
from viaduct.runs.spec import Recipe

VARIED = {"encoder", "intermediates", "targets", "vary"}
"""Fields of a recipe in which its settings may differ."""


def variants(recipe: RecipeParts) -> dict[str, RecipeParts]:
    """Name of a setting -> the recipe with it, in the order of the values; {"": the recipe} where nothing is varied.

    Raises UsageError for fields that do not exist, and for those that change more than how something is trained.
    """
    for field, values in recipe.vary.items():
        if len(set(map(str, values))) < max(2, len(values)):
            raise UsageError(f"vary {field}: {len(values)} values, not two or more that differ", fix="[1e-5, 3e-5]")
    if not recipe.vary:
        return {"": recipe}
    found: dict[str, RecipeParts] = {}
    for values in itertools.product(*recipe.vary.values()):
        setting = dict(zip(recipe.vary, values, strict=True))
        one = Recipe.model_validate(recipe)
        for field, value in setting.items():
            one = changed(one, field, value, f"vary {field}")
            if _frame(one) != _frame(recipe):
                fix = "vary fields below targets.*.training, intermediates.*.training or encoder.training"
                raise UsageError(f"vary {field}: it changes more than how something is trained", fix=fix)
        found[_name(setting)] = one
    return found


def _frame(recipe: RecipeParts) -> tuple[Any, ...]:
    """What all settings have in common: what is compared, on what."""
    targets = [(one.task, one.split, one.languages, one.retrieval) for one in recipe.targets]
    arms = [(one.name, one.optional, one.languages) for one in recipe.intermediates]
    return recipe.model_dump(exclude=VARIED), targets, arms


def _name(setting: Mapping[str, Any]) -> str:
    """The values with the last part of their fields' names, or all of them where that is not one field's alone."""
    last = [field.rpartition(".")[2] for field in setting]
    names = last if len(set(last)) == len(last) else list(setting)
    return ", ".join(f"{name} {_text(value)}" for name, value in zip(names, setting.values(), strict=True))


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
