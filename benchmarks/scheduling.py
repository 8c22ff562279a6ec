"""The cost of a plan with many stages if the stages themselves do nothing: planning, each stage, status, the report.

    python benchmarks/scheduling.py [--quick]

Uses a made-up world and a recipe with as many seeds as that many stages need; every stage only writes a file of a few
bytes, so that only the plan, the store and the report remain. Measures 1,000 and then 10,000 stages (--quick: 250 and
1,000), each in its own process, and the ratio of the two, which is 10 (--quick: 4) if the time is linear. Prints a
table, and a JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ARMS, TARGETS = 3, 2
STAGES_PER_SEED = 2 + ARMS * TARGETS * 3
"""Two intermediate trainings, and a training, a prediction and a score for each arm and target."""


def timed(work: Callable[[], Any]) -> float:
    """Seconds that the work takes."""
    return both(work)[0]


def both(work: Callable[[], Any]) -> tuple[float, float]:
    """(wall-clock seconds, CPU seconds) that the work takes."""
    started, cpu_started = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - cpu_started


def measured(stages: int, folder: Path) -> dict[str, float]:
    """Name -> numbers of stages and rows, seconds of each part, milliseconds per stage and GiB, for a recipe of about
    this many stages, run in this process."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    import small_world
    from rich.console import Console

    from viaduct import api
    from viaduct.report import page
    from viaduct.runs.execute import Options
    from viaduct.runs.spec import Architecture, Intermediate, Pretrain, Target
    from viaduct.runs.stage import kind_of

    small_world.add_cards(setattr, small_world.CARDS)
    for kind in small_world.FAKES:
        kind_of(kind).run = lambda context, _work: small_world.run(context)
    small_world.STEPS = 1
    write, told = page.write, []

    def later(*what: Any, **how: Any) -> Path:
        told.append((what, how))
        return folder / "report.html"

    page.write = later  # timed separately
    arms = (Intermediate(name="none"), *(Intermediate(name=name, tasks=(name,)) for name in ("quiz", "fruit")))
    small = Architecture(layers=1, hidden=8, heads=2, feed_forward=8, vocabulary=300)  # so that the disk has room
    asked = small_world.recipe(
        encoder=Pretrain(name="mini", text=("prose",), architecture=small),
        intermediates=arms,
        targets=(Target(task="fruit"), Target(task="quiz")),
        seeds=tuple(range(1, 1 + max(1, round(stages / STAGES_PER_SEED)))),
    )
    where = {"data": small_world.write_data(folder / "data"), "store": folder / "store"}
    found = {"stages": float(len(api.plan(asked, **where).plan.stages))}
    found["plan"], cpu_plan = both(lambda: api.plan(asked, **where))
    console = Console(quiet=True)
    run, cpu = both(lambda: api.run(asked, options=Options(device="cpu", threads=1), console=console, **where))
    found["ms_a_stage"] = 1000 * (run - found["plan"]) / found["stages"]
    found["cpu_ms_a_stage"] = 1000 * (cpu - cpu_plan) / found["stages"]
    found["plan_done"] = timed(lambda: api.plan(asked, **where))
    found["status"] = timed(lambda: api.status(asked.name, store=where["store"]))
    (what, how), *_ = told
    found["report"] = timed(lambda: write(*what, **how))
    found["rows"] = float(len(what[1]))
    found["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="250 and 1,000 stages")
    parser.add_argument("--stages", type=int, nargs="+", help="how many, about, in place of 1,000 and 10,000")
    options = parser.parse_args()
    sizes = options.stages or ((250, 1_000) if options.quick else (1_000, 10_000))
    if len(sizes) == 1:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measured(sizes[0], Path(folder))))
        return
    found = [_in_a_process(size) for size in sizes]
    for name in found[0]:
        values = [one[name] for one in found]
        print(f"{name:20}", *(f"{value:12,.3f}" for value in values), f"  x {values[-1] / values[0]:.1f}")
    print(json.dumps({"runs": found}))


def _in_a_process(stages: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--stages", str(stages)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
