"""Pooling of a sentence's token states into one vector, and the modules that come with a sentence encoder for it.

Shape letters: B sequences, L tokens, D width, E width of the vector.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from viaduct.errors import UsageError
from viaduct.runs.encoder import cached_file
from viaduct.runs.encoder_files import read_json
from viaduct.runs.sentence_encoder import FIX, Makers


def pool(hidden_BLD: torch.Tensor, mask_BL: torch.Tensor | None, how: str) -> torch.Tensor:
    """pooled_BD: the "mean" or "max" over real tokens, or the state of the "first" or "last" one. "mean_sqrt_len"
    divides the sum by the square root of the length, "weighted_mean" weights tokens by their positions, counted from 1
    (sentence-transformers, modules/pooling.py at 03ba732)."""
    if how == "first":
        return hidden_BLD[:, 0]
    if mask_BL is None:
        if how == "mean":
            return hidden_BLD.mean(dim=1)
        mask_BL = torch.ones_like(hidden_BLD[..., 0], dtype=torch.bool)
    if how == "last":
        return hidden_BLD[torch.arange(len(mask_BL)), mask_BL.sum(dim=1) - 1]
    if how == "max":
        return hidden_BLD.masked_fill(~mask_BL[..., None], -torch.inf).amax(dim=1)
    weights_BL1 = mask_BL[..., None].to(hidden_BLD.dtype)
    if how == "weighted_mean":
        weights_BL1 = weights_BL1.cumsum(dim=1) * weights_BL1
    whole_B1 = weights_BL1.sum(dim=1)
    return (hidden_BLD * weights_BL1).sum(dim=1) / (whole_B1.sqrt() if how == "mean_sqrt_len" else whole_B1)


class SentenceModules(nn.Module):
    """(hidden_BLD of the last layer, mask_BL) -> vector_BE by the makers' modules; not normalised to unit length."""

    def __init__(self, makers: Makers, width: int) -> None:
        super().__init__()
        self.pooling = makers.pooling
        self.width = width * len(makers.pooling)
        dense = [self._dense(makers, folder) for folder in makers.dense]
        self.dense = nn.Sequential(*(module for pair in dense for module in pair))

    def _dense(self, makers: Makers, folder: str) -> tuple[nn.Module, nn.Module]:
        """A linear layer and its activation. Raises UsageError if it does not fit the previous module."""
        paths = [cached_file(makers.encoder, makers.revision, name) for name, _ in makers.files]
        config_path, weights_path = (
            path for path in paths if path is not None and path.parent.name == Path(folder).name
        )
        config = read_json(config_path, dict)
        name = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
        if config["in_features"] != self.width:
            what = f"takes {config['in_features']} values; there are {self.width}"
            raise UsageError(f"{config_path}: a dense module {what}", fix=FIX)
        linear = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
        try:
            state = load_file(weights_path) if weights_path.suffix == ".safetensors" else _pickled(weights_path)
            linear.load_state_dict({key.removeprefix("linear."): value.float() for key, value in state.items()})
            if not all(value.isfinite().all() for value in state.values()):
                raise ValueError("not all are finite numbers")
        except Exception as error:  # torch and safetensors may raise anything on a user's files
            raise UsageError(f"{weights_path} does not hold the weights of {config_path}", fix=FIX) from error
        self.width = config["out_features"]
        return linear, getattr(nn, name)()

    def forward(self, hidden_BLD: torch.Tensor, mask_BL: torch.Tensor | None) -> torch.Tensor:
        """vector_BE."""
        pooled = torch.cat([pool(hidden_BLD, mask_BL, how) for how in self.pooling], dim=1)
        vector_BE: torch.Tensor = self.dense(pooled)
        return vector_BE


def _pickled(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state
