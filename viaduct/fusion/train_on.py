"""The TrainOn stage: trains a target on rows of given languages, from scratch or continuing from English training.

It leaves the same files as the Train stage.
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
    """Train a target on rows of given languages."""

    kind: Literal["train_on"] = "train_on"
    task: str
    """The card whose head and metric are used."""
    training: Training
    seed: int
    sources: tuple[tuple[str, str], ...]
    """(card, language) of the train rows."""
    rows: int | None
    """Maximum number of rows per source; None: all."""
    continues: bool
    """Whether it continues from the previous stage, including its head."""
    dev: tuple[tuple[str, str], ...]
    """(card, language) of the dev rows."""
    by_id: bool = later(False)
    """The rows are translations without English ones among them: those that belong to no English train row are left
    out, just as when English rows are included."""
    most_missing: float = Field(default=0.0, json_schema_extra={"wording": True})
    """Share of the English rows that may lack a translation; not part of the stage's identity, since it either stops
    the stage or changes nothing."""
    substitutions: tuple[Substitution, ...] = ()


class TrainOnKind(StageKind[TrainOnWork]):
    """The stage kind `train_on`."""

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
        """Whether only English dev rows choose the checkpoint."""
        return all(code == ENGLISH for _, code in work.dev)

    def label(self, work: TrainOnWork) -> str:
        """The task and its languages."""
        rows = "" if work.rows is None else f", {work.rows:,} rows each"
        return f"train {work.task} {in_languages(tuple(code for _, code in work.sources))}{rows}"

    def forecast(self, work: TrainOnWork, sizes: Sizes) -> Estimate:
        """The cost of training, and of predicting dev rows at every evaluation."""
        rows, tokens = 0, 0.0
        for need in ((card, "train", code) for card, code in work.sources):
            count, size = sizes.of([need], work.training.max_length)
            share = 1.0 if work.rows is None else min(1.0, work.rows / max(count, 1))
            rows, tokens = rows + round(count * share), tokens + size * share
        return trained_and_chosen(trained_tokens(tokens, rows, work.training), work.training, work.dev, sizes)

    def history(self, work: Mapping[str, Any], begun: str) -> str:
        """The task, its languages, the seed and the length of training."""
        done = f"trained on {work['task']} {in_languages(tuple(code for _, code in work['sources']))}"
        return training_history(done, begun, work["seed"], work["training"])


TRAIN_ON = TrainOnKind()


def trained_and_chosen(
    trained: float, training: Training, dev: tuple[tuple[str, str], ...], sizes: Sizes, more: float = 0.0
) -> Estimate:
    """The cost of training on `trained` tokens, with `more` extra passes over each, and of scoring dev rows."""
    rows, tokens = sizes.of(((card, "dev", code) for card, code in dev), training.max_length)
    if training.dev_rows is not None and rows > training.dev_rows:
        tokens *= training.dev_rows / rows
    scored = tokens * training.evaluations
    steps = trained / training.batch_tokens + scored / PREDICTION_TOKENS
    peak = sizes.training_bytes(training, trained / training.epochs)
    return Estimate(trained + scored, trained * (passes(training) + more) + scored, steps, peak_bytes=peak)
