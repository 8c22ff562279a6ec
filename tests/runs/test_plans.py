"""What `viaduct plan` prints: a tree in which shared work appears once, what is missing, and the expected cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import viaduct
from small_world import recipe
from typer.testing import CliRunner

from viaduct import api, cli, plans
from viaduct.plans import DEVICES
from viaduct.runs.encoder import KNOWN, Shape, shape_of
from viaduct.runs.planned import Load
from viaduct.runs.spec import Architecture, Intermediate, Pretrain, Target, Training
from viaduct.serving.measure import Measure

NONE = Intermediate(name="none")


def planned(world: Path, **changes: object) -> api.Planned:
    return api.plan(recipe(**changes), data=world, store=world / "store")


def lines(world: Path, **changes: object) -> list[str]:
    """The lines of the tree without the branches drawn at the left."""
    text = plans.text(planned(world, **changes)).split("\n\n")[1]
    return [line.lstrip("│├└─ ") for line in text.splitlines()]


def test_work_stands_below_what_it_takes_and_seeds_share_a_line(world: Path) -> None:
    arms = (NONE, Intermediate(name="quiz", tasks=("quiz",)))
    found = lines(world, intermediates=arms, targets=(Target(task="fruit"), Target(task="twins")))
    stages = [line.partition(":")[0] for line in found]
    assert stages == [
        "mini (made here)",
        "pretrain mini in en de sw",
        "arm none",
        "train fruit",
        "predict fruit test in en de sw and score it",
        "predict twins test in de sw and score it",
        "arm quiz",
        "train quiz",
        "the same as below arm none",
    ]
    assert "seeds 1 2, to do" in found[3] and "tokens" in found[3]
    assert "seed" not in found[5], "nothing is trained before it"


def test_arms_that_begin_alike_have_one_beginning(world: Path) -> None:
    arms = (NONE, Intermediate(name="a", tasks=("quiz",)), Intermediate(name="b", tasks=("quiz", "fruit")))
    found = lines(world, intermediates=arms, targets=(Target(task="twins"),))
    stages = [line.partition(":")[0] for line in found]
    assert stages[stages.index("train quiz") - 1 :] == [
        "arms a, b",
        "train quiz",
        "arm a",
        "predict twins test in de sw and score it",
        "arm b",
        "train fruit",
        "predict twins test in de sw and score it",
    ], "too little to be named instead of shown"


def test_a_recipe_without_a_baseline_is_refused(world: Path) -> None:
    arms = [{"name": "a", "tasks": ["quiz"]}, {"name": "b", "tasks": ["fruit"]}]
    raw = {**recipe().model_dump(mode="json"), "intermediates": arms}
    (world / "recipe.yaml").write_text(json.dumps(raw), encoding="utf-8")
    done = viaduct("plan", str(world / "recipe.yaml"), "--data", str(world))
    assert done.status == 2 and done.output == ""
    assert "the arms a, b and no baseline" in done.errors and "{name: none}" in done.errors


def test_counts_states_and_disk_are_said(world: Path) -> None:
    found = planned(world)
    done = {
        stage.path: "done" if stage.path.endswith("fruit/seed-1/train") else "waiting" for stage in found.plan.stages
    }
    text = plans.text(type(found)(**{**found.__dict__, "states": done}))
    assert "1 of 2 stages done" in text
    assert f"{len(found.plan.stages)} stages ({found.plan.unshared - len(found.plan.stages)} saved by sharing)" in text
    assert "GB free at" in text and "one A100" in text and "assumed" in text


def test_missing_data_are_listed_with_the_tree_and_status_1(world: Path) -> None:
    (world / "fruit" / "test-en.tsv").unlink()
    (world / "twins" / "test-de.tsv").unlink()
    path = world / "recipe.json"
    raw = recipe(intermediates=(NONE, Intermediate(name="quiz", tasks=("quiz",)))).model_dump(mode="json")
    (world / "recipe.yaml").write_text(json.dumps(raw), encoding="utf-8")
    done = CliRunner().invoke(cli.app, ["plan", str(path.with_suffix(".yaml")), "--data", str(world)])
    assert done.exit_code == 1
    assert "predict fruit test in en de sw" in done.output and "arm quiz" in done.output
    assert "missing, so nothing can run:\n  - fruit test: no files for fruit, split test, language en" in done.output
    assert "from published numbers of rows: fruit test 40" in done.output
    assert "not included, at least in part: twins test (no published number)" in done.output
    assert "needs data that is missing" in done.output


def test_without_files_published_numbers_are_forecast(world: Path) -> None:
    only = {"targets": (Target(task="fruit", languages=("en",)),), "intermediates": (NONE,), "seeds": (1,)}
    path = "mini/none/fruit/seed-1/predict"
    counted = planned(world, **only).estimates[path].tokens
    (world / "fruit" / "test-en.tsv").unlink()
    assert planned(world, **only).estimates[path].tokens == 40 * 45 != counted


def test_a_left_out_arm_is_a_note(world: Path) -> None:
    (world / "quiz" / "train-en.tsv").unlink()
    arms = (NONE, Intermediate(name="quiz", tasks=("quiz",), optional=True))
    text = plans.text(planned(world, intermediates=arms))
    assert "note: arm quiz is left out: quiz train: no files for quiz" in text
    assert "arm quiz\n" not in text


def test_a_shape_is_found_without_downloading(tmp_path: Path) -> None:
    made = Pretrain(name="x", architecture=Architecture(layers=2, hidden=8, feed_forward=16, vocabulary=100))
    assert shape_of(made, None) == Shape(2, 8, 16, 100)
    assert shape_of(made, None).weights == 2 * (4 * 64 + 2 * 128)
    names = {"num_hidden_layers": 3, "hidden_size": 4, "intermediate_size": 5, "vocab_size": 6}
    (tmp_path / "config.json").write_text(json.dumps(names), encoding="utf-8")
    assert shape_of(str(tmp_path), None) == Shape(3, 4, 5, 6)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert shape_of(str(tmp_path), None) is None
    assert shape_of("nobody/XLM-RoBERTa-large", "0" * 40) == KNOWN["xlm-roberta-large"]
    assert shape_of("nobody/nothing", "0" * 40) is None
    assert shape_of("/no/such/folder", None) is None


def test_a_known_shape_has_the_size_of_the_model() -> None:
    assert KNOWN["xlm-roberta-large"].num_bytes / 4 == pytest.approx(559.9e6, rel=0.01)
    assert KNOWN["xlm-roberta-base"].token_flops == pytest.approx(170e6, rel=0.01)


def test_hours_grow_with_work_and_with_steps(world: Path) -> None:
    for device in DEVICES:
        assert device.seconds(Load(2e15, 768, 0, 0)) == pytest.approx(2 * device.seconds(Load(1e15, 768, 0, 0)))
        assert device.seconds(Load(1e15, 768, 10, 0)) > device.seconds(Load(1e15, 768, 0, 0))
        assert device.seconds(Load(1e15, 128, 0, 0)) > device.seconds(Load(1e15, 768, 0, 0))  # narrow models are slow
    short, long = (
        planned(world, targets=(Target(task="fruit", training=Training(max_steps=steps, batch_tokens=10)),))
        for steps in (2, 20)
    )
    assert short.load is not None and long.load is not None
    assert short.load.flops < long.load.flops and short.load.layer_passes < long.load.layer_passes
    assert planned(world, encoder="nobody/nothing", revision="0" * 40).load is None


@given(st.floats(0, 1e22), st.integers(16, 4096), st.floats(0, 1e9), st.floats(0, 1e5))
def test_no_accelerator_is_said_to_be_slower_than_a_core(
    flops: float, width: int, passes: float, seconds: float
) -> None:
    core, *others = (device.seconds(Load(flops, width, passes, seconds)) for device in DEVICES)
    assert all(other <= core for other in others)


def test_a_small_run_is_said_to_take_what_its_stages_and_processes_take_to_start(world: Path) -> None:
    """Matrix products take only 2 s here; most is opening and writing models, and processes that measure two arms."""
    small = planned(world, measure=Measure(rounds=1))
    assert small.load is not None
    core = DEVICES[0].seconds(small.load)
    assert core > 30 > 10 * small.load.flops / DEVICES[0].flops


def test_the_stage_that_holds_most_memory_is_named_with_a_note_where_the_machine_has_less(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = Target(task="fruit", training=Training(batch_tokens=65_536, max_length=512))
    architecture = Architecture(layers=6, hidden=384, heads=6, feed_forward=1536, vocabulary=8_000)
    asked = {"encoder": Pretrain(name="mini", text=("prose",), architecture=architecture)}
    found = planned(world, targets=(large, Target(task="berry")), **asked)
    memory = plans.values(found)["memory"]
    assert memory["stage"].endswith("fruit/seed-1/train") and memory["does"] == "train fruit"
    kept = 6 * 384 * 65_536 * 17 * 4  # a batch's activations (arXiv 2205.05198), in float32 and without attention
    assert kept < memory["need_bytes"] < 6 * kept
    need = f"need about {memory['need_bytes'] / 1e9:,.1f} GB"
    for there, noted in ((8e9, True), (8e12, False)):
        monkeypatch.setattr(plans, "machine_bytes", lambda there=there: int(there))
        (line,) = [line for line in plans.text(found).splitlines() if line.startswith("memory: ")]
        assert need in line and "(train fruit)" in line and ("more than is available" in line) == noted
    small = planned(world, targets=(Target(task="fruit"),), **asked)
    assert plans.values(small)["memory"]["need_bytes"] < memory["need_bytes"] / 4
