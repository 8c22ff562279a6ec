"""Linear layers through oneDNN: the same float32 arithmetic, but faster on CPUs where the default library is slow.

On x86 CPUs torch multiplies float32 matrices with MKL, which is the faster one on Intel CPUs but uses narrower vector
instructions on others; oneDNN, which every such build of torch also contains, uses the widest available. Products in
bfloat16, for which torch has no fast code on processors without AVX-512, are computed there as float32 products of
rounded numbers. The rules depend only on the build, the processor and the tensors, never on timing, so that resumed
training is identical bit for bit. They have no effect on GPUs or if this build has no oneDNN.

Shape letters: N positions, I and O inputs and outputs of the layer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear


class OneDNNLinear(nn.Linear):
    """`nn.Linear` with the same parameters, whose products go through `product`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(..., I) -> (..., O)."""
        return product(input, self.weight, self.bias)


def product(input: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
    """(..., I) -> (..., O): `torch.nn.functional.linear`, by oneDNN if `multiplies` or `rounds` says so."""
    if rounds(input, weight_OI):
        rounded: torch.Tensor = _Rounded.apply(input, weight_OI, bias_O)  # type: ignore[no-untyped-call]
        return rounded
    if not multiplies(input, weight_OI):
        return linear(input, weight_OI, bias_O)
    if torch.is_grad_enabled():
        output: torch.Tensor = _Product.apply(input, weight_OI, bias_O)  # type: ignore[no-untyped-call]
        return output
    return _onednn(input, weight_OI, bias_O)


def use_onednn(model: nn.Module) -> nn.Module:
    """The same model with its plain linear layers replaced by `OneDNNLinear`; parameters and names stay the same."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                fast = OneDNNLinear(child.in_features, child.out_features, child.bias is not None, device="meta")
                fast.weight, fast.bias = child.weight, child.bias
                fast.train(child.training)
                setattr(parent, name, fast)
    return model


def multiplies(input: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether oneDNN is used for this product: if it can be, and MKL is not faster."""
    return not _MKL_IS_QUICK and can_multiply(input, weight)


def can_multiply(input: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether oneDNN can be used for this product: float32 on the CPU, outside autocast and export."""
    return (
        input.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and _multiplied_here(input)
    )


def rounds(input: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether this is a product in bfloat16 (by autocast or by both dtypes) on a processor where torch computes these
    one number at a time: 12 times slower than float32, while the product of rounded numbers takes 1.2 times as long."""
    narrow = input.dtype == weight.dtype == torch.bfloat16
    cast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return not _BFLOAT16 and (narrow or (cast and {input.dtype, weight.dtype} <= _CAST)) and _multiplied_here(input)


def _multiplied_here(input: torch.Tensor) -> bool:
    return (
        _AVAILABLE
        and input.device.type == "cpu"
        and input.ndim > 1
        and input.numel() > 0
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    )


def _onednn(input_NI: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
    output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input_NI, weight_OI, bias_O, "none", [], "")
    return output


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(input, weight_OI)
        return _onednn(input, weight_OI, bias_O)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        input, weight_OI = ctx.saved_tensors
        # Both gradients are products of the same kind with one side transposed; only requested ones are computed, so
        # that a frozen layer saves one product.
        gradient_NO = gradient.reshape(-1, gradient.shape[-1]).contiguous()
        input_NI = input.reshape(-1, input.shape[-1]).contiguous()
        wanted = ctx.needs_input_grad
        of_input = _onednn(gradient_NO, weight_OI.T, None).view(input.shape) if wanted[0] else None
        of_weight = _onednn(gradient_NO.T, input_NI.T, None) if wanted[1] else None
        of_bias = gradient_NO.sum(0) if wanted[2] else None
        return of_input, of_weight, of_bias


class _Rounded(torch.autograd.Function):
    """Emulates bfloat16 instructions: factors and results are rounded, sums are float32."""

    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(input.bfloat16(), weight_OI)
        ctx.dtypes = input.dtype, weight_OI.dtype, None if bias_O is None else bias_O.dtype
        return _onednn(_rounded(input), _rounded(weight_OI), None if bias_O is None else _rounded(bias_O)).bfloat16()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        input, weight_OI = ctx.saved_tensors
        gradient_NO = _rounded(gradient).reshape(-1, gradient.shape[-1]).contiguous()
        input_NI = _rounded(input).reshape(-1, input.shape[-1]).contiguous()
        wanted = ctx.needs_input_grad
        of_input = _onednn(gradient_NO, _rounded(weight_OI).T, None).view(input.shape) if wanted[0] else None
        of_weight = _onednn(gradient_NO.T, input_NI.T, None) if wanted[1] else None
        of_bias = gradient_NO.sum(0) if wanted[2] else None
        found = zip((of_input, of_weight, of_bias), ctx.dtypes, strict=True)
        return tuple(None if one is None else one.bfloat16().to(dtype) for one, dtype in found)


def _rounded(values: torch.Tensor) -> torch.Tensor:
    """The nearest numbers in bfloat16, as float32."""
    return values.bfloat16().float()


def _available() -> bool:
    present: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return present and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _mkl_is_quick() -> bool:
    about = Path("/proc/cpuinfo")
    present: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    if not present or not about.is_file():
        return False
    with about.open("rb") as file:  # only the first core's entry: reading a hundred of them takes long
        return b"GenuineIntel" in file.read(200)


_AVAILABLE = _available()
_MKL_IS_QUICK = _mkl_is_quick()
"""True on Intel processors: MKL had 160 to 170 GFLOP/s per core where oneDNN's weight gradients had 57 to 139."""

_CAST = {torch.float32, torch.bfloat16}
"""The dtypes that autocast converts to bfloat16 (it leaves float64 alone)."""
_BFLOAT16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) if _AVAILABLE else True
"""Whether torch has fast products in bfloat16 on this processor."""
