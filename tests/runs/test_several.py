"""Several encoders in one recipe: one run each, and one page with all their scores and costs."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from programs import viaduct
from small_world import recipe

from viaduct import api, several
from viaduct.errors import UsageError
from viaduct.report import joint
from viaduct.runs.recipes import load_recipe
from viaduct.runs.spec import Pretrain, Recipe, Target

TWO = (Pretrain(name="mini", text=("prose",)), Pretrain(name="midi", text=("prose",)))


def asked(**changes: object) -> Recipe:
    fields = {**dict(recipe()), "targets": (Target(task="fruit"), Target(task="twins")), "seeds": (1,), **changes}
    fields.pop("encoder")
    return Recipe(**{**fields, "encoders": [{"encoder": one} for one in TWO]})


@pytest.mark.usefixtures("no_heat_map_files")
def test_each_encoder_has_a_run_and_one_page_has_all(world: Path) -> None:
    store = world / "store"
    (world / "two.yaml").write_text(asked().model_dump_json(), encoding="utf-8")
    common = ("--data", str(world), "--store", str(store))
    planned = viaduct("plan", str(world / "two.yaml"), *common)
    assert planned.status == 0 and "mini (made here)" in planned.output and "midi (made here)" in planned.output
    done = viaduct("run", str(world / "two.yaml"), *common, "--device", "cpu", "--threads", "1")
    assert done.status == 0, done.errors
    page = store / "runs" / "small" / "report.html"
    assert done.output.strip() == f"report: {page}"
    text = page.read_text(encoding="utf-8")
    for name in ("small-mini", "small-midi"):
        assert (store / "runs" / name / "report.html").is_file() and f'href="../{name}/report.html"' in text
    scores = api.open_run("small-midi", store=store).scores
    found = json.loads((page.parent / "report.json").read_text())
    assert {row["encoder"] for row in found["records"]["results"]} == {"mini", "midi"}
    with (page.parent / "encoders.csv").open(encoding="utf-8", newline="") as file:
        lines = {(line["encoder"], line["arm"]): line for line in csv.DictReader(file)}
    assert set(lines) == {(encoder, arm) for encoder in ("mini", "midi") for arm in ("none", "quiz")}
    own = scores[(scores.arm == "quiz") & (scores.task == "twins") & scores.headline].value.mean()
    assert float(lines["midi", "quiz"]["twins"]) == pytest.approx(own)
    with (page.parent / "per_language.csv").open(encoding="utf-8", newline="") as file:
        languages = {(line["encoder"], line["task"], line["language"]) for line in csv.DictReader(file)}
    assert {one[::2] for one in languages if one[1] == "twins"} == {
        (e, c) for e in ("mini", "midi") for c in ("de", "sw")
    }
    assert "not measured" in text and "No model has both" in text
    page.unlink()
    again = viaduct("report", "small", "--store", str(store))
    assert again.status == 0 and page.read_text(encoding="utf-8") == text
    assert viaduct("status", "small", "--store", str(store)).output.count("report: ") == 2


def test_encoders_are_written_in_one_line(tmp_path: Path) -> None:
    text = "{name: a, hypothesis: b, encoders: [us/one@abc, us/two@def], targets: [{task: xnli}]}"
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    first, second = several.each(load_recipe(tmp_path / "a.yaml", seeds=(4,)))
    assert (first.name, first.encoder, first.revision, first.seeds) == ("a-us--one", "us/one", "abc", (4,))
    assert (second.name, second.encoder, second.revision) == ("a-us--two", "us/two", "def")
    (tmp_path / "a.yaml").write_text(text.replace("encoders", "encoder: us/one, encoders"), encoding="utf-8")
    with pytest.raises(UsageError, match="has both `encoder` and `encoders`"):
        load_recipe(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text(text.replace("us/two@def", "us/one@abc"), encoding="utf-8")
    with pytest.raises(UsageError, match="two encoders are called us--one: us/one and us/one"):
        several.each(load_recipe(tmp_path / "a.yaml"))


def test_several_models_are_evaluated_with_the_settings_of_each(tiny_encoder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(tiny_encoder, tmp_path / name)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    models = [str(tmp_path / name) for name in ("one", "two")]
    made = several.evaluations(models, None, ["targets.tatoeba.retrieval.layers=[1]"], tasks=("tatoeba",), seeds=(2,))
    assert [Path(str(one.encoder)).name for one in made] == ["one", "two"]
    assert all(one.targets[0].retrieval.layers == (1,) and one.seeds == (2,) for one in made)
    with pytest.raises(UsageError, match="owner/name@commit for each"):
        several.evaluations(models, "abc", [], tasks=("tatoeba",))
    for twice in ([*models, models[0]], [models[0], str(tmp_path / "link")]):
        with pytest.raises(UsageError, match=rf"two encoders are called one: {twice[0]} and {twice[-1]}"):
            several.evaluations(twice, None, [], tasks=("tatoeba",))


def test_a_quick_look_and_other_settings_do_not_take_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = several.each(asked(limit=10))
    assert [one.run_name for one in recipes] == ["small-mini@limit-10", "small-midi@limit-10"]
    made: list[str] = []
    plan = SimpleNamespace(plan=SimpleNamespace(missing=(), recipe=None), census=None)
    monkeypatch.setattr(several, "require", lambda *_: None)
    monkeypatch.setattr(api, "plan", lambda *_, **__: plan)
    monkeypatch.setattr(joint, "write", lambda *_: None)
    monkeypatch.setattr(api, "run", lambda one, **_: SimpleNamespace(directory=Path(f"{one.run_name}{''.join(made)}")))

    def place() -> str:
        return several.run(recipes, "small", data=None, store=tmp_path).directory.name

    assert [place(), place()] == ["small", "small"]
    made.append("@12345678")  # the same encoders with other settings have runs of their own
    own = place()
    assert own.startswith("small@") and place() == own
    made.clear()
    assert place() == "small" and several.members(own, tmp_path) != several.members("small", tmp_path)
    (tmp_path / "runs" / "alone").mkdir()
    (tmp_path / "runs" / "alone" / "run.json").write_text("{}")
    assert several.run(recipes, "alone", data=None, store=tmp_path).directory.name.startswith("alone@")


def line(encoder: str, average: float, latency: float, missing: str | None = None) -> joint.Line:
    costs = dict(zip(joint.COSTS, (latency, 2.0**30, 2.0**29), strict=True))
    return joint.Line(encoder, "none", encoder, {}, {"value": average, "missing": missing}, costs, ())


def test_models_of_one_shape_cost_the_same(tmp_path: Path) -> None:
    common = {"engine": "torch", "precision": "fp32", "parameters_embedding": "5", "parameters_rest": "7"}
    measured = [
        {
            **common,
            "arm": arm,
            "flops_per_sentence": flops,
            "latency_ms_p50": latency,
            "peak_bytes": "",
            "disk_bytes": "9",
        }
        for arm, flops, latency in (("a", "1.0", "3"), ("b", "1.0", "5"), ("c", "0.5", "2"))
    ]
    main = [
        {"arm": one["arm"], "task": "average", "headline": False, "value": 0.5, "missing": None} for one in measured
    ]
    written = {
        "about": {"encoder": "x", "miniature": True, "limit": None, "marks": {}},
        "tables": {"main_table": main, "per_language": []},
    }
    run = tmp_path / "r-x"
    run.mkdir()
    (run / "report.json").write_text(json.dumps({**written, "records": {"results": [], "costs": []}}), encoding="utf-8")
    with (run / "inference.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(measured[0]))
        writer.writeheader()
        writer.writerows(measured)
    page = joint.write(tmp_path / "r", "r", "h <b>", [run]).read_text(encoding="utf-8")
    assert "Generated world" in page and "h &lt;b&gt;" in page
    with (tmp_path / "r" / "encoders.csv").open(encoding="utf-8", newline="") as file:
        assert [line["latency_ms_p50"] for line in csv.DictReader(file)] == ["4.0", "4.0", "2.0"]


def test_what_no_other_point_beats_is_on_the_frontier() -> None:
    lines = [line("quick", 0.6, 1.0), line("good", 0.8, 3.0), line("worse", 0.7, 4.0), line("part", 0.9, 0.5, "xnli")]
    assert joint.best(lines) == {"quick none", "good none"}
    drawn = joint.frontier_plot(lines, joint.best(lines))
    assert drawn is not None and "worse none" in drawn.svg and "part none" not in drawn.svg
    assert joint.frontier_plot(lines[3:], set()) is None
