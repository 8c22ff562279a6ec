"""The Joint stage: one encoder trained at once on labelled tasks, what rooms add to them, and replayed text."""

from __future__ import annotations

from viaduct.training.joint_training import run

__all__ = ["run"]
