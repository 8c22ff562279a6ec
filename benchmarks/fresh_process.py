"""Runs a measurement in its own process, so that earlier ones cannot affect it, and says how far a benchmark is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def answer(
    worker: str, request: dict[str, Any], threads: int, options: Sequence[str] = (), preload: str = ""
) -> dict[str, Any]:
    """The JSON object that `python WORKER [OPTIONS] REQUEST` prints as its last line; WORKER is next to this file.

    `preload`: a library that the process loads before all others, such as another allocator. Ends the benchmark if the
    process fails.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    environment |= {"LD_PRELOAD": preload} if preload else {}
    command = [sys.executable, str(Path(__file__).with_name(worker)), *options, json.dumps(request)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"the measurement {request} failed")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def note(text: str) -> None:
    """Print a line about the progress of a benchmark, apart from its results."""
    print(text, file=sys.stderr, flush=True)
