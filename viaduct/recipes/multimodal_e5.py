"""Do photographs help an encoder that already transfers, and does a premise seen teach what a premise read does?

Hypothesis, stated before the run: multilingual-e5-small is aligned, so every stage costs it retrieval. Contrast through
photographs costs least, and as little with consistently wrong photographs: what keeps languages together is an
identifier, not what is seen. Writing captions changes text tasks no more than the same captions without photographs.
In visual entailment, where nothing but the premise's modality differs, a premise that is read raises XNLI over none,
and one that is seen does not.

Command:   python TOOLS/real_encoder.py multilingual-e5-small; python TOOLS/real_tower.py vit-s     (see "Models")
           viaduct run multimodal_e5 --data FOLDER --processes 2          (beside these two folders)
Cost:      `viaduct plan multimodal_e5`
Result:    docs/log.md, four of five comparisons so far
Models:    multilingual-e5-small (12 x 384, XLM-R's vocabulary) and a ViT-S of DINOv2's shape (10 of 12 layers), both
           from package indexes, MIT; e5 has been trained on SQuAD, NLI and Quora, so stages are further training
Data:      flickr8k/ (photographs, lists, captions/), snli/, emoji/, storybooks/, ntrex/ to choose layers on; mnli/,
           squad/ and what the targets need

Design. Every stage has the same number of steps; arms of one objective share captions, order and masks. Controls of
each objective: another photograph for every caption, always the same wrong one, one constant, text only. Captions in
English, in three languages (with all controls), and in six; recall is told for all six, with and without captions in
training. Visual entailment: the same rows, order and steps with the premise as text, photograph, both, nothing, a wrong
photograph; its held-out photographs are outside Flickr8k's training list, on which all caption arms train.

Analysis. The page's verdicts: differences paired by seed, corrected over the deciding comparisons first. Retrieval at
the layer that is best on NTREX in each arm. A stage used its photographs if its image gain lies above 0; where it does
not, its row says nothing about photographs. Stopping: all seeds are run, none is added, nothing is looked at before.
"""

from viaduct.recipes.xstilts_e5 import SUBSTITUTIONS as E5_SUBSTITUTIONS
from viaduct.runs.spec import Intermediate, Recipe, Saw, Substitution, Target, Training
from viaduct.vision.fields import Captions, ImageSource, Objective
from viaduct.vision.pictured import PicturedTask, Premise

