"""What a run leaves behind: result rows (one number each), stage costs, and what the run was about.

These are the only things the report reads. All are plain JSON on disk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

BASELINE = "none"
"""Name of the arm without intermediate training, which the others are compared with."""

MADE_FROM = "|vectors: "
"""In a signature, the separator before the description of how the sentence vectors were made."""


class Declared(Protocol):
    """What a recipe, or the record of one, says about its seeds."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of every arm and task."""

    @property
    def further_seeds(self) -> tuple[int, ...]:
        """Additional seeds for what is compared in `deciding`."""

    @property
    def deciding(self) -> tuple[tuple[str, ...], ...]:
        """(arm, against), followed by tasks if the comparison is about only some."""


def declared_seeds(declared: Declared, arm: str, task: str) -> tuple[int, ...]:
    """The seeds of an arm on a task: those of all, and the further ones if a deciding comparison is about both."""
    decides = any(arm in one[:2] and task in (one[2:] or (task,)) for one in declared.deciding)
    return declared.seeds + declared.further_seeds * decides


class Record(BaseModel):
    """A frozen JSON record; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ResultRow(Record):
    """One score of one trained model in one language."""

    recipe: str
    encoder: str
    arm: str
    """Name of the intermediate arm; the one without intermediate training is `BASELINE`."""
    task: str
    task_version: int
    language: str
    split: str
    """The split that was scored, after substitution ("test", or "dev" if the recipe says so)."""
    seed: int
    metric: str
    headline: bool
    """Whether this is the metric that the task's table cell shows."""
    value: float = Field(allow_inf_nan=False)
    """A fraction."""
    n: int
    n_missing: int
    signature: str
    """Definition of the metric and, after `MADE_FROM`, how sentences became vectors."""
    selection: str
    """How the checkpoint was chosen: "english dev", "last step" or "untrained" (retrieval with no target training)."""
    substitution: str | None
    """The declared substitution behind this number in words; None if the official split was used."""
    fingerprint: str
    """Fingerprint of the Score stage."""
    chosen_on_scored: bool = False
    """Whether a checkpoint, layer or threshold was chosen on rows that this score is computed on."""

    @property
    def metric_signature(self) -> str:
        """Definition of the metric, independent of what was scored."""
        return self.signature.partition(MADE_FROM)[0]


class StageCost(Record):
    """What one stage spent. `seconds` adds up over resumed attempts."""

    encoder: str
    arm: str
    task: str
    """The target whose chain the stage belongs to; "" for stages shared by all targets."""
    stage: str
    """The stage's kind: "pretrain", "train", "joint", "distil", "compress", "predict" or "score"."""
    path: str
    """Directory below the store."""
    seed: int
    seconds: float
    tokens: int
    """Real (non-padding) tokens that went through the encoder, 0 for score."""
    padding_fraction: float | None
    """Padding slots / all slots; None if no batches were made."""
    flops: float | None
    """Analytic estimate of the floating-point operations; None if nothing was computed."""
    peak_memory_bytes: int
    """Highest resident memory of the process during the stage."""
    device: str
    threads: int
    devices: int = 1
    """Number of devices sharing each training batch; threads, memory and seconds are those of the first process."""
    precision: str | None = None
    """Precision of products in training, "fp32", "bf16" or "fp16", or in prediction (None for "fp32"); else None."""
    speed: tuple[int, ...] = ()
    """Tokens per second before each point of a training's curve; () in older records."""
    versions: dict[str, str]
    finished: str
    """UTC, ISO 8601."""
    machine: str = ""
    """Model of the processor or of the GPU; "" in older records."""
    arms: tuple[str, ...] | None = None
    """Arms whose results come from it, in a run's own list of costs; None if not recorded."""

    @property
    def computed(self) -> str:
        """What it was computed on, in words."""
        products = "" if self.precision in (None, "fp32") else f", products in {self.precision}"
        return f"{self.where}, {self.threads} thread{'s' * (self.threads != 1)}{products}"

    @property
    def where(self) -> str:
        """The device, preceded by the number of devices if there are several."""
        return self.device if self.devices == 1 else f"{self.devices} x {self.device}"


class Retained(Record):
    """How far a stage moved the encoder, and how its masked-LM losses and states on text changed."""

    distance: float
    """Mean absolute change of a weight."""
    before: dict[str, float]
    """Language -> masked-LM loss in nats on text that was not replayed; {} without `replay`."""
    after: dict[str, float]
    head: str
    """Where the masked-LM head came from; "" without one."""
    similarity: tuple[float, ...] = ()
    """By layer, embeddings first: linear CKA of states before and after on the same text; () without `replay`."""


