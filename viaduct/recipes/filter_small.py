"""Does fusion help where no translation is at hand when predicting? Real translations, multilingual-e5-small, one core.

Hypothesis, stated before the run: predicted without translations, a model that was trained with fusion is no better
than one that was trained on the same translations plainly (a difference within 2 points either way), with self-teaching
and without, and after SNLI as before it; plain translate-train is above zero-shot by less than 2 points, because the
encoder's languages are aligned already. With the human English originals for translations the fused model gains more
than 3 points, which is what translations could give at most and is no result.
Stopping rule: three seeds, whatever they show; no setting is changed after a score was seen.
This is the second version. At the rate of the first, 2e-4, nine of 24 trainings learned nothing (docs/log.md); the
pilot of this one, seeds 101 and 102, had 46.0 and 48.0 outside English in none, 46.3 and 46.6 in translate_train.

Command:   python ../shared/tools/real_encoder.py FOLDER        (multilingual-e5-small)
           viaduct run filter_small --data ../shared/data --set encoder=FOLDER
Cost:      `viaduct plan filter_small`; two hours of a core with AVX-512, four without
Result:    docs/log.md: fusion +0.1 (-0.2 to +0.4) against plain translate-train, neither trained to the end
Data:      mnli/ (XNLI-MT: 15,001 pairs of MultiNLI in ten languages), XNLI-1.0/, snli/

Every arm has the same steps of the same number of tokens; of a couple both sides count, so that fusion sees half as
many English pairs. m and k are the published ones for XNLI. SNLI shares no pair with MultiNLI or XNLI. No machine
translation of XNLI's rows into English is at hand. Official splits that are not freely available are replaced, as the
report says, so that it decides no claim of the paper.
"""

from typing import Any

from viaduct.fusion.field import Fused
from viaduct.fusion.settings import Fusion
from viaduct.fusion.target_data import TrainOn
from viaduct.recipes.pieces import SMALL_ENCODER
from viaduct.runs.spec import Intermediate, Recipe, Substitution, Target, Training
from viaduct.serving.measure import Measure

TRAINING = Training(
    learning_rate=5e-5,
    head_learning_rate=5e-4,
    epochs=50.0,
    max_steps=120,
    batch_tokens=1_024,
    max_length=96,
    evaluations=2,
    dev_rows=300,
    precision="fp32",
)

WAYS: dict[str, dict[str, Any]] = {
    "translate_train": {"train": TrainOn(translated=True)},
    "filter_alone": {"fused": Fused()},
    "filter_taught_alone": {"fused": Fused(self_teaching=True)},
}
"""What an arm does to the target; all predict without translations."""

ORACLE = {"filter_alone": {"fused": Fused(oracle=True)}}
BEFORE = "snli"
LANGUAGES = ("en", "ar", "de", "es", "fr", "sw", "tr", "ur", "vi", "zh")
"""English, and the nine that have translations."""

SUBSTITUTIONS = (
    Substitution(
        task="mnli", split="train", use_split="train", part=(0.0, 0.95), why="the last part stands in for the dev set"
    ),
    Substitution(task="mnli", split="dev", use_split="train", part=(0.95, 1.0), why="the official dev set is not here"),
    Substitution(
        task="xnli",
        split="test",
        use_split="dev",
        part=(0.0, 0.12),
        why="the official test labels are not here; a part of it, for time",
    ),
    Substitution(task="snli", split="train", use_split="dev", why="the official train set is not here"),
    Substitution(task="snli", split="dev", use_split="test", part=(0.0, 0.1), why="the dev set is trained on"),
)


def recipe() -> Recipe:
    """{zero-shot, translate-train, fusion, fusion + self-teaching} x {none, SNLI} on XNLI in ten languages."""
    return Recipe(
        name="filter_small",
        hypothesis=(
            "Without translations at inference fusion is no better than plain translate-train, with self-teaching and "
            "without, and after SNLI as before; translate-train gains less than 2 points over zero-shot."
        ),
        encoder=SMALL_ENCODER,
        intermediates=(
            Intermediate(name="none"),
            *(Intermediate(name=name, **fields) for name, fields in (WAYS | ORACLE).items()),
            Intermediate(name=BEFORE, tasks=(BEFORE,), training=TRAINING),
            *(
                Intermediate(name=f"{BEFORE}+{name}", tasks=(BEFORE,), training=TRAINING, **fields)
                for name, fields in WAYS.items()
            ),
        ),
        targets=(Target(task="xnli", training=TRAINING, languages=LANGUAGES, fusion=Fusion(languages=LANGUAGES[1:])),),
        seeds=(1, 2, 3),
        measure=Measure(rows=50, round_rows=4),
        deciding=(
            ("translate_train", "none"),
            ("filter_alone", "translate_train"),
            ("filter_taught_alone", "filter_alone"),
            (f"{BEFORE}+filter_alone", f"{BEFORE}+translate_train"),
        ),
        substitutions=SUBSTITUTIONS,
    )
