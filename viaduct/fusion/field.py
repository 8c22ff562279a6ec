"""An arm's field `fused`: its targets are trained on rows and translations together, and predicted with or without."""

from __future__ import annotations

from typing import Literal, cast

from pydantic import BaseModel

from viaduct.errors import UsageError
from viaduct.fusion.fuse import FuseWork
from viaduct.fusion.matching import predicted_gaps
from viaduct.fusion.predict_fused import PredictFusedWork, with_translations
from viaduct.fusion.settings import TEMPERATURES, fusion_of, require_fusable, translated_languages
from viaduct.fusion.target_data import (
    dev_of_targets,
    gaps_of,
    role_with,
    too_few,
    trained_targets,
    with_originals,
)
from viaduct.languages import ENGLISH
from viaduct.runs.census import Census
from viaduct.runs.chain import Chain
from viaduct.runs.field import RecipeField, set_fields
from viaduct.runs.gaps import Gap
from viaduct.runs.parts import ArmParts, RecipeParts, Spec, TargetParts
from viaduct.runs.rows import Need, Trained, concerning
from viaduct.runs.stage import Stage
from viaduct.tasks.catalogue import Catalogue


class Fused(Spec):
    """Trains targets on rows and their translations together (FILTER, arXiv 2009.05166); the target's `fusion` says
    where the translations are and which layers read both."""

    self_teaching: bool = False
    """Train a second model, which also learns the first one's soft labels for the translations."""
    translated: bool = False
    """Predict rows with their English translations (`fusion.test`); otherwise alone, with the same model."""
    oracle: bool = False
    """Also score predictions made with the human English originals as translations; shown, but not a result."""
    choose_on: Literal["english", "targets"] = "english"
    """Which dev rows choose the checkpoint: English ones or, as in the paper, the target task's own in all predicted
    languages, which is not zero-shot."""


