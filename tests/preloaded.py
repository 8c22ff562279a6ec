"""Real processes that run `viaduct` without reloading torch and transformers, which takes seconds each time.

One process loads them, but nothing of Viaduct, and forks a child for each command. A child is like any other process:
it has its own process ID, its output goes to a file, and it can be killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn


class Child:
    """A running command; each `Preloaded` runs one at a time."""

    def __init__(self, parent: subprocess.Popen[bytes]) -> None:
        self._parent = parent
        self.status: int | None = None
        self.pid = int(_line(parent))

    def poll(self) -> int | None:
        """The exit status, or minus the number of the signal that ended it; None while it runs."""
        assert self._parent.stdout is not None
        if self.status is None and select.select([self._parent.stdout], [], [], 0)[0]:
            self.status = int(_line(self._parent))
        return self.status

    def wait(self, timeout: float) -> int:
        """Wait for the exit status; after `timeout` seconds the child is killed and TimeoutError is raised."""
        assert self._parent.stdout is not None
        if self.status is None and not select.select([self._parent.stdout], [], [], timeout)[0]:
            self.kill()
            raise TimeoutError(f"process {self.pid} runs after {timeout:g} s")
        status = self.poll()
        assert status is not None
        return status

    def kill(self) -> None:
        """Send SIGKILL; does nothing if the child has just ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Preloaded:
    """A process that has torch and transformers loaded and runs until it is closed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            bufsize=0,  # so that no output is buffered where `select` cannot see it
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def viaduct(self, arguments: Sequence[object], log: Path, paths: Sequence[Path] = ()) -> Child:
        """Run `viaduct ARGUMENTS`, searching `paths` first for modules; all output goes to `log`."""
        asked = {"arguments": list(map(str, arguments)), "log": str(log), "paths": list(map(str, paths))}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        return Child(self._process)

    def close(self) -> None:
        """End the process; a child that is still running continues."""
        self._process.kill()
        self._process.communicate()


def _line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def _become(asked: Mapping[str, Any]) -> NoReturn:
    """In the child: run the command and exit with its status."""
    status = 1
    try:
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.path[:0] = asked["paths"]
        sys.argv = ["viaduct", *asked["arguments"]]
        runpy.run_module("viaduct", run_name="__main__")
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Forks a child for every line of standard input; prints its process ID, then its exit status once it has ended."""
    import torch  # noqa: F401
    from transformers.models.xlm_roberta import modeling_xlm_roberta  # noqa: F401

    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        print(child, flush=True)  # noqa: T201  the test reads it
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
