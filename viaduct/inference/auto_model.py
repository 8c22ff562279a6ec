"""A third party's finished model with its own head: opened by transformers' classes, called with our batches.

Shape letters: B sequences, L tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.errors import UsageError
from viaduct.models.weights_check import first_line
from viaduct.runs.encoder import hub_options

CLASSES: Mapping[str, str] = {
    "pair": "AutoModelForSequenceClassification",
    "classification": "AutoModelForSequenceClassification",
    "choice": "AutoModelForMultipleChoice",
    "tagged": "AutoModelForTokenClassification",
    "span": "AutoModelForQuestionAnswering",
}
"""Kind of head -> name of the transformers class that opens it."""


def class_of(kind: str) -> Any:
    """The transformers class that opens this kind of head. Raises UsageError if there is none."""
    import transformers

    if kind not in CLASSES:
        raise UsageError(
            f"transformers has no class for a head on rows of kind '{kind}'",
            fix="export a Viaduct model for ONNX Runtime or OpenVINO (--engine onnx), which take any head",
        )
    return getattr(transformers, CLASSES[kind])


class AutoModelLogits(nn.Module):
    """Maps a batch to logits_BC or logits_BLC (for spans: start and end), or to the states if `kind` is None."""

    def __init__(self, source: str, kind: str | None, inputs: Sequence[str], revision: str | None = None) -> None:
        """Raises UsageError if the model cannot be opened with that class, or lacks weights of its head."""
        from transformers import AutoModel

        super().__init__()
        self.kind, self.inputs = kind, tuple(inputs)
        opened = AutoModel if kind is None else class_of(kind)
        options = {**hub_options(source, revision), "trust_remote_code": False, "dtype": torch.float32}
        try:
            model, info = opened.from_pretrained(source, output_loading_info=True, **options)
        except Exception as error:  # transformers may raise anything on a user's files
            raise UsageError(f"'{source}' cannot be opened by {opened.__name__}: {first_line(error)}") from error
        if kind is not None and (missing := sorted(info["missing_keys"])):
            what = f"'{source}' has no trained head of {opened.__name__}: {', '.join(missing[:3])} are missing"
            raise UsageError(what, fix="name a model that was trained on such a task, or leave --own-head out")
        self.model: Any = model.eval()

    def forward(self, batch: Batch) -> torch.Tensor:
        """The model's output, float32."""
        inputs = named_inputs(batch, self.inputs)
        if self.kind == "choice":
            inputs = {name: one[:, None] for name, one in inputs.items()}
        with torch.inference_mode():
            output: Any = self.model(**inputs)
        if self.kind is None:
            states: torch.Tensor = output.last_hidden_state
            return states
        if self.kind == "span":
            return torch.stack((output.start_logits, output.end_logits), dim=-1)
        logits: torch.Tensor = output.logits
        return logits


def named_inputs(batch: Batch, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """The batch as a model's inputs of these names, (B, L) int64 each; an unpadded batch gets a mask of ones, one
    without segments gets the first segment everywhere."""
    mask_BL = torch.ones_like(batch.ids_BL) if batch.mask_BL is None else batch.mask_BL.long()
    types_BL = torch.zeros_like(batch.ids_BL) if batch.types_BL is None else batch.types_BL
    known = {"input_ids": batch.ids_BL, "attention_mask": mask_BL, "token_type_ids": types_BL}
    return {name: known[name] for name in names}
