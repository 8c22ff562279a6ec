"""An arm's field `train`: trains targets on other rows than English ones, such as translations, a few rows in the
target language, or another source language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from pydantic import BaseModel, Field

from viaduct.errors import UsageError
from viaduct.fusion.settings import Codes, fusion_of, require_languages, translated_languages
from viaduct.fusion.train_on import TrainOnWork
from viaduct.languages import ENGLISH
from viaduct.results.xtreme import INTERMEDIATES
from viaduct.runs.census import Census
from viaduct.runs.chain import Chain
from viaduct.runs.field import RecipeField, added_values, make_work
from viaduct.runs.gaps import Gap, target_languages
from viaduct.runs.parts import ArmParts, RecipeParts, Retention, Spec, TargetParts
from viaduct.runs.rows import Need, Trained, source_of
from viaduct.runs.stage import Stage
from viaduct.tasks.catalogue import Catalogue

Source = tuple[str, str]
"""(card, language)."""

Choice = Literal["source", "english", "targets"]


class TrainOn(Spec):
    """The rows that an arm's targets are trained on, instead of English rows or after them."""

    languages: Codes | None = None
    """Languages of the train rows; None, with `translated`: English and every language that has translations."""
    translated: bool = False
    """Take the rows of other languages than English from the target's card of translations (`fusion.train`)."""
    rows: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Maximum number of rows per language (a sample drawn with the seed); None: all."""
    after_english: bool = False
    """Continue from the model that was trained in English; otherwise train on these rows only."""
    choose_on: Choice = "source"
    """Which dev rows choose the checkpoint: the source language's (English if it is among several or was trained first,
    and with `translated`), English ones, or the target task's own in all predicted languages, which is not
    zero-shot."""


class TrainField(RecipeField[TrainOn]):
    """The rows that targets are trained on instead of English rows, or after them: translate-train, a few rows in the
    target language, another source language."""

    name = "train"
    owner = "arm"
    model = TrainOn

    def check(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> None:
        """Raise UsageError if the languages are missing, unknown, or only English."""
        arm = cast(ArmParts, owner)
        asked, where = self.of(arm), f"arm '{arm.name}': train"
        if asked is None:
            return
        if asked.languages is None and not asked.translated:
            raise UsageError(f"{where} names no languages", fix="name some, or set translated: true")
        if asked.languages == (ENGLISH,):
            raise UsageError(f"{where} names only English", fix="leave the field out: targets are trained in English")
        for target in trained_targets(recipe, census):
            for card, code in sources(asked, recipe, target, census):
                require_languages(
                    (code,),
                    census.task(card).languages,
                    f"{where}: {card}, which trains {target.task}, has no language",
                )

    def gaps(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> list[Gap]:
        """Train and dev rows that are missing."""
        arm = cast(ArmParts, owner)
        asked = self.of(arm)
        if asked is None:
            return []
        found = list[Gap]()
        for target in trained_targets(recipe, census):
            trained = self.trained_rows(recipe, arm, target, census)
            found += gaps_of([*trained, *self.chosen_rows(recipe, arm, target, census)], recipe, census)
            if asked.translated:
                found += too_few(target, tuple(trained), recipe, census)
        return found

    def trained_rows(self, recipe: RecipeParts, arm: ArmParts, target: TargetParts, census: Census) -> Trained:
        """The train rows of all languages."""
        asked = self.of(arm)
        if asked is None or census.task(target.task).trained_on is None:
            return {}
        return with_originals(sources(asked, recipe, target, census), target, census)

    def chosen_rows(self, recipe: RecipeParts, arm: ArmParts, target: TargetParts, census: Census) -> list[Need]:
        """The dev rows the arm chooses on; with `after_english`, also the English ones that chose the first model."""
        asked, on = self.of(arm), census.task(target.task).trained_on
        if asked is None or on is None:
            return []
        first = [(on, "dev", ENGLISH)] if asked.after_english else []
        return first + [(card, "dev", code) for card, code in _dev(asked, recipe, target, census)]

    def train_target(self, chain: Chain) -> Stage | None:
        """Add the core's English stage if it comes first, then the stage that trains on these rows."""
        asked, on = self.of(chain.arm), chain.census.task(chain.target.task).trained_on
        if asked is None or on is None:
            return None
        training = chain.training
        if asked.after_english:
            chain.add(
                make_work("train", task=on, training=training, seed=chain.seed, **added_values("train", chain)),
                on,
                f"{on}-for-{chain.target.task}",
            )
        work = TrainOnWork(
            task=on,
            training=training,
            seed=chain.seed,
            sources=sources(asked, chain.recipe, chain.target, chain.census),
            rows=asked.rows,
            continues=asked.after_english,
            dev=_dev(asked, chain.recipe, chain.target, chain.census),
            by_id=asked.translated and asked.languages is not None and ENGLISH not in asked.languages,
            most_missing=fusion_of(chain.target).most_missing,
        )
        return chain.add(work, on, f"{on}-for-{chain.target.task}")

    def words(self, owner: BaseModel) -> str:
        """The languages, the rows and the choosing dev rows, in words."""
        arm = cast(ArmParts, owner)
        asked = self.of(arm)
        if asked is None:
            return ""
        codes = "all translations and English" if asked.languages is None else ", ".join(asked.languages)
        rows = "all rows" if asked.rows is None else f"{asked.rows:,} rows each"
        first = ", after English" if asked.after_english else ""
        dev = self.chosen_on(arm) or "English dev"
        return f"trained on {codes}{' (translated)' * asked.translated}, {rows}{first}; chosen on {dev}"

    def marks(self, arm: ArmParts, recipe: RecipeParts, catalogue: Catalogue) -> tuple[str, ...]:
        """Marks for the kind of result: translate-train, another source language, zero-shot or not."""
        asked = self.of(arm)
        if asked is None:
            return ()
        on = {catalogue.task(target.task).trained_on for target in recipe.targets} - {None}
        translated = {asked.translated or catalogue.task(str(card)).translated for card in on}
        marks = ["translate-train"] if True in translated else []
        if asked.languages is not None and len(asked.languages) == 1 and not asked.after_english:
            marks.append(f"source {asked.languages[0]}")
        if asked.choose_on == "targets" or (_has_several(asked) and False in translated):
            marks.append("not zero-shot")
        elif False in translated:
            marks.append("zero-shot in other languages than the source")
        return tuple(marks)

    def chosen_on(self, arm: ArmParts) -> str | None:
        """The dev rows that choose the checkpoint; None if they are English."""
        asked = self.of(arm)
        if asked is None or asked.choose_on == "english" or (asked.choose_on == "source" and _from_english(asked)):
            return None
        return "target-language dev" if asked.choose_on == "targets" else f"dev in {', '.join(asked.languages or ())}"

    def role(self, arm: ArmParts, _recipe: RecipeParts) -> str | None:
        """Translate-train (all translations and English, chosen in English), alone or after one intermediate task."""
        asked = self.of(arm)
        return role_with("translate_train", arm) if asked == TrainOn(translated=True) else None


