from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from viaduct.models import numerics
from viaduct.models.encoder import build_encoder
from viaduct.models.numerics import cpu_has_bfloat16, products_in, products_width, training_precision
from viaduct.runs.spec import Architecture

CPU, GPU = torch.device("cpu"), torch.device("cuda")
WIDE, NARROW = nn.Linear(400, 1600), nn.Linear(128, 4096)


@pytest.mark.parametrize(
    ("asked", "device", "model", "instructions", "expected"),
    [
        ("auto", CPU, WIDE, True, "bf16"),
        ("auto", CPU, WIDE, False, "fp32"),
        ("auto", CPU, NARROW, True, "fp32"),
        ("auto", GPU, NARROW, True, "bf16"),
        ("auto", GPU, WIDE, False, "fp32"),
        ("fp32", GPU, WIDE, True, "fp32"),
        ("bf16", CPU, NARROW, False, "bf16"),
    ],
)
def test_precision_follows_from_what_is_asked_and_what_is_there(
    asked: str,
    device: torch.device,
    model: nn.Module,
    instructions: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(numerics, "cpu_has_bfloat16", lambda: instructions)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: instructions)
    assert training_precision(asked, device, model) == expected


def test_the_width_of_an_encoder_is_that_of_its_states() -> None:
    encoder = build_encoder(Architecture(layers=1, hidden=48, heads=2, feed_forward=200), 3000, 1)
    assert products_width(encoder) == 48
    assert products_width(nn.LayerNorm(4)) == 0


def test_products_are_in_the_precision_that_is_asked_for() -> None:
    layer, input = nn.Linear(8, 8), torch.randn(2, 8)
    with products_in("bf16", CPU):
        assert layer(input).dtype == torch.bfloat16
    with products_in("fp32", CPU):
        assert layer(input).dtype == torch.float32


def test_instructions_are_those_that_linux_names() -> None:
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    flags = {flag for line in lines if line.startswith("flags") for flag in line.split(":")[1].split()}
    if not flags:
        pytest.skip("/proc/cpuinfo names no flags on this processor")
    assert cpu_has_bfloat16() == bool(flags & {"avx512_bf16", "amx_bf16"})
