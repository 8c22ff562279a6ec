"""What several of the shipped recipes share: two encoders, their usual settings, and the stand-ins for missing splits.

MINI_... is for the generated miniature world, SMALL_... for the real files that anybody may have; a recipe of one's own
may import them too.
"""

from typing import Any

from viaduct.runs.spec import Architecture, Pretrain, Recipe, Retrieval, Substitution, Training

MINI_ENCODER = Pretrain(
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
"""Two layers of 128, pretrained on the miniature world's text in a minute or two."""

MINI_RETRIEVAL = Retrieval(layers=(1,), centre=True)

MINI_CAPTIONING = Training(
    learning_rate=1e-3,
    head_learning_rate=1e-3,
    epochs=100.0,
    max_steps=400,
    batch_tokens=2_048,
    max_length=48,
    evaluations=4,
)
"""A stage on the miniature world's pictures."""


def replacing(usual: tuple[Substitution, ...], own: tuple[Substitution, ...]) -> tuple[Substitution, ...]:
    """A recipe's own substitutions, and of the usual ones those of other splits."""
    replaced = {(one.task, one.split) for one in own}
    return *own, *(one for one in usual if (one.task, one.split) not in replaced)


def mini_training(steps: int, max_length: int = 128) -> Training:
    """The settings of one fine-tuning on the miniature world."""
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


SMALL_ENCODER = Pretrain(
    name="small-4x256",
    architecture=Architecture(layers=4, hidden=256, heads=4, feed_forward=1024, vocabulary=24_000, dropout=0.0),
    text=("text",),
    parallel=("ntrex",),
    parallel_share=0.4,
    sampling_exponent=0.5,
    mask_fraction=0.25,
    whole_words=True,
    training=Training(
        learning_rate=1.5e-3,
        epochs=9.0,
        max_steps=6_000,
        batch_tokens=3_072,
        max_length=128,
        warmup_fraction=0.06,
        weight_decay=0.01,
    ),
    half_precision=True,
)
"""Four layers of 256 and 24,000 pieces, 9 million parameters: 50 minutes of pretraining on two cores."""

SMALL_RETRIEVAL = Retrieval(layers=(3,), centre=True)
SMALL_PAIRS = Training(learning_rate=2e-4, epochs=1.0, batch_tokens=2_048, max_length=128, evaluations=4)
SMALL_TAGS = SMALL_PAIRS.model_copy(update={"learning_rate": 3e-4, "train_rows": 10_000})
SMALL_QUESTIONS = Training(
    learning_rate=3e-4,
    epochs=1.0,
    batch_tokens=4_096,
    max_length=256,
    stride=128,
    evaluations=2,
    dev_rows=300,
    train_rows=4_000,
)

FREE_STAND_INS = (
    Substitution(
        task="mnli", split="train", use_split="train", part=(0.0, 0.95), why="the last part stands in for the dev set"
    ),
    Substitution(task="mnli", split="dev", use_split="train", part=(0.95, 1.0), why="the official dev set is not here"),
    Substitution(task="xnli", split="test", use_split="dev", why="the official test labels are not here"),
    Substitution(
        task="squad",
        split="train",
        use_split="dev",
        part=(0.0, 0.9),
        without_contexts_of="xquad",
        why="the official train set is not here; XQuAD's paragraphs come from this dev set and are left out",
    ),
    Substitution(
        task="squad",
        split="dev",
        use_split="dev",
        part=(0.9, 1.0),
        without_contexts_of="xquad",
        why="the rest of the dev set is trained on",
    ),
    Substitution(task="panx", split="train", use_split="train", part=(0.0, 0.9), why="the rest chooses the checkpoint"),
    Substitution(task="panx", split="dev", use_split="train", part=(0.9, 1.0), why="the dev set is evaluated on"),
    Substitution(task="panx", split="test", use_split="dev", why="the official test labels are not here"),
    Substitution(
        task="tydiqa", split="train", use_split="train", part=(0.0, 0.65), why="the rest is evaluated on and chooses"
    ),
    Substitution(task="tydiqa", split="dev", use_split="train", part=(0.65, 0.75), why="no other labelled rows"),
    Substitution(
        task="tydiqa", split="test", use_split="train", part=(0.75, 1.0), why="the official dev answers are not here"
    ),
    Substitution(
        task="bucc",
        split="test",
        use_split="dev",
        why="the test sentences are not here; the threshold is tuned on the sentences it is scored on",
    ),
)
"""For the splits of which no freely available file has the rows or the labels; each is shown in the report."""


def larger(recipe: Recipe, steps: int, targets: tuple[str, ...]) -> Recipe:
    """The baseline and the arms of `recipe.deciding` on these targets, with `steps` times as many steps everywhere."""
    arms = {"none", *(arm for comparison in recipe.deciding for arm in comparison[:2])}
    changed = {
        "name": f"{recipe.name}_gpu",
        "intermediates": tuple(_longer(arm, steps) for arm in recipe.intermediates if arm.name in arms),
        "targets": tuple(_longer(target, steps) for target in recipe.targets if target.task in targets),
        "seeds": (*recipe.seeds, *recipe.further_seeds),
        "further_seeds": (),
        "compare": (),
        "deciding": tuple(
            (*one[:2], *(task for task in one[2:] if task in targets))
            for one in recipe.deciding
            if not one[2:] or set(one[2:]) & set(targets)
        ),
    }
    return Recipe.model_validate({**{name: getattr(recipe, name) for name in Recipe.model_fields}, **changed})


def _longer(owner: Any, steps: int) -> Any:
    training, longer = owner.training, getattr(owner, "longer_targets", None)
    changed: dict[str, Any] = {} if longer is None else {"longer_targets": longer * steps}
    if training is not None and training.max_steps is not None:
        changed["training"] = training.model_copy(update={"max_steps": training.max_steps * steps})
    return owner.model_copy(update=changed)
