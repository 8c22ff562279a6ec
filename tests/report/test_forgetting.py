"""What the arms' own stages learned, on the page: beside what they kept, so that less learned is not taken for more
kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_page import outline
from report_records import make_run

from viaduct.report import page
from viaduct.report.forgetting import TRAINED, StageTrained
from viaduct.results.record import StageCost

pytestmark = pytest.mark.usefixtures("no_heat_map_files")


def trained(path: str, seed: int, *scores: float | None, best: int = 2) -> StageTrained:
    """After 1, 2, ... steps, with things that the page does not tell."""
    evaluations = [
        {"step": at + 1.0, "loss": 1.0} | ({} if score is None else {"score": score}) for at, score in enumerate(scores)
    ]
    log = {"steps": 2, "best_step": best, "tokens": 9, "evaluations": evaluations, "rows": 7}
    return TRAINED.read(json.dumps(log), "", seed, path)


def table(folder: Path, told: dict[str, tuple[str, tuple[str, ...] | None]], records: list[StageTrained]) -> list[str]:
    """The rows of the page's table; `told`: path -> (task, arms of its results) of its cost."""
    run = make_run(tasks=("xnli",), seeds=(1, 2))
    costs = [
        StageCost.model_validate(
            {**run.costs[0].model_dump(), "path": path, "task": task, "arm": path.split("/")[1], "arms": arms}
        )
        for path, (task, arms) in told.items()
    ]
    html = page.write(run.about, run.rows, costs, folder, records={"trained": records}).read_text(encoding="utf-8")
    if 'id="table-learned"' not in html:
        return []
    begin = html.index("<table", html.index('id="table-learned"'))
    found = outline(html[begin : html.index("</table>", begin) + len("</table>")]).rows[1:]
    return ["|".join(" ".join(cell.split()) for cell in row) for row in found]


def test_the_kept_checkpoints_dev_score_is_told_of_stages_that_arms_begin_with(tmp_path: Path) -> None:
    held = [f"base/held/intermediate/seed-{seed}/joint" for seed in (1, 2)]
    target = "base/held/xnli/seed-1/train"
    costs = {**dict.fromkeys(held, ("", ("held",))), target: ("xnli", ("held",))}
    records = [trained(held[0], 1, 0.6, 0.5, best=1), trained(held[1], 2, 0.3, 0.4), trained(target, 1, 0.9, 0.95)]
    assert table(tmp_path, costs, records) == ["held|held · intermediate · joint|2|50.0 ± 14.1"]


def test_a_training_that_is_anothers_target_belongs_to_the_arm_that_begins_with_it(tmp_path: Path) -> None:
    paths = [f"base/none/mnli/seed-{seed}/train{place}" for seed, place in ((1, ""), (2, "@c4583e37"))]
    costs = dict.fromkeys(paths, ("xnli", ("none", "mnli")))
    records = [trained(path, seed, 0.5, 0.6) for seed, path in enumerate(paths, 1)]
    assert table(tmp_path, costs, records) == ["mnli|none · mnli · train|2|60.0 ± 0.0"]


@pytest.mark.parametrize("arms", [(), None])
def test_stages_without_dev_scores_or_results_are_left_out(tmp_path: Path, arms: tuple[str, ...] | None) -> None:
    costs: dict[str, tuple[str, tuple[str, ...] | None]] = {
        "base/a/intermediate/seed-1/joint": ("", ("a",)),
        "base/b/intermediate/seed-1/joint": ("", arms),
    }
    records = [trained("base/a/intermediate/seed-1/joint", 1, None, None), trained(list(costs)[1], 1, 0.5, 0.6)]
    assert table(tmp_path, costs, records) == []
