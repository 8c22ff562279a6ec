"""Checks that a recipe makes sense, before any data are read: names, kinds of cards, settings that go together."""

from __future__ import annotations

import re
from collections.abc import Sequence

from viaduct.errors import UsageError, unknown
from viaduct.languages import ENGLISH
from viaduct.results.record import BASELINE
from viaduct.rows import Span
from viaduct.runs.census import Census
from viaduct.runs.chain import trained_tasks
from viaduct.runs.encoder import longest_of, require_overlap, shape_of
from viaduct.runs.field import fields, is_joint, set_fields
from viaduct.runs.gaps import card_of_kind
from viaduct.runs.parts import ArmParts, Pretrain, RecipeParts
from viaduct.runs.rows import substitution_for
from viaduct.tasks.card import Task
from viaduct.tasks.kind import row_kinds


def validate(recipe: RecipeParts, census: Census) -> None:
    """Raise UsageError for arms, targets and substitutions that make no sense."""
    for arm in recipe.intermediates:
        _check_arm(arm, census)
        _check_parent(arm, recipe)
        _check_after(arm, recipe)
    _check_comparisons(recipe)
    for target in recipe.targets:
        _check_target(census.task(target.task), census)
    _check_longer(recipe, census)
    _check_lengths(recipe, census)
    _check_shape(recipe)
    for field in set_fields("recipe", recipe):
        field.check(recipe, recipe, census)
    for arm in recipe.intermediates:
        for field in set_fields("arm", arm):
            field.check(recipe, arm, census)
    for target in recipe.targets:
        for field in set_fields("target", target):
            field.check(recipe, target, census)
    _check_substitutions(recipe, census)


def require_baseline(recipe: RecipeParts) -> None:
    """Raise UsageError if no arm is the baseline, without which no verdict is possible."""
    names = [arm.name for arm in recipe.intermediates]
    if BASELINE not in names:
        raise UsageError(
            f"recipe {recipe.name} has the arms {', '.join(names)} and no baseline to compare them with",
            fix=f"add the arm {{name: {BASELINE}}} to `intermediates`",
        )


def _check_comparisons(recipe: RecipeParts) -> None:
    names, tasks = [arm.name for arm in recipe.intermediates], [target.task for target in recipe.targets]
    for comparison in recipe.deciding:
        if len(comparison) < 2 or len(set(comparison[2:])) < len(comparison[2:]):
            shown = ", ".join(comparison)
            raise UsageError(f"`deciding` has [{shown}]", fix="write [arm, against] and optionally tasks, each once")
        for task in comparison[2:]:
            if task not in tasks:
                raise unknown("target in `deciding`:", task, tasks)
    for where, pairs in (("compare", recipe.compare), ("deciding", recipe.deciding)):
        for name in (name for pair in pairs for name in pair[:2]):
            if name not in names:
                raise unknown(f"arm in `{where}`:", name, names)
        _check_pairs(where, pairs)
    if recipe.expected and len(recipe.expected) != len(recipe.deciding):
        raise UsageError(
            f"`expected` and `deciding` differ in length: {len(recipe.expected)} and {len(recipe.deciding)}",
            fix='write what is expected of each deciding comparison, in their order, "" where nothing is',
        )
    if recipe.further_seeds and not recipe.deciding:
        raise UsageError(
            "`further_seeds` are for what `deciding` compares, and there is no such comparison",
            fix="name deciding comparisons, or more `seeds`",
        )


def _check_pairs(where: str, pairs: Sequence[Sequence[str]]) -> None:
    """Raise UsageError for an arm against itself, or a comparison that occurs twice, in either order: each comparison
    makes the correction for multiple tests stricter."""
    asked = [(frozenset(pair[:2]), frozenset(pair[2:])) for pair in pairs]
    for pair, one in zip(pairs, asked, strict=True):
        if len(one[0]) == 1:
            raise UsageError(f"`{where}` has {pair[0]} against itself", fix="name two arms")
        if asked.count(one) > 1:
            raise UsageError(f"`{where}` has {pair[0]} against {pair[1]} twice", fix="list each comparison once")


def _check_arm(arm: ArmParts, census: Census) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}", arm.name):
        fix = "use letters, digits, . _ + -, 100 at most"
        raise UsageError(f"the arm's name '{arm.name}' cannot be a folder's name", fix=fix)
    added = fields("arm")
    idle = not arm.tasks and not is_joint(arm) and not arm.longer_targets and arm.encoder is None
    idle = idle and not any(field.is_set(arm) for field in added) and not (arm.after and arm.name == BASELINE)
    if (arm.name == BASELINE) != idle:
        *most, last = ("encoder", "tasks", "replay", "longer_targets", *(field.name for field in added))
        raise UsageError(
            f"arm '{arm.name}' has {'nothing' if idle else 'something'} to train on or to change",
            fix=f"the baseline is named '{BASELINE}' and has nothing; others have {', '.join(most)} or {last}",
        )
    for name in arm.tasks:
        _check_trainable(census.task(name), f"arm '{arm.name}'")
    if arm.training.encoder != "full" and is_joint(arm):
        fix = "set retention.lora_rank or retention.freeze_embeddings"
        raise UsageError(f"arm '{arm.name}' is one joint stage and has training.encoder", fix=fix)
    if arm.training.encoder == "frozen":
        message = f"arm '{arm.name}' freezes its encoder, so it would pass it on unchanged"
        raise UsageError(message, fix="freeze the encoder of targets, or train an adapter: encoder: lora")
    if is_joint(arm):
        _check_joint(arm, census)


