"""Runs the Fuse stage: trains on couples of an English row and a translation, which some layers read together.

The loss is the mean over couples of the losses of both sides, where their gold is known (arXiv 2009.05166, equation 3).
With a teacher it is (1 - alpha) x text + alpha x temperature^2 x KL(teacher || student) of the text's labels + English
(equation 5). Here the texts are translations, and what FILTER calls the translation is English. In the authors' code
the English logits of pairs come from the second token of the text; here they come from the first English token.

Shape letters: B sequences, L tokens, C classes, R distributions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn.functional import kl_div

from viaduct.encode.batch import Batch
from viaduct.encode.cache import cached
from viaduct.encode.tokens import Array, Encoded
from viaduct.errors import DataError
from viaduct.fusion.alignment import CoupleOrder, Couples, couples, join, side
from viaduct.fusion.fuse import FuseWork
from viaduct.fusion.fused_encoder import FusedModel, fused_flops
from viaduct.fusion.matching import match
from viaduct.fusion.records import Coverage, FusedTraining
from viaduct.fusion.target_training import read_dev
from viaduct.heads.head import load_head
from viaduct.heads.tagged import word_positions
from viaduct.languages import ENGLISH
from viaduct.models.encoder import load_encoder, width
from viaduct.results.writing import canonical
from viaduct.runs.sizes import passes
from viaduct.runs.stage import Context, Spent
from viaduct.training.finetuning import FineTuning, TaskData, TaskReader
from viaduct.training.order import sample_rows
from viaduct.training.state import TrainingState


def fuse(context: Context, work: FuseWork) -> Spent:
    """Train; leave the same files as the Train stage, and `fusion.json`."""
    return FusedFineTuning(context, work).run()


class FusedFineTuning(FineTuning):
    """A Fuse stage while it runs."""

    work: FuseWork  # type: ignore[assignment]
    model: FusedModel

    def __init__(self, context: Context, work: FuseWork) -> None:
        super().__init__(context, work)  # type: ignore[arg-type]

    def read(self, reader: TaskReader) -> TaskData:
        """The English rows and all translations, and the order of their couples in batches."""
        context, work = self.context, self.work
        rows = sample_rows(context.load(work.task, "train", ENGLISH).rows, work.training.train_rows, work.seed)
        dev_rows = read_dev(context, work.dev, work.training.dev_rows)
        english = reader.of(context.task(work.task), rows, dev_rows, work.seed)
        parts, found, coverage = [english.encoded], list[Array](), list[Coverage]()
        for code in work.languages:
            others = context.load(work.card, "train", code).rows
            one = match(english.rows, others, code, work.most_missing, f"{work.card} train")
            require_alike(one.translations, work.card, code)
            labels = english.spec.labels
            encoded = cached(
                one.translations, english.head.encode, self.tokenizer, labels, reader.limits, context.cache
            )
            found.append(_couples(english.encoded, encoded, one.at, sum(map(len, parts))))
            parts.append(encoded)
            coverage.append(one.coverage)
        self.units = english.all_units
        self._write(coverage)
        joined = join(parts)
        order = CoupleOrder(joined, found, work.training.batch_tokens, work.seed)
        units = np.pad(english.units, (0, len(joined) - len(english.units)))  # a couple counts as its English side
        return replace(english, encoded=joined, order=order, units=units)

    def _write(self, coverage: list[Coverage]) -> None:
        work = self.work
        told = {name: getattr(work, name) for name in ("task", "local", "fused", "alpha", "temperature")}
        found = FusedTraining(**told, coverage=tuple(coverage))
        (self.context.directory / "fusion.json").write_text(canonical(found.model_dump(mode="json")), encoding="utf-8")

    def begin(self) -> None:
        """Turn the model into one that reads couples, and load the teacher if there is one."""
        layers = {"local": self.work.local, "fused": self.work.fused}
        self.model = FusedModel(self.model.encoder, self.model.head, self.trimmed, **layers)
        self.teacher = None
        if self.work.alpha:
            folder = self.context.inputs["teacher"]
            encoder = load_encoder(str(folder / "encoder"), None)
            head, _ = load_head(folder, width(encoder), dropout=0.0)
            self.teacher = FusedModel(encoder, head, None, **layers).to(self.device).eval().requires_grad_(False)

    def batch(self, step: int) -> Couples:
        """The batch of this step, as couples."""
        return Couples(**vars(super().batch(step)))

    def loss(self, _model: nn.Module, batch: Batch) -> torch.Tensor:
        """The loss of both sides, averaged over couples."""
        data, work = self.data, self.work
        logits = self.model.couples(batch)
        text = side(batch, 0)
        total = (1 - work.alpha) * data.head.loss(logits[0::2], data.encoded, text)
        total = total + data.head.loss(logits[1::2], data.encoded, side(batch, 1))
        if self.teacher is not None:
            with torch.no_grad():
                taught = self.teacher.couples(batch)[0::2]
            apart = divergence(data.spec.kind, logits[0::2], taught, data.encoded, text, work.temperature)
            total = total + work.alpha * work.temperature**2 * apart
        return total * data.order.end(0) / self.units

    def flops(self, state: TrainingState) -> float:
        """FLOPs of the training, including the teacher's pass."""
        once = fused_flops(self.model.encoder, state.tokens, state.squares, self.work.fused)
        return (passes(self.work.training) + bool(self.work.alpha)) * once


def require_alike(rows: tuple, card: str, code: str) -> None:  # type: ignore[type-arg]
    """Raise DataError if only some of the translations are labelled."""
    labelled = sum(row.is_labelled for row in rows)
    if labelled not in (0, len(rows)):
        bare = next(row.id for row in rows if not row.is_labelled)
        raise DataError(
            f"{card} train in {code}: {len(rows) - labelled:,} of {len(rows):,} translations have no gold, the first is"
            f" '{bare}'",
            fix="leave those rows out of the file, or remove the gold from all of them",
        )


def _couples(english: Encoded, translated: Encoded, at: Array, begin: int) -> Array:
    """(P, 3): row, example of the translation, English example; the translations' examples begin at `begin`."""
    rows = at[np.asarray(translated.rows)]
    found = couples(rows, np.asarray(english.rows), every=True)
    return np.column_stack([rows[found[:, 0]], found[:, 0] + begin, found[:, 1]])


def divergence(
    kind: str, own: torch.Tensor, teachers: torch.Tensor, encoded: Encoded, batch: Batch, temperature: float
) -> torch.Tensor:
    """KL(teacher || student), in nats, of their labels at this temperature, summed over the batch's units."""
    found = [_labels(kind, logits.float(), encoded, batch) / temperature for logits in (own, teachers)]
    own_RC, teachers_RC = (logits_RC.log_softmax(-1) for logits_RC in found)
    total = kl_div(own_RC, teachers_RC, reduction="sum", log_target=True)
    return total / 2 if kind == "span" else total  # the mean of start and end


def _labels(kind: str, logits: torch.Tensor, encoded: Encoded, batch: Batch) -> torch.Tensor:
    """The logits of each labelled unit, one row each: pairs, words, or positions of a start and an end."""
    if kind == "span":
        blocked = 0.0 if batch.mask_BL is None else (~batch.mask_BL)[..., None] * -1e4
        return (logits + blocked).transpose(1, 2).flatten(0, 1)
    if kind == "tagged":
        rows, columns, _ = word_positions(encoded, batch, "word")
        return logits[rows, columns]
    return logits
