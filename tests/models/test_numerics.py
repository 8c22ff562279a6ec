from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from simulated_device import simulated
from torch import nn

from viaduct.models.numerics import fetched, products_in, training_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("asked", "device", "major", "expected"),
    [
        ("auto", CPU, 9, "fp32"),
        ("auto", GPU, 9, "bf16"),
        ("auto", GPU, 8, "bf16"),
        ("auto", GPU, 7, "fp16"),  # emulates bfloat16
        ("auto", GPU, 6, "fp32"),
        ("fp32", GPU, 8, "fp32"),
        ("bf16", CPU, 0, "bf16"),
    ],
)
def test_precision_follows_from_what_is_asked_and_what_is_there(
    asked: str, device: torch.device, major: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return major >= 8 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (major, 0))
    assert training_precision(asked, device) == expected


def test_products_are_in_the_precision_that_is_asked_for() -> None:
    layer, input = nn.Linear(8, 8), torch.randn(2, 8)
    with products_in("bf16", CPU):
        assert layer(input).dtype == torch.bfloat16
    with products_in("fp32", CPU):
        assert layer(input).dtype == torch.float32
    with products_in("fp16", CPU):
        assert layer(input).dtype == torch.float16


@pytest.mark.parametrize(
    ("device", "order"),
    [(CPU, "made 0 read 0 made 1 read 1 made 2 read 2"), (GPU, "made 0 made 1 read 0 made 2 read 1 read 2")],
)
def test_what_a_gpu_computes_is_read_while_the_next_is_computed(
    device: torch.device, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def computed() -> Iterator[tuple[int, torch.Tensor]]:
        for number in range(3):
            events.append(f"made {number}")
            yield number, torch.full((2,), float(number)).to(device)

    with simulated(monkeypatch):
        for number, tensor in fetched(computed()):
            events.append(f"read {number}")
            assert tensor.device.type == "cpu" and tensor.tolist() == [number, number]
    assert " ".join(events) == order
