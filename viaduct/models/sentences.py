"""How the states of a sentence's tokens become one vector, and the modules that a sentence encoder's makers put there.

Shape letters: B sequences, L tokens, D width, E width of the vector.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from viaduct.errors import UsageError
from viaduct.runs.encoder import cached_file
from viaduct.runs.sentence_encoder import FIX, Makers

ACTIVATIONS = {"Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU, "Sigmoid": nn.Sigmoid}


def pool(hidden_BLD: torch.Tensor, mask_BL: torch.Tensor | None, how: str) -> torch.Tensor:
    """pooled_BD: the mean over real tokens, their highest values ("max"), or the state of the "first" or "last" one."""
    if how == "first":
        return hidden_BLD[:, 0]
    if mask_BL is None:
        return {"mean": hidden_BLD.mean(dim=1), "max": hidden_BLD.amax(dim=1), "last": hidden_BLD[:, -1]}[how]
    if how == "last":
        return hidden_BLD[torch.arange(len(mask_BL)), mask_BL.sum(dim=1) - 1]
    if how == "max":
        return hidden_BLD.masked_fill(~mask_BL[..., None], -torch.inf).amax(dim=1)
    weights_BL1 = mask_BL[..., None].to(hidden_BLD.dtype)
    return (hidden_BLD * weights_BL1).sum(dim=1) / weights_BL1.sum(dim=1)


class SentenceModules(nn.Module):
    """(hidden_BLD of the last layer, mask_BL) -> vector_BE, as the makers make it; its length is left to the caller."""

    def __init__(self, makers: Makers, width: int) -> None:
        super().__init__()
        self.pooling = makers.pooling
        self.width = width * len(makers.pooling)
        dense = [self._dense(makers, folder) for folder in makers.dense]
        self.dense = nn.Sequential(*(module for pair in dense for module in pair))

    def _dense(self, makers: Makers, folder: str) -> tuple[nn.Module, nn.Module]:
        """A linear layer and its activation. Raises UsageError for what does not fit to what comes before."""
        paths = [cached_file(makers.encoder, makers.revision, name) for name, _ in makers.files]
        config_path, weights_path = (
            path for path in paths if path is not None and path.parent.name == Path(folder).name
        )
        config: dict[str, Any] = json.loads(config_path.read_text(encoding="utf-8"))
        name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
        if name not in ACTIVATIONS or config["in_features"] != self.width:
            what = f"takes {config['in_features']} values and gives {name} of them; there are {self.width}"
            raise UsageError(f"{config_path}: a dense module {what}, and {', '.join(ACTIVATIONS)} are known", fix=FIX)
        linear = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
        state = load_file(weights_path) if weights_path.suffix == ".safetensors" else _pickled(weights_path)
        try:
            linear.load_state_dict({key.removeprefix("linear."): value.float() for key, value in state.items()})
        except RuntimeError as error:
            raise UsageError(f"{weights_path} does not hold the weights of {config_path}", fix=FIX) from error
        self.width = config["out_features"]
        return linear, ACTIVATIONS[name]()

    def forward(self, hidden_BLD: torch.Tensor, mask_BL: torch.Tensor | None) -> torch.Tensor:
        """vector_BE."""
        pooled = torch.cat([pool(hidden_BLD, mask_BL, how) for how in self.pooling], dim=1)
        vector_BE: torch.Tensor = self.dense(pooled)
        return vector_BE


def _pickled(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state
