"""The Joint stage: trains one encoder on labelled tasks, what rooms add to them, and replayed text, all at once.

It writes `encoder/` and `training.json` as Train does, and

  heads/KIND-LABELS/    the heads, one for each label set
  masked_language_head.safetensors   if it was trained
  retention.json        how far the encoder moved, and masked-LM loss by language before and after

plus the files of members that rooms add.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from viaduct.languages import ENGLISH
from viaduct.runs.census import Census
from viaduct.runs.field import added_labels, added_needs, fields
from viaduct.runs.gaps import text_needs
from viaduct.runs.parts import Mixture, Replay, Retention, Substitution, Training
from viaduct.runs.rows import Need
from viaduct.runs.sizes import BACKWARD, Estimate, Sizes
from viaduct.runs.stage import StageKind, Work, in_languages, training_history


class JointWork(Work):
    """Train an encoder on several things at once; rooms may add more to train on."""

    kind: Literal["joint"] = "joint"
    tasks: tuple[str, ...] = ()
    languages: tuple[str, ...] = (ENGLISH,)
    """Languages of the tasks' train rows."""
    mixture: Mixture = Mixture()
    replay: Replay | None = None
    replay_languages: tuple[str, ...] = ()
    """Resolved: the languages whose text is available."""
    retention: Retention = Retention()
    training: Training
    seed: int
    substitutions: tuple[Substitution, ...] = ()


class JointKind(StageKind[JointWork]):
    """The kind of Joint stages."""

    name = "joint"
    work = JointWork
    version = 6
    function = "viaduct.training.joint_training:train_jointly"
    starts_from_encoder = leaves_encoder = seeded = True

    def is_scored_on_dev(self, work: JointWork) -> bool:
        """True if it has a labelled task."""
        return bool(work.tasks)

    def needs(self, work: JointWork, census: Census) -> list[Need]:
        """Train rows of the tasks in all languages and dev rows in English, what rooms add, and text to replay."""
        needs = [(name, "train", code) for name in work.tasks for code in work.languages]
        needs += [(name, "dev", ENGLISH) for name in work.tasks]
        needs += added_needs(work, census)
        return needs + ([] if work.replay is None else text_needs(work.replay.text, work.replay_languages, census))

    def label(self, work: JointWork) -> str:
        """Everything that is trained on, in words."""
        parts = [*work.tasks, *added_labels(work)]
        parts += [f"text replayed {in_languages(work.replay_languages)}"] if work.replay is not None else []
        where = "" if work.languages == (ENGLISH,) else f" {in_languages(work.languages)}"
        return f"train {' + '.join(parts)}{where}"

    def forecast(self, work: JointWork, sizes: Sizes) -> Estimate:
        """The cost of as many of the members' tokens as the mixture draws, and of the text replayed in every step."""
        training, cap = work.training, work.mixture.cap
        added = {name for name, _, _ in added_needs(work, sizes.census)}
        members = [*work.tasks, *added]
        tokens = 0.0
        for name in members:
            rows, size = sizes.of([need for need in sizes.needs if need[:2] == (name, "train")], training.max_length)
            used = rows if training.train_rows is None or name in added else min(rows, training.train_rows)
            drawn = used if cap is None or len(members) == 1 else min(used, cap)
            tokens += size * drawn / max(rows, 1)
        most = float("inf") if training.max_steps is None else float(training.max_steps)
        bounded = bool(work.tasks) or any(field.makes_joint and field.is_at_work(work) for field in fields())
        steps = min(most, tokens * training.epochs / training.batch_tokens) if bounded else most
        trained = min(steps * training.batch_tokens, tokens * training.epochs)
        replayed = guessed = 0.0
        if work.replay is not None:
            replayed = steps * work.replay.batch_tokens
            guessed = replayed * sizes.guessing(work.replay.mask_fraction)
        masked = None if work.replay is None else work.replay.mask_fraction
        beside = 0 if work.replay is None else work.replay.batch_tokens
        peak = sizes.training_bytes(training, tokens, beside=beside, mask_fraction=masked)
        return Estimate(trained + replayed, (trained + guessed) * (1 + BACKWARD), steps, peak_bytes=peak)

    def history(self, work: Mapping[str, Any], begun: str) -> str:
        """Everything that is trained on, the seed and the training settings."""
        parts = [*work["tasks"], *(field.name for field in fields() if work.get(field.name))]
        done = f"trained on {' and '.join([*parts, *(['plain text'] if work['replay'] else [])])}"
        return training_history(done, begun, work["seed"], work["training"])


JOINT = JointKind()
