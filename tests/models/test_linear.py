"""Linear layers through oneDNN: the same values and gradients as torch's own, and the same parameter names."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from viaduct.models import linear as module
from viaduct.models.linear import OneDNNLinear, can_multiply, multiplies, product, rounds, use_onednn


@pytest.fixture(autouse=True)
def on_another_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretends that the processor is not one of Intel's, so that oneDNN is used."""
    monkeypatch.setattr(module, "_MKL_IS_QUICK", False)


def _close(found: torch.Tensor | None, expected: torch.Tensor | None) -> None:
    assert found is not None and expected is not None
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 24), (37, 24), (3, 11, 24), (2, 3, 5, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_exact_arithmetic(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer = OneDNNLinear(24, 40, bias=bias)
    exact = copy.deepcopy(layer).double()
    input = torch.randn(shape, requires_grad=True)
    exact_input = input.detach().double().requires_grad_()
    weights = torch.randn(*shape[:-1], 40)
    output = layer(input)
    expected = nn.functional.linear(exact_input, exact.weight, exact.bias)
    _close(output, expected)
    (output * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    _close(input.grad, exact_input.grad)
    _close(layer.weight.grad, exact.weight.grad)
    if bias:
        _close(layer.bias.grad, exact.bias.grad)


def test_views_and_broadcast_gradients_are_right() -> None:
    torch.manual_seed(1)
    layer, states = OneDNNLinear(8, 6), torch.randn(5, 7, 8)
    first = states[:, 0].requires_grad_()
    layer(first).sum().backward()  # the gradient of a sum is a broadcast one
    _close(first.grad, layer.weight.detach().double().sum(0).expand(5, 8))
    _close(layer.weight.grad, first.detach().double().sum(0).expand(6, 8))
    turned = torch.randn(8, 9).T
    _close(layer(turned), nn.functional.linear(turned.double(), layer.weight.double(), layer.bias.double()))


def test_only_what_needs_a_gradient_gets_one() -> None:
    layer = OneDNNLinear(8, 6)
    layer.weight.requires_grad_(False)
    input = torch.randn(4, 8)
    layer(input).sum().backward()
    assert layer.weight.grad is None and layer.bias.grad is not None and input.grad is None
    with torch.inference_mode():
        assert not layer(input).requires_grad


def test_recomputed_chunks_have_the_same_gradients() -> None:
    torch.manual_seed(2)
    hidden, table = torch.randn(10, 8), torch.randn(30, 8, requires_grad=True)
    product(hidden, table, None).logsumexp(1).sum().backward()
    plain = table.grad
    table.grad = None
    checkpoint(product, hidden, table, None, use_reentrant=False).logsumexp(1).sum().backward()
    assert table.grad is not None and plain is not None and torch.equal(table.grad, plain)


def test_a_model_keeps_its_parameters_and_names() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(8, 8), nn.ModuleList([nn.Linear(8, 4, bias=False)]), nn.LayerNorm(4)).eval()
    before = dict(model.named_parameters())
    names = list(model.state_dict())
    assert use_onednn(model) is model
    assert list(model.state_dict()) == names
    assert all(parameter is before[name] for name, parameter in model.named_parameters())
    assert [type(module) for module in model.modules() if isinstance(module, nn.Linear)] == [OneDNNLinear] * 2
    assert not any(module.training for module in model.modules())


def test_on_a_processor_where_torchs_own_products_are_quicker_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    input, weight, bias = torch.randn(5, 8), torch.randn(6, 8), torch.randn(6)
    assert multiplies(input, weight)
    monkeypatch.setattr(module, "_MKL_IS_QUICK", True)
    assert not multiplies(input, weight) and can_multiply(input, weight)
    assert torch.equal(product(input, weight, bias), nn.functional.linear(input, weight, bias))


def test_other_devices_and_types_are_left_to_torch() -> None:
    weight = torch.randn(4, 8)
    assert not multiplies(torch.randn(2, 8, dtype=torch.bfloat16), weight.bfloat16())
    assert not multiplies(torch.randn(2, 8, dtype=torch.float64), weight.double())
    assert not multiplies(torch.empty(2, 8, device="meta"), weight)
    assert product(torch.randn(0, 8), weight, None).shape == (0, 4)
    assert product(torch.randn(8), weight, None).shape == (4,)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not multiplies(torch.randn(2, 8), weight)
        assert product(torch.randn(2, 8), weight, None).dtype == torch.bfloat16


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("by", ["autocast", "dtype"])
def test_products_in_bfloat16_are_torchs_own(bias: bool, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(4)
    ours = OneDNNLinear(24, 40, bias=bias)
    ours = ours.bfloat16() if by == "dtype" else ours
    theirs = nn.Linear(24, 40, bias=bias, dtype=ours.weight.dtype)
    theirs.load_state_dict(ours.state_dict())
    given = torch.randn(3, 11, 24, dtype=ours.weight.dtype)
    found = {}
    for name, layer, native in (("ours", ours, False), ("theirs", theirs, True)):
        monkeypatch.setattr(module, "_BFLOAT16", native)
        input = given.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=by == "autocast"):
            assert rounds(input, layer.weight) is not native
            output = layer(input)
        output.float().square().sum().backward()
        found[name] = [output, input.grad, *(parameter.grad for parameter in layer.parameters())]
    for one, other in zip(found["ours"], found["theirs"], strict=True):
        assert one.dtype == other.dtype
        # The same except for the order of sums, which rounding to 8 bits occasionally turns into one step.
        torch.testing.assert_close(one.float(), other.float(), rtol=2**-6, atol=2**-6)


def test_what_is_not_in_bfloat16_is_not_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BFLOAT16", False)
    input, weight = torch.randn(5, 8), torch.randn(6, 8)
    assert not rounds(input, weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert not rounds(input.double(), weight.double())
    with torch.autocast("cpu", torch.float16):
        assert not rounds(input, weight)
