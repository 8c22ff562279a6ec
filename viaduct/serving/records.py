"""What a Measure stage leaves in `inference.json`."""

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
    """As `viaduct profile` writes it, raw samples and conditions included."""
    seconds: tuple[float, ...]
    """Of the round's rows, one per round."""
    against: tuple[float, ...]
    """Of the same rows in the same rounds, the first arm's model."""


class MeasuredArms(Record):
    """What a Measure stage found."""

    task: str
    seed: int
    first: str
    """The arm that the others are compared with; its own rounds are of two copies of its model."""
    round_rows: int
    load_average_before: float
    """Of the last minute, before anything was measured."""
    arms: tuple[ArmInference, ...]
