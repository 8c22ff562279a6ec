"""Describes a recipe's arms and targets in words for the report: their settings, and their roles in the claims.

A role (`viaduct.report.claims.roles`) goes to the first arm of a recipe that does exactly what the role says. Other
arms have none, and decide no claim: an arm of eight tasks is not the one of all nine.
"""

from __future__ import annotations

from viaduct.languages import ENGLISH
from viaduct.results.record import BASELINE
from viaduct.results.xtreme import INTERMEDIATES
from viaduct.runs.field import fields, is_joint, set_fields
from viaduct.runs.parts import ArmParts, Pretrain, RecipeParts, Retention, Retrieval
from viaduct.runs.sentence_encoder import Makers, makers_meant
from viaduct.tasks.catalogue import Catalogue

PARTS_OF_ANLI_PLUS = ("anli", "mnli", "snli")
"""Sampled together in proportion to their size, as in the paper's code."""


def settings(recipe: RecipeParts, catalogue: Catalogue) -> dict[str, str]:
    """Stage -> its settings in words."""
    found: dict[str, str] = {}
    if isinstance(recipe.encoder, Pretrain):
        found["pretrain"] = recipe.encoder.training.words()
    for arm in recipe.intermediates:
        found |= _of_arm(arm)
    for target in recipe.targets:
        card = catalogue.task(target.task)
        if card.trained_on is not None:
            found[f"target {target.task} (trained on {card.trained_on})"] = target.training.words()
        else:
            makers = makers_meant(target.retrieval, recipe)
            searched = _searched(target.retrieval, makers, tuned=bool(card.row_kind.tuned_on))
            found[f"target {target.task}"] = f"not trained; {searched}"
        for field in set_fields("target", target):
            found[f"{field.name} of {target.task}"] = field.words(target)
    return found


def _of_arm(arm: ArmParts) -> dict[str, str]:
    found = {}
    if arm.encoder is not None:
        revision = f" at {arm.revision}" if arm.revision else ""
        parent = f", trained from the encoder of {arm.parent}" if arm.parent else ""
        found[f"{arm.name} begins with"] = f"{arm.encoder}{revision}{parent}"
    if arm.after is not None:
        found[f"{arm.name} begins with"] = f"the encoder that {arm.after} leaves, of the same seed"
    if is_joint(arm):
        found[arm.name] = _joint_words(arm)
    else:
        found |= {f"{arm.name}: {name}": arm.training.words() for name in arm.tasks}
    added = [field for field in set_fields("arm", arm) if not field.makes_joint]
    return found | {f"{field.name} of {arm.name}": field.words(arm) for field in added}


def _searched(how: Retrieval, makers: Makers | None, *, tuned: bool) -> str:
    """How vectors are made and compared, in one line; `tuned`: the task is tuned on its own dev split."""
    where = "its dev split" if tuned else how.choose_on
    if how.layers is None and makers is not None:
        vectors = f"{makers.words()} (after training: or the layer that is best on {where}, where that is there)"
    elif how.layers is None:
        vectors = f"the layer that is best on {where}, two thirds up where that is not there, {how.pooling} pooling"
    elif how.is_chosen:
        among = how.layers if how.layers == "all" else ", ".join(map(str, how.layers))
        vectors = f"layer chosen among {among} on {where}, {how.pooling} pooling"
    else:
        vectors = f"layer {how.layers[0]}, {how.pooling} pooling"
    if how.prompt and makers is None:
        vectors += f", prompt '{how.prompt}'"
    mining = f", {how.margin} margin, k = {how.neighbours}, {how.candidates}" if tuned else ""
    return f"{vectors}{', centred' * how.centre}{mining}"


def _joint_words(arm: ArmParts) -> str:
    """What a joint stage trains on, in one line."""
    parts = [f"{', '.join(arm.tasks)} ({', '.join(arm.languages)})"] if arm.tasks else []
    parts += [field.words(arm) for field in set_fields("arm", arm) if field.makes_joint]
    if arm.together is not None:
        parts.append(f"{arm.together.sampling} sampling, cap {arm.together.cap}")
    if arm.replay is not None:
        parts.append(f"replayed text, weight {arm.replay.weight:g}, {arm.replay.batch_tokens:,} tokens per step")
    parts += [f"{name} {value}" for name, value in arm.retention.model_dump(exclude_defaults=True).items()]
    return f"{'; '.join(parts)}; {arm.training.words()}"


def chosen_by(arm: ArmParts) -> str:
    """Which rows select the checkpoints of an arm's targets, in words."""
    other = (words for field in fields("arm") if (words := field.chosen_on(arm)) is not None)
    return next(other, "english dev")


def marks(recipe: RecipeParts, catalogue: Catalogue) -> dict[str, tuple[str, ...]]:
    """Arm -> what sets its results apart, for the arms that have such marks."""
    found = {
        arm.name: tuple(mark for one in fields("arm") for mark in one.marks(arm, recipe, catalogue))
        for arm in recipe.intermediates
    }
    return {arm: told for arm, told in found.items() if told}


def roles(recipe: RecipeParts) -> dict[str, str]:
    """Arm -> role, for the arms that have one."""
    found: dict[str, str] = {}
    for arm in recipe.intermediates:
        role = role_of(arm, recipe)
        if role is not None and role not in found.values():
            found[arm.name] = role
    return found


def role_of(arm: ArmParts, recipe: RecipeParts) -> str | None:
    """The role of an arm; None if no role describes what it does."""
    if arm.encoder is not None or arm.after is not None:
        return None
    added = set_fields("arm", arm)
    if added:
        return added[0].role(arm, recipe) if len(added) == 1 else None
    if arm.retention != Retention():
        return None
    if not arm.tasks:
        return "replay" if arm.replay is not None else BASELINE
    name = _task_role(arm)
    if name is None or (name == "all_nine" and (arm.replay is not None or arm.languages != (ENGLISH,))):
        return None
    if arm.languages == (ENGLISH,):
        return name if arm.replay is None else f"{name}+replay"
    return f"{name}_translated" if arm.replay is None and ENGLISH not in arm.languages else None


def _task_role(arm: ArmParts) -> str | None:
    """The name of the only task, or of a known set trained together; None for anything else."""
    if len(arm.tasks) == 1:
        return arm.tasks[0] if arm.tasks[0] in INTERMEDIATES else None
    if arm.together is None:
        return None
    if sorted(arm.tasks) == sorted(INTERMEDIATES):
        return "all_nine"
    in_proportion = arm.together.sampling == "proportional" and arm.together.cap is None
    return "anli_plus" if sorted(arm.tasks) == sorted(PARTS_OF_ANLI_PLUS) and in_proportion else None
