"""Does an image task as the intermediate task help text-only XTREME tasks? The whole experiment, on XLM-R.

Hypothesis, stated before the run: captioning changes general understanding (XNLI, PAWS-X, tagging) by less than half a
point; contrast raises sentence retrieval; most of that survives consistently wrong images. The primary contrasts are
caption against caption_text_only and against none: macro over the nine tasks of the macro over languages but English.

Command:   viaduct plan multimodal --data FOLDER        (stages, disk, hours by device; nothing runs)
           viaduct run multimodal --data FOLDER
           for XLM-R base: --set encoder=FacebookAI/xlm-roberta-base
                           --set revision=e73636d4f797dec63c3081bb6ed5c7b0bb3f2089
Cost:      hundreds of GPU hours: ask `plan`
Result:    not run yet
Data:      all of XTREME, MNLI, SQuAD v1.1, text/ for replay, coco/ (train2017 with captions)
Towers:    two folders below ./towers, downloaded once; a folder's files are hashed, so no revision is needed:
           hf download google/siglip2-base-patch16-256 --local-dir towers/siglip2-base-patch16-256
           hf download facebook/dinov3-vitb16-pretrain-lvd1689m --local-dir towers/dinov3-vitb16

SigLIP 2 has seen captions in 109 languages; what it teaches may come from them. DINOv3 has seen pictures only. English
captions only, so that 39 languages are unseen in captions, but for one arm with translated ones in XNLI's 15, which is
left out where they are not there. Stage settings: 10,000 steps of about 256 captions, with
16,000 replayed tokens beside each.
"""

from viaduct.results.xtreme import TARGETS
from viaduct.runs.evaluation import target
from viaduct.runs.spec import Intermediate, Recipe, Replay, Training
from viaduct.serving.measure import Measure
from viaduct.vision.fields import Captions, ImageSource, Objective

SIGLIP = "towers/siglip2-base-patch16-256"
DINO = "towers/dinov3-vitb16"
STAGE = Training(
    learning_rate=1e-5,
    head_learning_rate=1e-4,
    epochs=100.0,
    max_steps=10_000,
    batch_tokens=22_000,
    max_length=40,
    weight_decay=0.01,
    evaluations=10,
)
REPLAY = Replay(batch_tokens=16_000, lines=50_000)
WRITING = (Objective(name="ar_caption", share=0.75), Objective(name="mlm_caption", share=0.25))
CONTRAST = (Objective(name="contrastive"),)
XNLI = ("en", "ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")


def arm(
    name: str,
    objectives: tuple[Objective, ...],
    image: ImageSource = "true",
    tower: str = SIGLIP,
    languages: tuple[str, ...] = ("en",),
) -> Intermediate:
    """A stage on COCO; the arms differ in what stands for the image, in what is asked, in the tower, or in the
    languages of their captions. More than English needs translated captions; without them that arm is left out."""
    captions = Captions(
        card="coco",
        objectives=objectives,
        image=image,
        tower=tower,
        languages=languages,
        dev_captions=2_000,
        written=1_000,
        common_width=512,
    )
    optional = languages != ("en",)
    return Intermediate(name=name, captions=captions, replay=REPLAY, training=STAGE, optional=optional)


def text_task(name: str, tasks: tuple[str, ...], max_length: int) -> Intermediate:
    """A text intermediate task with the released settings of arXiv 2005.13013."""
    training = Training(learning_rate=1e-5, epochs=3.0, batch_tokens=32 * 40, max_length=max_length, stride=128)
    return Intermediate(name=name, tasks=tasks, training=training)


def recipe() -> Recipe:
    """Captioning with its controls, contrast with its own, another tower, captions in more languages, and MNLI and
    SQuAD beside; nine seeds."""
    return Recipe(
        name="multimodal",
        hypothesis=(
            "Captioning changes general understanding by less than half a point; contrast raises sentence retrieval, "
            "and most of that survives consistently wrong images."
        ),
        encoder="FacebookAI/xlm-roberta-large",
        revision="c23d21b0620b635a76227c604d44e43a9f0ee389",
        intermediates=(
            Intermediate(name="none"),
            Intermediate(name="replay", replay=REPLAY, training=STAGE),
            arm("caption", WRITING),
            arm("caption_text_only", WRITING, "none"),
            arm("caption_null_image", WRITING, "null"),
            arm("caption_shuffled_caption", WRITING, "shuffled_caption"),
            arm("caption_shuffled_image", WRITING, "shuffled_image"),
            arm("caption_noise", WRITING, "noise"),
            arm("caption_dino", WRITING, tower=DINO),
            arm("caption_multilingual", WRITING, languages=XNLI),
            arm("contrastive", CONTRAST),
            arm("contrastive_shuffled_image", CONTRAST, "shuffled_image"),
            arm("contrastive_text", CONTRAST, "text"),
            text_task("mnli", ("mnli",), 256),
            text_task("squad", ("squad",), 384),
        ),
        targets=tuple(target(task, width=1024, layers=24) for task in TARGETS),
        seeds=tuple(range(1, 10)),
        measure=Measure(rows=100, round_rows=8),
        deciding=(
            ("caption", "none"),
            ("caption", "caption_text_only"),
            ("contrastive", "none", "bucc"),
            ("contrastive", "none", "tatoeba"),
        ),
    )
