"""Removing layers from encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from viaduct.errors import UsageError
from viaduct.models.encoder import num_layers
from viaduct.runs.families import STACKS


def keep_layers(encoder: nn.Module, layers: int) -> None:
    """Drop the layers above `layers`, if the encoder is a plain stack whose last state is that layer's output.

    Encoders with another architecture stay whole and compute layers that are not used.
    """
    if _stack(encoder) is not None:
        _keep(encoder, range(layers))


def pick_layers(encoder: nn.Module, numbers: Sequence[int]) -> None:
    """Keep the layers with these numbers (1 is the lowest), in this order.

    Raises UsageError for a layer that the encoder does not have and for an encoder that is not a plain stack of layers.
    """
    most = num_layers(encoder)
    if not numbers or min(numbers) < 1 or max(numbers) > most:
        asked = max(numbers, default=0)
        raise UsageError(f"{asked} layers were requested: the encoder has {most}", fix=f"a number from 1 to {most}")
    if _stack(encoder) is None:
        config: Any = encoder.config
        raise UsageError(
            f"the layers of a {config.model_type} encoder cannot be cut: they are not a plain stack",
            fix="keep them all",
        )
    _keep(encoder, [number - 1 for number in numbers])


def _stack(encoder: nn.Module) -> nn.ModuleList | None:
    whole: Any = encoder
    return whole.encoder.layer if whole.config.model_type in STACKS else None


def _keep(encoder: nn.Module, places: Sequence[int]) -> None:
    whole: Any = encoder
    whole.encoder.layer = nn.ModuleList(whole.encoder.layer[at] for at in places)
    whole.config.num_hidden_layers = len(places)  # what `forward_flops` counts
