"""The Adopt stage: an encoder that others trained further, checked against the one that they began with.

It leaves `encoder/`, with the tokenizer of the encoder that it begins with, and `adopted.json` (which of the file's
weights were loaded, and which were left).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from viaduct.doors import loaded
from viaduct.runs.bounds import wording
from viaduct.runs.census import Census
from viaduct.runs.encoder import Shape, encoder_identity, shape_of
from viaduct.runs.rows import Need
from viaduct.runs.sizes import Estimate, Sizes
from viaduct.runs.stage import Stage, StageKind, Work

REQUIRE = "viaduct.training.adopting:require_released"


class AdoptWork(Work):
    """Take an encoder that others trained further in the place of the one that it was trained from."""

    kind: Literal["adopt"] = "adopt"
    encoder: str = wording()
    """A Hub name or a folder; the identity has its content."""
    revision: str | None = wording()
    compared: bool
    """Whether it was trained from the encoder that the stage begins with; else only their tokenizers are compared."""


class AdoptKind(StageKind[AdoptWork]):
    """The kind."""

    name = "adopt"
    work = AdoptWork
    version = 1
    function = "viaduct.training.adopting:adopt"
    starts_from_encoder = leaves_encoder = True

    def needs(self, work: AdoptWork, census: Census) -> list[Need]:
        """No data."""
        return []

    def label(self, work: AdoptWork) -> str:
        """Its name."""
        return f"adopt {work.encoder}"

    def forecast(self, work: AdoptWork, sizes: Sizes) -> Estimate:
        """Nothing goes through it."""
        return Estimate(0.0, 0.0)

    def on_cpu(self, work: AdoptWork) -> bool:
        """Always."""
        return True

    def shape_left(self, work: AdoptWork) -> Shape | None:
        """Its own, where it was not trained from the encoder that the stage begins with."""
        return None if work.compared else shape_of(work.encoder, work.revision)

    def identity(self, work: AdoptWork) -> Mapping[str, Any]:
        """The encoder's content."""
        return {"adopted": encoder_identity(work.encoder, work.revision)}

    def require(self, stage: Stage) -> None:
        """Raise UsageError for an encoder that the stage will refuse, as far as what it begins with is there."""
        before = stage.inputs.get("encoder")
        if before is None:
            loaded(REQUIRE)(stage.work, stage.encoder, stage.revision)
        elif isinstance(before.work, AdoptWork):
            loaded(REQUIRE)(stage.work, before.work.encoder, before.work.revision)

    def history(self, work: Mapping[str, Any], begun: str) -> str:
        """That others trained it."""
        return f"trained further by others{begun}"


ADOPT = AdoptKind()
