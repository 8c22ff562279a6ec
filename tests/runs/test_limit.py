"""A quick look: few rows per language, kept apart from the experiment, and marked as no result."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_world
from programs import viaduct
from rich.console import Console
from small_world import recipe

from viaduct import api
from viaduct.errors import UsageError
from viaduct.report.evidence import UndecidedError, require_real
from viaduct.results.record import About
from viaduct.runs.execute import Options
from viaduct.runs.rows import RecipeData
from viaduct.runs.spec import Recipe, Target
from viaduct.tasks.catalogue import Catalogue
from viaduct.tasks.folder import DataFolder

TARGETS = (Target(task="fruit"),)
QUICK = Options(device="cpu", threads=1, poll_seconds=0.01)


def go(asked: Recipe, data: Path, store: Path) -> Path:
    return api.run(asked, data=data, store=store, options=QUICK, console=Console(quiet=True), command="test").report


def reader(world: Path, limit: int | None) -> RecipeData:
    return RecipeData(DataFolder(world, Catalogue.builtin()), limit)


def test_a_limit_draws_from_all_of_a_file_and_keeps_translations_together(world: Path) -> None:
    sorted_rows = sorted((world / "fruit" / "train-en.tsv").read_text().splitlines(), key=lambda line: line[-3:])
    (world / "fruit" / "train-en.tsv").write_text("".join(f"{line}\n" for line in sorted_rows))  # sorted by label
    rows = reader(world, 12).load("fruit", "train", "en").rows
    assert len(rows) == 12 and {row.gold for row in rows} == {"yes", "no"}
    assert rows == reader(world, 12).load("fruit", "train", "en").rows
    assert [row.id for row in rows] == [
        line.split("\t")[0] for line in sorted_rows if line.split("\t")[0] in {row.id for row in rows}
    ]
    sides = reader(world, 10).load("twins", "test", "de").rows
    ids = {row.id for row in sides}
    assert len(sides) <= 10 and all(other in ids for row in sides for other in row.links)
    assert any(row.links for row in sides)
    assert len(reader(world, 1).load("twins", "test", "de").rows) in (1, 2)
    assert (
        reader(world, 4_000).load("fruit", "train", "en").rows == reader(world, None).load("fruit", "train", "en").rows
    )


def test_a_quick_look_and_the_experiment_share_no_stage_and_no_page(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, asked = tmp_path / "store", recipe(targets=TARGETS, seeds=(1,))
    look = go(asked.model_copy(update={"limit": 10}), world, store)
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)
    whole = go(asked, world, store)
    assert look == store / "runs" / "small@limit-10" / "report.html"
    assert whole == store / "runs" / "small" / "report.html"
    assert {path.name for path in store.iterdir()} >= {"mini", "mini@limit-10"}
    counted = [json.loads(line)["n"] for line in (look.parent / "rows.jsonl").read_text().splitlines()]
    assert counted and max(counted) <= 10
    assert max(json.loads(line)["n"] for line in (whole.parent / "rows.jsonl").read_text().splitlines()) == 40
    banner = "A quick look, no result: at most 10 rows were read per language and split"
    assert banner in look.read_text(encoding="utf-8")
    own = look.parent / "tables"
    assert (own / "quick-look_main_table.csv").is_file() and not (own / "main_table.csv").exists()
    assert {path.name[:11] for path in (*own.iterdir(), *look.parent.glob("*.svg"))} == {"quick-look_"}
    assert banner in (own / "quick-look_main_table.md").read_text(encoding="utf-8")
    assert banner in (own / "quick-look_main_table.tex").read_text(encoding="utf-8")
    buttons = re.findall(r'href="([^"#]*)" download', look.read_text(encoding="utf-8"))
    assert buttons and all("quick-look_" in path and (look.parent / path).is_file() for path in buttons)
    assert banner in (look.parent / "predictions" / "fruit" / "de.html").read_text(encoding="utf-8")
    about = About.model_validate_json((look.parent / "about.json").read_text(encoding="utf-8"))
    with pytest.raises(UndecidedError, match="quick look at 10 rows"):
        require_real(SimpleNamespace(about=about))  # type: ignore[arg-type]  which every claim asks first
    with pytest.raises(UsageError, match="a quick look at a few rows"):
        api.add_rows("small@limit-10", store=store, rows=tmp_path / "rows")


def test_the_option_is_the_field_and_the_plan_counts_with_it(world: Path, tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text("{name: small, hypothesis: h, encoder: {name: mini, text: [prose]}, targets: [{task: fruit}]}")
    look = viaduct("plan", str(file), "--data", str(world), "--store", str(tmp_path / "store"), "--limit", "5")
    whole = viaduct("plan", str(file), "--data", str(world), "--store", str(tmp_path / "store"))
    assert look.status == whole.status == 0, look.errors + whole.errors
    assert "mini@limit-5" in look.output and "limit" not in whole.output
    plans = [
        api.plan(recipe(targets=TARGETS, limit=limit), data=world, store=tmp_path / "store") for limit in (5, None)
    ]
    tokens = [sum(one.tokens for one in plan.estimates.values()) for plan in plans]
    assert tokens[0] == pytest.approx(tokens[1] / 8)  # 5 rows of 40
    assert viaduct("plan", str(file), "--data", str(world), "--limit", "0").status == 2
