"""The Adopt stage: takes an encoder that others trained further, and checks it against the one they started from.

It writes `encoder/`, with the tokenizer of the encoder that the stage starts from, and `adopted.json` (which of the
file's weights were loaded, and which were left out).
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
    """Replace the encoder with one that others trained further from it."""

    kind: Literal["adopt"] = "adopt"
    encoder: str = wording()
    """A Hub name or a folder; the stage's identity holds its content."""
    revision: str | None = wording()
    compared: bool
    """Whether it was trained from the encoder that the stage starts from; if not, only the tokenizers are compared."""


class AdoptKind(StageKind[AdoptWork]):
    """The kind of Adopt stages."""

    name = "adopt"
    work = AdoptWork
    version = 1
    function = "viaduct.training.adopting:adopt"
    starts_from_encoder = leaves_encoder = True

    def needs(self, work: AdoptWork, census: Census) -> list[Need]:
        """Nothing: the stage reads no data."""
        return []

    def label(self, work: AdoptWork) -> str:
        """The name of the adopted encoder."""
        return f"adopt {work.encoder}"

    def forecast(self, work: AdoptWork, sizes: Sizes) -> Estimate:
        """No cost: nothing is run through the encoder."""
        return Estimate(0.0, 0.0)

    def on_cpu(self, work: AdoptWork) -> bool:
        """Always True."""
        return True

    def shape_left(self, work: AdoptWork) -> Shape | None:
        """The adopted encoder's shape if it was not trained from the one that the stage starts from; else None."""
        return None if work.compared else shape_of(work.encoder, work.revision)

    def identity(self, work: AdoptWork) -> Mapping[str, Any]:
        """The content of the adopted encoder."""
        return {"adopted": encoder_identity(work.encoder, work.revision)}

    def require(self, stage: Stage) -> None:
        """Raise UsageError for an encoder that the stage would refuse, if what it starts from is already available."""
        before = stage.inputs.get("encoder")
        if before is None:
            loaded(REQUIRE)(stage.work, stage.encoder, stage.revision)
        elif isinstance(before.work, AdoptWork):
            loaded(REQUIRE)(stage.work, before.work.encoder, before.work.revision)

    def history(self, work: Mapping[str, Any], begun: str) -> str:
        """A note that others trained it further."""
        return f"trained further by others{begun}"


ADOPT = AdoptKind()
