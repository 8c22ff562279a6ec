"""Compressed arms in a plan: what they share, what they add, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from small_world import census, expand, recipe

from viaduct import api, plans
from viaduct.errors import DataError, UsageError
from viaduct.runs.description import roles, settings
from viaduct.runs.identity import identities
from viaduct.runs.plan import Plan
from viaduct.runs.planned import estimates
from viaduct.runs.spec import Intermediate, Pretrain, Recipe, Retrieval, Target, Training
from viaduct.serving.compression import Compression
from viaduct.serving.distil import Distil
from viaduct.tasks.catalogue import Catalogue

NONE = Intermediate(name="none")
PROSE = ("prose",)


def arm(name: str, tasks: tuple[str, ...] = (), **changes: Any) -> Intermediate:
    return Intermediate(name=name, tasks=tasks, compression=Compression(**{"text": PROSE, **changes}))


CUT = arm("cut", layers=1)
PART = arm("part", vocabulary=("en", "de"))
QUICK = arm("quick", engine="onnx", precision="int8")
CALIBRATED = arm("calibrated", engine="openvino", precision="int8")
SMALL = arm("small", distil=Distil(layers=2, text=PROSE, languages=("en", "de")))
BOTH = arm("both", distil=Distil(layers=2, text=PROSE), vocabulary=("en", "sw"))


def made(*arms: Intermediate, targets: tuple[str, ...] = ("fruit", "twins"), seeds: tuple[int, ...] = (1,)) -> Recipe:
    return recipe(intermediates=(NONE, *arms), targets=tuple(Target(task=name) for name in targets), seeds=seeds)


def added(world: Path, one: Intermediate, *others: Intermediate, **changes: Any) -> dict[str, str]:
    """Each stage of one arm -> the stage whose output it takes."""
    plan = expand(made(*others, one, **changes), census(world))
    return {
        stage.path.removeprefix(f"mini/{one.name}/"): next(iter(stage.inputs.values())).path
        for stage in plan.stages
        if stage.path.startswith(f"mini/{one.name}/")
    }


def stage(plan: Plan, path: str) -> Any:
    return next(one for one in plan.stages if one.path == path)


def test_an_encoder_with_fewer_layers_is_trained_on(world: Path) -> None:
    assert added(world, CUT, seeds=(1, 2)) == {
        "compress": "mini/pretrain",
        "fruit/seed-1/train": "mini/cut/compress",
        "fruit/seed-1/predict": "mini/cut/fruit/seed-1/train",
        "fruit/seed-1/score": "mini/cut/fruit/seed-1/predict",
        "fruit/seed-2/train": "mini/cut/compress",
        "fruit/seed-2/predict": "mini/cut/fruit/seed-2/train",
        "fruit/seed-2/score": "mini/cut/fruit/seed-2/predict",
        "twins/predict": "mini/cut/compress",
        "twins/score": "mini/cut/twins/predict",
    }


def test_another_engine_trains_nothing_again(world: Path) -> None:
    assert added(world, QUICK) == {
        "fruit/seed-1/predict": "mini/none/fruit/seed-1/train",
        "fruit/seed-1/score": "mini/quick/fruit/seed-1/predict",
        "twins/predict": "mini/pretrain",
        "twins/score": "mini/quick/twins/predict",
    }


def test_a_compressed_arm_shares_the_intermediate_stage_of_the_arm_that_it_stands_beside(world: Path) -> None:
    quiz = Intermediate(name="quiz", tasks=("quiz",))
    found = added(world, arm("less", tasks=("quiz",), layers=1), quiz, targets=("twins",), seeds=(1, 2))
    assert found["seed-1/compress"] == "mini/quiz/intermediate-1-quiz/seed-1/train"
    assert found["seed-2/compress"] == "mini/quiz/intermediate-1-quiz/seed-2/train"
    assert found["twins/seed-2/predict"] == "mini/less/seed-2/compress"


def test_a_student_depends_on_the_seed_and_its_vocabulary_is_cut_afterwards(world: Path) -> None:
    plan = expand(made(SMALL, BOTH, seeds=(3,)), census(world))
    assert stage(plan, "mini/small/distil/seed-3/distil").inputs["encoder"].path == "mini/pretrain"
    assert stage(plan, "mini/small/twins/seed-3/predict").inputs["encoder"].path == "mini/small/distil/seed-3/distil"
    cut = stage(plan, "mini/both/seed-3/compress")
    assert cut.inputs["encoder"].path == "mini/both/distil/seed-3/distil"
    assert stage(plan, "mini/both/fruit/seed-3/train").inputs["encoder"] is cut
    assert plan.places[cut.path].arm == "both" and plan.places[cut.path].task == ""


def test_stages_need_the_text_that_they_read_and_no_other(world: Path) -> None:
    plan = expand(made(CUT, PART, SMALL, QUICK, CALIBRATED, seeds=(1,)), census(world))
    assert plan.needs["mini/cut/compress"] == ()
    assert plan.needs["mini/part/compress"] == (("prose", "train", "en"), ("prose", "train", "de"))
    assert plan.needs["mini/small/distil/seed-1/distil"] == (("prose", "train", "en"), ("prose", "train", "de"))
    assert all(need[0] == "twins" for need in plan.needs["mini/quick/twins/predict"])
    calibrated = stage(plan, "mini/calibrated/twins/predict")
    assert calibrated.work.calibration == (("prose", "de"), ("prose", "sw"))
    assert ("prose", "train", "sw") in plan.needs[calibrated.path]


def test_text_that_is_not_there_is_named_for_the_arm(world: Path) -> None:
    (world / "prose" / "train-de.tsv").unlink()
    ready = {"encoder": "none/at-all", "revision": "x", "intermediates": (NONE, PART)}
    with pytest.raises(DataError, match=r"prose/train-de\.tsv"):
        expand(recipe(**ready), census(world))
    shutil.rmtree(world / "prose")
    optional = CALIBRATED.model_copy(update={"optional": True})
    plan = expand(recipe(**{**ready, "intermediates": (NONE, optional)}), census(world))
    assert plan.left_out == {"calibrated": ("prose: no files in any language",)}


def test_what_was_predicted_before_there_were_engines_is_the_same_stage(world: Path) -> None:
    plan = expand(made(QUICK), census(world))
    found = identities(plan, census(world).data)
    plain, quick = (found[f"mini/{name}/twins/predict"].content["work"] for name in ("none", "quick"))
    assert not {"engine", "precision", "calibration"} & plain.keys()
    assert (quick["engine"], quick["precision"]) == ("onnx", "int8")
    assert found["mini/none/twins/predict"].fingerprint != found["mini/quick/twins/predict"].fingerprint


def test_the_plan_and_the_report_say_what_is_made_smaller(world: Path) -> None:
    text = plans.text(api.plan(made(CUT, PART, SMALL, QUICK, seeds=(1, 2)), data=world, store=world / "store"))
    for words in (
        "keep 1 layer: to do",
        "keep the pieces of text in en de: to do",
        "distil into 2 layers, text in en de: seeds 1 2, to do",
        "predict fruit test in en de sw by onnx in int8 and score it",
    ):
        assert words in text
    said = settings(made(CUT, PART, SMALL, QUICK), Catalogue.builtin())
    assert said["compression of cut"] == "lowest 1 layers of the encoder"
    assert said["compression of part"] == "pieces of text in en de"
    assert said["compression of quick"] == "predictions by onnx in int8"
    assert said["compression of small"].startswith("student of 2 layers; ")
    assert roles(made(CUT)) == {"none": "none"}, "a smaller model is not the arm that a claim is about"


def test_fewer_layers_are_forecast_to_cost_less(world: Path) -> None:
    found = estimates(expand(made(CUT, SMALL), census(world)), census(world))
    whole, cut = (found[f"mini/{name}/fruit/seed-1/train"].weight for name in ("none", "cut"))
    assert cut == whole / 4
    student = found["mini/small/distil/seed-1/distil"]
    assert student.tokens > 0 and student.weight > student.tokens
    assert found["mini/cut/compress"].tokens == 0


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "makes nothing smaller"),
        ({"layers": 1, "distil": Distil(layers=1, text=PROSE)}, "both layers and distil"),
        ({"engine": "onnx", "precision": "bf16"}, "onnx does not run in bf16 on CPUs"),
        ({"distil": Distil(layers=1, text=PROSE, hidden=0, logits=0)}, "the student learns nothing"),
        ({"distil": Distil(layers=1, text=("fruit",))}, "distil.text names fruit, which is of kind 'pair'"),
        ({"layers": 1, "text": ("fruit",)}, "names fruit, which is of kind 'pair'"),
        ({"layers": 5}, "keeps 5 layers, but the encoder has 4"),
        ({"distil": Distil(layers=5, text=PROSE)}, "keeps 5 layers, but the encoder has 4"),
        ({"vocabulary": ("en", "xx")}, "unknown language 'xx'"),
        ({"vocabulary": ("en", "fr")}, "prose has no language 'fr'"),
        ({"vocabulary": ("de",)}, "without English"),
    ],
)
def test_what_cannot_be_meant_is_refused(world: Path, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        expand(made(arm("a", **asked)), census(world))


def test_retrieval_must_be_possible(world: Path) -> None:
    def plan(one: Intermediate, *layers: int) -> Plan:
        target = Target(task="twins", retrieval=Retrieval(layers=layers or None, choose_on="twins"))
        return expand(recipe(intermediates=(NONE, one), targets=(target,)), census(world))

    with pytest.raises(UsageError, match="pools layer 3, but the arm keeps 1"):
        plan(CUT, 3)
    with pytest.raises(UsageError, match="onnx in int8 gives the states of one layer"):
        plan(QUICK, 1, 2)
    with pytest.raises(UsageError, match="above the embeddings"):
        plan(QUICK, 0)
    assert plan(QUICK, 2).cells and plan(CUT).cells


def test_the_baseline_is_whole_and_a_compression_is_enough_for_an_arm(world: Path) -> None:
    with pytest.raises(UsageError, match="the baseline"):
        expand(recipe(intermediates=(arm("none", layers=1),)), census(world))
    with pytest.raises(UsageError, match="has nothing to train on or to change"):
        expand(recipe(intermediates=(NONE, Intermediate(name="idle"))), census(world))
    alone = recipe(intermediates=(CUT,), encoder=Pretrain(name="mini", text=PROSE, training=Training(max_steps=1)))
    assert {cell.arm for cell in expand(alone, census(world)).cells} == {"cut"}
