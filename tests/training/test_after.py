"""Arms that continue from another arm's stages: masked LM, then a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import small_world
from small_world import census, expand, recipe

from viaduct import api
from viaduct.errors import UsageError
from viaduct.results.store import Store
from viaduct.runs import collect
from viaduct.runs.execute import Options
from viaduct.runs.parts import Saw
from viaduct.runs.planned import warnings
from viaduct.runs.row_comparison import overlaps
from viaduct.runs.spec import Intermediate, Recipe, Replay, Retention, Target, Training
from viaduct.serving.compression import Compression

STAGE = Training(max_steps=3, max_length=32, stride=8, evaluations=1, dev_rows=20, batch_tokens=128)
NONE = Intermediate(name="none")
MLM = Intermediate(name="mlm", replay=Replay(text=("prose",), batch_tokens=64, max_length=32), training=STAGE)
QUIZ = Intermediate(name="quiz", tasks=("quiz",), training=STAGE)
HELD = QUIZ.model_copy(update={"name": "mlm+quiz+held", "after": "mlm", "retention": Retention(l2_sp=0.1)})
BOTH = QUIZ.model_copy(update={"name": "mlm+quiz", "after": "mlm"})


def test_stages_before_are_shared_and_handed_on_seed_by_seed(world: Path) -> None:
    plan = expand(recipe(intermediates=(NONE, MLM, BOTH, HELD), targets=(Target(task="twins"),)), census(world))
    began = {stage.path: [one.path for one in stage.inputs.values()] for stage in plan.stages}
    for seed in (1, 2):
        first = f"mini/mlm/intermediate/seed-{seed}/joint"
        own = f"mini/mlm+quiz/intermediate-1-quiz/seed-{seed}/train"
        assert began[first] == ["mini/pretrain"] and began[own] == [first]
        assert began[f"mini/mlm+quiz+held/intermediate/seed-{seed}/joint"] == [first]
        assert began[f"mini/mlm+quiz/twins/seed-{seed}/predict"] == [own]
        assert began[f"mini/mlm/twins/seed-{seed}/predict"] == [first]
    assert sum("mlm" in path for path in began) == 2 * (3 + 3 * 2)


def test_a_chain_goes_through_every_arm_before(world: Path) -> None:
    last = Intermediate(name="all", after="mlm+quiz", tasks=("fruit",), training=STAGE)
    plan = expand(recipe(intermediates=(NONE, MLM, BOTH, last), targets=(Target(task="twins"),)), census(world))
    made = next(stage for stage in plan.stages if stage.path == "mini/all/twins/seed-1/predict")
    chain = []
    while made.inputs:
        (made,) = made.inputs.values()
        chain.append(made.path)
    assert chain == [
        "mini/all/intermediate-1-fruit/seed-1/train",
        "mini/mlm+quiz/intermediate-1-quiz/seed-1/train",
        "mini/mlm/intermediate/seed-1/joint",
        "mini/pretrain",
    ]


SMALLER = Intermediate(name="small", tasks=("quiz",), compression=Compression(layers=1))
REFUSED = {
    "an arm that is not there": ((BOTH,), r"`after` of arm 'mlm\+quiz' .* 'mlm'"),
    "an arm further down": ((BOTH, MLM), r"an arm before it that trains an encoder\) 'mlm'"),
    "itself": ((MLM.model_copy(update={"after": "mlm"}),), "an arm before it"),
    "one that trains nothing": ((BOTH.model_copy(update={"after": "none"}),), "an arm before it that trains"),
    "nothing of its own": ((MLM, Intermediate(name="same", after="mlm")), "arm 'same' has nothing to train on"),
    "the baseline": ((MLM, NONE.model_copy(update={"after": "mlm"})), "arm 'none' has something to train on"),
    "two beginnings": ((MLM, BOTH.model_copy(update={"encoder": "x"})), "`encoder` of its own and comes `after` mlm"),
    "a smaller encoder": ((SMALLER, QUIZ.model_copy(update={"after": "small"})), "after 'small', which has `compr"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_makes_no_sense_is_refused(kind: str, world: Path) -> None:
    arms, words = REFUSED[kind]
    with pytest.raises(UsageError, match=words):
        expand(recipe(intermediates=arms), census(world))


def test_an_arm_whose_beginning_lacks_data_is_left_out_with_it(world: Path) -> None:
    for path in (world / "quiz").iterdir():
        path.unlink()
    quiz = QUIZ.model_copy(update={"optional": True})
    then = Intermediate(name="then", after="quiz", tasks=("fruit",), training=STAGE, optional=True)
    asked = recipe(intermediates=(NONE, quiz, then), targets=(Target(task="twins"),))
    plan = expand(asked, census(world))
    assert set(plan.left_out) == {"quiz", "then"} and plan.left_out["then"] == plan.left_out["quiz"]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The data of `world`, for stages that really train."""
    small_world.add_cards(monkeypatch.setattr, small_world.CARDS)
    return small_world.write_data(tmp_path / "data")