def _check_parent(arm: ArmParts, recipe: RecipeParts) -> None:
    where = f"arm '{arm.name}'"
    if arm.encoder is None:
        if said := [name for name in ("revision", "parent", "encoder_saw") if getattr(arm, name) is not None]:
            raise UsageError(f"{where} has `{said[0]}` and no `encoder`", fix="name one, or leave it out")
    elif arm.parent is not None:
        plain = {BASELINE, *(one.name for one in recipe.intermediates if one.encoder and one.parent is None)}
        if arm.parent not in plain:
            raise unknown(f"`parent` of {where} (an arm with a plain encoder)", arm.parent, plain)


def _check_after(arm: ArmParts, recipe: RecipeParts) -> None:
    where, names = f"arm '{arm.name}'", [one.name for one in recipe.intermediates]
    if arm.after is None:
        return
    if arm.encoder is not None:
        what = f"{where} has an `encoder` of its own and comes `after` {arm.after}"
        raise UsageError(what, fix="name one of the two, or give the encoder to an arm of its own")
    training = [one for one in recipe.intermediates if one.tasks or is_joint(one) or one.encoder is not None]
    earlier = {one.name: one for one in training if names.index(one.name) < names.index(arm.name)}
    if arm.after not in earlier:
        raise unknown(f"`after` of {where} (an arm before it that trains an encoder)", arm.after, earlier)
    if others := [field.name for field in set_fields("arm", earlier[arm.after]) if not field.makes_joint]:
        what = f"{where} comes after '{arm.after}', which has `{others[0]}`: only what trains an encoder is passed on"
        raise UsageError(what, fix=f"name an arm like it without `{others[0]}`")


def _check_target(card: Task, census: Census) -> None:
    if not card.row_kind.is_target or card.metric is None:
        raise UsageError(f"{card.name} cannot be a target: it has no metric", fix="remove it from `targets`")
    if card.trained_on is not None:
        _check_trainable(census.task(card.trained_on), f"target '{card.name}'")


def _check_longer(recipe: RecipeParts, census: Census) -> None:
    """Raise UsageError if an arm trains targets beyond their `max_steps`, and a target has none."""
    arms = [arm.name for arm in recipe.intermediates if arm.longer_targets]
    open_ended = [
        target.task
        for target in recipe.targets
        if target.training.max_steps is None and census.task(target.task).trained_on is not None
    ]
    if arms and open_ended:
        raise UsageError(
            f"arm '{arms[0]}' trains targets longer than their max_steps, and {open_ended[0]} has none",
            fix=f"set targets.{open_ended[0]}.training.max_steps",
        )


def _check_lengths(recipe: RecipeParts, census: Census) -> None:
    """Raise UsageError if rows may be longer than an encoder accepts, and if windows of contexts cannot overlap by the
    requested stride."""
    starts: list[tuple[str | Pretrain, str | None]] = [(recipe.encoder, recipe.revision)]
    starts += [(arm.encoder, arm.revision) for arm in recipe.intermediates if arm.encoder and arm.parent is None]
    longest = [(found, one) for one, revision in starts if (found := longest_of(one, revision)) is not None]
    most, encoder = min(longest, key=lambda one: one[0], default=(None, ""))
    asked = [(f"arm '{arm.name}'", arm.training, arm.tasks) for arm in recipe.intermediates]
    asked += [(f"target '{target.task}'", target.training, (target.task,)) for target in recipe.targets]
    lengths = [(where, training.max_length) for where, training, _ in asked if isinstance(recipe.encoder, str)]
    lengths += [(f"arm '{arm.name}': replay", arm.replay.max_length) for arm in recipe.intermediates if arm.replay]
    if isinstance(recipe.encoder, Pretrain):
        lengths.append(("encoder: training", recipe.encoder.training.max_length))
    for where, length in lengths:
        if most is not None and length > most:
            name, source = (
                (encoder.name, "architecture.max_length")
                if isinstance(encoder, Pretrain)
                else (encoder, "max_position_embeddings in its config.json")
            )
            raise UsageError(
                f"{where}: a max_length of {length:,} tokens, but {name} takes {most:,} ({source})",
                fix=f"set max_length to {most:,} or less",
            )
    for where, training, tasks in asked:
        if any(census.task(name).row_kind.row is Span for name in tasks):
            require_overlap(training.stride, min(training.max_length, most or training.max_length), where)


