"""The benchmarks run end to end at a tiny size and print what they promise; nothing here looks at how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
VARIANTS = ("trainer_default", "dynamic_padding", "length_grouped")


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    options = ["--shapes", "2x32", "--rows", "64", "--repetitions", "1", "--same-process"]
    command = [sys.executable, str(BENCHMARKS / "training.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("Viaduct ") for line in lines)
    last: dict[str, Any] = json.loads(lines[-1])
    return last


def test_the_last_line_has_a_ratio_and_samples_for_every_variant(report: dict[str, Any]) -> None:
    assert set(report["ratios"]) == {f"pairs_2x32/{variant}" for variant in VARIANTS}
    for variant in VARIANTS:
        theirs = report["samples"][f"pairs_2x32/{variant}"]
        ours = report["samples"]["pairs_2x32/viaduct"]
        assert report["ratios"][f"pairs_2x32/{variant}"] == pytest.approx(ours[0] / theirs[0])
    assert report["threads"] == 1 and report["versions"]["torch"] and report["device"]


def test_all_variants_are_timed_on_the_same_rows_with_their_own_padding(report: dict[str, Any]) -> None:
    assert report["rows"].pop("pairs_2x32/trainer_default") == 32  # every one of its steps costs the same
    assert set(report["rows"].values()) == {64}
    padding = [report["padding"][f"pairs_2x32/{variant}"] for variant in (*VARIANTS, "viaduct")]
    assert padding == sorted(padding, reverse=True) and 0 < padding[-1] < padding[0] < 1
    assert report["embedding_rows"]["pairs_2x32/viaduct"] < report["embedding_rows"]["pairs_2x32/dynamic_padding"]


def test_rows_have_the_lengths_that_are_stated_and_a_realistic_share_of_the_vocabulary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import training_rows

    rows = training_rows.make_rows(training_rows.SHAPES["6x384"], seed=1)
    assert len(rows.ids) == 15_000
    assert rows.lengths.mean() == pytest.approx(training_rows.MEAN_TOKENS, abs=0.5)
    assert rows.lengths.max() == training_rows.LONGEST
    distinct = np.unique(np.concatenate(rows.ids))
    assert 20_000 < len(distinct) < 30_000 and distinct.max() < 250_002
    again = training_rows.make_rows(training_rows.SHAPES["6x384"], seed=1)
    assert all(np.array_equal(one, other) for one, other in zip(rows.ids, again.ids, strict=True))


def test_rows_that_leave_a_step_half_full_are_refused() -> None:
    command = [sys.executable, str(BENCHMARKS / "training.py"), "--rows", "33"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "multiple of 32" in done.stderr


def test_features_are_compared_and_timed() -> None:
    options = ["--images", "3", "--rows", "40", "--repetitions", "1", "--reads", "2"]
    command = [sys.executable, str(BENCHMARKS / "features.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-2].startswith("Viaduct is ")
    last = json.loads(lines[-1])
    assert set(last["ratios"]) == set(last["cpu_ratios"])
    assert set(last["ratios"]) == {"build_vit_4x192/transformers", "read_1024x64x768/safetensors"}
    assert [len(samples) for samples in last["samples"]["read"].values()] == [2, 2]
    assert last["threads"] == 1 and last["versions"]["torch"] and last["device"]
