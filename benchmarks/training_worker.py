"""One measurement of the training benchmark: one variant, one kind of work, one shape, in its own process.

`python training_worker.py '{...}'` prints one JSON object as its last line. The first optimiser step is a warm-up; the
clock runs from its end to the end of the last step, and everything a loop does in between counts: choosing, padding and
moving a batch, seeding, forward, backward, clipping, optimiser, bookkeeping. Making rows, models and samplers does not.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import training_ours
import training_stock
from training_rows import SHAPES, make_rows
from training_timing import Request, Timed, torch_device

COPIED_FLOATS, COPIES = 2**25, 5


@dataclass(frozen=True)
class Measurement:
    """The result."""

    variant: str
    timed: Timed
    peak_mib: float
    products_per_second: float
    """Operations per second of matrix products in this process, the better of before and after: in float32, on a GPU in
    the training's format."""
    device: str = "cpu"
    format: str = "fp32"
    bytes_per_second: float = 0.0
    """Bytes per second that a copy of large arrays reads and writes here."""


def measure(request: Request) -> Measurement:
    """Run one variant for its steps."""
    from viaduct.serving.machine import device_peak, matrix_rate

    rows = make_rows(SHAPES[request.shape], request.seed, request.rows)
    asked = (request.threads, request.device, request.format)
    before = max(matrix_rate(*asked).values())
    timed = (training_ours if request.variant.startswith("viaduct") else training_stock).run(request, rows)
    peak = (device_peak(request.device) or 0) / 2**20
    products = max(before, *matrix_rate(*asked).values())
    return Measurement(request.variant, timed, peak, products, *asked[1:], _copied(*asked[:2]))


def _copied(threads: int, device: str) -> float:
    """Bytes per second that a copy reads and writes, the best of a few; the arrays are larger than the caches."""
    import torch

    torch.set_num_threads(threads)
    source, target = (torch.ones(COPIED_FLOATS, device=device) for _ in range(2))
    best = float("inf")
    for _ in range(COPIES):
        started = time.perf_counter()
        target.copy_(source)
        float(target[0])  # waits for a GPU
        best = min(best, time.perf_counter() - started)
    return 2 * 4 * COPIED_FLOATS / best


def speed(threads: int, device: str = "cpu") -> dict[str, Any]:
    """This machine's matrix-product rate (as torch computes them: in float32, on a GPU in the format it trains in) and
    the versions that go with every number."""
    from viaduct.models.numerics import training_precision
    from viaduct.serving.machine import device_name, matrix_rate

    format = training_precision("auto", torch_device(device))
    return {
        "flops_per_second": matrix_rate(threads, device, format)["torch"],
        "device": device_name(device),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "numpy")},
        },
    }


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    print(json.dumps(speed(**wanted) if "variant" not in wanted else asdict(measure(Request(**wanted)))))
