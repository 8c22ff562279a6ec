"""What does each way of making a model smaller cost in score? On the miniature world, with its answer known in parts.

Every arm is the baseline with one thing changed: half of the layers cut off before the targets are trained, a
vocabulary of the five languages that are evaluated, int8 in ONNX Runtime, a student of half of the layers. Pieces that
no kept text uses change nothing in the kept languages, so that arm must score what the baseline does.

Hypothesis: a vocabulary of the evaluated languages costs nothing, int8 next to nothing; of the arms with one layer the
student, which learned from two, loses less than the encoder that was cut.

Command:   viaduct miniature build/miniature
           viaduct run compression_miniature --data build/miniature
Cost:      minutes on one core after the pretraining, which it shares with demo
Result:    docs/compression.md
"""

from viaduct.recipes.pieces import MINI_ENCODER, MINI_RETRIEVAL, mini_training
from viaduct.runs.spec import Intermediate, Recipe, Target, Training
from viaduct.serving.compression import Compression
from viaduct.serving.distil import Distil

LANGUAGES = ("en", "de", "es", "fr", "ru")
OTHERS = LANGUAGES[1:]

STUDENT = Distil(
    layers=1,
    sampling_exponent=1.0,
    mask_fraction=0.3,
    training=Training(learning_rate=2e-3, max_steps=400, epochs=100.0, batch_tokens=1_280, max_length=32),
)


def arm(name: str, **changes: object) -> Intermediate:
    """The baseline, made smaller in one way."""
    return Intermediate(name=name, compression=Compression.model_validate(changes))


def recipe() -> Recipe:
    """Four ways to make the model smaller, a classification, a tagging and a retrieval task."""
    return Recipe(
        name="compression_miniature",
        hypothesis="A vocabulary of the evaluated languages costs nothing, int8 next to nothing, a student less than"
        " the encoder cut to as many layers.",
        encoder=MINI_ENCODER,
        intermediates=(
            Intermediate(name="none"),
            arm("one_layer", layers=1),
            arm("five_languages", vocabulary=LANGUAGES),
            arm("int8", engine="onnx", precision="int8"),
            arm("student", distil=STUDENT),
        ),
        targets=(
            Target(task="xnli", training=mini_training(400), languages=LANGUAGES),
            Target(task="udpos", training=mini_training(60), languages=LANGUAGES),
            Target(task="tatoeba", languages=OTHERS, retrieval=MINI_RETRIEVAL),
        ),
        compare=(("student", "one_layer"),),
        seeds=(1,),
        miniature=True,
    )