TOWER = "vit-s"
STEPS = 120
STAGE = Training(
    learning_rate=5e-5,
    head_learning_rate=1e-3,
    epochs=100.0,
    max_steps=STEPS,
    batch_tokens=2_048,
    max_length=64,
    evaluations=1,
    precision="bf16",
)
PAIRS = STAGE.model_copy(update={"head_learning_rate": None, "max_length": 128, "evaluations": 2, "dev_rows": 300})
TAGS = PAIRS.model_copy(update={"max_steps": STEPS // 2})
QUESTIONS = TAGS.model_copy(update={"max_length": 256, "stride": 128, "dev_rows": 100})

SIX = ("en", "zh", "ar", "de", "fr", "cs")
THREE = ("en", "de", "zh")
OBJECTIVES = ("contrastive", "ar_caption", "mlm_caption")
CONTROLS: dict[str, ImageSource] = {
    "shuffled_caption": "shuffled_caption",
    "shuffled_image": "shuffled_image",
    "null_image": "null",
    "text_only": "none",
}
VISUAL_TOKENS = 16

TIME = "a part of it, for time"
SMALLER = {
    ("xnli", "test"): ("dev", (0.0, 0.1), f"the official test labels are not here; {TIME}"),
    ("panx", "test"): ("dev", (0.0, 0.05), f"the official test labels are not here; {TIME}"),
    ("udpos", "test"): ("test", (0.0, 0.3), TIME),
    ("xquad", "test"): ("test", (0.0, 0.05), TIME),
    ("tatoeba", "test"): ("test", (0.0, 0.5), TIME),
    ("bucc", "dev"): ("dev", (0.0, 0.15), TIME),
    ("bucc", "test"): ("dev", (0.15, 0.3), f"the test sentences are not here; {TIME}"),
}
"""Evaluated split -> what stands in for it."""
SUBSTITUTIONS = (
    *(
        Substitution(task=task, split=split, use_split=used, part=part, why=why)  # type: ignore[arg-type]
        for (task, split), (used, part, why) in SMALLER.items()
    ),
    *(one for one in E5_SUBSTITUTIONS if (one.task, one.split) not in SMALLER),
)


def captions(
    name: str,
    objective: str,
    image: ImageSource = "true",
    languages: tuple[str, ...] | None = THREE,
    card: str = "flickr8k_joined",
) -> Intermediate:
    """A stage on captions of photographs or other pictures."""
    searched = SIX if (objective, card) == ("contrastive", "flickr8k_joined") and image != "text" else ()
    asked = Captions(
        card=card,
        objectives=(Objective(name=objective),),  # type: ignore[arg-type]
        image=image,
        tower=TOWER,
        tower_tokens=VISUAL_TOKENS,
        languages=languages,
        contrast="softmax",
        retrieval_languages=searched,
        dev_captions=300,
        written=30,
    )
    return Intermediate(name=name, captions=asked, training=STAGE)


def with_controls(objective: str) -> tuple[Intermediate, ...]:
    """A stage in three languages and its controls; what stands for the photograph in contrast is another caption."""
    shown = {**CONTROLS, "text_only": "text"} if objective == "contrastive" else CONTROLS
    controls = (captions(f"{objective}_{name}", objective, image) for name, image in shown.items())
    return (captions(objective, objective), *controls)


def entailment(premise: Premise) -> Intermediate:
    """Visual entailment with the premise as this."""
    task = PicturedTask(card="visual_entailment", premise=premise, tower=TOWER, tower_tokens=VISUAL_TOKENS)
    return Intermediate(name=f"ve_{premise.removesuffix('_image')}", pictured=task, training=STAGE)


def recipe() -> Recipe:
    """{none, three objectives with four controls each, other caption languages and pictures, five premises} x seven
    XTREME tasks x three seeds, nine of what decides."""
    return Recipe(
        name="multimodal_e5",
        hypothesis=(
            "Contrast through photographs costs an aligned encoder less retrieval than other stages, and as little "
            "with wrong ones; captions teach text tasks nothing beyond their words; a premise that is read raises XNLI "
            "over none, one that is seen does not."
        ),
        encoder="multilingual-e5-small",
        encoder_saw=Saw(
            data=("squad", "mnli", "snli", "quora", "mr_tydi", "nq", "ms_marco"),
            source="model card of intfloat/multilingual-e5-small; mteb issue 2551",
        ),
        intermediates=(
            Intermediate(name="none"),
            *(arm for objective in OBJECTIVES for arm in with_controls(objective)),
            captions("contrastive_en", "contrastive", languages=("en",)),
            captions("contrastive_six", "contrastive", languages=SIX),
            captions("ar_caption_en", "ar_caption", languages=("en",)),
            captions("ar_caption_six", "ar_caption", languages=SIX),
            captions("contrastive_emoji", "contrastive", languages=None, card="emoji"),
            captions("contrastive_storybooks", "contrastive", languages=None, card="storybooks"),
            *(entailment(premise) for premise in ("text", "image", "both", "none", "wrong_image")),
        ),
        targets=(
            Target(task="xnli", training=PAIRS, languages="available"),
            Target(task="udpos", training=TAGS, languages="available"),
            Target(task="panx", training=TAGS, languages="available"),
            Target(task="xquad", training=QUESTIONS, languages="available"),
            Target(task="tydiqa", training=QUESTIONS, languages="available"),
            Target(task="bucc", languages="available"),
            Target(task="tatoeba", languages="available"),
        ),
        seeds=(1, 2, 3),
        further_seeds=(4, 5, 6, 7, 8, 9),
        deciding=(
            ("ve_text", "ve_none", "xnli"),
            ("ve_image", "ve_none", "xnli"),
            ("ve_image", "ve_text", "xnli"),
            ("contrastive", "contrastive_shuffled_image", "tatoeba"),
            ("ar_caption", "ar_caption_text_only"),
        ),
        compare=(
            *(
                (objective, f"{objective}_{name}")
                for objective in OBJECTIVES
                for name in CONTROLS
                if (objective, name) != ("ar_caption", "text_only")
            ),
            ("ve_both", "ve_text"),
            ("ve_image", "ve_wrong"),
        ),
        substitutions=SUBSTITUTIONS,
    )
