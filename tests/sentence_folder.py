"""Files that turn an encoder's folder into a sentence encoder's, as sentence-transformers writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file


def dense_config(width: int, out: int) -> dict[str, Any]:
    """The configuration of a dense module."""
    activation = "torch.nn.modules.activation.Tanh"
    return {"in_features": width, "out_features": out, "bias": True, "activation_function": activation}


def write(
    folder: Path,
    *,
    width: int,
    pooling: Sequence[str] = ("mean_tokens",),
    dense: int | None = None,
    prompts: Mapping[str, str] | None = None,
) -> Path:
    """Add pooling, a dense module with `dense` outputs (None: no such module) and normalisation; returns the folder."""
    types = ["Transformer", "Pooling", *(["Dense"] if dense else []), "Normalize"]
    modules = [
        {
            "idx": at,
            "name": str(at),
            "path": f"{at}_{name}" if at else "",
            "type": f"sentence_transformers.models.{name}",
        }
        for at, name in enumerate(types)
    ]
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{name}": True for name in pooling}))
    if dense:
        (folder / "2_Dense").mkdir()
        config = dense_config(width * len(pooling), dense)
        (folder / "2_Dense" / "config.json").write_text(json.dumps(config))
        torch.manual_seed(1)
        state = {"linear.weight": torch.randn(dense, width * len(pooling)), "linear.bias": torch.randn(dense)}
        save_file(state, folder / "2_Dense" / "model.safetensors")
    if prompts is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    return folder
