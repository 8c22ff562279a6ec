from __future__ import annotations

import pytest
import torch
from torch import nn

from viaduct.models.numerics import products_in, training_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("asked", "device", "supported", "expected"),
    [
        ("auto", CPU, True, "fp32"),
        ("auto", GPU, True, "bf16"),
        ("auto", GPU, False, "fp32"),
        ("fp32", GPU, True, "fp32"),
        ("bf16", CPU, False, "bf16"),
    ],
)
def test_precision_follows_from_what_is_asked_and_what_is_there(
    asked: str, device: torch.device, supported: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert training_precision(asked, device) == expected


def test_products_are_in_the_precision_that_is_asked_for() -> None:
    layer, input = nn.Linear(8, 8), torch.randn(2, 8)
    with products_in("bf16", CPU):
        assert layer(input).dtype == torch.bfloat16
    with products_in("fp32", CPU):
        assert layer(input).dtype == torch.float32
