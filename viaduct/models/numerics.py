"""Seeds, determinism, devices and number formats: the one place that sets them."""

from __future__ import annotations

import hashlib
import os

import torch

from viaduct.errors import UsageError


def prepare(device: str, threads: int) -> torch.device:
    """The torch device, with threads and deterministic algorithms set. Raises UsageError for a device that is not
    there."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if threads > 1 else "false")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on CUDA
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("device 'cuda' was asked for, but torch sees no CUDA device", fix="use --device cpu")
    return torch.device(device)


def mixed_precision(device: torch.device) -> str:
    """ "bf16" on GPUs that have it, "no" elsewhere: on CPUs without matrix units bfloat16 is slower than float32."""
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "no"


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed from these parts: unrelated streams for unrelated uses, the same on every machine."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_all(*parts: int | str) -> None:
    """Seed torch's generators. Called before every optimiser step, so that a resumed run needs no generator state."""
    torch.manual_seed(derived_seed(*parts))
