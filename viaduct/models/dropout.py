"""Dropout that costs less on the CPU: 16 random bits an element, where torch draws a double by a slower way.

Torch's own took 6 to 8 % of a training step of XLM-R base's shape, most of it in attention. Elements are dropped with
the probability rounded to a 65,536th, and what stays is scaled by exactly that. It does nothing in evaluation, on GPUs
and under compilation or export.

Shape letters: B sequences, H heads, L tokens, K head width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

ATTENTION = "viaduct"
"""The name under which transformers knows `attention`."""

LEFT_TO_TORCH = ("is_causal", "position_bias", "cache", "softcap", "output_attentions")
"""What torch's attention is left to do."""

BIT_LEVELS = 2**16
WORD_ELEMENTS = 4
"""Elements whose random bits one drawn 64-bit number holds."""


class FastDropout(nn.Dropout):
    """`nn.Dropout` by `dropped`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return dropped(input, self.p) if self.training else input


def use_fast_dropout(model: nn.Module) -> nn.Module:
    """The same transformers model, its dropout modules turned into `FastDropout`, and its attention into `attention`
    where it is torch's."""
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
    """`torch.nn.functional.dropout` in training, from torch's global generator."""
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
    """Attention as transformers calls it, (B, L, H, K) and no weights: torch's, but in training on the CPU written out
    with `dropped`, as torch does it by itself there.

    attention_mask: boolean (True: seen) or additive, of a shape that expands to (B, H, L, L).
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    special = any(others.get(name) is not None and others.get(name) is not False for name in LEFT_TO_TORCH)
    grouped = getattr(module, "num_key_value_groups", 1) > 1 or getattr(module, "is_causal", True)
    if not dropout or special or grouped or not _applies(query_BHLK):
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query_BHLK, key_BHLK, value_BHLK, attention_mask, dropout=dropout, scaling=scaling, **others
        )
    scale = query_BHLK.shape[-1] ** -0.5 if scaling is None else scaling
    scores_BHLL = (query_BHLK * scale) @ key_BHLK.transpose(2, 3)
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            hidden = torch.finfo(scores_BHLL.dtype).min
            attention_mask = torch.zeros_like(attention_mask, dtype=scores_BHLL.dtype).masked_fill(
                ~attention_mask, hidden
            )
        scores_BHLL = scores_BHLL + attention_mask
    at_least_float32 = torch.promote_types(scores_BHLL.dtype, torch.float32)
    weights_BHLL = dropped(scores_BHLL.softmax(-1, dtype=at_least_float32), dropout).to(value_BHLK.dtype)
    return (weights_BHLL @ value_BHLK).transpose(1, 2).contiguous(), None


def _applies(input: torch.Tensor) -> bool:
    return input.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, cut: int) -> torch.Tensor:
        # A drawn word holds the random bits of four elements. Read as signed 16-bit numbers these are uniform from
        # -32,768 on, so that "at least cut - 32,768" keeps an element with probability 1 - cut / 65,536 exactly.
        words = torch.empty(-(-input.numel() // WORD_ELEMENTS), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: input.numel()].view(input.shape)
        # Ones and zeros as integers: torch makes and widens booleans one at a time, integers by vector instructions.
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
    """`values * kept * scale`; `kept` is 1 or 0."""
    if values.element_size() == 2:
        # Torch widens two-byte numbers for a product; as an integer, a number times 1 or 0 is itself or +0.0 at once.
        scaled = values * scale
        scaled.view(torch.int16).mul_(kept.to(torch.int16))
        return scaled
    return kept.to(values.dtype).mul_(values).mul_(scale)


def _register() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