class FusedField(RecipeField[Fused]):
    """Trains targets on rows and their translations together (FILTER), and predicts them with or without translations;
    the target's `fusion` says how."""

    name = "fused"
    owner = "arm"
    model = Fused

    def check(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> None:
        """Raise UsageError for targets or encoders that cannot be fused, and for fields that exclude each other."""
        arm = cast(ArmParts, owner)
        asked, where = self.of(arm), f"arm '{arm.name}': fused"
        others = [one.name for one in set_fields("arm", arm) if one.name in ("train", "compression")]
        if others:
            raise UsageError(f"{where} cannot be combined with `{others[0]}`", fix="give each its own arm")
        for target in trained_targets(recipe, census):
            require_fusable(recipe, arm, target, census)
            how = fusion_of(target)
            if asked is not None and asked.translated and (how.test is None or how.fused == 0):
                lacks = (
                    "names no card for them (`test`)" if how.test is None else "has no layer that reads both (`fused`)"
                )
                raise UsageError(
                    f"{where} predicts {target.task} with translations, but its `fusion` {lacks}",
                    fix="change that, or leave `translated` out",
                )
            if asked is not None and asked.oracle and ENGLISH not in census.task(target.task).languages:
                raise UsageError(f"{where}: {target.task} has no English originals", fix="leave `oracle` out")

    def gaps(self, recipe: RecipeParts, owner: BaseModel, census: Census) -> list[Gap]:
        """Translations and dev rows that are missing, or too few."""
        asked, found = self.of(owner), list[Gap]()
        for target in trained_targets(recipe, census) if asked is not None else ():
            card, codes = translated_languages(target, recipe, census)
            if not codes:
                found.append(Gap(f"{card} train", "", "no translations in any language"))
            found += too_few(target, [(card, "train", code) for code in codes], recipe, census)
            found += predicted_gaps(target, recipe, census) if asked is not None and asked.translated else []
            found += gaps_of(self.chosen_rows(recipe, cast(ArmParts, owner), target, census), recipe, census)
        return found

    def trained_rows(self, recipe: RecipeParts, arm: ArmParts, target: TargetParts, census: Census) -> Trained:
        """The translations of the train rows."""
        if self.of(arm) is None or census.task(target.task).trained_on is None:
            return {}
        card, codes = translated_languages(target, recipe, census)
        return with_originals([(card, code) for code in codes], target, census)

    def chosen_rows(self, recipe: RecipeParts, arm: ArmParts, target: TargetParts, census: Census) -> list[Need]:
        """The target's own dev rows, if the arm chooses on them."""
        asked = self.of(arm)
        if asked is None or asked.choose_on == "english":
            return []
        return [(name, "dev", code) for name, code in dev_of_targets(recipe, target, census)]

    def train_target(self, chain: Chain) -> Stage | None:
        """Add the model that reads both languages; with self-teaching, a second one taught by it; and the oracle."""
        asked, on = self.of(chain.arm), chain.census.task(chain.target.task).trained_on
        if asked is None or on is None:
            return None
        start = {} if chain.encoder is None else {"encoder": chain.encoder}
        work, folders = _work(chain, asked, on), (on, f"{on}-for-{chain.target.task}")
        model = chain.add(work, *folders, inputs=start)
        if asked.self_teaching:
            how, kind = fusion_of(chain.target), chain.census.task(on).kind
            taught = {"alpha": how.alpha, "temperature": how.temperature or TEMPERATURES[kind]}
            names = [f"{folder}-taught" for folder in folders]
            model = chain.add(work.model_copy(update=taught), *names, inputs={**start, "teacher": model})
        if asked.oracle:
            chain.add(_prediction(chain, oracle=True), f"{chain.target.task}-oracle", inputs={"encoder": model})
        return model

    def predict_target(self, chain: Chain) -> Stage | None:
        """Add predictions with translations, if the arm asks for them."""
        asked = self.of(chain.arm)
        if asked is None or not asked.translated or chain.census.task(chain.target.task).trained_on is None:
            return None
        return chain.add(_prediction(chain, oracle=False), chain.target.task)

    def words(self, owner: BaseModel) -> str:
        """How the arm trains, predicts and chooses, in words."""
        asked = self.of(owner)
        if asked is None:
            return ""
        taught = " with self-teaching (alpha is ours: the paper's are not published)" * asked.self_teaching
        how = "with translations" if asked.translated else "without translations"
        dev = "target-language" if asked.choose_on == "targets" else "English"
        return f"trained on rows and translations together{taught}; predicted {how}; chosen on {dev} dev"

    def marks(self, arm: ArmParts, _recipe: RecipeParts, _catalogue: Catalogue) -> tuple[str, ...]:
        """Marks for training on or reading translations, and for checkpoints chosen with other languages' labels."""
        asked = self.of(arm)
        if asked is None:
            return ()
        how = "translations at inference" if asked.translated else "no translations at inference"
        return ("translate-train", how, *(("not zero-shot",) if asked.choose_on == "targets" else ()))

    def chosen_on(self, arm: ArmParts) -> str | None:
        """The targets' dev rows, if they choose the checkpoint; None if English ones do."""
        asked = self.of(arm)
        return None if asked is None or asked.choose_on == "english" else "target-language dev"

    def role(self, arm: ArmParts, recipe: RecipeParts) -> str | None:
        """FILTER, with or without self-teaching, predicting with or without translations, chosen in English; None if a
        target has no fused layer, or may lack more translations than it has."""
        asked, hows = self.of(arm), [fusion_of(target) for target in recipe.targets]
        is_filter = all(how.fused > 0 and how.most_missing <= 0.5 for how in hows)
        if asked is None or asked.choose_on != "english" or not is_filter:
            return None
        name = "filter" + "_taught" * asked.self_teaching + "_alone" * (not asked.translated)
        return role_with(name, arm)


FUSED = FusedField()


def _work(chain: Chain, asked: Fused, on: str) -> FuseWork:
    how = fusion_of(chain.target)
    card, languages = translated_languages(chain.target, chain.recipe, chain.census)
    by_targets = asked.choose_on == "targets"
    return FuseWork(
        task=on,
        training=chain.training,
        seed=chain.seed,
        card=card,
        languages=languages,
        local=how.local,
        fused=how.fused,
        most_missing=how.most_missing,
        dev=dev_of_targets(chain.recipe, chain.target, chain.census) if by_targets else ((on, ENGLISH),),
    )


def _prediction(chain: Chain, *, oracle: bool) -> PredictFusedWork:
    target, how = chain.target, fusion_of(chain.target)
    others = tuple(code for code in chain.languages if code != ENGLISH)
    card, there = None, others
    if not oracle and how.test is not None:
        declared = concerning(chain.recipe.substitutions, [(how.test, target.split, ENGLISH)])
        card, there = how.test, with_translations(how.test, target.split, others, declared, chain.census)
    return PredictFusedWork(
        task=target.task,
        languages=others if oracle else chain.languages,
        split=target.split,
        max_length=target.training.max_length,
        stride=target.training.stride,
        products=target.products,
        card=card,
        translated=there,
        local=how.local,
        fused=how.fused,
        most_missing=how.most_missing,
    )
