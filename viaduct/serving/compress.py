"""The Compress stage: cuts an encoder down to fewer layers, or to the vocabulary that some languages' text uses.

Nothing is trained. The stage writes `encoder/` and `compression.json` (what was kept, and how much of further text in
the same languages it covers).
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
"""Approximate cost of looking up one token, in forward passes."""


class CompressWork(Work):
    """Remove an encoder's upper layers, or trim its vocabulary to what some text uses; nothing is trained."""

    kind: Literal["compress"] = "compress"
    layers: int | None = None
    vocabulary: tuple[str, ...] = ()
    """Languages whose pieces are kept; () keeps all pieces."""
    text: tuple[str, ...] = ()
    """Cards of kind "text" to take these languages from."""
    substitutions: tuple[Substitution, ...] = ()


class CompressKind(StageKind[CompressWork]):
    """The kind of Compress stages."""

    name = "compress"
    work = CompressWork
    version = 1
    function = "viaduct.serving.compressing:run"
    starts_from_encoder = leaves_encoder = True

    def needs(self, work: CompressWork, census: Census) -> list[Need]:
        """The text whose pieces are kept."""
        return text_needs(work.text, work.vocabulary, census)

    def label(self, work: CompressWork) -> str:
        """What is kept, in words."""
        parts = [] if work.layers is None else [layer_words(work.layers)]
        parts += [f"the pieces of text {in_languages(work.vocabulary)}"] if work.vocabulary else []
        return f"keep {' and '.join(parts)}"

    def forecast(self, work: CompressWork, sizes: Sizes) -> Estimate:
        """The cost of tokenising the text; no encoder is run."""
        return Estimate(0.0, sizes.of(sizes.needs)[1] * WEIGHT)

    def on_cpu(self, work: CompressWork) -> bool:
        """Always True."""
        return True

    def layers_left(self, work: CompressWork) -> int | None:
        """The number of layers kept, which are the lowest ones."""
        return work.layers

    def history(self, work: Mapping[str, Any], begun: str) -> str:
        """What was kept, as a line of the model's history."""
        parts = [f"its lowest {work['layers']} layers kept"] if work["layers"] else []
        parts += [f"the pieces of text in {' '.join(work['vocabulary'])} kept"] if work["vocabulary"] else []
        return " and ".join(parts) + begun


COMPRESS = CompressKind()
