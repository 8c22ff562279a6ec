"""What this machine is and can do: its processor, the rate of its matrix products, its energy counters."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from viaduct.models.linear import product
from viaduct.runs.host import processor

PRODUCT = 1024
"""Rows and columns of the matrices that are multiplied."""
PRODUCTS = 12
ENERGY = Path("/sys/class/powercap")


def device() -> str:
    """The processor's name and the number of cores that may be used."""
    return f"{processor()}, {os.cpu_count()} CPUs"


def matrix_rate(threads: int) -> dict[str, float]:
    """Floating-point operations per second of float32 matrix products here: torch's own and oneDNN's, the best of a
    dozen each. The better one is what any engine could reach."""
    torch.set_num_threads(threads)
    left, right = torch.randn(PRODUCT, PRODUCT), torch.randn(PRODUCT, PRODUCT)
    best = {"torch": float("inf"), "onednn": float("inf")}
    with torch.inference_mode():
        for _ in range(PRODUCTS):
            for name, multiply in (("torch", torch.nn.functional.linear), ("onednn", product)):
                started = time.perf_counter()
                multiply(left, right, None)
                best[name] = min(best[name], time.perf_counter() - started)
    return {name: 2.0 * PRODUCT**3 / seconds for name, seconds in best.items()}


Joules = dict[str, tuple[float, float]]
"""Counter of a processor -> (joules so far, joules at which it begins again at 0)."""


def energy() -> Joules | None:
    """What the processors' counters say; None where the system has no such counters or does not let us read them."""
    found = {}
    for counter in sorted(ENERGY.glob("intel-rapl:[0-9]*")):
        if counter.name.count(":") > 1:  # a part of a processor, counted in the whole
            continue
        try:
            now = int((counter / "energy_uj").read_text())
            most = int((counter / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            return None
        found[counter.name] = (1e-6 * now, 1e-6 * most)
    return found or None


def joules_between(before: Joules | None, after: Joules | None) -> float | None:
    """Joules between two readings, over the counters' ends; None when either could not be made."""
    if before is None or after is None or before.keys() != after.keys():
        return None
    return sum((after[name][0] - now) % most for name, (now, most) in before.items())
