"""The Measure stage: its place in a plan, its output, and its measurements of models that are really run."""

from __future__ import annotations

import json
import statistics
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_world
import tiny
from rich.console import Console
from small_world import census, expand, recipe

from viaduct import api, plans
from viaduct.errors import UsageError
from viaduct.heads.head import build_head, head_spec, save_head
from viaduct.models.encoder import save_encoder
from viaduct.runs import execute
from viaduct.runs.execute import Options
from viaduct.runs.identity import literals
from viaduct.runs.plan import Plan
from viaduct.runs.spec import Intermediate, Target
from viaduct.runs.stage import Context, Spent, Stage
from viaduct.serving import timing
from viaduct.serving.comparison import compare
from viaduct.serving.compression import Compression
from viaduct.serving.measure import MEASURING, ArmEngine, Measure, MeasureWork
from viaduct.serving.records import MeasuredArms
from viaduct.serving.timing import PairedRounds, TimedModel

ARMS = (Intermediate(name="quiz", tasks=("quiz",)), Intermediate(name="none"))
QUICK = Options(device="cpu", threads=2, poll_seconds=0.01)


def measures(plan: Plan) -> list[Stage]:
    return [one for one in plan.stages if one.work.kind.startswith("measure")]


def test_a_plan_measures_all_arms_of_the_first_trained_target_once_and_last(world: Path) -> None:
    targets = (Target(task="twins"), Target(task="berry"), Target(task="quiz"))
    plan = expand(recipe(intermediates=ARMS, targets=targets, seeds=(3, 4), measure=Measure()), census(world))
    (one,) = measures(plan)
    assert plan.stages[-1] is one
    assert isinstance(one.work, MeasureWork)
    assert (one.work.task, one.work.languages, one.work.seed) == ("berry", ("en", "de"), 3)
    assert [runner.arm for runner in one.work.arms] == ["none", "quiz"], "the baseline is what others are compared with"
    assert {arm: source.path for arm, source in one.inputs.items()} == {
        "none": "mini/none/fruit/seed-3/train",
        "quiz": "mini/quiz/fruit/seed-3/train",
    }
    assert plan.needs[one.path] == (("berry", "test", "en"), ("berry", "test", "de"))
    assert (plan.places[one.path].arm, plan.places[one.path].task) == ("", "berry")
    named = expand(recipe(intermediates=ARMS, targets=targets, measure=Measure(task="quiz")), census(world))
    assert isinstance(measures(named)[0].work, MeasureWork) and measures(named)[0].work.task == "quiz"


def test_nothing_is_measured_where_nothing_is_asked(world: Path) -> None:
    assert not measures(expand(recipe(measure=None), census(world)))
    with pytest.raises(UsageError, match="trained target in `measure`: 'twins'"):
        expand(recipe(measure=Measure(task="twins")), census(world))


def test_without_a_trained_target_the_encoders_that_search_are_measured(world: Path, tiny_encoder: Path) -> None:
    targets = (Target(task="twins"), Target(task="mine"))
    (one,) = measures(expand(recipe(intermediates=ARMS, targets=targets, measure=Measure()), census(world)))
    assert one.work.kind == "measure_search" and one.encoder is None
    assert {arm: source.path for arm, source in one.inputs.items()} == {
        "none": "mini/pretrain",
        "quiz": "mini/quiz/intermediate-1-quiz/seed-1/train",
    }
    ready = recipe(encoder=str(tiny_encoder), intermediates=ARMS, targets=targets, measure=Measure())
    (one,) = measures(expand(ready, census(world)))
    assert one.encoder == str(tiny_encoder) and list(one.inputs) == ["quiz"]
    assert isinstance(one.work, MeasureWork) and [each.arm for each in one.work.arms] == ["none", "quiz"]


def test_another_arm_is_another_measurement_and_one_that_is_left_out_none(world: Path) -> None:
    few = recipe(intermediates=(Intermediate(name="none"),), measure=Measure())
    more = recipe(intermediates=ARMS, measure=Measure())
    paths = [measures(expand(one, census(world)))[0].path for one in (few, more)]
    assert len(set(paths)) == 2 and all(path.startswith("mini/measure/fruit-") for path in paths)
    (world / "quiz" / "train-en.tsv").unlink()
    optional = (ARMS[0].model_copy(update={"optional": True}), ARMS[1])
    plan = expand(recipe(intermediates=optional, measure=Measure()), census(world))
    assert plan.left_out and measures(plan)[0].path == paths[0]


