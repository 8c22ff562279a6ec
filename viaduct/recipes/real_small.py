"""Does an English intermediate task help a very small multilingual encoder? Real files, two CPU cores.

Hypothesis, stated before the run: as with XLM-R (arXiv 2005.13013), intermediate training changes sentence retrieval
most; at this scale (18 million tokens of pretraining, 9 million parameters) the zero-shot classification and QA scores
outside English stay near chance in every arm, so their differences will mostly be noise.

Command:   viaduct run real_small --data FOLDER --threads 2
Cost:      about 50 minutes of pretraining and 80 of the rest on two cores, 17 GB
Result:    docs/log.md
Data:      text/, ntrex/, mnli/, squad/, xquad/, tatoeba/, ud-treebanks-v2.5/ and xtreme_download/ (or download/)

Several official splits are not freely available; every stand-in is declared (pieces.py) and shown in the report.
"""

from viaduct.recipes.pieces import (
    FREE_STAND_INS,
    SMALL_ENCODER,
    SMALL_PAIRS,
    SMALL_QUESTIONS,
    SMALL_RETRIEVAL,
    SMALL_TAGS,
)
from viaduct.runs.spec import Intermediate, Recipe, Target


def recipe() -> Recipe:
    """{no intermediate task, SQuAD, MNLI} x seven XTREME tasks, wherever labelled files are there."""
    return Recipe(
        name="real_small",
        hypothesis=(
            "Intermediate training on MNLI or SQuAD changes sentence retrieval most; other zero-shot scores of an "
            "encoder this small stay close to chance, and their differences to noise."
        ),
        encoder=SMALL_ENCODER,
        intermediates=(
            Intermediate(name="none"),
            Intermediate(name="squad", tasks=("squad",), training=SMALL_QUESTIONS),
            Intermediate(name="mnli", tasks=("mnli",), training=SMALL_PAIRS),
        ),
        targets=(
            Target(task="xnli", training=SMALL_PAIRS, languages="available"),
            Target(task="udpos", training=SMALL_TAGS, languages="available"),
            Target(task="panx", training=SMALL_TAGS, languages="available"),
            Target(task="xquad", training=SMALL_QUESTIONS, languages="available"),
            Target(task="tydiqa", training=SMALL_QUESTIONS.model_copy(update={"epochs": 2.0}), languages="available"),
            Target(task="bucc", training=SMALL_PAIRS, languages="available", retrieval=SMALL_RETRIEVAL),
            Target(task="tatoeba", training=SMALL_PAIRS, languages="available", retrieval=SMALL_RETRIEVAL),
        ),
        seeds=(1,),
        substitutions=FREE_STAND_INS,
    )
