"""The settings of one recipe that are tried and compared (`vary`)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from viaduct.errors import UsageError
from viaduct.runs.parts import Pretrain, RecipeParts, Training
from viaduct.runs.recipes import changed
from viaduct.runs.spec import Recipe

VARIED = {"encoder", "intermediates", "targets", "vary"}
"""Fields of a recipe in which its settings may differ."""


def variants(recipe: RecipeParts) -> dict[str, RecipeParts]:
    """Name of a setting -> the recipe with it, in the order of the values; {"": the recipe} if nothing is varied.

    Raises UsageError for fields that do not exist, for those that change what English dev is or anything but how
    something is trained, and for settings that are equal or score English dev differently.
    """
    for field, values in recipe.vary.items():
        if len(values) < 2:
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
        name = _name(setting)
        if name in found or one in found.values():
            raise UsageError(f"vary: the setting '{name}' appears twice", fix="give values that differ")
        found[name] = one
        _require_same_looks(found)
    return found


def _require_same_looks(settings: Mapping[str, RecipeParts]) -> None:
    """Raise UsageError if the best score on English dev cannot choose fairly between the first and the last setting."""
    names = list(settings)
    first, last = names[0], names[-1]
    if _looks(settings[first]) != _looks(settings[last]):
        raise UsageError(
            f"vary: '{first}' and '{last}' differ in which English dev rows are scored, or how often, and the best"
            " score on English dev chooses between them",
            fix="give all settings the same `dev_rows`, `evaluations` and `patience`, and no `max_steps` below"
            " `evaluations`",
        )


def _frame(recipe: RecipeParts) -> tuple[Any, ...]:
    """What must be the same in all settings: what is compared, and on what."""
    targets = [(one.task, one.split, one.languages, one.retrieval) for one in recipe.targets]
    arms = [(one.name, one.optional, one.languages) for one in recipe.intermediates]
    return recipe.model_dump(exclude=VARIED), targets, arms


def _looks(recipe: RecipeParts) -> list[tuple[int | None, ...]]:
    """For each training: its number of dev rows, how often they are scored, and its patience. These must be equal,
    because a maximum over more scores is higher by chance."""
    trainings = [target.training for target in recipe.targets] + [arm.training for arm in recipe.intermediates]
    trainings += [recipe.encoder.training] if isinstance(recipe.encoder, Pretrain) else []
    return [(one.dev_rows, _scored(one), one.patience) for one in trainings]


def _scored(training: Training) -> int:
    """The maximum number of times that English dev is scored: at most once per step, and at least once."""
    asked = training.evaluations
    return max(1, asked if training.max_steps is None else min(asked, training.max_steps))


def _name(setting: Mapping[str, Any]) -> str:
    """The values with the last part of their fields' names, or with the full names if the last parts are not unique."""
    last = [field.rpartition(".")[2] for field in setting]
    names = last if len(set(last)) == len(last) else list(setting)
    return ", ".join(f"{name} {text_of(value)}" for name, value in zip(names, setting.values(), strict=True))


def text_of(value: object) -> str:
    """A setting's value for use in a name; a number has all the digits that distinguish it from others."""
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
