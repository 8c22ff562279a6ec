"""What an arm does, in the words of the claims under test (`viaduct.report.claims.roles`), from what it trains on.

A role is given to the first arm of a recipe that does just that. Arms that do something else have none, and decide no
claim: an arm of eight tasks is not the one of all nine.
"""

from __future__ import annotations

from viaduct.results.record import BASELINE
from viaduct.results.xtreme import INTERMEDIATES
from viaduct.runs.spec import Captions, Intermediate, Recipe, Retention

PARTS = ("anli", "mnli", "snli")
"""Of ANLI+, where they are drawn in proportion to their size: so does the paper's code."""

_CONTROLS = {
    "true": "",
    "none": "_text_only",
    "text": "_text_only",
    "shuffled_caption": "_shuffled_caption",
    "shuffled_image": "_shuffled_image",
    "null": "_null_image",
}
"""What stands for the image -> how the role ends; noise has no role."""


def roles(recipe: Recipe) -> dict[str, str]:
    """Arm -> role, of the arms that have one."""
    found: dict[str, str] = {}
    for arm in recipe.intermediates:
        role = role_of(arm)
        if role is not None and role not in found.values():
            found[arm.name] = role
    return found


def role_of(arm: Intermediate) -> str | None:
    """The role of an arm, None when it does what no role says."""
    if arm.compression is not None:
        return None
    if arm.captions is not None:
        return _with_captions(arm, arm.captions)
    if arm.retention != Retention():
        return None
    if not arm.tasks:
        return "replay" if arm.replay is not None else BASELINE
    name = _tasks(arm)
    if name is None or (name == "all_nine" and (arm.replay is not None or arm.languages != ("en",))):
        return None
    if arm.languages == ("en",):
        return name if arm.replay is None else f"{name}+replay"
    return f"{name}_translated" if arm.replay is None and "en" not in arm.languages else None


def _tasks(arm: Intermediate) -> str | None:
    """The one task's name, or what several trained together are."""
    if len(arm.tasks) == 1:
        return arm.tasks[0] if arm.tasks[0] in INTERMEDIATES else None
    if arm.together is None:
        return None
    if sorted(arm.tasks) == sorted(INTERMEDIATES):
        return "all_nine"
    in_proportion = arm.together.sampling == "proportional" and arm.together.cap is None
    return "anli_plus" if sorted(arm.tasks) == sorted(PARTS) and in_proportion else None


def _with_captions(arm: Intermediate, captions: Captions) -> str | None:
    """Replayed text and retention do not matter here: the controls have them too."""
    asked = {one.name for one in captions.objectives}
    if asked <= {"ar_caption", "mlm_caption"}:
        stage = "caption"
    elif asked == {"contrastive"}:
        stage = "contrastive"
    else:
        return None
    if captions.image not in _CONTROLS or arm.languages != ("en",):
        return None
    if not arm.tasks:
        return stage + _CONTROLS[captions.image]
    alone = len(arm.tasks) == 1 and arm.tasks[0] in INTERMEDIATES and captions.image == "true"
    return f"{stage}+{arm.tasks[0]}" if alone else None
