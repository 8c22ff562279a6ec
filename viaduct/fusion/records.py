"""Records that the fusion stages leave for the report."""

from __future__ import annotations

from viaduct.results.record import Record


class Coverage(Record):
    """How many rows of one language have a translation."""

    language: str
    rows: int
    """Rows that should have a translation."""
    missing: int
    """Rows without one; they are left out of training, and predicted alone."""
    unknown: int
    """Translations that match no row."""


class FusedTraining(Record):
    """How a model was trained on rows and translations together (`fusion.json`)."""

    task: str
    local: int
    fused: int
    alpha: float
    """Weight of the teacher's soft labels; 0: no teacher."""
    temperature: float
    coverage: tuple[Coverage, ...]


class Translated(Record):
    """How many translations were available to plain training (`translations.json`)."""

    task: str
    coverage: tuple[Coverage, ...]


class StageTranslated(Record):
    """`Translated`, with its arm and seed."""

    arm: str
    seed: int
    found: Translated


class StageTraining(Record):
    """`FusedTraining`, with its arm and seed."""

    arm: str
    seed: int
    found: FusedTraining


class Way(Record):
    """The cost of reading a row alone or with its translation; both ways are timed in turns on one sample of rows."""

    tokens: float
    """Per row, over all rows that have a translation."""
    flops: float
    """Per row, over the same rows."""
    latency_ms: float
    """Median for one row at a time, without tokenising."""
    rows_per_second: float
    """Throughput in batches."""


class FusedInference(Record):
    """Coverage and cost of prediction with translations (`fused_inference.json`)."""

    task: str
    oracle: bool
    scores: dict[str, float]
    """Language -> the task's headline score; {} if other stages score."""
    coverage: tuple[Coverage, ...]
    alone: Way | None
    together: Way | None
    """Cost of reading rows with translations; None, as in `alone`: no row has a translation."""
    sample: int
    """Number of rows that were timed."""
    threads: int
    load_average: float
    """The machine's load average before timing."""


class StageInference(Record):
    """`FusedInference`, with its arm and seed."""

    arm: str
    seed: int
    found: FusedInference
