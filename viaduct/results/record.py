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
"""In a signature, before what says how the sentences' vectors were made."""


class Declared(Protocol):
    """What a recipe, or what is kept of it, says of its seeds."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of every arm and task."""

    @property
    def further_seeds(self) -> tuple[int, ...]:
        """Of what is compared in `deciding`."""

    @property
    def deciding(self) -> tuple[tuple[str, ...], ...]:
        """(arm, against), with tasks after them where it is about some."""


def declared_seeds(declared: Declared, arm: str, task: str) -> tuple[int, ...]:
    """The seeds of an arm on a task: those of all, and the further ones where a deciding comparison is about both."""
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
    """The split the scores are of, after substitution ("test", or "dev" where the recipe says so)."""
    seed: int
    metric: str
    headline: bool
    """Whether this is the metric that the task's table cell shows."""
    value: float = Field(allow_inf_nan=False)
    """A fraction."""
    n: int
    n_missing: int
    signature: str
    """What the metric is, and after `MADE_FROM` how sentences became vectors."""
    selection: str
    """How the checkpoint was chosen: "english dev", "last step" or "untrained" (retrieval with no target training)."""
    substitution: str | None
    """The declared substitution behind this number in words, None when the official split was used."""
    fingerprint: str
    """Of the Score stage."""
    chosen_on_scored: bool = False
    """Whether a checkpoint, layer or threshold was chosen on rows that this scores."""

    @property
    def metric_signature(self) -> str:
        """What the metric is, whatever was scored."""
        return self.signature.partition(MADE_FROM)[0]


class StageCost(Record):
    """What one stage spent. `seconds` adds up over resumed attempts."""

    encoder: str
    arm: str
    task: str
    """The target whose chain the stage belongs to; "" for stages shared by all targets."""
    stage: str
    """Its kind: "pretrain", "train", "joint", "distil", "compress", "predict" or "score"."""
    path: str
    """Directory below the store."""
    seed: int
    seconds: float
    tokens: int
    """Real (non-padding) tokens that went through the encoder, 0 for score."""
    padding_fraction: float | None
    """Padding slots / all slots; None where no batches were made."""
    flops: float | None
    """Analytic estimate of the floating-point operations, None where nothing was computed."""
    peak_memory_bytes: int
    """Highest resident memory of the process during the stage."""
    device: str
    threads: int
    devices: int = 1
    """Among which each batch of a training was shared; threads, memory and seconds are those of the first process."""
    precision: str | None = None
    """Of the products in training, "fp32" or "bf16"; None for stages that train nothing."""
    speed: tuple[int, ...] = ()
    """Tokens a second before each point of a training's curve; () in older records."""
    versions: dict[str, str]
    finished: str
    """UTC, ISO 8601."""
    machine: str = ""
    """Model of the processor or of the GPU; "" in older records."""
    arms: tuple[str, ...] | None = None
    """Whose results come from it, in a run's own list of costs; None where that is not told."""

    @property
    def computed(self) -> str:
        """On what, in words."""
        products = "" if self.precision in (None, "fp32") else f", products in {self.precision}"
        return f"{self.where}, {self.threads} thread{'s' * (self.threads != 1)}{products}"

    @property
    def where(self) -> str:
        """The device, with the number of several."""
        return self.device if self.devices == 1 else f"{self.devices} x {self.device}"


class Retained(Record):
    """How far a stage moved the encoder, and what it forgot of text."""

    distance: float
    """Mean absolute change of a weight."""
    before: dict[str, float]
    """Language -> masked-LM loss in nats on text that was not replayed; {} without `replay`."""
    after: dict[str, float]
    head: str
    """Where the masked-LM head was from; "" without one."""
    similarity: tuple[float, ...] = ()
    """By layer, embeddings first: linear CKA of states before and after on the same text; () without `replay`."""


class StageRetained(Record):
    """What one arm and seed kept."""

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
    """One line per task and split whose numbers of rows differ from the published ones."""
    groups: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        if note.layout != "missing" and note.published is not None and note.published != note.found:
            difference = f"{note.language} {note.found:,} ({note.published:,})"
            groups.setdefault((note.task, note.split), []).append(difference)
    for (task, split), differences in groups.items():
        yield f"{task} {split}: rows found (published): {', '.join(differences)}"


class SubstitutionNote(Record):
    """One declared substitution: what was asked for, what was used instead, why."""

    task: str
    split: str
    used: str
    why: str


class Tried(Record):
    """One setting of those that a recipe varies, for one arm and task."""

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
    """Whether a training came to no numbers."""


class About(Record):
    """What a run was: everything the report says that is not a number measured."""

    recipe: str
    hypothesis: str
    command: str
    encoder: str
    encoder_details: dict[str, str]
    """Shown as is: parameters, layers, vocabulary, training text, ..."""
    arms: tuple[str, ...]
    """In table order; `BASELINE` among them where the recipe has it."""
    tasks: tuple[str, ...]
    """In column order."""
    seeds: tuple[int, ...]
    miniature: bool
    """True: the generated world; the report says on its face that it is no evidence."""
    substitutions: tuple[SubstitutionNote, ...]
    data: tuple[DataNote, ...]
    settings: dict[str, str]
    """Shown as is: learning rates, steps, batch tokens, ... per stage."""
    versions: dict[str, str]
    created: str
    """UTC, ISO 8601."""
    left_out: dict[str, str] = {}
    """Arm that the recipe allowed to be left out -> what it needs and was not there."""
    roles: dict[str, str] = {}
    """Arm -> what it is to the claims under test; arms that are not here decide none."""
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of arms whose difference (first less second) the recipe asks for."""
    compare_unlike: bool = False
    """Whether differences between arms that were not computed alike may be claimed."""
    deciding: tuple[tuple[str, ...], ...] = ()
    """(arm, against), or with tasks after them, that were declared before the run to be decided first."""
    expected: tuple[str, ...] = ()
    """What the hypothesis says of each of these, "" where it says nothing; () where it says nothing of any."""
    further_seeds: tuple[int, ...] = ()
    """Of what is compared there alone."""
    question: str = "these languages"
    """What verdicts speak of: "these languages" or "languages like these"."""
    marks: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Arm -> what sets its results apart, in words that stand beside them."""
    remarks: tuple[str, ...] = ()
    """What else a reader has to know before trusting a number, in sentences."""
    leaks: tuple[str, ...] = ()
    """Rows that were trained on and are evaluated, where the run was told to go on all the same."""
    seen_tasks: dict[str, str] = {}
    """Target whose task the encoder had been trained on before it came here -> the data."""
    seen_arms: dict[str, str] = {}
    """The same for arms by the tasks that they train on."""
    limit: int | None = None
    """Rows of a language and split that were read at most: a quick look, which is no result."""
    tried: tuple[Tried, ...] = ()
    """Of arms and tasks for which several settings were tried; their scores are those of the chosen one."""
    made_from: dict[str, str] = {}
    """Finished stage -> its fingerprint; a report that is of other ones is another one."""

    @property
    def origin(self) -> str:
        """What it was made from, in words; "" where that is not known."""
        digest = hashlib.sha256(json.dumps(self.made_from, sort_keys=True).encode()).hexdigest()
        return f"{len(self.made_from):,} stages, fingerprint {digest[:16]}" if self.made_from else ""
