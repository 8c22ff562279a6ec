"""All three phases on the miniature world, in minutes on two CPU cores: a smoke test and a demonstration, no evidence.

Hypothesis: everything works. Beyond that, an intermediate task should help its own kind of target most (MNLI: XNLI;
SQuAD: XQuAD and MLQA), because in this world the tasks share their constructions; writing captions uses the images
(recipes/multimodal_miniature.py has its controls).

Command:   make demo
           (viaduct miniature build/miniature; viaduct run recipes/demo.py --data build/miniature)
Cost:      see docs/log.md
"""

from viaduct.runs.spec import Architecture, Intermediate, Pretrain, Recipe, Retrieval, Target, Training
from viaduct.vision.fields import Captions, Objective

ENCODER = Pretrain(
    name="mini-2x128",
    architecture=Architecture(
        layers=2, hidden=128, heads=4, feed_forward=256, vocabulary=3_500, max_length=192, dropout=0.0
    ),
    text=("text",),
    parallel=("ntrex",),
    parallel_share=0.5,
    sampling_exponent=1.0,
    mask_fraction=0.3,
    whole_words=True,
    training=Training(
        learning_rate=4e-3,
        epochs=20.0,
        max_steps=4_000,
        batch_tokens=1_280,
        max_length=32,
        warmup_fraction=0.06,
        weight_decay=0.01,
    ),
)


def training(steps: int, max_length: int = 128) -> Training:
    """The settings of one small fine-tuning."""
    return Training(
        learning_rate=2e-3,
        epochs=40.0,
        max_steps=steps,
        batch_tokens=2_048,
        max_length=max_length,
        stride=32,
        evaluations=4,
        dev_rows=300,
    )


PICTURES = Captions(
    card="coco",
    objectives=(Objective(name="ar_caption"),),
    tower="patches",
    tower_layers=3,
    one_language_per_image=True,
    dev_captions=140,
    written=24,
)
CAPTIONING = Training(
    learning_rate=1e-3,
    head_learning_rate=1e-3,
    epochs=100.0,
    max_steps=400,
    batch_tokens=2_048,
    max_length=48,
    evaluations=4,
)


def recipe() -> Recipe:
    """{no intermediate task, MNLI, SQuAD, writing captions} x the nine XTREME tasks of the miniature world."""
    return Recipe(
        name="demo",
        hypothesis="All works; an intermediate task helps targets of its own kind most; captions use their images.",
        encoder=ENCODER,
        intermediates=(
            Intermediate(name="none"),
            Intermediate(name="mnli", tasks=("mnli",), training=training(400)),
            Intermediate(name="squad", tasks=("squad",), training=training(300, 192)),
            Intermediate(name="caption", captions=PICTURES, training=CAPTIONING),
        ),
        targets=(
            Target(task="xnli", training=training(400), languages="available"),
            Target(task="pawsx", training=training(250), languages="available"),
            Target(task="udpos", training=training(60), languages="available"),
            Target(task="panx", training=training(60), languages="available"),
            Target(task="xquad", training=training(300, 192), languages="available"),
            Target(task="mlqa", training=training(300, 192), languages="available"),
            Target(task="tydiqa", training=training(100, 192), languages="available"),
            Target(task="bucc", languages="available", retrieval=Retrieval(layers=(1,), centre=True)),
            Target(task="tatoeba", languages="available", retrieval=Retrieval(layers=(1,), centre=True)),
        ),
        seeds=(1,),
        miniature=True,
    )
