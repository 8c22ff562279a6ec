"""Whether a recipe can be meant, and whether the data for it are there; everything that is missing is found at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from viaduct.errors import UsageError, unknown
from viaduct.languages import LANGUAGES
from viaduct.languages import language as language_of
from viaduct.results.record import BASELINE
from viaduct.runs.census import Census
from viaduct.runs.rows import Need, source_of, substitution_for
from viaduct.runs.spec import Captions, Intermediate, Pretrain, Recipe
from viaduct.tasks.card import Task
from viaduct.tasks.registry import task as card_of

SCORED = ("pair", "choice", "tagged", "span", "retrieval", "mining")
"""Kinds that can be targets."""


class Gap(NamedTuple):
    """Data that are not there."""

    what: str
    """Such as "xnli test"."""
    language: str
    """"" where it is not one language's."""
    why: str


def listed(gaps: Iterable[Gap]) -> tuple[str, ...]:
    """One line per gap; languages that lack the same thing share one, with "*" for the language's code in it."""
    groups: dict[tuple[str, str], list[Gap]] = {}
    for gap in dict.fromkeys(gaps):
        groups.setdefault((gap.what, _pattern(gap)), []).append(gap)
    return tuple(
        f"{what}: {members[0].why}"
        if len(members) == 1
        else f"{what} in {' '.join(gap.language for gap in members)}: {pattern}"
        for (what, pattern), members in groups.items()
    )


def _pattern(gap: Gap) -> str:
    if gap.language not in LANGUAGES:
        return gap.why
    names = "|".join((gap.language, LANGUAGES[gap.language].iso3))
    return re.sub(rf"(?<![A-Za-z])(?:{names})(?![A-Za-z])", "*", gap.why)


def check_arms(recipe: Recipe) -> None:
    """Nothing. Raises UsageError for arms and targets that cannot be meant."""
    for arm in recipe.intermediates:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", arm.name):
            raise UsageError(
                f"the arm's name '{arm.name}' cannot be a folder's name", fix="use letters, digits, . _ + -"
            )
        idle = not arm.tasks and not arm.joint and arm.compression is None
        if (arm.name == BASELINE) != idle:
            raise UsageError(
                f"arm '{arm.name}' has {'nothing' if idle else 'something'} to train on or to compress",
                fix=f"the baseline is named '{BASELINE}' and has nothing; others have tasks, captions, replay or a"
                " compression",
            )
        for name in arm.tasks:
            _check_trainable(card_of(name), f"arm '{arm.name}'")
        if arm.joint:
            _check_joint(arm)
    _check_compare(recipe)
    _check_measure(recipe)
    for target in recipe.targets:
        card = card_of(target.task)
        if card.kind not in SCORED or card.metric is None:
            raise UsageError(f"{card.name} cannot be a target: it has no metric", fix="remove it from `targets`")
        if card.trained_on is not None:
            _check_trainable(card_of(card.trained_on), f"target '{target.task}'")


def _check_compare(recipe: Recipe) -> None:
    names = [arm.name for arm in recipe.intermediates]
    for name in (name for pair in recipe.compare for name in pair):
        if name not in names:
            raise unknown("arm in `compare`:", name, names)


def _check_measure(recipe: Recipe) -> None:
    wanted = None if recipe.measure is None else recipe.measure.task
    if wanted is None:
        return
    names = [target.task for target in recipe.targets if card_of(target.task).trained_on is not None]
    if wanted not in names:
        raise unknown("trained target in `measure`:", wanted, names)


def _check_joint(arm: Intermediate) -> None:
    where = f"arm '{arm.name}'"
    if arm.replay is not None:
        for name in arm.replay.text:
            check_kind(card_of(name), "text", f"{where}: replay")
    elif arm.retention.kl:
        fix = "give the arm a `replay`"
        raise UsageError(f"{where}: retention.kl needs replayed text to compare guesses on", fix=fix)
    if arm.captions is not None:
        check_kind(card_of(arm.captions.card), "captioned", f"{where}: captions")
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


def check_kind(card: Task, kind: str, where: str) -> None:
    """Nothing. Raises UsageError for a card of another kind."""
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
        for name in one.without_rows_of:
            card_of(name)


