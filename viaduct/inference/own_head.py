"""A third party's finished model on a task's evaluation rows, by its label names: `viaduct evaluate --own-head`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from viaduct.encode.tokens import Limits, encode
from viaduct.errors import DataError, UsageError, unknown
from viaduct.heads.head import HeadSpec, trained_head
from viaduct.inference.auto_model import AutoModelLogits
from viaduct.inference.prediction import predict_all, write_predictions
from viaduct.models.encoder import load_tokenizer, longest_input
from viaduct.tasks.card import Task
from viaduct.tasks.folder import DataFolder

LIMITS = Limits(512, 128)
"""Rows are cut to at most this length, or to what the model can take; context windows are 384 long (as in XTREME)."""
WINDOW = 384
_UNNAMED = "LABEL_"
"""The prefix that transformers gives to unnamed labels."""


def predict_with_own_head(
    source: str, card: Task, data: DataFolder, out: Path, *, labels: Mapping[str, str], revision: str | None
) -> None:
    """Write `LL.jsonl` into `out` for every language with labelled test rows.

    Raises UsageError for labels that are not the card's, and DataError if no language has labelled rows.
    """
    tokenizer = load_tokenizer(source, revision)
    inputs = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in tokenizer.model_input_names]
    model = AutoModelLogits(source, card.kind, inputs, revision)
    spec = HeadSpec(card.kind, _names(model.model.config, card, labels), card.unanswerable)
    longest = min(LIMITS.max_length if card.kind != "span" else WINDOW, longest_input(model.model.base_model))
    limits = Limits(longest, min(LIMITS.stride, longest // 3))
    found = list(_labelled(card, data))
    if not found:
        raise DataError(f"no language of {card.name} has labelled test rows", path=data.root)
    torch.manual_seed(0)
    for language, rows in found:
        encoded = encode(rows, trained_head(spec).encode, tokenizer, (), limits)
        said = predict_all(model, spec, rows, encoded, tokenizer.pad_token_id)
        write_predictions(out, [language], said)


def _labelled(card: Task, data: DataFolder) -> Iterator[tuple[str, Sequence[Any]]]:
    for language in card.languages:
        try:
            dataset = data.read(card.name, "test", language)
        except DataError:
            continue
        if dataset.labelled:
            yield language, dataset.rows


def _names(config: Any, card: Task, given: Mapping[str, str]) -> tuple[str, ...]:
    """The card's label for each of the model's labels, in the order of its logits; () for kinds without labels."""
    if card.row_kind.label_set == "none" or not card.labels:
        return ()
    theirs = [str(config.id2label[number]) for number in range(config.num_labels)]
    for name in given:
        if name not in theirs:
            raise unknown("label of the model", name, theirs)
    known = {label.casefold(): label for label in card.labels}
    named = [known.get(given.get(name, name).casefold()) for name in theirs]
    lacking = [name for name, label in zip(theirs, named, strict=True) if label is None]
    if lacking:
        what = "does not name its labels" if lacking[0].startswith(_UNNAMED) else f"has labels that {card.name} lacks"
        example = ",".join(f"{name}={label}" for name, label in zip(lacking, card.labels, strict=False))
        raise UsageError(
            f"the model {what}: {', '.join(lacking)}; those of {card.name} are {', '.join(card.labels)}",
            fix=f"map each to a label of the card, as in its training: --labels {example}",
        )
    return tuple(label for label in named if label is not None)
