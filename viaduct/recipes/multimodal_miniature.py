"""Does captioning images as an intermediate task use the images, and can its controls say no? On the miniature world.

Here the truth is known: captions name what is in the picture, so an arm that writes captions with the image before it
must lose by a wrong image (image gain above 0), and arms that were shown wrong images must not. What the stages do to
the text tasks is shown too, and is no evidence about languages: the world is generated.

Hypothesis: the captioning arm's image gain is above 0, its shuffled controls' is not; no arm changes tagging.

Command:   viaduct miniature build/miniature
           viaduct run multimodal_miniature --data build/miniature
Cost:      14 minutes on two cores
Result:    docs/log.md, 2026-11-23: image gain +0.08 nats a token with the true image, 0.00 with the shuffled ones

The image goes through a small convolutional tower that is trained with the stage, because nothing pretrained is
downloaded here. All arms have the same captions, order, steps and replayed text; each image is captioned in one
language only, so that no parallel text is hidden in the captions.
"""

from viaduct.recipes.pieces import MINI_CAPTIONING, MINI_ENCODER, MINI_RETRIEVAL, mini_training
from viaduct.runs.spec import Intermediate, Recipe, Replay, Target
from viaduct.vision.fields import Captions, ImageSource, Objective

REPLAY = Replay(batch_tokens=384, max_length=32, lines=1_000, mask_fraction=0.3)


def arm(name: str, image: ImageSource, *objectives: Objective) -> Intermediate:
    """A stage on the generated pictures; the arms differ in what stands for the image, or in what is asked."""
    captions = Captions(
        card="coco",
        objectives=objectives or (Objective(name="ar_caption"),),
        image=image,
        tower="patches",
        tower_layers=3,
        one_language_per_image=True,
        contrast="softmax",
        dev_captions=280,
        written=24,
    )
    return Intermediate(name=name, captions=captions, replay=REPLAY, training=MINI_CAPTIONING)


CONTRAST = Objective(name="contrastive")


def recipe() -> Recipe:
    """The captioning arm, a contrastive one and their controls, three seeds."""
    return Recipe(
        name="multimodal_miniature",
        hypothesis=(
            "Writing captions uses the image (gain above 0) and its shuffled controls do not; no arm changes tagging."
        ),
        encoder=MINI_ENCODER,
        intermediates=(
            Intermediate(name="none"),
            Intermediate(name="replay", replay=REPLAY, training=MINI_CAPTIONING),
            arm("caption", "true"),
            arm("caption_text_only", "none"),
            arm("caption_null_image", "null"),
            arm("caption_shuffled_caption", "shuffled_caption"),
            arm("caption_shuffled_image", "shuffled_image"),
            arm("contrastive", "true", CONTRAST),
            arm("contrastive_shuffled_image", "shuffled_image", CONTRAST),
        ),
        targets=(
            Target(task="tatoeba", languages="available", retrieval=MINI_RETRIEVAL),
            Target(task="udpos", training=mini_training(60), languages="available"),
        ),
        seeds=(1, 2, 3),
        miniature=True,
    )
