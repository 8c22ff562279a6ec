"""All three phases on the miniature world, in minutes on two CPU cores: a smoke test and a demonstration, no evidence.

Hypothesis: everything works. Beyond that, an intermediate task should help its own kind of target most (MNLI: XNLI;
SQuAD: XQuAD and MLQA), because in this world the tasks share their constructions; writing captions uses the images
(multimodal_miniature has its controls).

Command:   make demo
           (viaduct miniature build/miniature; viaduct run demo --data build/miniature --processes 2)
Cost:      four to six minutes on two cores
Result:    docs/miniature.md: every trained model beats its baselines
"""

from viaduct.recipes.pieces import MINI_CAPTIONING, MINI_ENCODER, MINI_RETRIEVAL, mini_training
from viaduct.runs.spec import Intermediate, Recipe, Target
from viaduct.vision.fields import Captions, Objective

PICTURES = Captions(
    card="coco",
    objectives=(Objective(name="ar_caption"),),
    tower="patches",
    tower_layers=3,
    one_language_per_image=True,
    dev_captions=140,
    written=24,
)


def recipe() -> Recipe:
    """{no intermediate task, MNLI, SQuAD, writing captions} x the nine XTREME tasks of the miniature world."""
    return Recipe(
        name="demo",
        hypothesis="All works; an intermediate task helps targets of its own kind most; captions use their images.",
        encoder=MINI_ENCODER,
        intermediates=(
            Intermediate(name="none"),
            Intermediate(name="mnli", tasks=("mnli",), training=mini_training(400)),
            Intermediate(name="squad", tasks=("squad",), training=mini_training(300, 192)),
            Intermediate(name="caption", captions=PICTURES, training=MINI_CAPTIONING),
        ),
        targets=(
            Target(task="xnli", training=mini_training(400), languages="available"),
            Target(task="pawsx", training=mini_training(250), languages="available"),
            Target(task="udpos", training=mini_training(60), languages="available"),
            Target(task="panx", training=mini_training(60), languages="available"),
            Target(task="xquad", training=mini_training(300, 192), languages="available"),
            Target(task="mlqa", training=mini_training(300, 192), languages="available"),
            Target(task="tydiqa", training=mini_training(100, 192), languages="available"),
            Target(task="bucc", languages="available", retrieval=MINI_RETRIEVAL),
            Target(task="tatoeba", languages="available", retrieval=MINI_RETRIEVAL),
        ),
        seeds=(1,),
        miniature=True,
    )
