"""Measures several models, each in a process of its own that is forked from one which has imported what all need.

`python -m viaduct.serving.worker JOBS.json` prints one JSON object per job. A fork takes no time, where a new process
would take seconds to import torch and transformers, and knows nothing of the models that were measured before it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from viaduct.errors import UsageError
from viaduct.serving import probe, rounds
from viaduct.serving.cost import skeleton


def results(jobs: Sequence[probe.Request | rounds.Pair], threads: int) -> Iterator[dict[str, Any]]:
    """What `probe.run` or `rounds.run` says to each job, as soon as it is known.

    Raises UsageError with what a process said when it failed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    listed = json.dumps([asdict(job) for job in jobs])
    command = [sys.executable, "-m", "viaduct.serving.worker", listed]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process,  # noqa: S603
    ):
        assert process.stdout is not None  # noqa: S101  a pipe
        try:
            yield from map(json.loads, process.stdout)
            process.wait()
        finally:
            process.kill()  # when nobody waits for the rest; nothing happens to one that has ended
        errors.seek(0)
        said = errors.read().strip().splitlines()
    if process.returncode:
        raise UsageError(f"the process that measures models failed: {(said or ['it said nothing'])[-1]}")


def main(jobs: Sequence[dict[str, Any]]) -> int:
    """Do the jobs in turn; 1 as soon as one fails."""
    for job in jobs:
        request = _pair(job) if "first" in job else probe.Request(**job)
        skeleton(Path(request.other.folder if isinstance(request, rounds.Pair) else request.folder))  # imports its code
        child = os.fork()
        if child == 0:
            _answer(request)
        if os.waitpid(child, 0)[1]:
            return 1
    return 0


def _answer(request: probe.Request | rounds.Pair) -> None:
    """Do one job in this process, and end it."""
    found = rounds.run(request) if isinstance(request, rounds.Pair) else probe.run(request)
    print(json.dumps(found), flush=True)  # noqa: T201  its parent reads it
    os._exit(0)


def _pair(job: dict[str, Any]) -> rounds.Pair:
    first, other = probe.Request(**job["first"]), probe.Request(**job["other"])
    return rounds.Pair(first, other, job["rounds"], job["rows"])


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
