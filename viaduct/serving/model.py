"""The model in the folder of a trained stage, an encoder or an export, and what the folder says about it.

Shape letters: B sequences, L tokens, D width, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.encode.tokens import Limits
from viaduct.errors import StoreError, UsageError
from viaduct.heads.head import HeadSpec, build_head, load_head, spec_in
from viaduct.models.encoder import (
    auto_class,
    encode_batch,
    has_segments,
    load_encoder,
    load_tokenizer,
    longest_input,
    width,
)
from viaduct.models.weights_check import first_line
from viaduct.results.checksums import require_whole
from viaduct.runs.encoder_check import require_folder

NO_EXAMPLES = np.zeros(0, dtype=np.int64)


class InferenceModel(nn.Module):
    """An encoder with its head, called with plain tensors; without a head its states are the output."""

    def __init__(self, encoder: nn.Module, head: nn.Module | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """logits_BC, logits_BLC (tagging, spans), or hidden_BLD if there is no head.

        input_ids (B, L) int64, padded on the right; attention_mask (B, L), 1 or True for real tokens.
        """
        batch = Batch(input_ids, attention_mask, token_type_ids, NO_EXAMPLES, tokens=0)
        hidden_BLD = encode_batch(self.encoder, batch)
        if self.head is None:
            return hidden_BLD
        logits: torch.Tensor = self.head(hidden_BLD)
        return logits

    def within(self, limits: Limits) -> Limits:
        """These limits, with the length capped at the longest input that the model takes."""
        return Limits(min(limits.max_length, longest_input(self.encoder)), limits.stride)


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode, its head's spec (None: an encoder alone) and its tokenizer."""

    model: InferenceModel
    spec: HeadSpec | None
    tokenizer: Any

    @property
    def config(self) -> Any:
        """The encoder's transformers configuration."""
        return self.model.encoder.config

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model's inputs; token_type_ids only if it is told which of two texts a token belongs to."""
        segments = "token_type_ids" in self.tokenizer.model_input_names and has_segments(self.model.encoder)
        return ("input_ids", "attention_mask", *(("token_type_ids",) if segments else ()))

    @property
    def output(self) -> str:
        """ "logits", or "last_hidden_state" if there is no head."""
        return "last_hidden_state" if self.spec is None else "logits"


class ExportRecord(BaseModel):
    """The part of an exported folder's `export.json` that is needed to run it."""

    model_config = ConfigDict(frozen=True)

    engine: str
    precision: str
    inputs: tuple[str, ...]
    head: dict[str, Any] | None
    pad_id: int
    task: str | None
    """The card that the head was trained on, if known."""
    max_length: int
    stride: int

    @property
    def spec(self) -> HeadSpec | None:
        """The spec of the head; None for an encoder alone."""
        return None if self.head is None else HeadSpec(self.head["kind"], tuple(self.head["labels"]))

    @property
    def limits(self) -> Limits:
        """How rows are truncated for the model."""
        return Limits(self.max_length, self.stride)


def export_record(folder: Path) -> ExportRecord | None:
    """The record of a folder that `viaduct export` made, None for any other. Raises StoreError for a damaged one."""
    path = folder / "export.json"
    if not path.is_file():
        return None
    try:
        return ExportRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise not_exported(folder, f"{where}: {first['msg']}" if where else first["msg"]) from error


def not_exported(folder: Path, why: str) -> StoreError:
    """The error for a folder that no engine but torch can open."""
    fix = "make it with `viaduct export MODEL DIR --engine onnx`"
    return StoreError(f"{folder} is not an exported model ({why})", fix=fix)


def encoder_folder(folder: Path) -> Path:
    """The folder with config.json: `encoder/` of a stage, or the folder itself. Raises UsageError if neither is."""
    for place in (folder / "encoder", folder):
        if (place / "config.json").is_file():
            return place
    raise UsageError(
        f"{folder} holds no model: neither it nor its encoder/ has a config.json",
        fix="name the `train` folder of a run in the store, or a folder that AutoModel.from_pretrained opens",
    )


def require_model(folder: Path) -> None:
    """Raise UsageError for a folder that holds no model or an incomplete encoder, and StoreError for a damaged folder
    of a stage."""
    require_whole(folder)
    place = encoder_folder(folder)
    if export_record(folder) is None:
        require_folder(place)


def open_model(folder: Path) -> LoadedModel:
    """The model in a trained stage's folder or an encoder's folder, in float32 on the CPU.

    Raises UsageError when the folder holds no model, or an exported one, whose weights torch cannot read.
    """
    place = encoder_folder(folder)
    if export_record(folder) is not None:
        raise UsageError(
            f"{folder} holds an exported model, which has no weights that torch can read",
            fix="name the folder that it was exported from",
        )
    encoder = load_encoder(str(place), None)
    head, spec = load_head(folder, width(encoder), 0.0) if (folder / "head.json").is_file() else (None, None)
    return LoadedModel(InferenceModel(encoder, head).eval(), spec, load_tokenizer(str(place), None))


def skeleton(folder: Path) -> InferenceModel:
    """The model in any of the three kinds of folder, with shapes but no values."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(encoder_folder(folder), trust_remote_code=False)
        with torch.device("meta"):
            encoder = auto_class(config).from_config(config, trust_remote_code=False)
    except Exception as error:  # transformers may raise anything on unknown files
        raise UsageError(
            f"'{folder}' cannot be opened as an encoder: {first_line(error)}",
            fix="give a folder with config.json and model.safetensors, or a Hub name with its revision",
        ) from error
    with torch.device("meta"):
        if hasattr(encoder, "pooler"):
            encoder.pooler = None
        record = export_record(folder)
        spec = spec_in(folder) if record is None else record.spec
        head = None if spec is None else build_head(spec, width(encoder), 0.0)
    return InferenceModel(encoder, head).eval()
