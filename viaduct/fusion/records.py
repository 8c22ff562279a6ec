"""What the fusion stages leave for the report."""

from __future__ import annotations

from viaduct.results.record import Record


class Coverage(Record):
    """How many rows of one language have a translation."""

    language: str
    rows: int
    """That should have one."""
    missing: int
    """Without one; they are left out of training, and predicted alone."""
    unknown: int
    """Translations whose id none of the rows has."""


class FusedTraining(Record):
    """How a model was trained on rows and translations together (`fusion.json`)."""

    task: str
    local: int
    fused: int
    alpha: float
    """0: without a teacher."""
    temperature: float
    coverage: tuple[Coverage, ...]


class Translated(Record):
    """How many translations plain training had (`translations.json`)."""

    task: str
    coverage: tuple[Coverage, ...]


class StageTranslated(Record):
    """The same with whose it is."""

    arm: str
    seed: int
    found: Translated


class StageTraining(Record):
    """The same with whose it is."""

    arm: str
    seed: int
    found: FusedTraining


class Way(Record):
    """What reading a row costs, alone or with its translation, on one sample of rows in turns."""

    tokens: float
    """Per row, of all rows."""
    flops: float
    """Per row."""
    latency_ms: float
    """Median, of a row at a time; tokenising not included."""
    rows_per_second: float
    """In batches."""


class FusedInference(Record):
    """What prediction with translations needs and costs (`fused_inference.json`)."""

    task: str
    oracle: bool
    scores: dict[str, float]
    """Language -> the task's headline score; {} where other stages score."""
    coverage: tuple[Coverage, ...]
    alone: Way | None
    together: Way | None
    """None: no row has a translation."""
    sample: int
    """Rows that were timed."""
    threads: int
    load_average: float
    """Of the machine, before."""


class StageInference(Record):
    """The same with whose it is."""

    arm: str
    seed: int
    found: FusedInference
