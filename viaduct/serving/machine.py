"""Properties of this machine: its processor or GPU, the rate of its matrix products, its energy counters."""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path

import torch

from viaduct.memory import peak_bytes
from viaduct.models.linear import product
from viaduct.runs.host import processor
from viaduct.serving.compression import GPU

PRODUCT = 1024
"""Rows and columns of the matrices that are multiplied."""
PRODUCTS = 12
PRODUCT_ON_GPU = 8192
"""The same on a GPU, which smaller matrices do not keep busy."""
FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
ENERGY = Path("/sys/class/powercap")


def device_name(device: str = "cpu") -> str:
    """The processor's name and the machine's number of CPUs; for "cuda", the GPU's name and memory."""
    if device == "cpu":
        return f"{processor()}, {os.cpu_count()} CPUs"
    return f"{GPU}{torch.cuda.get_device_name()}, {torch.cuda.mem_get_info()[1] / 2**30:.0f} GiB"


def device_peak(device: str) -> int | None:
    """Peak memory so far, in bytes: of this process, or of its tensors in the GPU's memory; None if the system does not
    report it."""
    return peak_bytes() if device == "cpu" else torch.cuda.max_memory_allocated()


def matrix_rate(threads: int, device: str = "cpu", precision: str = "fp32") -> dict[str, float]:
    """Floating-point operations per second of matrix products on this machine, each the best of a dozen. The largest is
    what any engine could reach. On CPUs: torch's own and oneDNN's, in float32; on a GPU: in the given precision."""
    torch.set_num_threads(threads)
    if device != "cpu":
        return {"torch": _rate_on_gpu(FORMATS[precision])}
    left, right = torch.randn(PRODUCT, PRODUCT), torch.randn(PRODUCT, PRODUCT)
    best = {"torch": float("inf"), "onednn": float("inf")}
    with torch.inference_mode():
        for _ in range(PRODUCTS):
            for name, multiply in (("torch", torch.nn.functional.linear), ("onednn", product)):
                started = time.perf_counter()
                multiply(left, right, None)
                best[name] = min(best[name], time.perf_counter() - started)
    return {name: 2.0 * PRODUCT**3 / seconds for name, seconds in best.items()}


def _rate_on_gpu(format: torch.dtype) -> float:
    left, right = (torch.randn(PRODUCT_ON_GPU, PRODUCT_ON_GPU, device="cuda").to(format) for _ in range(2))
    best = float("inf")
    with torch.inference_mode():
        for _ in range(PRODUCTS):
            torch.cuda.synchronize()
            started = time.perf_counter()
            torch.nn.functional.linear(left, right)
            torch.cuda.synchronize()
            best = min(best, time.perf_counter() - started)
    return 2.0 * PRODUCT_ON_GPU**3 / best


Joules = dict[str, tuple[float, float]]
"""Counter of a processor -> (joules so far, joules at which it wraps around to 0)."""


def energy(device: str = "cpu") -> Joules | None:
    """Readings of the processors' energy counters, or of the GPU's; None if the system has no such counters or does not
    let us read them, and for a GPU without the package pynvml."""
    if device != "cpu":
        return _energy_of_gpu()
    found = {}
    for counter in sorted(ENERGY.glob("intel-rapl:[0-9]*")):
        if counter.name.count(":") > 1:  # a part of a processor, already counted in the whole
            continue
        try:
            now = int((counter / "energy_uj").read_text())
            most = int((counter / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            return None
        found[counter.name] = (1e-6 * now, 1e-6 * most)
    return found or None


def _energy_of_gpu() -> Joules | None:
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(0).uuid}".encode())
        return {"gpu": (1e-3 * nvml.nvmlDeviceGetTotalEnergyConsumption(handle), float("inf"))}
    except Exception:  # no package, no driver library, or a GPU without a counter
        return None


def joules_between(before: Joules | None, after: Joules | None) -> float | None:
    """Joules between two readings, allowing for counters that wrapped around; None if either reading is missing."""
    if before is None or after is None or before.keys() != after.keys():
        return None
    return sum((after[name][0] - now) % most for name, (now, most) in before.items())
