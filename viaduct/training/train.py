"""The Train stage: trains an encoder and a new head on one card's English train split; dev chooses the checkpoint.

It writes `encoder/` (same keys as the input's), `head.safetensors` with `head.json` (kind, labels), and `training.json`
(steps, dev score per evaluation, which one was kept, rows and tokens seen) with `curve.json` (loss by step).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from viaduct.languages import ENGLISH
from viaduct.runs.census import Census
from viaduct.runs.field import added_labels, added_needs
from viaduct.runs.parts import Substitution, Training
from viaduct.runs.rows import Need
from viaduct.runs.sizes import PREDICTION_TOKENS, Estimate, Sizes, passes, trained_tokens
from viaduct.runs.stage import StageKind, Work, training_history


class TrainWork(Work):
    """Train an encoder and a head on one card, for an intermediate or a target task."""

    kind: Literal["train"] = "train"
    task: str
    training: Training
    seed: int
    substitutions: tuple[Substitution, ...] = ()


class TrainKind(StageKind[TrainWork]):
    """The kind of Train stages."""

    name = "train"
    work = TrainWork
    version = 2
    function = "viaduct.training.finetuning:fine_tune"
    starts_from_encoder = leaves_encoder = seeded = True

    def needs(self, work: TrainWork, census: Census) -> list[Need]:
        """English train and dev rows, and what rooms add."""
        return [(work.task, "train", ENGLISH), (work.task, "dev", ENGLISH), *added_needs(work, census)]

    def label(self, work: TrainWork) -> str:
        """The task, and what rooms add."""
        return " + ".join((f"train {work.task}{work.training.of_encoder()}", *added_labels(work)))

    def forecast(self, work: TrainWork, sizes: Sizes) -> Estimate:
        """The cost of training, and of predicting dev rows at every evaluation."""
        training = work.training
        dev = (work.task, "dev", ENGLISH)
        read = [need for need in sizes.needs if need[1] != "dev"]
        rows, tokens = sizes.of(read, training.max_length)
        trained = trained_tokens(tokens, rows, training)
        dev_rows, dev_tokens = sizes.of((dev,), training.max_length)
        if training.dev_rows is not None and dev_rows > training.dev_rows:
            dev_tokens *= training.dev_rows / dev_rows
        scored = dev_tokens * training.evaluations
        steps = trained / training.batch_tokens + scored / PREDICTION_TOKENS
        peak = sizes.training_bytes(training, tokens)
        return Estimate(trained + scored, trained * passes(training) + scored, steps, peak_bytes=peak)

    def is_scored_on_dev(self, work: TrainWork) -> bool:
        """Always True."""
        return True

    def history(self, work: Mapping[str, Any], begun: str) -> str:
        """The task, the seed and the training settings."""
        return training_history(f"trained on {work['task']}", begun, work["seed"], work["training"])


TRAIN = TrainKind()
