"""A run of very many stages in one process uses no more memory at its end than at its beginning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import whole_runs

SEEDS = 34
"""Six stages per seed, and the encoder's pretraining: 205 stages."""
FIRST = 20


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_two_hundred_stages_end_within_1_3_times_the_memory_of_the_first_twenty(tmp_path: Path) -> None:
    whole_runs.write_data(tmp_path / "data")
    short = whole_runs.TINY.replace("STEPS", "4").replace("epochs=2.0", "epochs=2.0, max_steps=3")
    (tmp_path / "tiny.py").write_text(short, encoding="utf-8")
    command = [sys.executable, "-m", "viaduct", "run", "tiny.py", "--data", "data", "--store", "store"]
    command += ["--device", "cpu", "--threads", "1", "--seeds", ",".join(map(str, range(1, SEEDS + 1)))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    costs = (tmp_path / "store").rglob("cost.json")
    order = sorted((path.stat().st_mtime_ns, json.loads(path.read_text())["peak_memory_bytes"]) for path in costs)
    peaks = [peak for _, peak in order]
    assert len(peaks) >= 200
    assert max(peaks[FIRST:]) < 1.3 * max(peaks[:FIRST]), [round(peak / 1e6) for peak in peaks[::10]]
