"""Every number in a recipe has bounds; one outside them is refused in one line before anything is planned."""

from __future__ import annotations

import math
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from small_world import CARDS, add_cards, census, expand, recipe, write_data

from viaduct.errors import UsageError
from viaduct.runs.parts import Architecture, Pretrain, Replay, Retention, Retrieval, Training
from viaduct.runs.recipes import apply, load_recipe
from viaduct.runs.spec import Intermediate, Recipe, Target
from viaduct.tasks.written import bounds_of, reachable

YAML = """
name: small
hypothesis: none
encoder: {name: mini, architecture: {layers: 1}}
intermediates:
  - {name: none}
  - name: a
    tasks: [mnli]
    replay: {}
    captions: {card: coco}
    compression: {distil: {layers: 1}}
targets: [{task: xnli}]
substitutions: [{task: xnli, split: dev, use_split: test, why: none}]
"""


def numbers(annotation: object) -> bool:
    """Whether a value of this type may be or contain a number, not counting nested models."""
    return annotation in (int, float) or any(map(numbers, typing.get_args(annotation)))


def numeric_fields() -> list[tuple[type[BaseModel], str, FieldInfo]]:
    models = dict.fromkeys(reachable(Recipe))
    return [(model, name, info) for model in models for name, info in model.model_fields.items() if _numeric(info)]


def _numeric(info: FieldInfo) -> bool:
    return info.annotation is not bool and numbers(info.annotation)


def test_every_number_has_a_lower_and_an_upper_bound() -> None:
    found = numeric_fields()
    assert len(found) > 60  # including those of vision and serving
    for model, name, info in found:
        words = bounds_of(info)
        assert words.startswith(("at least", "more than")) and (" at most " in words or "less than" in words), (
            f"{model.__name__}.{name}: {words!r}"
        )


@pytest.mark.parametrize("wrong", [-1, 10**30, math.nan, math.inf])
def test_no_number_may_be_negative_huge_or_not_finite(wrong: float) -> None:
    for model, name, _ in numeric_fields():
        for given in (wrong, (wrong,), (0.0, wrong)):
            with pytest.raises(ValidationError) as caught:
                model.model_validate({name: given})
            assert any(problem["loc"][0] == name for problem in caught.value.errors()), f"{model.__name__}.{name}"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("targets.xnli.training.learning_rate=-1", "-1 (int) was given; allowed is at least 0 and at most 10"),
        (
            "intermediates.a.training.max_steps=-5",
            "-5 (int) was given; allowed is at least 1 and at most 1,000,000,000",
        ),
        ("encoder.mask_fraction=9", "9 (int) was given; allowed is more than 0 and less than 1"),
        ("intermediates.a.captions.null_share=1.5", "1.5 (float) was given; allowed is at least 0 and at most 1"),
        ("intermediates.a.compression.distil.temperature=0", "allowed is more than 0 and at most 1,000,000"),
        ("measure.rounds=0", "allowed is at least 1 and at most 1,000,000,000"),
        ("targets.xnli.training.epochs=.inf", "inf (float) was given; allowed is more than 0 and at most"),
        ("seeds=[1, -2]", "-2 (int) was given; allowed is at least 0 and at most 1,000,000,000"),
        ("targets.xnli.retrieval.layers=[-1]", "-1 (int) was given; allowed is at least 0 and at most 1,000,000,000"),
    ],
)
def test_the_message_is_one_line_with_the_field_the_value_and_the_bounds(
    tmp_path: Path, setting: str, said: str
) -> None:
    (tmp_path / "small.yaml").write_text(YAML, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        apply(load_recipe(tmp_path / "small.yaml"), [setting])
    message, field = str(caught.value), setting.partition("=")[0]
    assert said in message and f": {field}" in message and "\n" not in message


def test_a_copy_with_a_senseless_value_is_refused_where_it_is_used() -> None:
    with pytest.raises(ValidationError, match="learning_rate"):
        Target(task="xnli", training=Training().model_copy(update={"learning_rate": -1.0}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"encoder": Pretrain(name="mini", architecture=Architecture(hidden=10, heads=4))},
            "10 cannot be split among 4",
        ),
        (
            {"encoder": Pretrain(name="mini", training=Training(max_length=513))},
            "encoder: training: a max_length of 513 tokens, but mini takes 512",
        ),
        (
            {"intermediates": (Intermediate(name="a", tasks=("quiz",), replay=Replay(max_length=600)),)},
            "arm 'a': replay: a max_length of 600 tokens, but mini takes 512",
        ),
        (
            {"targets": (Target(task="twins", retrieval=Retrieval(layers=(2, 9))),)},
            "target 'twins': retrieval.layers has 9, the encoder has 4 layers",
        ),
        (
            {"intermediates": (Intermediate(name="a", tasks=("quiz",), retention=Retention(lora_rank=900)),)},
            "retention.lora_rank 900 in an encoder 256 wide",
        ),
        (
            {"targets": (Target(task="fruit", training=Training(encoder="lora", lora_rank=900)),)},
            "target 'fruit': training.lora_rank 900 in an encoder 256 wide",
        ),
    ],
)
def test_what_only_the_encoder_can_tell_is_told_by_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], words: str
) -> None:
    add_cards(monkeypatch.setattr, CARDS)
    given = {"encoder": Pretrain(name="mini", text=("prose",))} | changes
    with pytest.raises(UsageError, match=words):
        expand(recipe(**given), census(write_data(tmp_path)))


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [("hypothesis: none", "hypothesis: none\nhypothesis: other", 4), ("{task: xnli}", "{task: xnli, task: pawsx}", 12)],
)
def test_a_key_that_is_there_twice_is_refused_with_its_line(tmp_path: Path, before: str, after: str, line: int) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(YAML.replace(before, after), encoding="utf-8")
    with pytest.raises(UsageError, match=rf"small.yaml, line {line}: not YAML: '(hypothesis|task)' appears twice"):
        load_recipe(path)