def repeated(recipe: Recipe) -> tuple[str, ...]:
    """A sentence for every intermediate task that targets are trained on as well: allowed, and not another task."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for arm in recipe.intermediates:
        for name in arm.tasks:
            same = [target.task for target in recipe.targets if card_of(target.task).trained_on == name]
            if same:
                found.setdefault(name, ([], same))[0].append(arm.name)
    return tuple(
        f"{name} is an intermediate task ({', '.join(arms)}) and what {', '.join(same)} "
        f"{'is' if len(same) == 1 else 'are'} trained on: more of the same there, not another task"
        for name, (arms, same) in found.items()
    )


def target_languages(
    recipe: Recipe, census: Census, missing: list[Gap]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """(target -> languages to predict, target -> languages left out); what is not there is added to `missing`, and its
    languages are then among those to predict."""
    chosen: dict[str, tuple[str, ...]] = {}
    absent: dict[str, tuple[str, ...]] = {}
    for target in recipe.targets:
        card = card_of(target.task)
        name, split = source_of(target.task, target.split, recipe.substitutions)
        wanted = card.languages if isinstance(target.languages, str) else target.languages
        problems = {code: census.problem(name, split, code, labelled=True) for code in wanted if _known(code, card)}
        there = tuple(code for code in wanted if problems[code] is None)
        what = f"{target.task} {target.split}"
        chosen[target.task] = tuple(wanted)
        if target.languages == "available" and there:
            chosen[target.task] = there
            absent[target.task] = tuple(code for code in wanted if problems[code] is not None)
        elif target.languages == "available":
            missing.append(Gap(what, "", "no language has labelled files"))
        else:
            missing.extend(Gap(what, code, text) for code, text in problems.items() if text is not None)
        if card.kind == "mining":
            missing.extend(_missing_dev(recipe, census, card, chosen[target.task]))
    return chosen, {name: codes for name, codes in absent.items() if codes}


def _known(code: str, card: Task) -> bool:
    language_of(code)
    if code not in card.languages:
        raise UsageError(f"{card.name} has no language '{code}'", fix=f"use some of: {', '.join(card.languages)}")
    return True


def _missing_dev(recipe: Recipe, census: Census, card: Task, languages: tuple[str, ...]) -> list[Gap]:
    name, split = source_of(card.name, "dev", recipe.substitutions)
    texts = {code: census.problem(name, split, code, labelled=True) for code in languages}
    what = f"{card.name} dev (its threshold is tuned on it)"
    return [Gap(what, code, text) for code, text in texts.items() if text is not None]


def target_gaps(recipe: Recipe, census: Census) -> list[Gap]:
    """What is not there of the English train and dev splits that targets are trained on."""
    trained = [on for target in recipe.targets if (on := card_of(target.task).trained_on) is not None]
    return [gap for name in dict.fromkeys(trained) for gap in _training_gaps(name, ("en",), recipe, census)]


def arm_gaps(arm: Intermediate, recipe: Recipe, census: Census) -> list[Gap]:
    """What is not there of what an arm trains on."""
    gaps = [gap for name in arm.tasks for gap in _training_gaps(name, arm.languages, recipe, census)]
    if arm.captions is not None:
        gaps += there((arm.captions.card,), arm.captions.languages, ("train", "dev"), recipe, census)[1]
    if arm.replay is not None:
        gaps += there(arm.replay.text, arm.replay.languages, ("train",), recipe, census)[1]
    return gaps


def _training_gaps(name: str, languages: Sequence[str], recipe: Recipe, census: Census) -> list[Gap]:
    gaps = []
    for split, code in (*(("train", code) for code in languages), ("dev", "en")):
        text = census.problem(*source_of(name, split, recipe.substitutions), code, labelled=True)
        if text is not None:
            gaps.append(Gap(f"{name} {split}", code, text))
    return gaps


def there(
    cards: Sequence[str], wanted: Sequence[str] | None, splits: Sequence[str], recipe: Recipe, census: Census
) -> tuple[tuple[str, ...], list[Gap]]:
    """(the languages whose files of all these splits are there in any of the cards, or all that are asked for; what
    is not there of those asked for, and of all where there are none)."""
    found: dict[str, None] = {}
    gaps: list[Gap] = []
    for name in cards:
        for code in (code for code in card_of(name).languages if wanted is None or code in wanted):
            used = [source_of(name, split, recipe.substitutions) for split in splits]
            problems = [text for one in used if (text := census.problem(*one, code, labelled=False)) is not None]
            if not problems:
                found[code] = None
            elif wanted is not None:
                gaps.extend(Gap(name, code, text) for text in problems)
    if not found:
        gaps.append(Gap(", ".join(cards), "", "no files in any language"))
    return tuple(found), gaps


def pretrain_needs(pretrain: Pretrain, census: Census, missing: list[Gap]) -> list[Need]:
    """Train splits of text and parallel cards in every language whose files are there, or in those asked for.

    What is not there is added to `missing`. Raises UsageError for cards of another kind.
    """
    needs: list[Need] = []
    for name, kind in [(name, "text") for name in pretrain.text] + [(name, "parallel") for name in pretrain.parallel]:
        card = card_of(name)
        check_kind(card, kind, f"encoder {pretrain.name}")
        wanted = [code for code in card.languages if pretrain.languages is None or code in pretrain.languages]
        found = [code for code in wanted if census.problem(name, "train", code, labelled=False) is None]
        if not found:
            missing.append(Gap(f"{name} train", "", "no files in any language"))
        needs.extend((name, "train", code) for code in found)
    texts = {code for name, _, code in needs if name in pretrain.text}
    missing.extend(
        Gap(f"{', '.join(pretrain.text)} train", code, f"no files in {language_of(code).name} ({code})")
        for code in pretrain.languages or ()
        if code not in texts
    )
    return needs
