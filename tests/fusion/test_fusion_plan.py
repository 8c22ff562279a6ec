"""Arms with translations in a plan: what they share, what they need, how they are reported, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from small_world import census, expand, recipe

from viaduct.errors import DataError, UsageError
from viaduct.fusion.field import Fused
from viaduct.fusion.settings import Fusion
from viaduct.fusion.target_data import TrainOn
from viaduct.runs.collect import run_record
from viaduct.runs.description import marks, roles, settings
from viaduct.runs.plan import Plan, outline
from viaduct.runs.planned import plan_recipe, remarks
from viaduct.runs.row_comparison import overlaps
from viaduct.runs.spec import Intermediate, Pretrain, Recipe, Replay, Retention, Substitution, Target
from viaduct.tasks.catalogue import Catalogue

NONE = Intermediate(name="none")
MINI = Pretrain(name="mini", text=("prose",))


TEST_ENGLISH = [f"{number}\tin English {number // 2}\tnumber {number}\t\n" for number in range(40)]


@pytest.fixture
def world(world: Path) -> Path:
    """The small world, whose card "berry" has English translations of the test rows of "fruit" in German."""
    (world / "berry" / "test-de.tsv").write_text("".join(TEST_ENGLISH), encoding="utf-8")
    return world


def arm(name: str, **fields: Any) -> Intermediate:
    return Intermediate(name=name, **fields)


FILTER = arm("filter", fused=Fused())
WITH = arm("with", fused=Fused(translated=True))
TAUGHT = arm("taught", fused=Fused(self_teaching=True))
TRANSLATED = arm("translated", train=TrainOn(translated=True))


def made(*arms: Intermediate, fusion: Fusion | None = None, **changes: Any) -> Recipe:
    target = Target(task="fruit", fusion=fusion or Fusion(test="berry"), languages=("en", "de"))
    return recipe(**{"intermediates": (NONE, *arms), "targets": (target,), "seeds": (1,), **changes})


def stages(plan: Plan) -> dict[str, dict[str, str]]:
    """Stage path -> its inputs' paths."""
    return {
        stage.path.removeprefix("mini/"): {role: one.path.removeprefix("mini/") for role, one in stage.inputs.items()}
        for stage in plan.stages
    }


def test_arms_share_the_model_and_predict_with_translations_or_without(world: Path) -> None:
    found = stages(expand(made(FILTER, WITH), census(world)))
    assert found["filter/fruit/seed-1/fuse"] == {"encoder": "pretrain"}
    assert found["filter/fruit/seed-1/predict"] == {"encoder": "filter/fruit/seed-1/fuse"}
    assert found["with/fruit/seed-1/predict_fused"] == {"encoder": "filter/fruit/seed-1/fuse"}
    assert "with/fruit/seed-1/fuse" not in found


def test_a_taught_model_begins_where_its_teacher_began(world: Path) -> None:
    first = arm("quiz+taught", tasks=("quiz",), fused=Fused(self_teaching=True))
    found = stages(expand(made(FILTER, TAUGHT, first), census(world)))
    assert found["taught/fruit-taught/seed-1/fuse"] == {"encoder": "pretrain", "teacher": "filter/fruit/seed-1/fuse"}
    began = found["quiz+taught/fruit-taught/seed-1/fuse"]
    assert began["encoder"].endswith("intermediate-1-quiz/seed-1/train") and began["teacher"].startswith("quiz+taught/")


def test_an_oracle_is_no_cell_of_the_table(world: Path) -> None:
    plan = expand(made(arm("oracle", fused=Fused(oracle=True))), census(world))
    assert "mini/oracle/fruit-oracle/seed-1/predict_fused" in {stage.path for stage in plan.stages}
    assert {cell.score.inputs["predictions"].work.kind for cell in plan.cells} == {"predict"}


def test_what_costs_more_than_its_model_is_not_measured_as_that_model(world: Path) -> None:
    plan = expand(made(WITH, FILTER, measure={}), census(world))
    measured = next(stage for stage in plan.stages if stage.work.kind == "measure")
    assert [one.arm for one in measured.work.arms] == ["none", "filter"]  # type: ignore[attr-defined]


