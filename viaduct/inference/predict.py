"""The Predict stage: predicts a target task's rows in every language; without a head (retrieval, mining) the encoder is
used as it is.

It writes `predictions/LL.jsonl`, one JSON line per example (id, language, prediction, scores), and `choices.json` if
anything was tuned on dev, such as a mining threshold; `vectors.json` says how sentences became vectors.
"""

from __future__ import annotations

from typing import Literal

from viaduct.doors import loaded
from viaduct.runs.bounds import later
from viaduct.runs.census import Census
from viaduct.runs.field import added_labels, added_needs, fields
from viaduct.runs.parts import Retrieval, Substitution
from viaduct.runs.rows import Need
from viaduct.runs.sentence_encoder import CHOOSING_LINES, Makers
from viaduct.runs.sizes import PREDICTION_TOKENS, Estimate, Sizes
from viaduct.runs.stage import Context, Spent, StageKind, Work, in_languages


class PredictWork(Work):
    """Predict a target task in each language; rooms may add fields for what predicts in place of the model."""

    kind: Literal["predict"] = "predict"
    task: str
    languages: tuple[str, ...]
    split: str
    max_length: int
    stride: int
    retrieval: Retrieval | None = None
    """None for tasks that have a head."""
    makers: Makers | None = later(None)
    """Settings of a sentence encoder's makers, if it is used with them or they are one choice besides layers."""
    chosen_in: tuple[str, ...] = ()
    """Languages of the card `retrieval.choose_on` on which a layer is chosen; () if it is not chosen that way."""
    products: Literal["fp32", "bf16", "fp16"] = later("fp32")
    substitutions: tuple[Substitution, ...] = ()


class PredictKind(StageKind[PredictWork]):
    """The kind of the Predict stage."""

    name = "predict"
    work = PredictWork
    version = 3
    starts_from_encoder = True

    def needs(self, work: PredictWork, census: Census) -> list[Need]:
        """The rows to predict, the rows for tuning and choosing, and those that rooms add."""
        return [*self._own_needs(work, census), *self._choosing(work), *added_needs(work, census)]

    @staticmethod
    def _own_needs(work: PredictWork, census: Census) -> list[Need]:
        tuned_on = census.task(work.task).row_kind.tuned_on
        return [(work.task, split, code) for split in (work.split, *tuned_on) for code in work.languages]

    @staticmethod
    def _choosing(work: PredictWork) -> list[Need]:
        return [(work.retrieval.choose_on, "train", code) for code in work.chosen_in] if work.retrieval else []

    def label(self, work: PredictWork) -> str:
        """The task, its split and languages."""
        words = f"predict {work.task} {work.split} {in_languages(work.languages)}"
        how = () if work.products == "fp32" else (f"with products in {work.products}",)
        return " ".join((words, *how, *added_labels(work)))

    def forecast(self, work: PredictWork, sizes: Sizes) -> Estimate:
        """One pass over the rows; if a layer is chosen from all on parallel text, only over the first lines of that."""
        _, tokens = sizes.of(dict.fromkeys(self._own_needs(work, sizes.census)))
        lines, choosing = sizes.of(self._choosing(work))
        first = lines
        if work.retrieval is not None and work.retrieval.layers == "all":
            first = min(lines, CHOOSING_LINES * len(work.chosen_in))
        tokens += choosing * first / max(lines, 1)
        return Estimate(tokens, tokens, tokens / PREDICTION_TOKENS, peak_bytes=sizes.predicting_bytes())

    def on_cpu(self, work: PredictWork) -> bool:
        """Whether what predicts runs only on the CPU."""
        return any(field.on_cpu(work) for field in fields())

    def run(self, context: Context, work: PredictWork) -> Spent:
        """Predict with the function for the kind of the task's rows."""
        kind = context.task(work.task).row_kind
        if kind.predict is None:
            raise TypeError(f"rows of kind '{kind.name}' are not predicted")
        spent: Spent = loaded(kind.predict)(context, work)
        return spent


PREDICT = PredictKind()
