"""Stages: what one unit of work is, what its kind knows about it, and what it is given when it runs.

A kind of stage is one object, in the file of the stage, which can be imported without torch; kinds come through the
door `stage_kinds`. The kind's function is given a `Context` and returns what it `Spent`. It writes only below
`context.directory`; what it leaves there is documented in its own file. `context.scratch` is the stage's folder for
checkpoints: kept if the process dies, removed when the stage is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from viaduct.doors import loaded, offered
from viaduct.errors import unknown
from viaduct.memory import WHOLE, Fitting
from viaduct.runs.census import Census
from viaduct.runs.encoder import Shape
from viaduct.runs.parts import Spec, Substitution, Training
from viaduct.runs.ranks import ALONE, Ranks
from viaduct.runs.rows import Loaded, Need
from viaduct.runs.sizes import Estimate, Sizes
from viaduct.tasks.card import Task
from viaduct.tasks.catalogue import Catalogue

MOST_NAMED = 4
"""Maximum number of languages named in a stage's label; the table of the data names all."""


class Work(Spec):
    """What a stage does; its JSON is part of the stage's identity. A subclass adds what its kind needs, and
    `substitutions: tuple[Substitution, ...] = ()` if it reads data that a recipe may substitute."""

    kind: str

    @property
    def declared(self) -> tuple[Substitution, ...]:
        """The substitutions that concern the data it reads."""
        found: tuple[Substitution, ...] = getattr(self, "substitutions", ())
        return found


@dataclass(frozen=True)
class Stage:
    """A node of the DAG. `path` is its readable directory below the store."""

    path: str
    work: Work
    inputs: Mapping[str, Stage] = field(default_factory=dict)
    """"encoder" (what the stage starts from; absent: the recipe's ready-made encoder), "predictions" (for score), or
    names that the kind defines."""
    encoder: str | None = None
    """Hub name or folder of the ready-made encoder, if no stage makes it."""
    revision: str | None = None


@dataclass(frozen=True)
class Spent:
    """What a stage used; `tokens` are real tokens through the encoder, padding not counted."""

    tokens: int = 0
    padding_fraction: float | None = None
    flops: float | None = None
    examples: int = 0
    precision: str | None = None
    """Precision of matrix products in training, or in prediction (None for "fp32"); else None."""
    speed: tuple[int, ...] = field(default=(), compare=False)
    """Tokens per second before each point of a training's curve."""


Progress = Callable[[float, float, str], None]
"""(done, total, current activity), in any unit that grows evenly with time."""
Track = Callable[[int, Mapping[str, float]], None]
"""(step, name -> value), for the trackers to which a run was asked to report its curves."""


def untracked(step: int, values: Mapping[str, float]) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Context:
    """What a stage is given when it runs; nothing here is identity."""

    work: Work
    directory: Path
    """Write outputs here; it becomes the stage's directory when the function returns."""
    scratch: Path
    """For checkpoints; survives a crash of the process."""
    inputs: Mapping[str, Path]
    """Role -> directory of the finished input stage."""
    encoder: str | None
    """The encoder to start from (an input stage's `encoder/`, a user's folder, or a Hub name); None: from scratch."""
    revision: str | None
    load: Callable[[str, str, str], Loaded]
    """(task, split, language) -> rows, with the work's substitutions applied; no rows for files that were missing when
    the stage was planned."""
    catalogue: Catalogue
    cache: Path
    """Folder for derived data that all stages share (tokenised rows), keyed by content."""
    device: str
    threads: int
    checkpoint_seconds: float
    """Approximate seconds between checkpoints."""
    memory_bytes: int
    """Maximum memory for the search for neighbours."""
    progress: Progress
    track: Track = untracked
    fitting: Fitting = WHOLE
    ranks: Ranks = ALONE

    def task(self, name: str) -> Task:
        """The card of this name."""
        return self.catalogue.task(name)

    @property
    def start(self) -> str:
        """The encoder to start from, for kinds of stages that always have one. Raises TypeError without one."""
        if self.encoder is None:
            raise TypeError(f"a stage of kind '{self.work.kind}' was given no encoder")
        return self.encoder


