"""Measures models, each in a process of its own that is forked from one which has imported what all need.

`python -m viaduct.serving.worker JOBS` prints one JSON object per job. A fork takes no time, where a new process would
take seconds to import torch and transformers, and knows nothing of the models that were measured before it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from viaduct.errors import UsageError
from viaduct.serving.model import skeleton
from viaduct.serving.timing import PairedRounds, TimedModel

Job = TimedModel | PairedRounds
JOBS = TypeAdapter(list[Job])


def results(jobs: Sequence[Job], threads: int) -> Iterator[dict[str, Any]]:
    """What each job's `run` gives, as soon as it is known.

    Raises UsageError with what a process said when it failed.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "viaduct.serving.worker", JOBS.dump_json(list(jobs)).decode()]
    done = 0
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as errors,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process,  # noqa: S603
    ):
        assert process.stdout is not None  # noqa: S101  a pipe
        try:
            for line in process.stdout:
                done += 1
                yield json.loads(line)
            process.wait()
        finally:
            process.kill()  # when nobody waits for the rest; nothing happens to one that has ended
        errors.seek(0)
        said = errors.read().strip().splitlines() or ["it said nothing"]
    if process.returncode:
        raise UsageError(f"the process that measures {jobs[done]} failed: {said[-1]}")


def main(jobs: Sequence[Job]) -> int:
    """Do the jobs in turn; 1 as soon as one fails."""
    for job in jobs:
        model = job if isinstance(job, TimedModel) else job.other
        skeleton(Path(model.folder))  # imports the code of its architecture
        child = os.fork()
        if child == 0:
            print(json.dumps(job.run()), flush=True)  # noqa: T201  its parent reads it
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(JOBS.validate_json(sys.argv[1])))
