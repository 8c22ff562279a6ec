"""Whether a recipe can be meant, and whether the data for it are there; everything that is missing is found at once."""

from __future__ import annotations

import re

from viaduct.errors import UsageError
from viaduct.languages import language as language_of
from viaduct.runs.census import Census
from viaduct.runs.rows import source_of, substitution_for
from viaduct.runs.spec import Captions, Intermediate, Recipe
from viaduct.tasks.card import Task
from viaduct.tasks.registry import task as card_of

BASELINE = "none"
SCORED = ("pair", "choice", "tagged", "span", "retrieval", "mining")
"""Kinds that can be targets."""


def check_arms(recipe: Recipe) -> None:
    """Nothing. Raises UsageError for arms and targets that cannot be meant."""
    for arm in recipe.intermediates:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", arm.name):
            raise UsageError(
                f"the arm's name '{arm.name}' cannot be a folder's name", fix="use letters, digits, . _ + -"
            )
        idle = not arm.tasks and not arm.joint
        if (arm.name == BASELINE) != idle:
            raise UsageError(
                f"arm '{arm.name}' has {'nothing' if idle else 'something'} to train on",
                fix=f"the baseline is named '{BASELINE}' and has nothing; others have tasks, captions or replay",
            )
        for name in arm.tasks:
            _check_trainable(card_of(name), f"arm '{arm.name}'")
        if arm.joint:
            _check_joint(arm)
    for target in recipe.targets:
        card = card_of(target.task)
        if card.kind not in SCORED or card.metric is None:
            raise UsageError(f"{card.name} cannot be a target: it has no metric", fix="remove it from `targets`")
        if card.trained_on is not None:
            _check_trainable(card_of(card.trained_on), f"target '{target.task}'")


def _check_joint(arm: Intermediate) -> None:
    where = f"arm '{arm.name}'"
    if arm.replay is not None:
        for name in arm.replay.text:
            _check_kind(card_of(name), "text", f"{where}: replay")
    elif arm.retention.kl:
        fix = "give the arm a `replay`"
        raise UsageError(f"{where}: retention.kl needs replayed text to compare guesses on", fix=fix)
    if arm.captions is not None:
        _check_kind(card_of(arm.captions.card), "captioned", f"{where}: captions")
        _check_captions(arm.captions, where)
    if not arm.tasks and arm.captions is None and arm.training.max_steps is None:
        raise UsageError(
            f"{where} only replays text, which has no end",
            fix="set training.max_steps, for a control the number of steps of the arm it stands beside",
        )
    if arm.languages != ("en",) and not arm.tasks:
        raise UsageError(f"{where}: `languages` are those of the tasks' train rows", fix="name tasks, or leave it out")


def _check_captions(captions: Captions, where: str) -> None:
    names = [one.name for one in captions.objectives]
    apart = {"contrastive", "itm", "imagine"} & set(names)
    if len(set(names)) < len(names) or not names:
        raise UsageError(f"{where}: objectives {', '.join(names) or 'none'}", fix="name each objective once")
    if captions.image == "none" and apart:
        fix = 'use another `image`, such as "null"'
        raise UsageError(f"{where}: without images there is no {', '.join(sorted(apart))}", fix=fix)
    if captions.image == "text" and names != ["contrastive"]:
        fix = "use the objective contrastive alone"
        raise UsageError(f"{where}: captions can stand for images in contrastive only", fix=fix)
    if captions.negatives and captions.tower_layers:
        fix = "set negatives=0, or tower_layers=0"
        raise UsageError(f"{where}: further negatives need features that are not trained", fix=fix)
    if captions.negatives and (captions.contrast != "softmax" or "contrastive" not in names):
        fix = 'set contrast="softmax", or negatives=0'
        raise UsageError(f"{where}: further negatives belong to contrastive with softmax", fix=fix)


def _check_kind(card: Task, kind: str, where: str) -> None:
    if card.kind != kind:
        raise UsageError(f"{where} names {card.name}, which is of kind '{card.kind}'", fix=f"name one of kind {kind}")


