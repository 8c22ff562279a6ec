"""One unit of work: what it is (identity), what it needs, and what it is given when it runs.

A stage function takes a `Context` and returns what it `Spent`. It writes only below `context.directory`, and leaves
there:

  pretrain  encoder/            config.json, model.safetensors, tokenizer.json, ...: opens with AutoModel and
  AutoTokenizer
            training.json       steps, losses per evaluation
            masked_language_head.safetensors   its head, for stages that go on with masked LM
  train     encoder/            the trained encoder, same keys as the input's
            head.safetensors    the task head (+ head.json: kind, labels)
            training.json       steps, dev score per evaluation, which one was kept, rows and tokens seen
  joint     encoder/, training.json   as train
            heads/KIND-LABELS/  the heads, one for each label set
            masked_language_head.safetensors   where it was trained
            visual.safetensors  the image side, which nothing needs any more
            images.json         what use the encoder makes of images, on held-out captions (see `results.record`)
            retention.json      how far the encoder moved, and masked-LM loss by language before and after
  distil    encoder/, training.json   as train: the student
            masked_language_head.safetensors   where the teacher had one
  compress  encoder/            with fewer layers or a smaller vocabulary; not trained
            compression.json    what was kept, and how much of more text of the same languages it covers
  predict   predictions/LL.jsonl   one JSON line per example: id, language, prediction, scores
            choices.json        what was tuned on dev, such as a mining threshold (only if anything was)
  score     scores.json         list of {language, metric, value, n, n_missing, signature}
  measure   inference.json      what each arm's model costs at inference (see `results.record.MeasuredArms`)

`context.scratch` is the stage's own folder for checkpoints: kept when the process dies, gone when the stage is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from viaduct.results.record import DataNote
from viaduct.rows import Row
from viaduct.runs.spec import (
    Captions,
    Distil,
    EngineName,
    Measure,
    Mixture,
    Precision,
    Pretrain,
    Replay,
    Retention,
    Retrieval,
    Spec,
    Substitution,
    Training,
)

CODE_VERSION = {
    "pretrain": 4,
    "train": 2,
    "joint": 6,
    "distil": 2,
    "compress": 1,
    "predict": 3,
    "score": 1,
    "measure": 1,
}
"""Part of the fingerprint: raise a kind's number with any change that can change its output."""


class PretrainWork(Spec):
    """Train a tokenizer and an encoder on text."""

    kind: Literal["pretrain"] = "pretrain"
    pretrain: Pretrain
    languages: tuple[str, ...]
    """Resolved: the languages whose text is there."""


class TrainWork(Spec):
    """Train an encoder and a head on one card's English train split, choosing the checkpoint on its English dev
    split."""

    kind: Literal["train"] = "train"
    task: str
    training: Training
    seed: int
    substitutions: tuple[Substitution, ...] = ()
    """Those that concern this task's train and dev split."""


class JointWork(Spec):
    """Train an encoder on several things at once: labelled tasks, captioned images, replayed text."""

    kind: Literal["joint"] = "joint"
    tasks: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("en",)
    """Of the tasks' train rows."""
    mixture: Mixture = Mixture()
    captions: Captions | None = None
    caption_languages: tuple[str, ...] = ()
    """Resolved: those whose captions are there."""
    replay: Replay | None = None
    replay_languages: tuple[str, ...] = ()
    """Resolved: those whose text is there."""
    retention: Retention = Retention()
    training: Training
    seed: int
    substitutions: tuple[Substitution, ...] = ()


class DistilWork(Spec):
    """Train a student of fewer layers on text, to do what the encoder does."""

    kind: Literal["distil"] = "distil"
    distil: Distil
    languages: tuple[str, ...]
    """Resolved: those whose text is there."""
    seed: int
    substitutions: tuple[Substitution, ...] = ()


class CompressWork(Spec):
    """Cut an encoder's upper layers off, or its vocabulary down to what some text uses; nothing is trained."""

    kind: Literal["compress"] = "compress"
    layers: int | None = None
    vocabulary: tuple[str, ...] = ()
    """Languages; () keeps all pieces."""
    text: tuple[str, ...] = ()
    """Cards of kind "text" that have them."""
    substitutions: tuple[Substitution, ...] = ()