W = TypeVar("W", bound=Work)


class StageKind(Generic[W]):
    """A kind of stage: what a plan, a forecast, an executor and a report need to know about it."""

    name: str
    """The `kind` of its work."""
    work: type[W]
    version: int
    """Version of the code, part of the fingerprint: bump it with any change that can change what the stage leaves."""
    function: str
    """The function that does the work, as "module:NAME", (context, work) -> `Spent`; imported just before a stage runs,
    because it may load torch."""
    starts_from_encoder = False
    """Whether the stage starts from an encoder: that of its input, or the recipe's ready-made one."""
    leaves_encoder = False
    """Whether the stage leaves a folder `encoder/` that the next stage starts from."""
    seeded = False
    """Whether the work has the run's seed, as a field `seed`."""
    uses_torch = True

    def needs(self, work: W, census: Census) -> list[Need]:
        """The splits that the stage reads, before substitution."""
        raise NotImplementedError

    def label(self, work: W) -> str:
        """The work in a few words, for the tree of a plan."""
        raise NotImplementedError

    def forecast(self, work: W, sizes: Sizes) -> Estimate:
        """The approximate cost of the stage."""
        raise NotImplementedError

    def run(self, context: Context, work: W) -> Spent:
        """Do the work."""
        spent: Spent = loaded(self.function)(context, work)
        return spent

    def is_scored_on_dev(self, work: W) -> bool:
        """Whether the stage leaves a `training.json` with scores on English dev, by which a setting can be chosen."""
        return False

    def on_cpu(self, work: W) -> bool:
        """Whether the stage runs on the CPU regardless of the requested device."""
        return not self.uses_torch

    def threads(self, work: W) -> int | None:
        """The number of threads, if it is part of the work; None if it is an option of the run."""
        return None

    def layers_left(self, work: W) -> int | None:
        """Number of layers of the encoder that the stage leaves; None if it removes none."""
        return None

    def shape_left(self, work: W) -> Shape | None:
        """Shape of the encoder that the stage leaves, if it is not the recipe's; None otherwise, and if unknown."""
        return None

    def identity(self, work: W) -> Mapping[str, Any]:
        """Additions to the identity of a stage: the content of what its work only names."""
        return {}

    def require(self, stage: Stage) -> None:
        """Raise UsageError, before any stage runs, for anything that its work names and that cannot be used."""

    def history(self, work: Mapping[str, Any], begun: str) -> str:
        """What was done to an encoder, from the JSON of the work, as one line of a model's history; `begun`: where the
        encoder came from, such as ", from a folder", if not from another stage."""
        return self.name + begun


def kind_of(name: str) -> StageKind[Any]:
    """The kind of this name. Raises UsageError with the nearest name if there is none."""
    kinds: Mapping[str, StageKind[Any]] = offered("stage_kinds", StageKind)
    if name not in kinds:
        raise unknown("kind of stage", name, kinds)
    return kinds[name]


def is_seeded(stage: Stage) -> bool:
    """Whether a stage, or one before it, depends on the run's seed."""
    return kind_of(stage.work.kind).seeded or any(map(is_seeded, stage.inputs.values()))


def training_history(done: str, begun: str, seed: object, training: Mapping[str, Any]) -> str:
    """The line of a model's history for a training, from the JSON of its settings."""
    return f"{done}{begun}, seed {seed}: {Training.model_validate(training).words()}"


def in_languages(codes: tuple[str, ...]) -> str:
    """Languages in a stage's label."""
    return f"in {' '.join(codes)}" if len(codes) <= MOST_NAMED else f"in {len(codes)} languages"


def layer_words(count: int) -> str:
    """A number of layers in a stage's label."""
    return f"{count} layer{'s' * (count > 1)}"