def _check_trainable(card: Task, where: str) -> None:
    if card.kind not in ("pair", "choice", "tagged", "span"):
        raise UsageError(
            f"{where} trains on {card.name}, which is of kind '{card.kind}'",
            fix="train on a card of kind pair, choice, tagged or span",
        )


def check_substitutions(recipe: Recipe) -> None:
    """Nothing. Raises UsageError for substitutions that cannot stand in for what they replace."""
    for one in recipe.substitutions:
        task, source = card_of(one.task), card_of(one.use_task or one.task)
        substitution_for(one.task, one.split, recipe.substitutions)
        open_set = task.kind == "tagged" and not task.labels and source is not task
        if source.kind != task.kind or not set(source.labels) <= set(task.labels) or open_set:
            raise UsageError(
                f"'{one.words()}': {source.name} ({source.kind}, labels {', '.join(source.labels) or 'none'})"
                f" cannot stand in for {task.name} ({task.kind}, labels {', '.join(task.labels) or 'none'})",
                fix="use a card of the same kind whose labels are among the task's",
            )
        low, high = one.part
        if not 0.0 <= low < high <= 1.0:
            raise UsageError(f"'{one.words()}': part ({low:g}, {high:g}) is empty", fix="0 <= low < high <= 1")
        if one.without_contexts_of is not None and card_of(one.without_contexts_of).kind != "span":
            raise UsageError(
                f"'{one.words()}': {one.without_contexts_of} has no contexts", fix="name a question-answering card"
            )


def target_languages(
    recipe: Recipe, census: Census, missing: list[str]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """(target -> languages to predict, target -> languages left out); what is not there is added to `missing`."""
    chosen: dict[str, tuple[str, ...]] = {}
    absent: dict[str, tuple[str, ...]] = {}
    for target in recipe.targets:
        card = card_of(target.task)
        name, split = source_of(target.task, target.split, recipe.substitutions)
        wanted = card.languages if isinstance(target.languages, str) else target.languages
        problems = {code: census.problem(name, split, code, labelled=True) for code in wanted if _known(code, card)}
        there = tuple(code for code in wanted if problems[code] is None)
        if target.languages == "available":
            absent[target.task] = tuple(code for code in wanted if problems[code] is not None)
            if not there:
                missing.append(f"{target.task} {target.split}: no language has labelled files")
        else:
            missing.extend(f"{target.task} {target.split}: {text}" for text in problems.values() if text is not None)
        chosen[target.task] = there
        if card.kind == "mining":
            missing.extend(_missing_dev(recipe, census, card, there))
    return chosen, {name: codes for name, codes in absent.items() if codes}


def _known(code: str, card: Task) -> bool:
    language_of(code)
    if code not in card.languages:
        raise UsageError(f"{card.name} has no language '{code}'", fix=f"use some of: {', '.join(card.languages)}")
    return True


def _missing_dev(recipe: Recipe, census: Census, card: Task, languages: tuple[str, ...]) -> list[str]:
    name, split = source_of(card.name, "dev", recipe.substitutions)
    texts = (census.problem(name, split, code, labelled=True) for code in languages)
    return [f"{card.name} dev (its threshold is tuned on it): {text}" for text in texts if text is not None]


def check_training(recipe: Recipe, census: Census, missing: list[str]) -> None:
    """Adds to `missing` what is not there of the English train and dev splits that are trained on."""
    trained = [name for arm in recipe.intermediates for name in arm.tasks]
    for arm in recipe.intermediates:
        for name, code in ((name, code) for name in arm.tasks for code in arm.languages if code != "en"):
            source, used = source_of(name, "train", recipe.substitutions)
            text = census.problem(source, used, code, labelled=True)
            if text is not None:
                missing.append(f"{name} train: {text}")
    trained += [on for target in recipe.targets if (on := card_of(target.task).trained_on) is not None]
    for name in dict.fromkeys(trained):
        for split in ("train", "dev"):
            source, used = source_of(name, split, recipe.substitutions)
            text = census.problem(source, used, "en", labelled=True)
            if text is not None:
                missing.append(f"{name} {split}: {text}")