class PredictWork(Spec):
    """Predict a target task in each language; with head None (retrieval, mining) the encoder is used as it is."""

    kind: Literal["predict"] = "predict"
    task: str
    languages: tuple[str, ...]
    split: str
    max_length: int
    stride: int
    retrieval: Retrieval | None = None
    """None for tasks that have a head."""
    chosen_in: tuple[str, ...] = ()
    """Languages of the card `retrieval.choose_on` in which a layer is chosen; () where that is not how it is."""
    engine: EngineName = "torch"
    precision: Precision = "fp32"
    calibration: tuple[tuple[str, str], ...] = ()
    """(card, language) of the text that OpenVINO's int8 is calibrated on; () for anything else."""
    substitutions: tuple[Substitution, ...] = ()

    @property
    def reduced(self) -> bool:
        """Whether anything but torch in float32 predicts; that runs on the CPU."""
        return (self.engine, self.precision) != ("torch", "fp32")


class ScoreWork(Spec):
    """Score predictions against the gold rows."""

    kind: Literal["score"] = "score"
    task: str
    languages: tuple[str, ...]
    split: str
    substitutions: tuple[Substitution, ...] = ()


class Runner(Spec):
    """What runs one arm's model."""

    arm: str
    engine: str = "torch"
    precision: str = "fp32"


class MeasureWork(Spec):
    """Measure what the arms' models of one target cost at inference, each against the first one's."""

    kind: Literal["measure"] = "measure"
    arms: tuple[Runner, ...]
    task: str
    languages: tuple[str, ...]
    split: str
    max_length: int
    stride: int
    seed: int
    """Of the models."""
    settings: Measure
    substitutions: tuple[Substitution, ...] = ()


Work = PretrainWork | TrainWork | JointWork | DistilWork | CompressWork | PredictWork | ScoreWork | MeasureWork


@dataclass(frozen=True)
class Stage:
    """A node of the DAG. `path` is its readable directory below the store."""

    path: str
    work: Work
    inputs: Mapping[str, Stage] = field(default_factory=dict)
    """"encoder" (pretrain or train; absent: the recipe's ready-made encoder), "predictions" (for score), the arms'
    names (for measure)."""
    encoder: str | None = None
    """Hub name or folder of the ready-made encoder, when no stage makes it."""
    revision: str | None = None


@dataclass(frozen=True)
class Spent:
    """What a stage used; `tokens` are real tokens through the encoder, padding not counted."""

    tokens: int = 0
    padding_fraction: float | None = None
    flops: float | None = None
    examples: int = 0
    precision: str | None = None
    """Of the products in training; None for stages that train nothing."""


@dataclass(frozen=True)
class Loaded:
    """Rows of one task, split and language after substitution, and where they came from."""

    rows: tuple[Row, ...]
    note: DataNote
    substitution: str | None


Progress = Callable[[float, float, str], None]
"""(done, total, what is going on now), in any unit that grows evenly with time."""


@dataclass(frozen=True)
class Context:
    """What a stage is given when it runs; nothing here is identity."""

    work: Work
    directory: Path
    """Write outputs here; it becomes the stage's directory when the function returns."""
    scratch: Path
    """For checkpoints; survives a crash of the process."""
    inputs: Mapping[str, Path]
    """Finished directories of the input stages."""
    encoder: str | None
    """Folder of the encoder to start from (input stage's `encoder/`, a user's folder, or a Hub name); None: from
    scratch."""
    revision: str | None
    load: Callable[[str, str, str], Loaded]
    """(task, split, language) -> rows, with the work's substitutions applied."""
    cache: Path
    """Folder for derived data that any stage may share (tokenised rows), keyed by content."""
    device: str
    threads: int
    checkpoint_seconds: float
    """Write a checkpoint about this often."""
    memory_bytes: int
    """What the search for neighbours may hold at most."""
    progress: Progress
