"""The TrainOn stage: a target's training on rows of named languages, alone or going on from English.

It leaves what the Train stage leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from viaduct.languages import ENGLISH
from viaduct.runs.bounds import later
from viaduct.runs.census import Census
from viaduct.runs.parts import Substitution, Training
from viaduct.runs.rows import Need
from viaduct.runs.sizes import PREDICTION_TOKENS, Estimate, Sizes, passes, trained_tokens
from viaduct.runs.stage import StageKind, Work, in_languages, training_history


class TrainOnWork(Work):
    """Train a target on rows of named languages."""

    kind: Literal["train_on"] = "train_on"
    task: str
    """The card whose head and metric it has."""
    training: Training
    seed: int
    sources: tuple[tuple[str, str], ...]
    """(card, language) of the train rows."""
    rows: int | None
    """Of each of them at most."""
    continues: bool
    """With the head, too, of the stage before."""
    dev: tuple[tuple[str, str], ...]
    """(card, language) of the dev rows."""
    by_id: bool = later(False)
    """The rows are translations and no English ones are among them: those that belong to no English train row are left
    out, as they are beside English."""
    most_missing: float = Field(default=0.0, json_schema_extra={"wording": True})
    """Share of the English rows that may lack a translation; no part of an identity, for it stops a stage or changes
    nothing."""
    substitutions: tuple[Substitution, ...] = ()


class TrainOnKind(StageKind[TrainOnWork]):
    """The kind."""

    name = "train_on"
    work = TrainOnWork
    version = 1
    function = "viaduct.fusion.target_training:train_on"
    starts_from_encoder = leaves_encoder = seeded = True

    def needs(self, work: TrainOnWork, census: Census) -> list[Need]:
        """Train and dev rows."""
        trained = [(card, "train", code) for card, code in work.sources]
        originals = [(work.task, "train", ENGLISH)] * work.by_id
        return trained + originals + [(card, "dev", code) for card, code in work.dev]

    def is_scored_on_dev(self, work: TrainOnWork) -> bool:
        """Where no other language's dev rows choose."""
        return all(code == ENGLISH for _, code in work.dev)

    def label(self, work: TrainOnWork) -> str:
        """The task and its languages."""
        rows = "" if work.rows is None else f", {work.rows:,} rows each"
        return f"train {work.task} {in_languages(tuple(code for _, code in work.sources))}{rows}"

    def forecast(self, work: TrainOnWork, sizes: Sizes) -> Estimate:
        """Training, and dev rows at every evaluation."""
        rows, tokens = 0, 0.0
        for need in ((card, "train", code) for card, code in work.sources):
            count, size = sizes.of([need], work.training.max_length)
            share = 1.0 if work.rows is None else min(1.0, work.rows / max(count, 1))
            rows, tokens = rows + round(count * share), tokens + size * share
        return trained_and_chosen(trained_tokens(tokens, rows, work.training), work.training, work.dev, sizes)

    def history(self, work: Mapping[str, Any], begun: str) -> str:
        """The task, its languages, the seed and how long."""
        done = f"trained on {work['task']} {in_languages(tuple(code for _, code in work['sources']))}"
        return training_history(done, begun, work["seed"], work["training"])


TRAIN_ON = TrainOnKind()


def trained_and_chosen(
    trained: float, training: Training, dev: tuple[tuple[str, str], ...], sizes: Sizes, more: float = 0.0
) -> Estimate:
    """The cost of training on so many tokens, each with so many passes more than usual, and of scoring dev rows."""
    rows, tokens = sizes.of(((card, "dev", code) for card, code in dev), training.max_length)
    if training.dev_rows is not None and rows > training.dev_rows:
        tokens *= training.dev_rows / rows
    scored = tokens * training.evaluations
    steps = trained / training.batch_tokens + scored / PREDICTION_TOKENS
    peak = sizes.training_bytes(training, trained / training.epochs)
    return Estimate(trained + scored, trained * (passes(training) + more) + scored, steps, peak_bytes=peak)
