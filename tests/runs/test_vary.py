"""Settings that a recipe varies: side by side on one page; the result is the one chosen on English dev alone."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev

import pytest
import small_world
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from small_world import census, expand, recipe

from viaduct import api
from viaduct.errors import NumbersError, UsageError
from viaduct.results.store import Store
from viaduct.results.writing import canonical
from viaduct.runs.collect import CellEntry, RunRecord, StageEntry
from viaduct.runs.execute import Options
from viaduct.runs.selection import with_choices
from viaduct.runs.spec import Intermediate, Recipe, Target, Training
from viaduct.runs.stage import Context, Spent

RATES = {"targets.*.training.learning_rate": (1e-5, 3e-5)}
LOW, HIGH = "learning_rate 1e-05", "learning_rate 3e-05"
FRUIT = "mini/none/fruit/seed-1"
DEV = {1e-5: 0.4, 2e-5: 0.5, 3e-5: 0.6}
"""Learning rate -> the English dev score that a training reports."""


def varied(**changes: object) -> Recipe:
    fields = {"targets": (Target(task="fruit"),), "seeds": (1,), "vary": RATES, **changes}
    return recipe(**fields)


@pytest.fixture
def with_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings log the dev scores of `DEV`, in the second of two evaluations."""
    original = small_world.run

    def run(context: Context) -> Spent:
        spent = original(context)
        if context.work.kind == "train":
            scores = (0.1, DEV[context.work.training.learning_rate]) if context.work.task == "fruit" else (0.5,)
            log = {"evaluations": [{"step": step, "loss": 1.0, "score": score} for step, score in enumerate(scores)]}
            (context.directory / "training.json").write_text(json.dumps(log))
        return spent

    monkeypatch.setattr(small_world, "run", run)


def go(asked: Recipe, data: Path, store: Path) -> Path:
    options = Options(device="cpu", threads=1, poll_seconds=0.01)
    return api.run(asked, data=data, store=store, options=options, console=Console(quiet=True), command="test").report


def test_a_plan_shares_what_settings_share(world: Path) -> None:
    plan = expand(varied(targets=(Target(task="fruit"), Target(task="twins"))), census(world))
    cells = [(cell.arm, cell.target.task, cell.setting) for cell in plan.cells]
    assert cells == [
        *(("none", "fruit", LOW), ("none", "twins", LOW), ("quiz", "fruit", LOW), ("quiz", "twins", LOW)),
        *(("none", "fruit", HIGH), ("quiz", "fruit", HIGH)),
    ]
    trained = [stage for stage in plan.stages if stage.work.kind == "train"]
    assert len(trained) == 1 + 2 * 2, "the intermediate task once, either arm's target once a rate"
    chosen_by = {(cell.arm, cell.setting): cell.dev for cell in plan.cells if cell.target.task == "fruit"}
    assert {stage.work.training.learning_rate for (_, name), stage in chosen_by.items() if name == HIGH} == {3e-5}


@pytest.mark.usefixtures("with_logs")
def test_settings_stand_on_one_page_and_the_best_on_dev_is_the_result(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    page = go(varied(), world, store)
    assert page.parent.name == "small"
    assert {path.name for path in (store / FRUIT).iterdir() if path.is_dir()} == {
        f"{kind}{suffix}" for kind in ("train", "predict", "score") for suffix in ("", "@learning_rate-3e-05")
    }
    about = json.loads((page.parent / "about.json").read_text())
    tried = {(one["arm"], one["setting"]): (one["dev"], one["chosen"]) for one in about["tried"]}
    assert tried == {
        (arm, name): (score, name == HIGH) for arm in ("none", "quiz") for name, score in ((LOW, 0.4), (HIGH, 0.6))
    }
    rows = [json.loads(line) for line in (page.parent / "rows.jsonl").read_text().splitlines()]
    right = json.loads((store / FRUIT / "score@learning_rate-3e-05" / "stage.json").read_text())["fingerprint"]
    assert {row["fingerprint"] for row in rows if row["arm"] == "none"} == {right}
    assert len({(row["arm"], row["language"], row["metric"]) for row in rows}) == len(rows)
    html = page.read_text(encoding="utf-8")
    assert "best of 2 settings on English dev: fruit" in html and "Settings tried" in html
    assert re.search(rf"{HIGH} <b>\(chosen\)", html) and not re.search(rf"{LOW} <b>\(chosen\)", html)
    lines = (page.parent / "settings.csv").read_text().splitlines()
    assert len(lines) == 1 + 4
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)
    alone = varied(vary={}, targets=(Target(task="fruit", training=Training(learning_rate=1e-5)),))
    assert go(alone, world, store).parent.name.startswith("small@"), "one of the settings alone, on a page of its own"
    assert go(varied(), world, store) == page and api.status("small", store=store)


def diverging(monkeypatch: pytest.MonkeyPatch, *rates: float) -> list[float]:
    """Trainings on fruit at these rates diverge; returns a list that collects the rate of each one that begins."""
    run, begun = small_world.run, list[float]()

    def until_it_diverges(context: Context) -> Spent:
        if context.work.kind == "train" and context.work.task == "fruit":
            begun.append(context.work.training.learning_rate)
            if begun[-1] in rates:
                raise NumbersError("the training loss at step 7 is nan", fix="lower the learning rate")
        return run(context)

    monkeypatch.setattr(small_world, "run", until_it_diverges)
    return begun


