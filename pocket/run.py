"""Runs a parcel made by pack.py on a machine without a network, until it is done or its time is up.

    python pocket/run.py PARCEL.zip OUT [--minutes 7] [--device auto] [--processes 6]

Finished rows are left in OUT as `viaduct rows` packs them, for `results/` in a checkout. What is unfinished when the
time is up starts from scratch the next time: models and checkpoints stay on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import blocks

WEIGHTS, PACKED = "model.safetensors", "model.packed"
GRACE_SECONDS = 20.0
"""Seconds that the run has to stop; packing rows takes a few more."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parcel", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--processes", type=int, default=6, help="stages side by side (default 6)")
    parser.add_argument("--work", type=Path, help="folder to work in (default: a new temporary one)")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    place = Path(options.work or tempfile.mkdtemp(prefix="viaduct-pocket-"))
    environment = opened(options.parcel, place)
    about = json.loads((place / "about.json").read_text(encoding="utf-8"))
    viaduct = [sys.executable, "-m", "viaduct"]
    # No models are kept: a machine that is given back keeps nothing, and its disk may be in memory.
    command = [*viaduct, "run", about["recipe"], "--data", "data", "--store", "store", "--rows", "rows"]
    command += ["--device", options.device, "--processes", str(options.processes), "--keep", "needed"]
    command += [word for field in about["set"] for word in ("--set", field)]
    command += ["--set", f'encoder="encoders/{about["encoder"]}"']
    command += ["--seeds", about["seeds"]] if about["seeds"] else []
    status = in_time(command, place, environment, end)
    if not (place / "store").is_dir():
        raise SystemExit(status)
    rows = [*viaduct, "rows", about["run"], "--store", "store", "--rows", str(options.out.resolve())]
    subprocess.run(rows, cwd=place, env=environment, check=True)
    print({0: "the whole recipe is finished"}.get(status, f"stopped before it finished (status {status})"))


def opened(parcel: Path, place: Path) -> dict[str, str]:
    """Unpack a parcel, and return environment variables with which its packages are found."""
    with zipfile.ZipFile(parcel) as archive:
        archive.extractall(place)
    for packed in place.rglob(PACKED):
        blocks.unpack(packed, packed.with_name(WEIGHTS))
    path = os.pathsep.join(filter(None, (str(place / "packages"), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def in_time(command: list[str], place: Path, environment: dict[str, str], end: float) -> int:
    """Exit status of a command, which gets SIGTERM shortly before `end` (of time.monotonic) and is killed at `end`."""
    process = subprocess.Popen(command, cwd=place, env=environment)
    try:
        return process.wait(max(1.0, end - time.monotonic() - GRACE_SECONDS))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


if __name__ == "__main__":
    main()
