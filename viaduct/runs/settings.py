"""The settings of a recipe's stages in words, for reports."""

from __future__ import annotations

from viaduct.runs.spec import Compression, Intermediate, Pretrain, Recipe, Retrieval, Training
from viaduct.tasks.registry import task as card_of


def settings(recipe: Recipe) -> dict[str, str]:
    """Stage -> its settings in words."""
    found: dict[str, str] = {}
    if isinstance(recipe.encoder, Pretrain):
        found["pretrain"] = training_words(recipe.encoder.training)
    for arm in recipe.intermediates:
        if arm.joint:
            found[arm.name] = joint_words(arm)
        else:
            for name in arm.tasks:
                found[f"{arm.name}: {name}"] = training_words(arm.training)
        if arm.compression is not None:
            found[f"compression of {arm.name}"] = compression_words(arm.compression)
    for target in recipe.targets:
        card = card_of(target.task)
        if card.trained_on is not None:
            found[f"target {target.task} (trained on {card.trained_on})"] = training_words(target.training)
        else:
            found[f"target {target.task}"] = f"not trained; {retrieval_words(target.retrieval, card.kind)}"
    return found


def compression_words(asked: Compression) -> str:
    """What an arm's compression makes smaller, in one line."""
    parts = []
    if asked.distil is not None:
        how = asked.distil
        parts.append(
            f"student of {how.layers} layers; states {how.hidden:g}, guesses at masked words {how.logits:g} where the"
            f" encoder has a head for them (temperature {how.temperature:g}); {training_words(how.training)}"
        )
    parts += [f"lowest {asked.layers} layers of the encoder"] if asked.layers is not None else []
    parts += [f"pieces of text in {' '.join(asked.vocabulary)}"] if asked.vocabulary is not None else []
    parts += [f"predictions by {asked.engine} in {asked.precision}"] if asked.reduced else []
    return "; ".join(parts)


def joint_words(arm: Intermediate) -> str:
    """What a joint stage trains on, in one line."""
    parts = [f"{', '.join(arm.tasks)} ({', '.join(arm.languages)})"] if arm.tasks else []
    if arm.captions is not None:
        asked = ", ".join(f"{one.name} {one.share:g}" for one in arm.captions.objectives)
        parts.append(f"{arm.captions.card} captions ({asked}; image: {arm.captions.image}; tower {arm.captions.tower})")
    if arm.together is not None:
        parts.append(f"{arm.together.sampling} sampling, cap {arm.together.cap}")
    if arm.replay is not None:
        parts.append(f"replayed text, weight {arm.replay.weight:g}, {arm.replay.batch_tokens:,} tokens per step")
    parts += [f"{name} {value}" for name, value in arm.retention.model_dump(exclude_defaults=True).items()]
    return f"{'; '.join(parts)}; {training_words(arm.training)}"


def retrieval_words(how: Retrieval, kind: str) -> str:
    """How vectors are made and compared, in one line."""
    if how.layers is None:
        layer = "layer two thirds up"
    elif len(how.layers) == 1:
        layer = f"layer {how.layers[0]}"
    else:
        where = "its dev split" if kind == "mining" else how.choose_on
        layer = f"layer chosen among {', '.join(map(str, how.layers))} on {where}"
    mining = f", {how.margin} margin, k = {how.neighbours}, {how.candidates}" if kind == "mining" else ""
    return f"{layer}, {how.pooling} pooling{', centred' * how.centre}{mining}"


def training_words(training: Training) -> str:
    """The settings of one training in one line."""
    length = f"{training.epochs:g} epochs" if training.max_steps is None else f"at most {training.max_steps:,} steps"
    rows = "all rows" if training.train_rows is None else f"{training.train_rows:,} rows"
    return (
        f"learning rate {training.learning_rate:g}, {length} of {rows}, {training.batch_tokens:,} tokens per step,"
        f" length {training.max_length}, warm-up {training.warmup_fraction:.0%}, weight decay"
        f" {training.weight_decay:g}, {training.evaluations} evaluations"
    )
