"""Ways to keep an encoder close to what it was, besides replayed text: L2-SP, LoRA, frozen embeddings, interpolation.

Shape letters: R rank, O and I sizes of a layer.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.nn.utils import parametrize

from viaduct.models.encoder import word_embeddings
from viaduct.models.vocabulary import Trimmed
from viaduct.runs.parts import Retention

LORA_SCALE = 2.0
"""alpha / rank, as is usual (rank 16, alpha 32)."""


class LowRank(nn.Module):
    """W + scale * B A: a parametrisation that starts as W itself."""

    def __init__(self, outputs: int, inputs: int, rank: int) -> None:
        super().__init__()
        self.down_RI = nn.Parameter(torch.empty(rank, inputs))
        self.up_OR = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.down_RI, a=math.sqrt(5))

    def forward(self, weight_OI: torch.Tensor) -> torch.Tensor:
        """The weight with the change added."""
        return weight_OI + LORA_SCALE * self.up_OR @ self.down_RI


def begin(encoder: nn.Module, retention: Retention) -> None:
    """Freeze what `retention` says, and train low-rank changes in place of the weights if it requests them."""
    if retention.lora_rank is not None:
        layers = [module for module in encoder.modules() if isinstance(module, nn.Linear)]
        encoder.requires_grad_(False)
        for layer in layers:
            change = LowRank(layer.out_features, layer.in_features, retention.lora_rank).to(layer.weight.device)
            parametrize.register_parametrization(layer, "weight", change)
    if retention.freeze_embeddings:
        word_embeddings(encoder).requires_grad_(False)


def kept_rows(encoder: nn.Module, before: dict[str, torch.Tensor], trimmed: Trimmed | None) -> dict[str, torch.Tensor]:
    """The weights before the stage; of the word embeddings, only the rows that a trimmed encoder holds."""
    if trimmed is None:
        return before
    words = word_embeddings(encoder)
    name = next(name for name, parameter in encoder.named_parameters() if parameter is words)
    return {**before, name: before[name][trimmed.kept_K]}


def end(encoder: nn.Module, before: dict[str, torch.Tensor], retention: Retention) -> None:
    """Merge low-rank changes into the weights, and interpolate between the weights before (`kept_rows`) and these."""
    for module in list(encoder.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    encoder.requires_grad_(True)
    if retention.interpolate == 1.0:
        return
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            parameter.copy_(torch.lerp(before[name].to(parameter.device), parameter, retention.interpolate))


def weight_distance(encoder: nn.Module, before: dict[str, torch.Tensor]) -> torch.Tensor:
    """Half the squared distance of the encoder's trained weights from those before the stage (`kept_rows`), including
    low-rank changes."""
    total = torch.zeros((), device=next(encoder.parameters()).device)
    for name, module in encoder.named_modules():
        for own in ("weight", "bias"):
            current = getattr(module, own, None)
            known = before.get(f"{name}.{own}")
            if isinstance(current, torch.Tensor) and current.requires_grad and known is not None:
                total = total + mse_loss(current, known.to(current.device), reduction="sum") / 2
    return total
