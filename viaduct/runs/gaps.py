"""Missing data that a recipe names; all of them are found in one pass."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from viaduct.errors import DataError, UsageError
from viaduct.languages import ENGLISH, is_language
from viaduct.languages import language as language_of
from viaduct.runs.census import Census
from viaduct.runs.parts import ArmParts, Pretrain, RecipeParts, TargetParts
from viaduct.runs.rows import Need, source_of
from viaduct.tasks.card import Task


class Gap(NamedTuple):
    """One piece of missing data."""

    what: str
    """What is missing, such as "xnli test"."""
    language: str
    """"" if the data do not belong to one language."""
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
    if not is_language(gap.language):
        return gap.why
    names = "|".join((gap.language, language_of(gap.language).iso3))
    return re.sub(rf"(?<![A-Za-z])(?:{names})(?![A-Za-z])", "*", gap.why)


def model_gaps(what: str, name: str, revision: str | None, field: str) -> list[Gap]:
    """The gap of a model that is not a local folder and has no revision to download; `field` would give one."""
    if revision is not None or Path(name).expanduser().is_dir():
        return []
    why = f"no such folder; a model of the Hub needs a {field} (a commit), because a name's weights may change"
    return [Gap(f"{what} '{name}'", "", why)]


def card_of_kind(census: Census, name: str, kind: str, where: str) -> Task:
    """The card with this name. Raises UsageError for a card of another kind."""
    card = census.task(name)
    if card.kind != kind:
        raise UsageError(f"{where} names {card.name}, which is of kind '{card.kind}'", fix=f"name one of kind {kind}")
    return card


def there(
    cards: Sequence[str], wanted: Sequence[str] | None, splits: Sequence[str], recipe: RecipeParts, census: Census
) -> tuple[tuple[str, ...], list[Gap]]:
    """(the languages, of `wanted` if given, with files of all these splits in any of the cards; the gaps of `wanted`
    languages, and one for all cards if no language has files)."""
    found: dict[str, None] = {}
    gaps: list[Gap] = []
    for name in cards:
        for code in (code for code in census.task(name).languages if wanted is None or code in wanted):
            used = [source_of(name, split, recipe.substitutions) for split in splits]
            problems = [text for one in used if (text := census.problem(*one, code, labelled=False)) is not None]
            if not problems:
                found[code] = None
            elif wanted is not None:
                gaps.extend(Gap(name, code, text) for text in problems)
    if not found:
        gaps.append(Gap(", ".join(cards), "", "no files in any language"))
    return tuple(found), gaps


def text_needs(cards: Sequence[str], languages: Sequence[str], census: Census) -> list[Need]:
    """The available train splits of these cards in these languages."""
    wanted = [(name, "train", code) for name in cards for code in languages if code in census.task(name).languages]
    return [need for need in wanted if census.problem(*need, labelled=False) is None]


def pretrain_needs(pretrain: Pretrain, cards: Sequence[str], census: Census) -> list[Need]:
    """The available train splits of these cards in the languages that an encoder is made for."""
    asked = pretrain.languages
    wanted = {name: [code for code in census.task(name).languages if asked is None or code in asked] for name in cards}
    return [need for name in cards for need in text_needs((name,), wanted[name], census)]


def target_languages(
    recipe: RecipeParts, census: Census, missing: list[Gap]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """(target -> languages to predict, target -> languages left out); missing data are added to `missing`, and their
    languages then stay among those to predict."""
    chosen: dict[str, tuple[str, ...]] = {}
    absent: dict[str, tuple[str, ...]] = {}
    for target in recipe.targets:
        card = census.task(target.task)
        wanted = _wanted(target, card)
        problems = _problems(target.task, target.split, wanted, recipe, census)
        what = f"{target.task} {target.split}"
        chosen[target.task] = wanted
        if target.languages != "available":
            missing.extend(Gap(what, code, text) for code, text in problems.items())
        elif len(problems) < len(wanted):
            chosen[target.task] = tuple(code for code in wanted if code not in problems)
            absent[target.task] = tuple(problems)
        else:
            missing.append(Gap(what, "", "no language has labelled files"))
        for split in card.row_kind.tuned_on:
            texts = _problems(target.task, split, chosen[target.task], recipe, census)
            what = f"{card.name} {split} (its threshold is tuned on it)"
            missing.extend(Gap(what, code, text) for code, text in texts.items())
    return chosen, {name: codes for name, codes in absent.items() if codes}


def _wanted(target: TargetParts, card: Task) -> tuple[str, ...]:
    named = card.languages if isinstance(target.languages, str) else target.languages
    wanted = tuple(language_of(code).code for code in named)
    for code in wanted:
        if code not in card.languages:
            raise UsageError(f"{card.name} has no language '{code}'", fix=f"use some of: {', '.join(card.languages)}")
    return wanted


def _problems(task: str, split: str, languages: Iterable[str], recipe: RecipeParts, census: Census) -> dict[str, str]:
    """Language -> why labelled rows of this split cannot be used, for the languages where they cannot."""
    source = source_of(task, split, recipe.substitutions)
    texts = {code: census.problem(*source, code, labelled=True) for code in languages}
    return {code: text for code, text in texts.items() if text is not None}


def target_gaps(recipe: RecipeParts, census: Census) -> list[Gap]:
    """Missing English train and dev splits that targets are trained on."""
    trained = [on for target in recipe.targets if (on := census.task(target.task).trained_on) is not None]
    return [gap for name in dict.fromkeys(trained) for gap in _training_gaps(name, (ENGLISH,), recipe, census)]


def task_gaps(arm: ArmParts, recipe: RecipeParts, census: Census) -> list[Gap]:
    """Missing data of the tasks that an arm trains on, and of the text that it replays."""
    gaps = [gap for name in arm.tasks for gap in _training_gaps(name, arm.languages, recipe, census)]
    if arm.replay is not None:
        gaps += there(arm.replay.text, arm.replay.languages, ("train",), recipe, census)[1]
    return gaps


def _training_gaps(name: str, languages: Sequence[str], recipe: RecipeParts, census: Census) -> list[Gap]:
    return [
        Gap(f"{name} {split}", code, text)
        for split, codes in (("train", languages), ("dev", (ENGLISH,)))
        for code, text in _problems(name, split, codes, recipe, census).items()
    ]


def pretrain_gaps(pretrain: Pretrain, census: Census) -> list[Gap]:
    """Missing text that an encoder is made from. Raises UsageError for cards of another kind."""
    gaps: list[Gap] = []
    found: set[str] = set()
    for kind, names in (("text", pretrain.text), ("parallel", pretrain.parallel)):
        for name in names:
            card_of_kind(census, name, kind, f"encoder {pretrain.name}")
            there_are = {code for _, _, code in pretrain_needs(pretrain, (name,), census)}
            if not there_are:
                gaps.append(Gap(f"{name} train", "", "no files in any language"))
            found |= there_are if kind == "text" else set()
    gaps.extend(
        Gap(f"{', '.join(pretrain.text)} train", code, f"no files in {language_of(code).name} ({code})")
        for code in pretrain.languages or ()
        if code not in found
    )
    return gaps


def require(gaps: Sequence[Gap], recipe: RecipeParts, census: Census) -> None:
    """Raise a DataError that lists all that is missing, if anything is."""
    if gaps:
        lines = "".join(f"\n  - {line}" for line in listed(gaps))
        raise DataError(
            f"recipe {recipe.name} needs data that is missing:{lines}",
            path=census.data.root,
            fix="fetch it (`viaduct fetch`, or --fetch), point --data at the folder that holds it, declare"
            ' substitutions in the recipe, set `optional` of an arm, or set `languages` of a target to "available"',
        )