def test_translations_and_english_are_read(world: Path) -> None:
    plan = expand(made(FILTER, TRANSLATED), census(world))
    works = {stage.work.kind: stage for stage in plan.stages}
    assert works["train_on"].work.sources == (("fruit", "en"), ("fruit", "de"), ("fruit", "sw"))  # type: ignore[attr-defined]
    assert plan.needs[works["fuse"].path] == (
        ("fruit", "train", "en"), ("fruit", "train", "de"), ("fruit", "train", "sw"), ("fruit", "dev", "en"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "on", [TrainOn(languages=("de",), translated=True), TrainOn(languages=("de",), translated=True, rows=3)]
)
def test_translations_are_chosen_by_the_dev_rows_of_the_language_that_they_are_from(on: TrainOn, world: Path) -> None:
    (world / "fruit" / "dev-de.tsv").unlink()
    plan = expand(made(arm("german", train=on)), census(world))
    (stage,) = (one for one in plan.stages if one.work.kind == "train_on")
    assert plan.needs[stage.path] == (("fruit", "train", "de"), ("fruit", "train", "en"), ("fruit", "dev", "en"))


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"languages": ("de",)}, ("translate-train", "source de")),
        ({"languages": ("de",), "rows": 9, "after_english": True}, ("translate-train",)),
        ({"languages": ("en", "de")}, ("translate-train",)),
        ({"languages": ("de",), "choose_on": "targets"}, ("translate-train", "source de", "not zero-shot")),
    ],
)
def test_rows_that_are_translations_are_marked_so_whatever_the_arm_calls_them(
    fields: dict[str, Any], found: tuple[str, ...]
) -> None:
    one = arm("a", train=TrainOn(**fields))
    assert marks(made(one, targets=(Target(task="xnli"),)), Catalogue.builtin()) == {"a": found}
    both = made(one, targets=(Target(task="xnli"), Target(task="panx")))
    assert marks(both, Catalogue.builtin())["a"][0] == "translate-train"
    assert "zero-shot" in marks(both, Catalogue.builtin())["a"][-1]


def test_going_on_from_english_shares_the_english_model(world: Path) -> None:
    few = arm("few", train=TrainOn(languages=("de",), rows=5, after_english=True))
    found = stages(expand(made(few), census(world)))
    assert found["few/fruit/seed-1/train_on"] == {"encoder": "none/fruit/seed-1/train"}


def test_another_source_language_is_chosen_by_its_own_dev_rows(world: Path) -> None:
    source = arm("german", train=TrainOn(languages=("de",)))
    plan = expand(made(source), census(world))
    (stage,) = (one for one in plan.stages if one.work.kind == "train_on")
    assert ("fruit", "dev", "de") in plan.needs[stage.path] and ("fruit", "train", "en") not in plan.needs[stage.path]


@pytest.mark.parametrize(
    ("one", "marks", "selection"),
    [
        (TRANSLATED, ("translate-train",), "english dev"),
        (
            arm("a", train=TrainOn(languages=("de",))),
            ("source de", "zero-shot in other languages than the source"),
            "dev in de",
        ),
        (arm("a", train=TrainOn(languages=("de",), rows=9, after_english=True)), ("not zero-shot",), "english dev"),
        (arm("a", train=TrainOn(languages=("en", "de"))), ("not zero-shot",), "english dev"),
        (
            arm("a", train=TrainOn(translated=True, choose_on="targets")),
            ("translate-train", "not zero-shot"),
            "target-language dev",
        ),
        (
            arm("a", train=TrainOn(languages=("de",), choose_on="targets")),
            ("source de", "not zero-shot"),
            "target-language dev",
        ),
        (FILTER, ("translate-train", "no translations at inference"), "english dev"),
        (
            arm("a", fused=Fused(translated=True, choose_on="targets")),
            ("translate-train", "translations at inference", "not zero-shot"),
            "target-language dev",
        ),
    ],
)  # fmt: skip
def test_results_are_marked_for_what_they_are(
    one: Intermediate, marks: tuple[str, ...], selection: str, world: Path, tmp_path: Path
) -> None:
    from viaduct.results.store import Store
    from viaduct.runs.collect import about

    planned = plan_recipe(made(one), world, tmp_path / "store")
    record = run_record(planned, command="", versions={})
    assert {cell.arm: cell.selection for cell in record.cells} == {"none": "english dev", one.name: selection}
    told = about(Store(tmp_path / "store"), record)
    assert told.marks == {one.name: marks}
    assert any(mark in text for mark in marks[:1] for text in told.settings.values()) or "fused" in str(told.settings)


