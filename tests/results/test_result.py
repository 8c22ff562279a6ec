"""A run's results as data frames; tests/test_docs.py compares their contents with the run's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from viaduct.errors import StoreError
from viaduct.results.result import Result


def test_without_a_report_there_are_no_frames_and_a_way_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no report in (?s:.*)viaduct report"):
        _ = Result(tmp_path).scores


def test_a_run_of_one_arm_has_no_differences_but_their_columns(tmp_path: Path) -> None:
    written = {"tables": {"contrasts": []}, "records": {"results": [], "costs": []}}
    (tmp_path / "report.json").write_text(json.dumps(written), encoding="utf-8")
    result = Result(tmp_path)
    assert result.differences.empty and result.scores.empty and result.costs.empty
    assert {"arm", "against", "difference", "low", "high"} <= set(result.differences.columns)
    assert {"arm", "task", "language", "seed", "metric", "value", "n"} <= set(result.scores.columns)