def test_the_plan_says_what_is_measured_and_forecasts_it(world: Path) -> None:
    planned = api.plan(recipe(intermediates=ARMS, measure=Measure(threads=2)), data=world, store=world / "store")
    (line,) = [line for line in plans.text(planned).splitlines() if "measure the cost" in line]
    assert "of inference of 2 arms on fruit, on the CPU with 2 threads: to do" in line
    assert planned.estimates[measures(planned.plan)[0].path].tokens > 0


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Context]]:
    """Replaces the stage with one that measures nothing; yields the contexts that it was given."""
    given: list[Context] = []

    def run(context: Context, _work: MeasureWork) -> Spent:
        given.append(context)
        found = MeasuredArms(task="fruit", seed=1, first="none", round_rows=1, load_average_before=0.0, arms=())
        (context.directory / "inference.json").write_text(found.model_dump_json(), encoding="utf-8")
        return Spent()

    monkeypatch.setattr(MEASURING, "run", run)
    monkeypatch.setattr("viaduct.report.page.write", small_world.write_no_report)
    yield given


def test_a_run_measures_on_the_cpu_with_the_threads_asked_for(
    world: Path, tmp_path: Path, fake: list[Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "resolve_device", lambda _asked: "cuda")
    asked = recipe(intermediates=ARMS, seeds=(1,), measure=Measure(threads=1))
    result = api.run(asked, data=world, store=tmp_path, options=QUICK, console=Console(quiet=True), command="test")
    report = result.report
    (context,) = fake
    assert (context.device, context.threads) == ("cpu", 1)
    assert set(context.inputs) == {"none", "quiz"}
    (line,) = (report.parent / "measured.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["task"] == "fruit"
    costs = [json.loads(line) for line in (report.parent / "costs.jsonl").read_text().splitlines()]
    assert [(cost["device"], cost["threads"]) for cost in costs if cost["stage"] == "measure"] == [("cpu", 1)]
    api.run(asked, data=world, store=tmp_path, options=QUICK, console=Console(quiet=True), command="test")
    assert len(fake) == 1, "what is measured is not measured again"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two trained models of one shape, and one that is six times as deep."""
    words = tiny.tokenizer()
    spec = head_spec(tiny.CARDS["pair"])
    folders = {}
    for seed, (name, layers) in enumerate({"none": 2, "same": 2, "deep": 12}.items()):
        folders[name] = tmp_path_factory.mktemp(name) / "train"
        folders[name].mkdir()
        save_encoder(tiny.encoder(words, seed=seed, layers=layers), words, folders[name] / "encoder")
        save_head(build_head(spec, 32, 0.0), spec, folders[name])
    return folders


class StoppedError(Exception):
    """Raised in place of a measurement."""


def stopped(jobs: Any, _threads: int) -> Any:
    raise StoppedError(jobs[0].folder)


def test_models_are_really_measured(models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = MeasureWork(
        arms=tuple(ArmEngine(arm=name) for name in models),
        task="tiny-pair",
        languages=("en",),
        split="test",
        max_length=64,
        stride=8,
        seed=1,
        settings=Measure(rows=12, rounds=20, round_rows=4),
    )
    notes: list[str] = []
    made = tiny.context(work, tmp_path, {("tiny-pair", "test", "en"): tiny.rows("pair", 30)})
    own = {"encoder": str(models["none"] / "encoder"), "inputs": {name: models[name] for name in ("same", "deep")}}
    with monkeypatch.context() as patch:
        patch.setattr("viaduct.serving.measurement.results", stopped)
        with pytest.raises(StoppedError, match=str(models["none"] / "encoder")):
            tiny.run(replace(made, **own))
    made = replace(made, inputs=models, progress=lambda done, total, note: notes.append(f"{done:g}/{total:g} {note}"))
    spent = tiny.run(made)
    assert spent.tokens > 0 and spent.flops
    assert notes[0] == "0/6 profile of none" and notes[3] == "3/6 none against none" and notes[-1] == "6/6 "
    found = MeasuredArms.model_validate_json((tmp_path / "output" / "inference.json").read_text(encoding="utf-8"))
    none, same, deep = found.arms
    assert none.keys == same.keys != deep.keys
    assert len(none.seconds) == len(none.against) == 20
    assert none.profile["cost"] == {**same.profile["cost"], **_rates(none.profile["cost"])}
    assert len(none.profile["samples"]["latency_ms"]) == 12
    assert none.profile["conditions"]["rows"] == "12 examples: tiny-pair test, en"
    slower = statistics.median(own / other for own, other in zip(deep.seconds, deep.against, strict=True))
    assert slower > 1.3
    said = compare([found], ())
    assert said is not None and not said.refusal
    assert [line.arm for line in said.lines] == ["none", "same", "deep"]


def _rates(cost: dict[str, object]) -> dict[str, object]:
    """The entries that depend on the machine's speed, which two measurements do not share."""
    return {name: cost[name] for name in ("flops_per_second_of_products", "most_sentences_per_second", "by_language")}


def test_models_take_turns_and_are_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """This cancels out a machine that keeps getting slower, and a model that is faster if opened first."""
    clock = [0.0]
    opened: list[str] = []

    class Model:
        def __init__(self, name: str) -> None:
            self.cost = 1.0 + 0.1 * (len(opened) % 2)
            opened.append(name)

        def __call__(self, _batch: object) -> None:
            clock[0] += self.cost * (1 + clock[0] / 1e4)

        def wait(self) -> None: ...

    monkeypatch.setattr(timing, "open_engine", lambda folder, *_: Model(str(folder)))
    monkeypatch.setattr(timing, "read_tokens", lambda _path: None)
    monkeypatch.setattr(TimedModel, "singles", lambda *_: [object()] * 4)
    monkeypatch.setattr(timing, "time", types.SimpleNamespace(perf_counter=lambda: clock[0]))
    first, other = (TimedModel(name, "torch", "fp32", 1, "", 1) for name in ("first", "other"))
    found = PairedRounds(first, other, rounds=20, rows=4).run()
    assert opened == ["other", "first", "first", "other"] * 2
    ratios = [own / against for own, against in zip(found["seconds"], found["against"], strict=True)]
    assert statistics.geometric_mean(ratios) == pytest.approx(1.0, abs=0.01)
    assert min(ratios) < 0.95 and max(ratios) > 1.05, "what one opening decides is not the same in all rounds"


def test_a_measuring_process_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta"}', encoding="utf-8")
    rows = str(tmp_path / "rows")
    one, other = (TimedModel(str(tmp_path), *how, 1, rows, 1) for how in (("torch", "fp32"), ("onnx", "int8")))
    job = PairedRounds(one, other, rounds=1, rows=1)
    with pytest.raises(UsageError, match=r"measures onnx int8 against torch fp32 failed: .*/rows/"):
        list(timing.results([job], threads=1))
    assert str(one) == "torch fp32", "a profile that fails is named so"


def test_a_gpu_is_measured_where_the_recipe_says_so_and_never_taken_for_the_cpu(world: Path, tmp_path: Path) -> None:
    plain, there = (
        measures(expand(recipe(intermediates=ARMS, measure=Measure(device=device)), census(world)))[0]
        for device in ("cpu", "cuda")
    )
    assert plain.path == measures(expand(recipe(intermediates=ARMS, measure=Measure()), census(world)))[0].path
    assert plain.path != there.path and "device" not in literals(plain.work)["settings"]
    assert (MEASURING.on_cpu(plain.work), MEASURING.on_cpu(there.work)) == (True, False)
    assert MEASURING.label(plain.work).endswith("on the CPU with 1 thread") and MEASURING.label(there.work).endswith(
        "a GPU"
    )
    context = tiny.context(there.work, tmp_path, {})
    with pytest.raises(UsageError, match=r"measure.device is cuda, but this run is on cpu\n.*--device cuda"):
        tiny.run(context)
    quantised = Intermediate(name="rough", compression=Compression(precision="int8"))
    with pytest.raises(
        UsageError, match=r"measure.device is cuda, but the arm 'rough' runs with torch in int8, on CPUs"
    ):
        expand(recipe(intermediates=(*ARMS, quantised), measure=Measure(device="cuda")), census(world))