def test_roles_are_those_of_the_papers_arms(world: Path) -> None:
    after = arm("mnli+t", tasks=("mnli",), train=TrainOn(translated=True))
    chosen = arm("chosen", fused=Fused(choose_on="targets"))
    few = arm("few", train=TrainOn(translated=True, rows=3))
    others = [
        arm("replayed", fused=Fused(), replay=Replay(text=("prose",))),
        arm("retained", fused=Fused(translated=True), retention=Retention(freeze_embeddings=True)),
        arm("longer", train=TrainOn(translated=True), longer_targets=5),
    ]
    found = roles(made(*others, FILTER, WITH, TAUGHT, TRANSLATED, after, chosen, few))
    assert found == {
        "none": "none", "filter": "filter_alone", "with": "filter", "taught": "filter_taught_alone",
        "translated": "translate_train", "mnli+t": "mnli+translate_train",
    }  # fmt: skip
    for fusion in (Fusion(local=0, fused=0), Fusion(test="berry", most_missing=1)):
        assert roles(made(FILTER, WITH, fusion=fusion)) == {"none": "none"}
    assert "not published" in settings(made(TAUGHT), Catalogue.builtin())["fused of taught"]


@pytest.mark.parametrize(
    ("one", "fusion", "message"),
    [
        (FILTER, Fusion(local=3, fused=2), "3 local and 2 fused layers; the encoder has 4"),
        (WITH, Fusion(), "its `fusion` names no card"),
        (FILTER, Fusion(train="quiz"), "names quiz, of kind 'span'"),
        (WITH, Fusion(test="berry", local=0, fused=0), "no layer that reads both"),
        (WITH, Fusion(test="fruit"), "fusion.test names fruit itself"),
        (WITH, Fusion(test="xnli"), "names xnli, which has the labels contradiction, entailment, neutral"),
        (FILTER, Fusion(train="fruits"), "unknown task 'fruits'"),
        (arm("a", fused=Fused(), train=TrainOn(translated=True)), Fusion(), "cannot be combined with `train`"),
        (arm("a", train=TrainOn()), Fusion(), "names no languages"),
        (arm("a", train=TrainOn(languages=("en",))), Fusion(), "names only English"),
        (arm("a", train=TrainOn(languages=("fr",))), Fusion(), "fruit, which trains fruit, has no language 'fr'"),
        (arm("a", train=TrainOn(languages=("xx",))), Fusion(), "'xx'"),
    ],
)
def test_what_makes_no_sense_is_refused(one: Intermediate, fusion: Fusion, message: str, world: Path) -> None:
    with pytest.raises(UsageError) as error:
        expand(made(one, fusion=fusion), census(world))
    assert message in str(error.value)


@pytest.mark.parametrize(("code", "close"), [("german", "; did you mean 'de'"), ("en", "")])
def test_languages_that_have_no_translations_are_refused_with_those_that_have(
    code: str, close: str, world: Path
) -> None:
    with pytest.raises(UsageError, match=rf"fruit has no translations in '{code}'{close}\??\n.*use some of: de, sw"):
        expand(made(FILTER, fusion=Fusion(languages=(code,))), census(world))


@pytest.mark.parametrize("model", [TrainOn, Fusion])
def test_languages_are_known_by_all_of_their_codes_and_named_once(model: type[TrainOn] | type[Fusion]) -> None:
    assert model(languages=("DE", "swh")).languages == ("de", "sw")
    with pytest.raises(ValidationError, match="'de' appears twice"):
        model(languages=("de", "deu"))