class StageRetained(Record):
    """What one arm and seed retained."""

    arm: str
    seed: int
    retained: Retained


class DataNote(Record):
    """How many rows of one task, split and language were found and where."""

    task: str
    split: str
    language: str
    layout: str
    found: int
    published: int | None


def differing_counts(notes: Iterable[DataNote]) -> Iterator[str]:
    """One line per task and split whose row counts differ from the published ones."""
    groups: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        if note.layout != "missing" and note.published is not None and note.published != note.found:
            difference = f"{note.language} {note.found:,} ({note.published:,})"
            groups.setdefault((note.task, note.split), []).append(difference)
    for (task, split), differences in groups.items():
        yield f"{task} {split}: rows found (published): {', '.join(differences)}"


class SubstitutionNote(Record):
    """One declared substitution: what was requested, what was used instead, why."""

    task: str
    split: str
    used: str
    why: str


class Tried(Record):
    """One of the settings that a recipe varies, for one arm and task."""

    arm: str
    task: str
    setting: str
    seeds: tuple[int, ...]
    dev: float | None
    """Mean over seeds of the best score on English dev, by which one is chosen; None until all seeds are trained."""
    test: float | None
    """Mean over seeds and languages of the headline metric, which chooses nothing; None until all are scored."""
    chosen: bool
    given_up: bool = False
    """Whether a training was given up because it produced non-finite numbers."""


class About(Record):
    """Description of a run: everything the report says that is not a measured number."""

    recipe: str
    hypothesis: str
    command: str
    encoder: str
    encoder_details: dict[str, str]
    """Shown as is: parameters, layers, vocabulary, training text, ..."""
    arms: tuple[str, ...]
    """Names of the arms in table order, including `BASELINE` if the recipe has it."""
    tasks: tuple[str, ...]
    """Names of the target tasks in column order."""
    seeds: tuple[int, ...]
    miniature: bool
    """True for the generated world; the report says prominently that it is no evidence."""
    substitutions: tuple[SubstitutionNote, ...]
    data: tuple[DataNote, ...]
    settings: dict[str, str]
    """Shown as is: learning rates, steps, batch tokens, ... per stage."""
    versions: dict[str, str]
    created: str
    """UTC, ISO 8601."""
    left_out: dict[str, str] = {}
    """Arm that the recipe allowed to be left out -> what it needs that was missing."""
    roles: dict[str, str] = {}
    """Arm -> its role in the claims under test; arms without an entry decide none."""
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of arms whose difference (first minus second) the recipe requests."""
    compare_unlike: bool = False
    """Whether differences between arms that were computed under different conditions may be claimed."""
    deciding: tuple[tuple[str, ...], ...] = ()
    """(arm, against), optionally followed by tasks: comparisons declared before the run to be decided first."""
    expected: tuple[str, ...] = ()
    """What the hypothesis says about each comparison in `deciding`, "" if nothing; () if it says nothing about any."""
    further_seeds: tuple[int, ...] = ()
    """Additional seeds only for what is compared in `deciding`."""
    question: str = "these languages"
    """What verdicts are about: "these languages" or "languages like these"."""
    marks: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Arm -> what sets its results apart, in words that are shown next to them."""
    remarks: tuple[str, ...] = ()
    """What else a reader must know before trusting a number, in sentences."""
    leaks: tuple[str, ...] = ()
    """Rows that were trained on and are evaluated, if the run was told to continue anyway."""
    seen_tasks: dict[str, str] = {}
    """Target whose task the encoder had already been trained on before this run -> the data."""
    seen_arms: dict[str, str] = {}
    """Arm whose own task its encoder had already been trained on -> the data."""
    limit: int | None = None
    """Maximum number of rows read per language and split: a quick look, which is no result."""
    tried: tuple[Tried, ...] = ()
    """For the arms and tasks for which several settings were tried; their scores are those of the chosen one."""
    made_from: dict[str, str] = {}
    """Finished stage -> its fingerprint; a report made from other fingerprints is a different report."""

    @property
    def origin(self) -> str:
        """What the report was made from, in words; "" if unknown."""
        digest = hashlib.sha256(json.dumps(self.made_from, sort_keys=True).encode()).hexdigest()
        return f"{len(self.made_from):,} stages, fingerprint {digest[:16]}" if self.made_from else ""
