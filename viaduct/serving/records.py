"""The content of a Measure stage's `inference.json`."""

from __future__ import annotations

from typing import Any

from viaduct.results.record import Record


class ArmInference(Record):
    """What one arm's model costs at inference."""

    arm: str
    engine: str
    precision: str
    keys: str
    """Digest of the names and shapes of the encoder's weights."""
    profile: dict[str, Any]
    """The profile as `viaduct profile` writes it, including raw samples and conditions."""
    seconds: tuple[float, ...]
    """Time of the arm's model for a round's rows, one per round."""
    against: tuple[float, ...]
    """Time of the first arm's model for the same rows in the same rounds."""


class MeasuredArms(Record):
    """The measurements of a Measure stage."""

    task: str
    seed: int
    first: str
    """The arm that the others are compared with; its own rounds compare two copies of its model."""
    round_rows: int
    load_average_before: float
    """Load average of the last minute, before anything was measured."""
    arms: tuple[ArmInference, ...]
