"""The PredictFused stage: predicts a target's rows, each read together with its English translation.

It leaves `predictions/LL.jsonl` like the Predict stage, and `fused_inference.json` (`fusion.records.FusedInference`)
with the cost compared to reading the rows alone. With the human English originals as translations it is an oracle: no
other stage scores its predictions, and its own scores are in that file.
"""

from __future__ import annotations

from typing import Literal

from viaduct.languages import ENGLISH
from viaduct.runs.bounds import later
from viaduct.runs.census import Census
from viaduct.runs.parts import Substitution
from viaduct.runs.rows import Need, source_of
from viaduct.runs.sizes import PREDICTION_TOKENS, Estimate, Sizes
from viaduct.runs.stage import StageKind, Work, in_languages


class PredictFusedWork(Work):
    """Predict rows together with their translations."""

    kind: Literal["predict_fused"] = "predict_fused"
    task: str
    languages: tuple[str, ...]
    split: str
    max_length: int
    stride: int
    card: str | None
    """Card with the translations, by language; None: the task's own English rows (oracle)."""
    translated: tuple[str, ...]
    """Languages that have translations."""
    local: int
    fused: int
    most_missing: float
    products: Literal["fp32", "bf16", "fp16"] = later("fp32")
    substitutions: tuple[Substitution, ...] = ()


class PredictFusedKind(StageKind[PredictFusedWork]):
    """The stage kind `predict_fused`."""

    name = "predict_fused"
    work = PredictFusedWork
    version = 1
    function = "viaduct.fusion.fused_prediction:predict"
    starts_from_encoder = True

    def needs(self, work: PredictFusedWork, census: Census) -> list[Need]:
        """The rows, and their translations."""
        own = [(work.task, work.split, code) for code in work.languages]
        if work.card is None:
            return [*own, (work.task, work.split, ENGLISH)]
        return own + [(work.card, work.split, code) for code in work.translated]

    def label(self, work: PredictFusedWork) -> str:
        """The task, its split and languages, and what is read along with the rows."""
        beside = "the English originals (oracle)" if work.card is None else "translations"
        return f"predict {work.task} {work.split} {in_languages(work.languages)} with {beside}"

    def forecast(self, work: PredictFusedWork, sizes: Sizes) -> Estimate:
        """The cost of one pass over both sides, which is about twice the rows."""
        _, tokens = sizes.of([(work.task, work.split, code) for code in work.languages])
        peak = sizes.predicting_bytes()
        return Estimate(2 * tokens, 2 * tokens, 2 * tokens / PREDICTION_TOKENS, peak_bytes=peak)


PREDICT_FUSED = PredictFusedKind()


def with_translations(
    card: str, split: str, languages: tuple[str, ...], substitutions: tuple[Substitution, ...], census: Census
) -> tuple[str, ...]:
    """The languages for which the card has files."""
    known = census.task(card).languages
    source = source_of(card, split, substitutions)
    return tuple(code for code in languages if code in known and census.problem(*source, code, labelled=False) is None)
