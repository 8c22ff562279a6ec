"""One measurement of the training benchmark: one variant, one kind of work, one shape, in a process of its own.

`python training_worker.py '{...}'` prints one JSON object as its last line. The first optimiser step is a warm-up; the
clock runs from its end to the end of the last step, and everything a loop does in between counts: choosing, padding and
moving a batch, seeding, forward, backward, clipping, optimiser, bookkeeping. Making rows, models and samplers does not.
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import training_ours
import training_stock
from training_rows import SHAPES, WORKS, make_rows
from training_timing import Request, Timed


@dataclass(frozen=True)
class Measurement:
    """What came out."""

    variant: str
    timed: Timed
    peak_mib: float
    products_per_second: float
    """Operations per second of float32 matrix products in this process, the better of before and after."""


def measure(request: Request) -> Measurement:
    """Run one variant for its steps."""
    from viaduct.memory import peak_bytes
    from viaduct.serving.machine import matrix_rate

    rows = make_rows(SHAPES[request.shape], request.seed, WORKS[request.work])
    before = max(matrix_rate(request.threads).values())
    timed = (training_ours if request.variant.startswith("viaduct") else training_stock).run(request, rows)
    peak = peak_bytes() / 2**20
    return Measurement(request.variant, timed, peak, max(before, *matrix_rate(request.threads).values()))


def speed(threads: int) -> dict[str, Any]:
    """This machine's float32 matrix-product rate (as torch does them) and the versions that go with every number."""
    from viaduct.serving.machine import device_name, matrix_rate

    return {
        "flops_per_second": matrix_rate(threads)["torch"],
        "device": device_name(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "numpy")},
        },
    }


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    print(json.dumps(speed(wanted["threads"]) if "variant" not in wanted else asdict(measure(Request(**wanted)))))
