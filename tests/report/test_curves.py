"""Training curves on the page: of a few trainings, of hundreds, and of a run from before there were any."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from report_page import outline
from report_records import Run, make_run

from viaduct.report import curves, page
from viaduct.report.curves import CURVES, StageCurve
from viaduct.results.record import StageCost

pytestmark = pytest.mark.usefixtures("no_heat_map_files")


def curve(path: str, seed: int, points: int = 100, scored: int = 4) -> StageCurve:
    """Loss falls from 2 to 1, and the dev score rises to .8 and a hundredth for each seed."""
    steps = [50 * (at + 1) for at in range(points)]
    content = {
        "step": steps,
        "loss": [2 - at / (points - 1) for at in range(points)],
        "learning_rate": [1e-5] * points,
        "tokens": [1000 * step for step in steps],
        "score": [
            0.8 + 0.01 * seed - 0.1 * (points - 1 - at) / points
            if scored and (at + 1) % (points // scored) == 0
            else None
            for at in range(points)
        ],
    }
    return CURVES.read(json.dumps(content), "", seed, path)


def written(run: Run, told: list[StageCurve], folder: Path, speed: int = 1200) -> str:
    """The page of a run with these trainings, of which those in "intermediate" belong to no target."""
    costs = [
        StageCost.model_validate(
            {**run.costs[0].model_dump(), "path": one.path, "seed": one.seed, "speed": [speed] * len(one.curve.step)}
            | {"task": "" if "intermediate" in one.path else "xnli"}
        )
        for one in told
    ]
    return page.write(run.about, run.rows, costs, folder, records={"curves": told}).read_text(encoding="utf-8")


def few() -> list[StageCurve]:
    targets = [curve(f"base/none/xnli/seed-{seed}/train", seed) for seed in (1, 2)]
    return [*targets, curve("base/mnli/intermediate/seed-1/joint", 1, points=40, scored=0)]


def test_the_trainings_of_a_run_are_drawn_and_listed_with_all_points_in_a_file(tmp_path: Path) -> None:
    html = written(make_run(tasks=("xnli",), seeds=(1, 2)), few(), tmp_path)
    begin = html.index("<table", html.index('id="table-trainings"'))
    table = html[begin : html.index("</table>", begin) + len("</table>")]
    rows = [[" ".join(cell.split()) for cell in row] for row in outline(table).rows[1:]]
    assert rows == [
        ["mnli · intermediate · joint", "1", "2,000", "1.962", "1.038", "–missing: not evaluated", "1,200"],
        ["none · xnli · train", "2", "5,000", "1.955", "1.045", "81.5", "1,200"],
    ]
    svg = (tmp_path / "curves.svg").read_text(encoding="utf-8")
    assert "none · xnli · train" in svg and svg.count(">dev score<") == 1
    with (tmp_path / "curves.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 240 and lines[-1]["stage"] == "base/none/xnli/seed-2/train"
    assert [lines[-1][name] for name in ("seed", "step", "loss", "learning_rate", "tokens", "tokens_per_second")] == [
        "2", "5000", "1.0", "1e-05", "5000000", "1200",
    ]  # fmt: skip
    assert float(lines[-1]["score"]) == pytest.approx(0.82) and lines[-2]["score"] == ""


def test_hundreds_of_trainings_keep_the_page_small_and_it_says_which_are_left_out(tmp_path: Path) -> None:
    run = make_run(tasks=("xnli",), seeds=(1, 2, 3))
    seeds = range(1, 6)
    told = [curve(f"base/arm-{at:03}/xnli/seed-{seed}/train", seed) for at in range(200) for seed in seeds]
    told += [curve(f"base/arm-{at:03}/intermediate/seed-{seed}/train", seed) for at in range(5) for seed in seeds]
    html = written(run, told, tmp_path)
    assert "12 of 205 training runs are drawn" in html and "from “arm-007 · xnli · train” on" in html
    assert "the 85 training runs that this table leaves out" in html
    svg = (tmp_path / "curves.svg").read_text(encoding="utf-8")
    assert svg.count(">dev score<") == curves.MOST_DRAWN
    assert "arm-004 · intermediate" in svg and "arm-006 · xnli" in svg and "arm-007 · xnli" not in svg
    assert len(svg) < 300_000 and len(html) < 700_000


def test_a_run_of_before_there_were_curves_has_none(tmp_path: Path) -> None:
    run = make_run(tasks=("xnli",), seeds=(1,))
    assert 'id="curves"' in written(run, few(), tmp_path)
    assert 'id="curves"' not in page.write(*run, tmp_path).read_text(encoding="utf-8")
    assert not list(tmp_path.glob("*curves*"))


def test_tenths_are_of_the_steps_and_speed_is_tokens_by_seconds(tmp_path: Path) -> None:
    """Points at 4, 5, 10 and 12 steps: the first and last 1.2 of them lie in points of their own."""
    content = {"step": [4, 5, 10, 12], "loss": [8.0, 4.0, 2.0, 1.0], "learning_rate": [1e-5] * 4}
    told = CURVES.read(json.dumps({**content, "tokens": [100, 200, 1200, 1300], "score": [None] * 4}), "", 1, "p")
    assert told.curve.mean(0, 1.2) == 8.0 and told.curve.mean(10.8, 12) == pytest.approx(1.0)
    assert told.curve.mean(0, 12) == pytest.approx((4 * 8 + 4 + 5 * 2 + 2 * 1) / 12)
    assert told.curve.mean(9, 11) == pytest.approx(1.5)
    run = make_run(tasks=("xnli",), seeds=(1,))
    cost = run.costs[0].model_copy(update={"path": "p", "speed": (10, 100, 1000, 10)})
    html = page.write(run.about, run.rows, [cost], tmp_path, records={"curves": [told]}).read_text(encoding="utf-8")
    assert "<td>8.000</td><td>1.000</td>" in html and "<td>59</td>" in html, "1,300 tokens in 10 + 1 + 1 + 10 seconds"


def test_speeds_that_were_not_recorded_are_missing(tmp_path: Path) -> None:
    run = make_run(tasks=("xnli",), seeds=(1,))
    told = few()[:1]
    cost = run.costs[0].model_copy(update={"path": told[0].path})
    html = page.write(run.about, run.rows, [cost], tmp_path, records={"curves": told}).read_text(encoding="utf-8")
    assert "missing: not recorded" in html
    assert (tmp_path / "curves.csv").read_text().splitlines()[1].endswith(",,")