@pytest.mark.usefixtures("with_logs")
def test_a_setting_that_diverges_is_given_up_and_the_others_go_on(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, store = diverging(monkeypatch, 3e-5), tmp_path / "store"
    page = go(varied(intermediates=(Intermediate(name="none"),)), world, store)
    about = json.loads((page.parent / "about.json").read_text())
    tried = {one["setting"]: (one["dev"], one["chosen"], one["given_up"]) for one in about["tried"]}
    assert tried == {LOW: (0.4, True, False), HIGH: (None, False, True)}
    rows = [json.loads(line) for line in (page.parent / "rows.jsonl").read_text().splitlines()]
    right = json.loads((store / FRUIT / "score" / "stage.json").read_text())["fingerprint"]
    assert {row["fingerprint"] for row in rows} == {right}
    assert f"{HIGH} (given up: its training produced non-finite numbers)" in page.read_text(encoding="utf-8")
    states = {one.path: one.state for one in api.status("small", store=store)}
    lost = {f"{FRUIT}/{kind}@learning_rate-3e-05" for kind in ("train", "predict", "score")}
    assert {path for path, state in states.items() if state == "given up"} == lost
    assert {state for path, state in states.items() if path not in lost} == {"done"} and begun == [1e-5, 3e-5]
    assert go(varied(intermediates=(Intermediate(name="none"),)), world, store) == page and begun == [1e-5, 3e-5]


@pytest.mark.usefixtures("with_logs")
def test_a_run_ends_where_an_arm_has_no_setting_left(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging(monkeypatch, 1e-5, 3e-5)
    with pytest.raises(NumbersError, match="train@learning_rate-3e-05: the training loss at step 7 is nan"):
        go(varied(), world, tmp_path / "store")


@pytest.mark.usefixtures("with_logs")
def test_committed_rows_hold_what_the_choice_was_made_by(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)
    rows = tmp_path / "rows"
    page = go(varied(), world, tmp_path / "store")
    api.add_rows("small", store=tmp_path / "store", rows=rows)
    alone = api.report("small", store=tmp_path / "none", rows=rows)
    monkeypatch.setattr(small_world, "run", lambda context: pytest.fail("something was run"))
    options = Options(device="cpu", threads=1)
    again = api.run(varied(), data=world, store=tmp_path / "b", rows=rows, options=options, console=Console(quiet=True))
    for other in (alone.parent, again.directory):
        for name, key in (("about.json", "tried"), ("rows.jsonl", None)):
            found, expected = ((folder / name).read_text() for folder in (other, page.parent))
            assert found == expected if key is None else json.loads(found)[key] == json.loads(expected)[key]


@pytest.mark.parametrize(
    ("vary", "words"),
    [
        ({"targets.*.training.learning_rat": (1, 2)}, "Did you mean 'learning_rate'"),
        ({"targets.*.training.learning_rate": (1e-5,)}, "1 values, not two or more that differ"),
        ({"targets.*.training.learning_rate": (1e-5, 1e-5)}, "the setting 'learning_rate 1e-05' appears twice"),
        ({"targets.*.training.learning_rate": (1e-5, "1e-5")}, "appears twice"),
        ({"targets.*.training.batch_tokens": (10, 10.0)}, "the setting 'batch_tokens 10' appears twice"),
        ({"targets.*.training.dev_rows": (3, 40)}, "which English dev rows are scored, or how often"),
        ({"targets.*.training.evaluations": (1, 5)}, "which English dev rows are scored, or how often"),
        ({"targets.*.training.patience": (1, 2)}, "which English dev rows are scored, or how often"),
        ({"targets.*.training.max_steps": (2, 40)}, "no `max_steps` below `evaluations`"),
        ({"targets.*.training": ({"dev_rows": 3}, {"dev_rows": 40})}, "the same `dev_rows`, `evaluations` and"),
        ({"intermediates.quiz.training.evaluations": (1, 5)}, "which English dev rows are scored, or how often"),
        ({"targets.*.training.learning_rate": (1e-5, -1.0)}, "vary targets"),
        ({"seeds": ((1,), (2,))}, "changes more than how something is trained"),
        ({"targets.fruit.languages": (("en",), ("en", "de"))}, "changes more than how something is trained"),
        ({"targets.fruit.training.max_length": (64, 128)}, ""),
        ({"targets.fruit.training": ({"dev_rows": 3}, {"dev_rows": 3, "epochs": 2})}, ""),
    ],
)
def test_what_is_no_setting_is_refused(vary: Mapping[str, tuple[object, ...]], words: str, world: Path) -> None:
    if not words:
        assert len({cell.setting for cell in expand(varied(vary=vary), census(world)).cells}) == 2
        return
    with pytest.raises(UsageError, match=words):
        expand(varied(vary=vary), census(world))


def test_rates_that_agree_in_six_digits_are_settings_of_their_own(world: Path) -> None:
    rates = (1.00000001e-2, 1.00000002e-2, 1e-3)
    plan = expand(varied(vary={"targets.*.training.learning_rate": rates}), census(world))
    names = ("0.0100000001", "0.0100000002", "0.001")
    assert {cell.setting for cell in plan.cells} == {f"learning_rate {name}" for name in names}
    trained = [stage for stage in plan.stages if stage.work.kind == "train" and stage.work.task == "fruit"]
    assert {stage.work.training.learning_rate for stage in trained} == set(rates)


def test_settings_are_not_compared_on_dev_rows_of_different_tasks(world: Path) -> None:
    """Nothing is trained for retrieval, so dev rows of the intermediate tasks would have to choose between the two."""
    asked = varied(targets=(Target(task="twins"),), vary={"intermediates.quiz.tasks": (("quiz",), ("fruit",))})
    with pytest.raises(UsageError, match="scores on the same English dev rows"):
        expand(asked, census(world))


def test_settings_without_dev_scores_are_refused(world: Path) -> None:
    """Nothing is trained between pretraining and retrieval, so no dev score tells two pretrainings apart."""
    asked = varied(
        targets=(Target(task="twins"),),
        intermediates=(Intermediate(name="none"),),
        vary={"encoder.training.learning_rate": (1e-3, 2e-3)},
    )
    with pytest.raises(UsageError, match="nothing chooses among the settings of none on twins"):
        expand(asked, census(world))


def fake_run(root: Path, dev: Mapping[tuple[str, str], float], test: Mapping[tuple[str, str], float]) -> RunRecord:
    """A finished run with these scores by (arm, setting), of one task and seed."""
    stages, cells = [], []
    for (arm, name), score in dev.items():
        train, scored = f"{arm}/train@{name}", f"{arm}/score@{name}"
        left = (train, "training.json", {"evaluations": [{"step": 1, "loss": 1.0, "score": score}]})
        entries = [{"metric": "accuracy", "language": "en", "value": test[arm, name]}]
        for path, file, content in (left, (scored, "scores.json", entries)):
            (root / path).mkdir(parents=True, exist_ok=True)
            (root / path / file).write_text(canonical(content))
            (root / path / "stage.json").write_text(canonical({"fingerprint": path, "identity": {}}))
            kind = path.rpartition("/")[2].partition("@")[0]
            stages.append(StageEntry(arm=arm, task="t", seed=1, path=path, kind=kind, fingerprint=path))
        cells.append(
            CellEntry.model_construct(
                arm=arm, task="t", seed=1, setting=name, dev=train, score=scored, headline="accuracy"
            )
        )
    return RunRecord.model_construct(stages=tuple(stages), cells=tuple(cells))


NAMES = ("a", "b", "c", "d")


@settings(max_examples=15)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=4, max_size=4), st.data())
def test_no_test_score_can_change_the_choice(
    tmp_path_factory: pytest.TempPathFactory, scores: list[float], data: st.DataObject
) -> None:
    dev = {("arm", name): score for name, score in zip(NAMES, scores, strict=True)}
    chosen = set()
    for _ in range(2):
        test = {key: data.draw(st.floats(0, 1)) for key in dev}
        root = tmp_path_factory.mktemp("store")
        found = with_choices(Store(root), fake_run(root, dev, test))
        (cell,) = found.cells
        chosen.add(cell.setting)
        assert {one.setting: one.test for one in found.tried} == {name: test["arm", name] for name in NAMES}
        assert [one.setting for one in found.tried if one.chosen] == [cell.setting]
    assert chosen == {NAMES[scores.index(max(scores))]}


