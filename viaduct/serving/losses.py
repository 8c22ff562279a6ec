"""What an export loses: its predictions and scores compared with those of the whole trained model, on the same rows.

"Whole" means before layers and pieces were removed, in torch and float32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from viaduct.encode.tokens import Encoded, Limits
from viaduct.heads.head import HeadSpec
from viaduct.inference.prediction import predict_all
from viaduct.metrics.score import MetricFunction, Prediction
from viaduct.models.sentences import pool
from viaduct.rows import Row
from viaduct.serving.engines import Engine
from viaduct.serving.model import LoadedModel
from viaduct.serving.samples import Sample, batches
from viaduct.tasks.card import Task

NO_LABELS = "not compared: these rows have no labels"
NO_ROWS = "not compared with labels: no rows of its task were found (name the folder of the data sets with --data)"


@dataclass(frozen=True)
class Side:
    """A model and the engine that runs it."""

    model: LoadedModel
    engine: Engine

    @property
    def pad_id(self) -> int:
        """The padding id of the model's tokenizer."""
        return int(self.model.tokenizer.pad_token_id)


def losses(
    whole: Side, made: Side, rows: Sample | None, pairs: Sequence[tuple[Encoded, Encoded]], limits: Limits
) -> dict[str, Any]:
    """The comparison, as plain values. `agreement`: the share of `count` rows (`compared_on`, in words) with the same
    prediction; `scores`: both sides' scores by language in the card's headline `metric`, [] for rows without labels.
    Without rows of the task these are None or empty.

    In that case texts are compared, given in `pairs` as tokens for both sides: `text_agreement` for classifiers,
    `similarity` (the mean cosine of mean vectors) for an encoder alone. Otherwise these are None.
    """
    found: dict[str, Any] = {"compared_on": "", "count": 0, "scores": []}
    found |= dict.fromkeys(("agreement", "metric", "text_agreement", "similarity"))
    spec = whole.model.spec
    if rows is not None and rows.card is not None and spec is not None:
        return found | {"compared_on": rows.name} | _on_rows((whole, made), rows.rows, rows, rows.card, spec, limits)
    if spec is None or spec.kind == "pair":
        name = "similarity" if spec is None else "text_agreement"
        found[name] = _on_texts(whole, made, pairs)
    return found


def _on_rows(
    sides: tuple[Side, Side], rows: Sequence[Row], sample: Sample, card: Task, spec: HeadSpec, limits: Limits
) -> dict[str, Any]:
    spec = replace(spec, unanswerable=card.unanswerable)
    said = [
        predict_all(side.engine, spec, rows, sample.encoded(side.model.tokenizer, limits), side.pad_id)
        for side in sides
    ]
    same = sum(one.prediction == other.prediction for one, other in zip(*said, strict=True))
    found = {"agreement": same / len(rows), "count": len(rows)}
    if card.metric is None or not all(row.is_labelled for row in rows):
        return found
    scores = [
        {
            "language": code,
            "n": sum(row.language == code for row in rows),
            "whole": _score(card, card.metric, code, rows, said[0]),
            "export": _score(card, card.metric, code, rows, said[1]),
        }
        for code in dict.fromkeys(row.language for row in rows)
    ]
    return {**found, "metric": card.metrics[0], "scores": scores}


def _score(card: Task, metric: MetricFunction, code: str, rows: Sequence[Row], said: Sequence[Prediction]) -> float:
    """The headline metric in one language."""
    gold = [row for row in rows if row.language == code]
    scores = metric(gold, {one.id: one for one in said if one.language == code})
    return next(score.value for score in scores if score.metric == card.metrics[0])


def _on_texts(whole: Side, made: Side, pairs: Sequence[tuple[Encoded, Encoded]]) -> float:
    """The share of texts with equal classes, or the mean of the texts' cosines."""
    found = []
    for one, other in pairs:
        first, second = (_readings(side, part) for side, part in ((whole, one), (made, other)))
        if first.ndim == 1:
            found.append((first == second).float())
        else:
            found.append(torch.nn.functional.cosine_similarity(first, second, dim=1))
    return float(torch.cat(found).mean())


def _readings(side: Side, encoded: Encoded) -> torch.Tensor:
    """(N,) the class of each sequence, or (N, D) its mean state."""
    found: dict[int, torch.Tensor] = {}
    for batch in batches(encoded, side.pad_id):
        output = side.engine(batch)
        read = output.argmax(1) if output.ndim == 2 else pool(output, batch.mask_BL, "mean")
        found |= dict(zip(batch.examples.tolist(), read, strict=True))
    return torch.stack([found[number] for number in sorted(found)])


def grouped(found: Mapping[str, Any], kept: Collection[str]) -> list[tuple[str, int, float, float]]:
    """(languages, rows, the whole model's score, the export's score), with scores averaged over languages; if the
    vocabulary was cut to the languages `kept`, these and the others are separate groups."""
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for one in found["scores"]:
        parts.setdefault("kept" if one["language"] in kept else "others" if kept else "all", []).append(one)
    return [
        (
            " ".join(one["language"] for one in own) if len(own) < 4 else f"{len(own)} languages",
            sum(one["n"] for one in own),
            *(sum(one[side] for one in own) / len(own) for side in ("whole", "export")),
        )
        for own in parts.values()
    ]
