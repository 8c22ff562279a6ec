"""FILTER (arXiv 2009.05166) at full scale, and whether it still helps after an intermediate task: XLM-R large.

Hypothesis, stated before the run: as the paper reports, fusion with translations at inference beats plain
translate-train on the five tasks that XTREME has translations for, self-teaching adds a little (0.1 to 0.5 points), and
both gain less after SQuAD 2.0, which already gave question answering what it lacks.
Stopping rule: three seeds, whatever they show.

Command:   viaduct plan filter --data FOLDER      (look first: the tree, what is missing, hours, disk)
           viaduct run filter --data FOLDER --device cuda
Cost:      by `viaduct plan`, not measured: 5e18 floating-point operations, a day of one H100 or A100 that does 40 % of
           its peak (short rows will not let it), and 0.3 TB
Result:    not run yet
Data:      XNLI, PAWS-X, XQuAD, MLQA, TyDiQA, MNLI with XNLI-MT-1.0, SQuAD 1.1 and 2.0, and XTREME's translations
           (xtreme_translations/). The paper's translations of tagging data are not public any more: POS and NER are
           left out.

Layers, learning rates, epochs, lengths and batches are those of the authors' train.sh (yuwfan/FILTER at 6dac390; 8 GPUs
times the batch there). What differs: checkpoints are chosen on English dev, not on the target languages'; a step holds
as many tokens as their rows have on average, both sides counted; alpha of self-teaching is ours, for theirs is not
published.
"""

from typing import Any

from viaduct.fusion.field import Fused
from viaduct.fusion.settings import Fusion
from viaduct.fusion.target_data import TrainOn
from viaduct.recipes.xstilts import REVISION, training
from viaduct.runs.spec import Intermediate, Recipe, Target, Training

WAYS: dict[str, dict[str, Any]] = {
    "translate_train": {"train": TrainOn(translated=True)},
    "filter": {"fused": Fused(translated=True)},
    "filter_alone": {"fused": Fused()},
    "filter_taught": {"fused": Fused(translated=True, self_teaching=True)},
}
"""What an arm does to its targets."""

BEFORE = "squad2"

PAIR_TOKENS, QUESTION_TOKENS = 40, 200
"""Of a row in one language, about."""


def fused(task: str, rate: float, epochs: float, rows: int, *, layers: int = 1, train: str | None = None) -> Target:
    """A target with the published settings; a step holds `rows` rows with their translations."""
    question = layers > 1
    return Target(
        task=task,
        training=Training(
            learning_rate=rate,
            epochs=epochs,
            batch_tokens=2 * rows * (QUESTION_TOKENS if question else PAIR_TOKENS),
            max_length=384 if question else 256,
            stride=128,
            evaluations=10,
        ),
        fusion=Fusion(local=1, fused=layers, train=train, test=f"{task}_to_english", most_missing=0.1),
    )


def recipe() -> Recipe:
    """{zero-shot, translate-train, fusion with and without translations, self-teaching} x {none, SQuAD 2.0}."""
    first = training(BEFORE)
    return Recipe(
        name="filter",
        hypothesis=(
            "Fusion with translations beats plain translate-train, self-teaching adds a little, and both gain less "
            "after SQuAD 2.0."
        ),
        encoder="FacebookAI/xlm-roberta-large",
        revision=REVISION,
        intermediates=(
            Intermediate(name="none"),
            *(Intermediate(name=name, **fields) for name, fields in WAYS.items()),
            Intermediate(name=BEFORE, tasks=(BEFORE,), training=first),
            *(
                Intermediate(name=f"{BEFORE}+{name}", tasks=(BEFORE,), training=first, **fields)
                for name, fields in WAYS.items()
            ),
        ),
        targets=(
            fused("xnli", 3e-6, 5.0, 64),
            fused("pawsx", 1e-5, 4.0, 32),
            fused("xquad", 5e-6, 2.0, 32, layers=20, train="squad_translated"),
            fused("mlqa", 5e-6, 2.0, 64, layers=20, train="squad_translated"),
            fused("tydiqa", 1e-5, 4.0, 32, layers=20, train="tydiqa_translated"),
        ),
        seeds=(1, 2, 3),
        deciding=(
            ("filter", "translate_train"),
            ("filter_taught", "filter"),
            (f"{BEFORE}+filter", f"{BEFORE}+translate_train"),
        ),
        compare=(("filter_alone", "translate_train"), (f"{BEFORE}+filter_alone", f"{BEFORE}+translate_train")),
    )