def test_in_a_null_world_the_chosen_settings_score_as_all_do(tmp_path: Path) -> None:
    """Dev and test scores of equally good settings are independent noise: what dev chooses is no better on test, while
    what test would choose is (by a standard deviation, with four settings)."""
    drawn = random.Random(3)
    keys = [(f"arm-{number}", name) for number in range(250) for name in NAMES]
    dev, test = ({key: drawn.gauss(0.5, 0.05) for key in keys} for _ in range(2))
    found = with_choices(Store(tmp_path), fake_run(tmp_path, dev, test))
    chosen = [one.test for one in found.tried if one.chosen and one.test is not None]
    assert len(chosen) == len(found.cells) == 250
    error = stdev(test.values()) / 250**0.5
    assert abs(fmean(chosen) - fmean(test.values())) < 3 * error
    best = fmean(max(test[arm, name] for name in NAMES) for arm, name in keys[::4])
    assert best - fmean(test.values()) > 10 * error


def test_nothing_is_chosen_before_all_settings_are_trained(tmp_path: Path) -> None:
    dev = {("arm", name): 0.5 for name in NAMES}
    record = fake_run(tmp_path, dev, dev)
    (tmp_path / "arm/train@d/stage.json").write_text(canonical({"fingerprint": "another", "identity": {}}))
    found = with_choices(Store(tmp_path), record)
    assert not found.cells and not any(one.chosen for one in found.tried)
    assert [one.dev for one in found.tried] == [0.5, 0.5, 0.5, None]
