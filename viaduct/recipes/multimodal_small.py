"""Do pictures of emoji and storybooks teach a very small multilingual encoder anything about text? Real files.

Hypothesis, stated before the run: contrastive training through pictures with names in 40 languages changes sentence
retrieval (Tatoeba) most, in the languages whose names it saw; nearly all of that survives consistently wrong pictures,
which then act as identifiers of a meaning and not as images; captioning changes no text task measurably.

Command:   viaduct run multimodal_small --data FOLDER --processes 2
Cost:      the encoder of real_small (shared where the store has it), then two hours
Result:    docs/log.md: no measurable effect of pictures at this scale
Data:      what real_small needs for its encoder, emoji/, storybooks/, tatoeba/, ud-treebanks-v2.5/

The tower is a small convolutional one that is trained with the stage: no pretrained tower is downloaded. Every arm has
the same steps and replayed text; the captioning arms share captions, order and masks, and so do the contrastive ones.
"""

from viaduct.recipes.pieces import FREE_STAND_INS, SMALL_ENCODER, SMALL_RETRIEVAL, SMALL_TAGS
from viaduct.runs.spec import Intermediate, Recipe, Replay, Target, Training
from viaduct.vision.fields import Captions, ImageSource, Objective

STAGE = Training(
    learning_rate=3e-4,
    head_learning_rate=1e-3,
    epochs=100.0,
    max_steps=200,
    batch_tokens=2_048,
    max_length=48,
    evaluations=3,
)
REPLAY = Replay(batch_tokens=768, lines=500)
WRITING = (Objective(name="ar_caption", share=0.75), Objective(name="mlm_caption", share=0.25))
CONTRAST = (Objective(name="contrastive"),)


def arm(
    name: str,
    objectives: tuple[Objective, ...],
    image: ImageSource = "true",
    card: str = "emoji",
    languages: tuple[str, ...] | None = None,
) -> Intermediate:
    """A stage on pictures; the arms differ in what stands for the image, in what is asked, in the pictures, or in the
    languages of their captions."""
    captions = Captions(
        card=card,
        languages=languages,
        objectives=objectives,
        image=image,
        tower="patches",
        tower_layers=3,
        contrast="softmax",
        dev_captions=400,
        written=60,
    )
    return Intermediate(name=name, captions=captions, replay=REPLAY, training=STAGE)


def recipe() -> Recipe:
    """Captioning and contrast on emoji with their controls; contrast in English, and on storybooks; three seeds."""
    return Recipe(
        name="multimodal_small",
        hypothesis=(
            "Contrast through pictures changes Tatoeba most, and nearly as much with consistently wrong pictures; "
            "captioning changes no text task measurably."
        ),
        encoder=SMALL_ENCODER,
        intermediates=(
            Intermediate(name="none"),
            Intermediate(name="replay", replay=REPLAY, training=STAGE),
            arm("caption", WRITING),
            arm("caption_text_only", WRITING, "none"),
            arm("caption_null_image", WRITING, "null"),
            arm("caption_shuffled_caption", WRITING, "shuffled_caption"),
            arm("caption_shuffled_image", WRITING, "shuffled_image"),
            arm("contrastive", CONTRAST),
            arm("contrastive_shuffled_caption", CONTRAST, "shuffled_caption"),
            arm("contrastive_shuffled_image", CONTRAST, "shuffled_image"),
            arm("contrastive_text", CONTRAST, "text"),
            arm("contrastive_english", CONTRAST, languages=("en",)),
            arm("contrastive_storybooks", CONTRAST, card="storybooks"),
        ),
        targets=(
            Target(task="tatoeba", languages="available", retrieval=SMALL_RETRIEVAL),
            Target(
                task="udpos",
                training=SMALL_TAGS.model_copy(update={"train_rows": 2_000, "evaluations": 1}),
                languages="available",
            ),
        ),
        seeds=(1, 2, 3),
        substitutions=FREE_STAND_INS,
    )