@pytest.mark.parametrize(
    ("model_type", "why"),
    [("modernbert", "rotations"), ("deberta-v2", "distances"), ("albert", "one module"), ("t5", "a few types")],
)
def test_encoders_that_cannot_be_fused_are_refused_before_anything_runs(
    model_type: str, why: str, world: Path, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    config = {
        "model_type": model_type,
        "num_hidden_layers": 4,
        "hidden_size": 8,
        "intermediate_size": 8,
        "vocab_size": 9,
    }
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=f"'{model_type}' cannot be fused: .*{why}"):
        expand(made(FILTER, encoder=str(tmp_path / "model")), census(world))
    own = arm("own", fused=Fused(), encoder=str(tmp_path / "model"))
    with pytest.raises(UsageError, match=f"arm 'own': fused: its `encoder`, of type '{model_type}', cannot be fused"):
        outline(made(own), census(world))


def test_an_arms_own_encoder_has_to_have_the_layers(world: Path, tmp_path: Path) -> None:
    sizes = {"num_hidden_layers": 2, "hidden_size": 8, "intermediate_size": 8, "vocab_size": 9}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "xlm-roberta", **sizes}))
    own = arm("own", fused=Fused(), encoder=str(tmp_path))
    message = (
        "arm 'own': fused: `fusion` of fruit has 1 local and 2 fused layers; the encoder has 2 .*\n.* to 2 or less"
    )
    with pytest.raises(UsageError, match=message):
        outline(made(own, fusion=Fusion(fused=2)), census(world))
    outline(made(own), census(world))


def test_choices_cannot_be_fused(world: Path) -> None:
    target = Target(task="commonsenseqa")
    with pytest.raises(UsageError, match="commonsenseqa has rows of kind 'choice'"):
        expand(recipe(intermediates=(NONE, FILTER), targets=(target,)), census(world))


def test_missing_translations_are_refused_above_the_share_that_the_recipe_states(world: Path) -> None:
    path = world / "fruit" / "train-de.tsv"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:30]), encoding="utf-8")
    with pytest.raises(DataError, match=r"fruit train: 10 of 40 rows have no translation, .* allows 0\.0%"):
        expand(made(FILTER), census(world))
    with pytest.raises(DataError, match=r"fruit train: 10 of 40 rows have no translation, .* allows 0\.0%"):
        expand(made(TRANSLATED), census(world))
    expand(made(FILTER, TRANSLATED, fusion=Fusion(most_missing=0.25)), census(world))
    path.unlink()
    (world / "fruit" / "train-sw.tsv").unlink()
    with pytest.raises(DataError, match="no translations in any language"):
        expand(made(FILTER), census(world))
    with pytest.raises(DataError, match="fruit train: no files for fruit, split train, language de"):
        expand(made(FILTER, fusion=Fusion(languages=("de",))), census(world))


def test_translations_of_rows_that_are_not_trained_on_are_no_overlap(world: Path) -> None:
    stand_ins = (
        Substitution(task="fruit", split="test", use_split="train", part=(0.5, 1.0), why="no test"),
        Substitution(task="fruit", split="train", use_split="train", part=(0.0, 0.5), why="the rest is evaluated"),
    )
    (world / "berry" / "train-de.tsv").write_bytes((world / "fruit" / "train-de.tsv").read_bytes())
    for count, expected in ((2, set()), (1, {"de", "en"})):
        asked = made(FILTER, TRANSLATED, fusion=Fusion(train="berry"), substitutions=stand_ins[:count])
        assert {one.language for one in overlaps(asked, census(world)) if one.task == "berry"} == expected


def test_training_rows_that_are_evaluated_stop_a_run(world: Path) -> None:
    stand_in = Substitution(task="fruit", split="train", use_split="test", why="a mistake")
    few = arm("few", train=TrainOn(languages=("de",), rows=5, after_english=True))
    asked = made(few, substitutions=(stand_in,))
    found = [one for one in overlaps(asked, census(world)) if one.spoken == "de" and not one.chosen]
    assert [(one.arms, one.language, one.evaluated, one.translated) for one in found] == [
        (("few",), "en", 0, 40), (("few",), "de", 40, 0),
    ]  # fmt: skip
    planned = plan_recipe(asked, world, world.parent / "store")
    assert {one.language for one in planned.leaks if one.spoken == "de"} == {"en", "de"}


