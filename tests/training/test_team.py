"""Runs `team_cases.py` in a separate process.

A training's processes are forks of the leading one, which must have no other threads when they are made
(`runs.ranks.forked`): a fork inherits the locks of threads left by earlier tests, but not the threads. One that waits
for such a lock never ends, so the leader waits for it inside the library, where no signal is handled.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("team_cases.py")


@pytest.mark.parametrize(
    "which", ["not slow", pytest.param("slow", marks=[pytest.mark.slow, pytest.mark.timeout(3000)])]
)
def test_several_processes_in_one_training(which: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-m", which, "-o", "faulthandler_timeout=0", str(CASES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