def _recipe(encoder: Path, *arms: Intermediate, **changes: Any) -> Recipe:
    fields = {"encoder": str(encoder), "intermediates": (NONE, *arms), "allow_unknown": True, "seeds": (1,)}
    return small_world.recipe(**{**fields, "targets": (Target(task="fruit", training=STAGE),), **changes})


def _run(data: Path, store: Path, made: Recipe) -> Store:
    api.run(made, data=data, store=store, options=Options(device="cpu", threads=1))
    return Store(store)


def test_it_is_the_training_that_begins_with_the_encoder_left_before(
    trained: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    """The same training of the same rows, given the encoder as a ready-made folder, ends with the same bytes."""
    one = _run(trained, tmp_path / "one", _recipe(tiny_encoder, MLM, BOTH))
    left = one.root / "encoder" / "mlm" / "intermediate" / "seed-1" / "joint" / "encoder"
    given = BOTH.model_copy(update={"after": None, "encoder": str(left), "parent": "none"})
    two = _run(trained, tmp_path / "two", _recipe(tiny_encoder, given))
    weights_at = Path("encoder/mlm+quiz/intermediate-1-quiz/seed-1/train/encoder/model.safetensors")
    weights = (one.root / weights_at).read_bytes()
    assert weights == (two.root / weights_at).read_bytes()
    told = collect.collect(one, collect.load_run(one.root / "runs" / "small")).records["retained"]
    assert [found.arm for found in told] == ["mlm"], "its own, though the other arm has it too"
    plain = _run(trained, tmp_path / "three", _recipe(tiny_encoder, QUIZ))
    assert weights != (plain.root / str(weights_at).replace("mlm+quiz", "quiz")).read_bytes()


def test_what_was_trained_on_before_counts_as_the_arms_own(world: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    then = Intermediate(name="then", after="quiz", tasks=("fruit",), training=STAGE)
    after = MLM.model_copy(update={"name": "then+mlm", "after": "then"})
    targets = (Target(task="fruit", languages=("en",)), Target(task="quiz", languages=("en",)))
    saw = Saw(data=("quiz",), source="us")
    made = _recipe(tiny_encoder, QUIZ, then, after, targets=targets, encoder_saw=saw)
    planned = api.plan(made, data=world, store=tmp_path / "store")
    about = collect.about(Store(tmp_path / "store"), collect.run_record(planned, command="", versions={}))
    assert about.seen_arms == {"quiz": "quiz", "then": "quiz", "then+mlm": "quiz"}
    assert about.settings["then begins with"] == "the encoder that quiz leaves, of the same seed"
    assert "then" not in about.roles and "then+mlm" not in about.roles
    said = "\n".join(warnings(planned))
    assert "quiz is an intermediate task (quiz, then, then+mlm)" in said
    assert "fruit is an intermediate task (then, then+mlm)" in said


def _first_line(path: Path, line: str) -> None:
    path.write_text("\n".join([line, *path.read_text().splitlines()[1:]]) + "\n")


def test_rows_that_were_trained_on_before_are_compared_with_evaluated_ones(world: Path) -> None:
    _first_line(world / "twins" / "test-de.tsv", "0\tde 0\tcontext 3 of train")
    _first_line(world / "quiz" / "train-en.tsv", "0\tcontext 3 of train\twhich?\tcontext")
    arms = (NONE, QUIZ, MLM.model_copy(update={"after": "quiz"}))
    asked = recipe(intermediates=arms, targets=(Target(task="twins"),))
    found = [one for one in overlaps(asked, census(world)) if (one.task, one.target) == ("quiz", "twins")]
    assert found and all({"quiz", "mlm"} <= set(one.arms) for one in found)


def test_an_encoder_of_ones_own_is_handed_on_with_its_past(world: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    seen = Saw(data=("fruit",), source="us")
    theirs = Intermediate(name="theirs", encoder=str(tiny_encoder), encoder_saw=seen)
    then = QUIZ.model_copy(update={"name": "then", "after": "theirs"})
    planned = api.plan(_recipe(tiny_encoder, theirs, then), data=world, store=tmp_path / "store")
    began = {stage.path: [one.path for one in stage.inputs.values()] for stage in planned.plan.stages}
    assert began["encoder/then/intermediate-1-quiz/seed-1/train"] == ["encoder/theirs/adopt"]
    assert "then begins with" in "\n".join(warnings(planned))
