"""The Compress stage: an encoder with fewer layers, or with the part of its vocabulary that some languages' text uses.

Nothing is trained. It leaves `encoder/` and `compression.json` (what was kept, and how much of more text of the same
languages it covers).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from viaduct.runs.census import Census
from viaduct.runs.gaps import text_needs
from viaduct.runs.parts import Substitution
from viaduct.runs.rows import Need
from viaduct.runs.sizes import Estimate, Sizes
from viaduct.runs.stage import StageKind, Work, in_languages, layer_words

WEIGHT = 0.01
"""Of a token that is looked up, in forward passes, about."""


class CompressWork(Work):
    """Cut an encoder's upper layers off, or its vocabulary down to what some text uses; nothing is trained."""

    kind: Literal["compress"] = "compress"
    layers: int | None = None
    vocabulary: tuple[str, ...] = ()
    """Languages; () keeps all pieces."""
    text: tuple[str, ...] = ()
    """Cards of kind "text" that have them."""
    substitutions: tuple[Substitution, ...] = ()


class CompressKind(StageKind[CompressWork]):
    """The kind."""

    name = "compress"
    work = CompressWork
    version = 1
    function = "viaduct.serving.compressing:run"
    starts_from_encoder = leaves_encoder = True

    def needs(self, work: CompressWork, census: Census) -> list[Need]:
        """The text."""
        return text_needs(work.text, work.vocabulary, census)

    def label(self, work: CompressWork) -> str:
        """What is kept."""
        parts = [] if work.layers is None else [layer_words(work.layers)]
        parts += [f"the pieces of text {in_languages(work.vocabulary)}"] if work.vocabulary else []
        return f"keep {' and '.join(parts)}"

    def forecast(self, work: CompressWork, sizes: Sizes) -> Estimate:
        """Text is tokenised, and no encoder is used."""
        return Estimate(0.0, sizes.of(sizes.needs)[1] * WEIGHT)

    def on_cpu(self, work: CompressWork) -> bool:
        """Always."""
        return True

    def layers_left(self, work: CompressWork) -> int | None:
        """The lowest ones."""
        return work.layers

    def history(self, work: Mapping[str, Any], begun: str) -> str:
        """What was kept."""
        parts = [f"its lowest {work['layers']} layers kept"] if work["layers"] else []
        parts += [f"the pieces of text in {' '.join(work['vocabulary'])} kept"] if work["vocabulary"] else []
        return " and ".join(parts) + begun


COMPRESS = CompressKind()