@pytest.mark.parametrize(
    "one",
    [
        arm("chosen", fused=Fused(choose_on="targets")),
        arm("chosen", train=TrainOn(translated=True, choose_on="targets")),
        arm("chosen", train=TrainOn(languages=("de",), rows=9, after_english=True, choose_on="targets")),
    ],
)  # fmt: skip
def test_checkpoints_that_scored_rows_choose_are_told_and_decide_no_claim(one: Intermediate, world: Path) -> None:
    path = world / "fruit" / "dev-en.tsv"  # different rows from those of the other languages
    path.write_text("".join(f"en{line}" for line in path.read_text().splitlines(keepends=True)))
    stand_in = Substitution(task="fruit", split="test", use_split="dev", why="there is no test split")
    target = Target(task="fruit", languages=("de", "sw"))
    asked = made(one, FILTER, targets=(target,), substitutions=(stand_in,))
    planned = plan_recipe(asked, world, world.parent / "store")
    assert {(found.arms, found.spoken, found.language, found.evaluated) for found in planned.choices} == {
        (("chosen",), code, code, 40) for code in ("de", "sw")
    }
    assert any(
        "a checkpoint for fruit test is chosen on rows of fruit dev de that are" in line for line in remarks(planned)
    )
    cells = run_record(planned, command="", versions={}).cells
    assert {cell.arm for cell in cells if cell.chosen_on_scored} == {"chosen"} and not planned.leaks


@pytest.mark.parametrize("which", ["all", "available"])
def test_dev_rows_of_the_targets_that_are_not_there_are_told(which: str, world: Path) -> None:
    (world / "fruit" / "dev-sw.tsv").unlink()
    target = Target(task="fruit", languages=which, fusion=Fusion())
    for one in (
        arm("a", fused=Fused(choose_on="targets")),
        arm("a", train=TrainOn(translated=True, choose_on="targets")),
    ):
        with pytest.raises(DataError, match=r"fruit dev: no files for fruit, split dev, language sw"):
            expand(made(one, targets=(target,)), census(world))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (TEST_ENGLISH[:30], "10 of 40 rows have no translation with the same id, the first is '30'"),
        ([f"x{line}" for line in TEST_ENGLISH], "40 of 40 rows have no translation .* 40 of 40 translations belong"),
        ([f"{line.rstrip()}\tyes\n" for line in TEST_ENGLISH], "14 of 40 .*first is '0' .* has another label"),
        (None, "berry test: no files for berry, split test, language de"),
    ],
)
def test_translations_of_rows_to_predict_are_compared_before_anything_is_trained(
    lines: list[str] | None, message: str, world: Path
) -> None:
    path = world / "berry" / "test-de.tsv"
    path.write_text("".join(lines or ()), encoding="utf-8")
    if lines is None:
        path.unlink()
    with pytest.raises(DataError, match=message):
        expand(made(WITH, FILTER), census(world))
    expand(made(FILTER), census(world))
    few = arm("few", fused=Fused(translated=True), optional=True)
    assert list(outline(made(few, FILTER), census(world)).left_out) == ["few"]
    if lines == TEST_ENGLISH[:30]:
        expand(made(WITH, fusion=Fusion(test="berry", most_missing=0.25)), census(world))
    elif lines is None:
        with pytest.raises(DataError, match="no row to predict has a translation"):
            expand(made(WITH, fusion=Fusion(test="berry", most_missing=1)), census(world))


@pytest.mark.parametrize(
    ("code", "message"), [("en", "the human English originals of fruit"), ("de", "the rows of fruit")]
)
def test_what_is_no_translation_is_refused(code: str, message: str, world: Path) -> None:
    rows = (world / "fruit" / f"test-{code}.tsv").read_text(encoding="utf-8")
    (world / "berry" / "test-de.tsv").write_text(
        rows.replace(f"{code} test", f"{code.upper()}  Test!"), encoding="utf-8"
    )
    with pytest.raises(UsageError, match=f"berry test in de has {message}"):
        outline(made(WITH), census(world))
