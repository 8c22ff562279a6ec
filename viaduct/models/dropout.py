"""Dropout that is cheaper on the CPU: 16 random bits per element, where torch draws a double in a slower way.

Torch's own took 6 to 8 % of a training step at XLM-R base's shape, most of it in attention. The drop probability is
rounded to a multiple of 1/65,536, and the remaining elements are scaled to match it exactly. It has no effect in
evaluation, on GPUs and under compilation or export.

Shape letters: B sequences, H heads, L tokens, K head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

ATTENTION = "viaduct"
"""The name under which `attention` is registered in transformers."""

LEFT_TO_TORCH = ("is_causal", "position_bias", "cache", "softcap", "output_attentions")
"""Arguments that make `attention` fall back to torch's."""

BIT_LEVELS = 2**16
WORD_ELEMENTS = 4
"""Number of elements whose random bits come from one 64-bit number."""
CACHED_WEIGHTS = 1_200_000
"""Attention weights per thread that are computed at a time, so that they stay in the processor's cache between steps:
with longer sequences attention is otherwise bound by memory."""


class FastDropout(nn.Dropout):
    """`nn.Dropout` computed by `dropped`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The input with elements dropped, in the same shape."""
        return dropped(input, self.p) if self.training else input


def use_fast_dropout(model: nn.Module) -> nn.Module:
    """The same transformers model with its dropout modules replaced by `FastDropout`, and its attention by `attention`
    if it uses torch's."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, FastDropout(child.p).train(child.training))
    transformers_model: Any = model
    if transformers_model.config._attn_implementation == "sdpa":
        _register()
        transformers_model.set_attn_implementation(ATTENTION)
    return model


def dropped(input: torch.Tensor, probability: float) -> torch.Tensor:
    """`torch.nn.functional.dropout` in training mode, drawing from torch's global generator."""
    if not 0 < probability < 1 or not _applies(input):
        return nn.functional.dropout(input, probability, training=True)
    output: torch.Tensor = _Dropped.apply(input, round(probability * BIT_LEVELS))  # type: ignore[no-untyped-call]
    return output


def attention(
    module: nn.Module,
    query_BHLK: torch.Tensor,
    key_BHLK: torch.Tensor,
    value_BHLK: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention with transformers' interface: (B, L, H, K), None for the weights. Calls torch's, except in training on
    the CPU: there it is written out with `dropped`, as torch itself does with its own dropout, for a few sequences at a
    time (`CACHED_WEIGHTS`).

    attention_mask: boolean (True: visible) or additive, of a shape that expands to (B, H, L, L).
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    special = any(others.get(name) is not None and others.get(name) is not False for name in LEFT_TO_TORCH)
    grouped = getattr(module, "num_key_value_groups", 1) > 1 or getattr(module, "is_causal", True)
    if not dropout or special or grouped or not _applies(query_BHLK):
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query_BHLK, key_BHLK, value_BHLK, attention_mask, dropout=dropout, scaling=scaling, **others
        )
    scale = query_BHLK.shape[-1] ** -0.5 if scaling is None else scaling
    sequences, heads, tokens, _ = query_BHLK.shape
    weights = sequences * heads * tokens * key_BHLK.shape[2]
    parts = max(1, min(sequences, round(weights / CACHED_WEIGHTS / torch.get_num_threads())))
    if parts == 1:
        return _attended(query_BHLK * scale, key_BHLK, value_BHLK, attention_mask, dropout), None
    masks: Sequence[torch.Tensor | None] = [None] * parts
    if attention_mask is not None:
        masks = attention_mask.expand(sequences, -1, -1, -1).tensor_split(parts)
    split = [one.tensor_split(parts) for one in (query_BHLK * scale, key_BHLK, value_BHLK)]
    return torch.cat([_attended(q, k, v, mask, dropout) for q, k, v, mask in zip(*split, masks, strict=True)]), None


def _attended(
    query_BHLK: torch.Tensor,
    key_BHLK: torch.Tensor,
    value_BHLK: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float,
) -> torch.Tensor:
    scores_BHLL = query_BHLK @ key_BHLK.transpose(2, 3)
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            hidden = torch.finfo(scores_BHLL.dtype).min
            attention_mask = torch.zeros_like(attention_mask, dtype=scores_BHLL.dtype).masked_fill(
                ~attention_mask, hidden
            )
        scores_BHLL = scores_BHLL + attention_mask
    at_least_float32 = torch.promote_types(scores_BHLL.dtype, torch.float32)
    weights_BHLL = dropped(scores_BHLL.softmax(-1, dtype=at_least_float32), dropout).to(value_BHLK.dtype)
    return (weights_BHLL @ value_BHLK).transpose(1, 2).contiguous()


def _applies(input: torch.Tensor) -> bool:
    return input.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, cut: int) -> torch.Tensor:
        # One word holds the random bits of four elements. Read as signed 16-bit numbers these are uniform from -32,768
        # up, so that "at least cut - 32,768" keeps an element with a probability of exactly 1 - cut / 65,536.
        words = torch.empty(-(-input.numel() // WORD_ELEMENTS), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: input.numel()].view(input.shape)
        # Ones and zeros as integers: torch creates and widens booleans one by one, integers with vector instructions.
        kept = bits.ge_(cut - BIT_LEVELS // 2).to(torch.int8)
        ctx.scale = BIT_LEVELS / (BIT_LEVELS - cut)
        ctx.save_for_backward(kept)
        return _scaled(input, kept, ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (kept,) = ctx.saved_tensors
        return _scaled(gradient, kept, ctx.scale), None


def _scaled(values: torch.Tensor, kept: torch.Tensor, scale: float) -> torch.Tensor:
    """`values * kept * scale`, with `kept` 1 or 0."""
    if values.element_size() == 2:
        # Torch widens two-byte floats for a product; their bits as an integer, times 1 or 0, are the same or +0.0.
        scaled = values * scale
        scaled.view(torch.int16).mul_(kept.to(torch.int16))
        return scaled
    return kept.to(values.dtype).mul_(values).mul_(scale)


def _register() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
