"""Cells of a recipe rerun with float32 products: only the products change, and differences are taken by seed."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from viaduct.runs.recipes import load_recipe

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def precision_rows(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import precision_rows

    return precision_rows


def test_nothing_but_the_products_of_trainings_changes(precision_rows: Any) -> None:
    whole = load_recipe("xstilts_e5")
    again = precision_rows.in_float32(whole, ["mnli+l2_sp"], "panx", (1, 2))
    trained = [*again.intermediates[1:], *again.targets]
    assert [one.training.precision for one in trained] == ["fp32", "fp32"] and again.seeds == (1, 2)
    usual = [*(one for one in whole.intermediates if one.name in ("none", "mnli+l2_sp"))]
    usual += [one for one in whole.targets if one.task == "panx"]
    for one, other in zip(usual, (*again.intermediates, *again.targets), strict=True):
        if other in trained:
            other = other.model_copy(update={"training": other.training.model_copy(update={"precision": "bf16"})})
        assert one == other
    assert again.substitutions == whole.substitutions and not again.deciding


def test_scores_are_those_of_the_committed_rows(precision_rows: Any, tmp_path: Path) -> None:
    found = precision_rows.scores("xstilts_e5", tmp_path)
    mnli = [fmean(one.values()) for (arm, task, _), one in found.items() if (arm, task) == ("mnli", "tatoeba")]
    again = precision_rows.scores("xstilts_e5_fp32", tmp_path)
    compared = precision_rows.compared(found, {key: one for key, one in again.items() if key[0] != "none"}, "tatoeba")
    told = {
        arm: [round(100 * x, 2) for x in (*one["by_seed"].values(), *one["interval"])] for arm, one in compared.items()
    }
    assert told == {"mnli": [0.0, -0.14, 0.02, -0.26, 0.18], "mnli+l2_sp": [0.01, 0.02, 0.15, -0.13, 0.25]}
    assert all(one["changed"] > 0.2 for one in compared.values()), "these are other trainings"
    assert len(mnli) == 9 and sum(mnli) / 9 == pytest.approx(0.748, abs=5e-4)  # docs/log.md, 2026-11-30


def test_differences_are_of_the_same_seeds(precision_rows: Any) -> None:
    half = {("a", "x", 1): 0.5, ("a", "x", 2): 0.7, ("a", "x", 9): 0.0, ("a", "y", 3): 0.1, ("b", "x", 1): 0.2}
    whole = {("a", "x", 1): 0.6, ("a", "x", 2): 0.6, ("a", "x", 3): 0.9, ("a", "y", 3): 0.2}
    half, whole = ({key: {"de": value} for key, value in one.items()} for one in (half, whole))
    (found,) = precision_rows.compared(half, whole, "x").values()
    assert (found["bf16"], found["fp32"], found["difference"]) == pytest.approx((0.6, 0.6, 0.0))
    assert list(found["by_seed"]) == [1, 2] and found["interval"] == pytest.approx([-1.27062, 1.27062], abs=1e-5)
    with pytest.raises(SystemExit, match="y for 0 of these seeds") as stopped:
        precision_rows.compared({}, whole, "y")
    assert "a has committed" in str(stopped.value)