def _check_shape(recipe: RecipeParts) -> None:
    """Raise UsageError for settings that are impossible with the encoder's shape, if that is known."""
    if isinstance(recipe.encoder, Pretrain):
        made = recipe.encoder.architecture
        if made.hidden % made.heads:
            raise UsageError(
                f"encoder.architecture: a width of {made.hidden:,} cannot be split among {made.heads:,} heads",
                fix="choose a `hidden` that is a multiple of `heads`",
            )
    shape = shape_of(recipe.encoder, recipe.revision)
    if shape is None:
        return
    for target in recipe.targets:
        layers = target.retrieval.layers
        if isinstance(layers, tuple) and layers and max(layers) > shape.layers:
            raise UsageError(
                f"target '{target.task}': retrieval.layers has {max(layers)}, the encoder has {shape.layers} layers",
                fix=f"name layers from 0 (embeddings) to {shape.layers}",
            )
    ranks = [(f"arm '{arm.name}': retention", arm.retention.lora_rank) for arm in recipe.intermediates]
    trainings = [(f"arm '{arm.name}'", arm.training) for arm in recipe.intermediates]
    trainings += [(f"target '{target.task}'", target.training) for target in recipe.targets]
    ranks += [(f"{where}: training", one.lora_rank) for where, one in trainings if one.encoder == "lora"]
    for where, rank in ranks:
        if rank is not None and rank > shape.width:
            raise UsageError(
                f"{where}.lora_rank {rank:,} in an encoder {shape.width:,} wide",
                fix=f"a rank below {shape.width:,}; 8 to 64 are usual",
            )


def _check_joint(arm: ArmParts, census: Census) -> None:
    where = f"arm '{arm.name}'"
    if arm.replay is not None:
        for name in arm.replay.text:
            card_of_kind(census, name, "text", f"{where}: replay")
    elif arm.retention.kl:
        fix = "give the arm a `replay`"
        raise UsageError(f"{where}: retention.kl needs replayed text to compare predictions on", fix=fix)
    members = arm.tasks or any(field.makes_joint for field in set_fields("arm", arm))
    if not members and arm.training.max_steps is None:
        raise UsageError(
            f"{where} only replays text, which has no end",
            fix="set training.max_steps, for a control to the number of steps of the arm it is compared with",
        )
    if arm.languages != (ENGLISH,) and not arm.tasks:
        raise UsageError(f"{where}: `languages` are those of the tasks' train rows", fix="name tasks, or leave it out")


def _check_trainable(card: Task, where: str) -> None:
    if card.row_kind.head is None:
        *most, last = (kind.name for kind in row_kinds().values() if kind.head is not None)
        raise UsageError(
            f"{where} trains on {card.name}, which is of kind '{card.kind}'",
            fix=f"train on a card of kind {', '.join(most)} or {last}",
        )


def _check_substitutions(recipe: RecipeParts, census: Census) -> None:
    """Raise UsageError for substitutions that cannot take the place of what they replace."""
    for one in recipe.substitutions:
        task, source = census.task(one.task), census.task(one.use_task or one.task)
        substitution_for(one.task, one.split, recipe.substitutions)
        open_set = task.row_kind.label_set == "open" and not task.labels and source is not task
        if source.kind != task.kind or not set(source.labels) <= set(task.labels) or open_set:
            raise UsageError(
                f"'{one.words()}': {source.name} ({source.kind}, labels {', '.join(source.labels) or 'none'})"
                f" cannot stand in for {task.name} ({task.kind}, labels {', '.join(task.labels) or 'none'})",
                fix="use a card of the same kind whose labels are among the task's",
            )
        low, high = one.part
        if not 0.0 <= low < high <= 1.0:
            raise UsageError(f"'{one.words()}': part ({low:g}, {high:g}) is empty", fix="0 <= low < high <= 1")
        if one.without_contexts_of is not None and census.task(one.without_contexts_of).row_kind.row is not Span:
            raise UsageError(
                f"'{one.words()}': {one.without_contexts_of} has no contexts", fix="name a question-answering card"
            )
        for name in one.without_rows_of:
            census.task(name)


def repeated(recipe: RecipeParts, census: Census) -> tuple[str, ...]:
    """A sentence for every intermediate task that targets are trained on as well: allowed, but not a different task."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for arm in recipe.intermediates:
        for name in trained_tasks(arm, recipe):
            same = [target.task for target in recipe.targets if census.task(target.task).trained_on == name]
            if same:
                found.setdefault(name, ([], same))[0].append(arm.name)
    return tuple(
        f"{name} is an intermediate task ({', '.join(arms)}), and {', '.join(same)} "
        f"{'is' if len(same) == 1 else 'are'} trained on it too: there it is more of the same, not another task"
        for name, (arms, same) in found.items()
    )
