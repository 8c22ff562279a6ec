"""Models in lower precision, for inference.

int8, for CPUs: linear layers have int8 weights with one scale per output, and quantise their input at run time; the
token embedding has int8 rows with one scale each. bfloat16 and float16: everything is converted.

Shape letters: B sequences, L tokens, V rows of the vocabulary, D width.
"""

from __future__ import annotations

import copy
import warnings

import torch
from torch import nn

from viaduct.serving.model import InferenceModel

HIGHEST = 127
EMBEDDING_CHUNK = 16384
NO_ZERO = 1e-30
"""Used in place of the largest absolute value of a row of zeros."""


class RowQuantised(nn.Module):
    """An embedding in int8 with one scale per row: a quarter of the memory, and each value off by at most 0.4 % of the
    row's largest."""

    scale_V1: torch.Tensor
    rows_VD: torch.Tensor

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        weight_VD = embedding.weight.detach()
        self.register_buffer("scale_V1", torch.empty(len(weight_VD), 1))
        self.register_buffer("rows_VD", torch.empty(weight_VD.shape, dtype=torch.int8))
        for at in range(0, len(weight_VD), EMBEDDING_CHUNK):  # doing it in one go would need four copies of the matrix
            part_VD = weight_VD[at : at + EMBEDDING_CHUNK].float()
            scale_V1 = part_VD.abs().amax(dim=1, keepdim=True).clamp_min(NO_ZERO) / HIGHEST
            self.scale_V1[at : at + EMBEDDING_CHUNK] = scale_V1
            self.rows_VD[at : at + EMBEDDING_CHUNK] = torch.round(part_VD / scale_V1).to(torch.int8)

    def forward(self, ids_BL: torch.Tensor) -> torch.Tensor:
        """(B, L) -> (B, L, D) float32."""
        return self.rows_VD[ids_BL].to(self.scale_V1.dtype) * self.scale_V1[ids_BL]


def with_int8_embedding(model: InferenceModel) -> InferenceModel:
    """A copy of the model whose token embedding is in int8; everything else is shared with the original."""
    encoder = _copied(model.encoder)
    encoder.set_input_embeddings(RowQuantised(encoder.get_input_embeddings()))  # type: ignore[operator]
    return InferenceModel(encoder, model.head).eval()


def in_int8(model: InferenceModel) -> nn.Module:
    """A copy of the model with int8 embedding and linear layers. Callable like the model itself."""
    reduced = with_int8_embedding(model)
    reduced.head = _copied(model.head) if model.head is not None else None
    for module in reduced.modules():
        if isinstance(module, nn.Linear):
            module.__class__ = nn.Linear  # torch looks for exactly this class
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces that this will move to another package
        quantize = torch.ao.quantization.quantize_dynamic
        quantised: nn.Module = quantize(reduced, {nn.Linear}, inplace=True)  # type: ignore[no-untyped-call]
    return quantised.eval()


def in_half(model: InferenceModel, format: torch.dtype) -> nn.Module:
    """A copy of the model in bfloat16 or float16. Its output has that format too."""
    return copy.deepcopy(model).to(format).eval()


def _copied(module: nn.Module) -> nn.Module:
    """A copy of the modules that shares their tensors, so that parts of the copy can be replaced."""
    return copy.deepcopy(module, {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())})
