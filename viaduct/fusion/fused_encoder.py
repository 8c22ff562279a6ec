"""FILTER's encoder (arXiv 2009.05166, section 3): some layers of a stock encoder read a text with its translation.

A batch alternates texts and translations. The stock model runs on it; around the fused layers, the states of a couple
are concatenated, which copies nothing, and split again. So embeddings, positions, masks and all other layers are those
of the plain model, and without fused layers it is the plain model.
Shape letters: B sequences (2 for each couple), C couples, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from viaduct.encode.batch import Batch
from viaduct.errors import UsageError
from viaduct.fusion.settings import FUSABLE, OTHERS, REASONS
from viaduct.heads.head import TaskModel
from viaduct.models.encoder import forward_flops, num_layers, width
from viaduct.models.vocabulary import Trimmed


class FusedModel(TaskModel):
    """A model that reads either one language alone, like any other model, or couples."""

    def __init__(self, encoder: nn.Module, head: nn.Module, trimmed: Trimmed | None, *, local: int, fused: int) -> None:
        super().__init__(encoder, head, trimmed)
        self.local, self.fused = local, fused

    def couples(self, batch: Batch) -> torch.Tensor:
        """The logits of a batch in which texts and translations alternate."""
        with fused_layers(self.encoder, self.local, self.fused):
            logits: torch.Tensor = self(batch)
        return logits


@contextmanager
def fused_layers(encoder: nn.Module, local: int, fused: int) -> Iterator[None]:
    """Context in which the `fused` layers above the `local` lowest ones read couples. Raises UsageError for an encoder
    that cannot do so."""
    config: Any = encoder.config
    if config.model_type not in FUSABLE:
        why = REASONS.get(config.model_type, OTHERS)
        raise UsageError(f"an encoder of type '{config.model_type}' cannot be fused: {why}")
    stack_of: Any = encoder.transformer if config.model_type == "distilbert" else encoder.encoder
    layers = stack_of.layer
    if local + fused > len(layers):
        raise UsageError(f"{local} local and {fused} fused layers were requested: the encoder has {len(layers)}")
    with ExitStack() as stack:
        for layer in layers[local : local + fused]:
            for hook in (layer.register_forward_pre_hook(_join), layer.register_forward_hook(_part)):
                stack.callback(hook.remove)
        yield


def _join(_layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """(hidden_BLD, mask, ...) -> (hidden of C x 2L, mask over both sides, ...)."""
    hidden_BLD, mask, *others = given
    count, length, depth = hidden_BLD.shape
    if mask is not None:  # the same for every query token: which keys are not padding
        mask = mask[:, :, :1].reshape(count // 2, 1, 1, 2 * length)
    return (hidden_BLD.reshape(count // 2, 2 * length, depth), mask, *others)


def _part(_layer: nn.Module, _given: tuple[Any, ...], hidden: torch.Tensor) -> torch.Tensor:
    count, length, depth = hidden.shape
    return hidden.reshape(2 * count, length // 2, depth)


def fused_flops(
    encoder: nn.Module, lengths_sum: int, squares_sum: int, fused: int, crossed: int | None = None
) -> float:
    """FLOPs of one forward pass over couples, given the sums of both sides' lengths and squared lengths. In a fused
    layer each side's tokens also attend to the other's: `crossed` is the sum of twice the product of both lengths; None
    assumes that the two lengths are equal."""
    more = 4.0 * width(encoder) * fused * (squares_sum if crossed is None else crossed)
    return forward_flops(encoder, lengths_sum, squares_sum) + more * (num_layers(encoder) > 0)