TRAIN = TrainField()


def role_with(name: str, arm: ArmParts) -> str | None:
    """The role of an arm that does only this to targets, alone or after one intermediate task in English; else None."""
    if arm.replay is not None or arm.retention != Retention() or arm.longer_targets:
        return None
    if not arm.tasks:
        return name
    alone = len(arm.tasks) == 1 and arm.tasks[0] in INTERMEDIATES and arm.languages == (ENGLISH,)
    return f"{arm.tasks[0]}+{name}" if alone else None


def sources(asked: TrainOn, recipe: RecipeParts, target: TargetParts, census: Census) -> tuple[Source, ...]:
    """(card, language) of a target's train rows."""
    on = census.task(target.task).trained_on or target.task
    card, there = translated_languages(target, recipe, census) if asked.translated else (on, ())
    codes = asked.languages if asked.languages is not None else (ENGLISH, *there)
    return tuple((on if code == ENGLISH else card, code) for code in codes)


def with_originals(found: Sequence[Source], target: TargetParts, census: Census) -> Trained:
    """Train rows of these sources -> the English rows they translate, if those belong to another card; else None."""
    on = census.task(target.task).trained_on or target.task
    return {(card, "train", code): None if card == on else (on, "train", ENGLISH) for card, code in found}


def _has_several(asked: TrainOn) -> bool:
    return asked.after_english or len(asked.languages or ()) > 1


def _from_english(asked: TrainOn) -> bool:
    return asked.after_english or asked.translated or ENGLISH in (asked.languages or ())


def _dev(asked: TrainOn, recipe: RecipeParts, target: TargetParts, census: Census) -> tuple[Source, ...]:
    """(card, language) of the dev rows that choose the checkpoint."""
    on = census.task(target.task).trained_on or target.task
    if asked.choose_on == "targets":
        return dev_of_targets(recipe, target, census)
    if asked.choose_on == "english" or _from_english(asked):
        return ((on, ENGLISH),)
    return tuple((on, code) for code in asked.languages or ())


def dev_of_targets(recipe: RecipeParts, target: TargetParts, census: Census) -> tuple[Source, ...]:
    """(card, language) of the target task's own dev rows, in all predicted languages."""
    predicted, _ = target_languages(recipe, census, [])
    return tuple((target.task, code) for code in predicted[target.task])


def gaps_of(needs: Sequence[Need], recipe: RecipeParts, census: Census) -> list[Gap]:
    """A gap for each of these splits that is missing or not labelled."""
    found = []
    for name, split, code in dict.fromkeys(needs):
        why = census.problem(*source_of(name, split, recipe.substitutions), code, labelled=True)
        if why is not None:
            found.append(Gap(f"{name} {split}", code, why))
    return found


def too_few(target: TargetParts, trained: Sequence[Need], recipe: RecipeParts, census: Census) -> list[Gap]:
    """Languages whose translations are missing, or lack more rows than `most_missing` allows."""
    english: Need = (census.task(target.task).trained_on or target.task, "train", ENGLISH)
    sources = {need: (*source_of(*need[:2], recipe.substitutions), need[2]) for need in (english, *trained)}
    if census.problem(*sources[english], labelled=False) is not None:
        return []  # reported by the core
    wanted, most, found = census.count(*sources[english]).found, fusion_of(target).most_missing, []
    for need in trained:
        why = census.problem(*sources[need], labelled=False)
        rows = 0 if why else census.count(*sources[need]).found
        if why is None and rows < (1 - most) * wanted:
            lost = wanted - rows
            why = f"{lost:,} of {wanted:,} rows have no translation, but `most_missing` allows {most:.1%}"
        if why is not None:
            found.append(Gap(f"{need[0]} {need[1]}", need[2], why))
    return found


def trained_targets(recipe: RecipeParts, census: Census) -> list[TargetParts]:
    """The recipe's targets that are trained; the others are searched."""
    return [target for target in recipe.targets if census.task(target.task).trained_on is not None]
