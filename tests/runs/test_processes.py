"""Worker processes end when their parent does, even if it is killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

WORKERS = """
import os, time
from pathlib import Path
from viaduct.runs.processes import beside

def work():
    Path(FOLDER, str(os.getpid())).touch()
    time.sleep(60)

with beside(3, work):
    time.sleep(60)
"""
PIPES = """
import os, subprocess, sys, time
from pathlib import Path
CHILD = '''
import os, sys, time
from pathlib import Path
from viaduct.runs.processes import end_with
if os.fork():
    Path(FOLDER, str(os.getpid())).touch()
else:
    Path(FOLDER, str(os.getpid())).touch()
end_with(sys.stdin.fileno())
time.sleep(60)
'''
subprocess.Popen([sys.executable, "-c", CHILD.replace("FOLDER", repr(FOLDER))], stdin=subprocess.PIPE)
time.sleep(60)
"""


def lives(process: int) -> bool:
    """Whether this process is running; a zombie is not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks for processes in /proc")
@pytest.mark.parametrize(("program", "count"), [(WORKERS, 3), (PIPES, 2)])
def test_children_end_with_a_parent_that_is_killed(tmp_path: Path, program: str, count: int) -> None:
    parent = subprocess.Popen([sys.executable, "-c", program.replace("FOLDER", repr(str(tmp_path)))])
    try:
        wait_until(lambda: len([*tmp_path.iterdir()]) == count)
        children = [int(path.name) for path in tmp_path.iterdir()]
        assert all(map(lives, children))
        parent.kill()
        parent.wait()
        wait_until(lambda: not any(map(lives, children)))
    finally:
        parent.kill()
        parent.wait()
