from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_world import add_cards, census, expand, read_pairs, recipe, write_data

from viaduct.errors import DataError, NoRowsError, UsageError
from viaduct.rows import Row
from viaduct.runs.gaps import Gap, listed
from viaduct.runs.plan import outline
from viaduct.runs.spec import (
    Architecture,
    Intermediate,
    Mixture,
    Pretrain,
    Replay,
    Retention,
    Retrieval,
    Substitution,
    Target,
    Training,
)
from viaduct.tasks.card import Files
from viaduct.tasks.catalogue import Catalogue
from viaduct.vision.fields import Captions, Objective

NONE = Intermediate(name="none")
LORA = Training(encoder="lora")


def paths(plan) -> list[str]:
    return [stage.path for stage in plan.stages]


def asked(*names: str) -> tuple[Objective, ...]:
    return tuple(Objective(name=name) for name in names)  # type: ignore[arg-type]


def shown(**settings: object) -> Intermediate:
    return Intermediate(name="a", captions=Captions(**{"card": "coco", **settings}))  # type: ignore[arg-type]


def test_paths_are_readable_and_inputs_come_first(world: Path) -> None:
    plan = expand(recipe(seeds=(1,)), census(world))
    assert paths(plan) == [
        "mini/pretrain",
        "mini/none/fruit/seed-1/train",
        "mini/none/fruit/seed-1/predict",
        "mini/none/fruit/seed-1/score",
        "mini/none/berry/seed-1/predict",
        "mini/none/berry/seed-1/score",
        "mini/none/twins/predict",
        "mini/none/twins/score",
        "mini/quiz/intermediate-1-quiz/seed-1/train",
        "mini/quiz/fruit/seed-1/train",
        "mini/quiz/fruit/seed-1/predict",
        "mini/quiz/fruit/seed-1/score",
        "mini/quiz/berry/seed-1/predict",
        "mini/quiz/berry/seed-1/score",
        "mini/quiz/twins/seed-1/predict",
        "mini/quiz/twins/seed-1/score",
    ]
    seen: set[str] = set()
    for stage in plan.stages:
        assert {source.path for source in stage.inputs.values()} <= seen
        seen.add(stage.path)


def test_what_needs_no_seed_is_done_once_and_has_one_cell(world: Path) -> None:
    plan = expand(recipe(intermediates=(NONE,), targets=(Target(task="twins"),), seeds=(5, 6, 7)), census(world))
    assert paths(plan) == ["mini/pretrain", "mini/none/twins/predict", "mini/none/twins/score"]
    assert [cell.seed for cell in plan.cells] == [5]


def test_further_seeds_are_of_what_is_decided_alone(world: Path) -> None:
    longer = Intermediate(name="longer", longer_targets=5)
    short = tuple(Target(task=task, training=Training(max_steps=10)) for task in ("fruit", "berry"))
    arms = (NONE, longer, Intermediate(name="quiz", tasks=("quiz",)))
    plan = expand(
        recipe(
            intermediates=arms,
            targets=(*short, Target(task="twins")),
            seeds=(1, 2),
            further_seeds=(7,),
            deciding=(("longer", "none", "fruit"),),
        ),
        census(world),
    )
    assert {(cell.arm, cell.target.task) for cell in plan.cells if cell.seed == 7} == {
        ("none", "fruit"),
        ("longer", "fruit"),
    }
    steps = {
        stage.path: stage.work.training.max_steps for stage in plan.stages if stage.path.endswith("fruit/seed-7/train")
    }
    assert steps == {"mini/none/fruit/seed-7/train": 10, "mini/longer/fruit/seed-7/train": 15}


def test_targets_share_a_training_only_when_settings_are_equal(world: Path) -> None:
    longer = Target(task="berry", training=Training(epochs=9.0))
    plan = expand(recipe(intermediates=(NONE,), targets=(Target(task="fruit"), longer), seeds=(1,)), census(world))
    assert [path for path in paths(plan) if path.endswith("/train")] == [
        "mini/none/fruit/seed-1/train",
        "mini/none/fruit-for-berry/seed-1/train",
    ]


def test_chains_that_begin_alike_share_their_beginning(world: Path) -> None:
    arms = (Intermediate(name="a", tasks=("quiz",)), Intermediate(name="b", tasks=("quiz", "fruit")))
    plan = expand(recipe(intermediates=arms, targets=(Target(task="twins"),), seeds=(1,)), census(world))
    trainings = [stage for stage in plan.stages if stage.work.kind == "train"]
    assert [stage.path for stage in trainings] == [
        "mini/a/intermediate-1-quiz/seed-1/train",
        "mini/b/intermediate-2-fruit/seed-1/train",
    ]
    assert trainings[1].inputs["encoder"] is trainings[0]
    assert plan.unshared - len(plan.stages) == 2  # the pretraining and the quiz training of arm b
    assert plan.places[trainings[0].path].arm == ""


def test_a_target_training_equal_to_an_intermediate_one_is_shared(world: Path) -> None:
    arms = (NONE, Intermediate(name="fruit", tasks=("fruit",)))
    targets = (Target(task="fruit"), Target(task="twins"))
    plan = expand(recipe(intermediates=arms, targets=targets, seeds=(1,)), census(world))
    twins = next(stage for stage in plan.stages if stage.path == "mini/fruit/twins/seed-1/predict")
    assert twins.inputs["encoder"].path == "mini/none/fruit/seed-1/train"


def test_costs_are_put_down_to_whom_they_belong(world: Path) -> None:
    arms = (Intermediate(name="quiz", tasks=("quiz",)),)
    places = expand(recipe(intermediates=arms, targets=(Target(task="fruit"),), seeds=(3,)), census(world)).places
    assert {path.removeprefix("mini/quiz/"): (place.arm, place.task, place.seed) for path, place in places.items()} == {
        "mini/pretrain": ("", "", 1),
        "intermediate-1-quiz/seed-3/train": ("quiz", "", 3),
        "fruit/seed-3/train": ("quiz", "fruit", 3),
        "fruit/seed-3/predict": ("quiz", "fruit", 3),
        "fruit/seed-3/score": ("quiz", "fruit", 3),
    }


def test_all_missing_files_are_named_at_once(world: Path) -> None:
    for name in ("fruit/test-sw.tsv", "fruit/dev-en.tsv", "twins/test-de.tsv"):
        (world / name).unlink()
    with pytest.raises(DataError) as error:
        expand(recipe(), census(world))
    for words in ("fruit/test-sw.tsv", "fruit/dev-en.tsv", "twins/test-de.tsv", "how to fix"):
        assert words in str(error.value)


def test_what_is_missing_alike_in_several_languages_is_one_line() -> None:
    gaps = [
        Gap("fruit test", code, f"no files for fruit, language {code}; looked for fruit/{code}.tsv")
        for code in ("de", "sw")
    ]
    gaps += [Gap("twins test", "de", "no files; looked for twins.deu-eng.deu"), Gap("text train", "", "no files")]
    assert listed((*gaps, *gaps)) == (
        "fruit test in de sw: no files for fruit, language *; looked for fruit/*.tsv",
        "twins test: no files; looked for twins.deu-eng.deu",
        "text train: no files",
    )
    assert listed([Gap("t", code, f"looked for t.{iso3}") for code, iso3 in (("de", "deu"), ("sw", "swh"))]) == (
        "t in de sw: looked for t.*",
    )


def test_an_optional_arm_is_left_out_where_its_data_are_not_there(world: Path) -> None:
    arms = (NONE, Intermediate(name="quiz", tasks=("quiz",), optional=True), Intermediate(name="f", tasks=("fruit",)))
    assert expand(recipe(intermediates=arms), census(world)).left_out == {}
    (world / "quiz" / "dev-en.tsv").unlink()
    plan = expand(recipe(intermediates=arms, compare=(("quiz", "f"), ("f", "none"))), census(world))
    assert [arm.name for arm in plan.recipe.intermediates] == ["none", "f"]
    assert plan.recipe.compare == (("f", "none"),)
    assert {cell.arm for cell in plan.cells} == {"none", "f"}
    assert list(plan.left_out) == ["quiz"] and "quiz/dev-en.tsv" in plan.left_out["quiz"][0]
    alone = recipe(intermediates=arms[1:2])
    with pytest.raises(DataError, match=r"quiz/dev-en\.tsv"):
        expand(alone, census(world))


def test_an_optional_joint_arm_needs_its_text_and_every_language(world: Path) -> None:
    replay = Intermediate(name="a", tasks=("quiz",), replay=Replay(text=("prose",)), optional=True)
    german = Intermediate(name="b", tasks=("quiz",), languages=("de",), optional=True)
    changes = {"intermediates": (NONE, replay, german), "encoder": "none/at-all", "revision": "x"}
    assert expand(recipe(**changes), census(world)).left_out == {}
    shutil.rmtree(world / "prose")
    (world / "quiz" / "train-de.tsv").unlink()
    left_out = expand(recipe(**changes), census(world)).left_out
    assert left_out["a"] == ("prose: no files in any language",)
    assert "quiz/train-de.tsv" in left_out["b"][0]


def test_a_plan_to_look_at_has_every_stage_whatever_is_missing(world: Path) -> None:
    whole = paths(expand(recipe(), census(world)))
    for name in (
        "fruit/test-sw.tsv",
        "fruit/dev-en.tsv",
        "twins/test-de.tsv",
        "twins/test-sw.tsv",
        "quiz/train-en.tsv",
    ):
        (world / name).unlink()
    plan = outline(recipe(), census(world))
    assert paths(plan) == whole
    assert {(gap.what, gap.language) for gap in plan.missing} == {
        ("fruit test", "sw"), ("fruit dev", "en"), ("twins test", "de"), ("twins test", "sw"), ("quiz train", "en"),
    }  # fmt: skip
    assert plan.cells[0].score.work.languages == ("en", "de", "sw")


def test_available_leaves_out_what_is_missing_or_unlabelled_and_says_so(world: Path) -> None:
    (world / "fruit" / "test-sw.tsv").unlink()
    bare = (world / "fruit" / "test-de.tsv").read_text(encoding="utf-8").replace("yes", "").replace("no\n", "\n")
    (world / "fruit" / "test-de.tsv").write_text(bare, encoding="utf-8")
    plan = expand(recipe(targets=(Target(task="fruit", languages="available"),)), census(world))
    assert plan.absent == {"fruit": ("de", "sw")}
    assert plan.cells[0].score.work.languages == ("en",)
    with pytest.raises(DataError, match="no gold labels"):
        expand(recipe(), census(world))


def test_a_shared_file_without_a_language_lacks_it_and_is_not_damaged(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_shared(files: Files, language: str, split: str) -> Iterator[Row]:
        if language == "sw":
            raise NoRowsError("the file has no rows of language 'sw'", path=files["rows"][0])
        yield from read_pairs(files, language, split)

    fruit = Catalogue.builtin().task("fruit")
    source = dataclasses.replace(fruit.sources[0], read=read_shared)
    add_cards(monkeypatch.setattr, [dataclasses.replace(fruit, sources=(source,))])
    assert expand(recipe(targets=(Target(task="fruit", languages="available"),)), census(world)).absent == {
        "fruit": ("sw",)
    }
    with pytest.raises(DataError, match="has no rows of language sw"):
        expand(recipe(), census(world))


def test_pretraining_takes_the_languages_that_are_there(tmp_path: Path, world: Path) -> None:
    data = write_data(tmp_path / "two", languages=("en", "de"))
    targets = (Target(task="fruit", languages=("en",)),)
    plan = expand(recipe(targets=targets), census(data))
    assert plan.stages[0].work.languages == ("en", "de")
    asked = Pretrain(name="mini", text=("prose",), languages=("en", "sw"))
    with pytest.raises(DataError, match="Swahili"):
        expand(recipe(targets=targets, encoder=asked), census(data))


def test_a_layer_is_chosen_on_the_parallel_text_that_is_there(world: Path) -> None:
    several = Target(task="twins", retrieval=Retrieval(layers=(1, 2)))
    with pytest.raises(DataError, match="ntrex train: no files in a language of twins"):
        expand(recipe(targets=(several,)), census(world))
    folder = world / "ntrex" / "NTREX-128"
    folder.mkdir(parents=True)
    for name in ("src.eng", "ref.deu"):
        (folder / f"newstest2019-{name}.txt").write_text("one\ntwo\n")
    plan = expand(recipe(targets=(several,)), census(world))
    predicted = [stage for stage in plan.stages if stage.work.kind == "predict"]
    assert {stage.work.chosen_in for stage in predicted} == {("de",)}
    assert all(("ntrex", "train", "de") in plan.needs[stage.path] for stage in predicted)
    one = expand(recipe(targets=(Target(task="twins", retrieval=Retrieval(layers=(1,))),)), census(world))
    assert all(stage.work.chosen_in == () for stage in one.stages if stage.work.kind == "predict")
    wrong = Target(task="twins", retrieval=Retrieval(layers=(1, 2), choose_on="prose"))
    with pytest.raises(UsageError, match="choose_on names prose, which is of kind 'text'"):
        expand(recipe(targets=(wrong,)), census(world))


def test_a_joint_arm_is_one_stage_that_its_targets_share(world: Path) -> None:
    arm = Intermediate(
        name="both",
        tasks=("quiz", "fruit"),
        together=Mixture(sampling="uniform"),
        replay=Replay(text=("prose",)),
        training=Training(max_steps=5),
    )
    targets = (Target(task="fruit"), Target(task="twins"))
    plan = expand(recipe(intermediates=(Intermediate(name="none"), arm), targets=targets, seeds=(1, 2)), census(world))
    joint = [stage for stage in plan.stages if stage.work.kind == "joint"]
    assert [stage.path for stage in joint] == [f"mini/both/intermediate/seed-{seed}/joint" for seed in (1, 2)]
    needs = plan.needs[joint[0].path]
    assert {("quiz", "train", "en"), ("quiz", "dev", "en"), ("fruit", "train", "en"), ("prose", "train", "de")} <= {
        *needs
    }
    after = [stage for stage in plan.stages if stage.inputs.get("encoder") is joint[0]]
    assert sorted(stage.work.kind for stage in after) == ["predict", "train"]
    assert plan.places[joint[0].path].arm == "both"


def test_mining_needs_dev_and_carries_its_substitution(world: Path) -> None:
    halves = (
        Substitution(task="mine", split="dev", use_split="test", part=(0.0, 0.5), why="no dev"),
        Substitution(task="mine", split="test", use_split="test", part=(0.5, 1.0), why="the other half"),
    )
    (world / "mine" / "dev-de.tsv").unlink()
    with pytest.raises(DataError, match="threshold is tuned"):
        expand(recipe(targets=(Target(task="mine"),)), census(world))
    plan = expand(recipe(targets=(Target(task="mine"),), substitutions=halves), census(world))
    works = {stage.work.kind: stage.work for stage in plan.stages}
    assert works["predict"].substitutions == halves
    assert works["score"].substitutions == halves[1:]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"targets": (Target(task="frut"),)}, "Did you mean 'fruit'"),
        ({"targets": (Target(task="prose"),)}, "no metric"),
        ({"compare": (("quiz", "quizz"),)}, "Did you mean 'quiz'"),
        ({"deciding": (("quiz", "quizz"),)}, "arm in `deciding`: 'quizz'(?s:.*)Did you mean 'quiz'"),
        ({"deciding": (("quiz", "none", "fruits"),)}, "target in `deciding`: 'fruits'(?s:.*)Did you mean 'fruit'"),
        ({"deciding": (("quiz", "quiz"),)}, "`deciding` has quiz against itself"),
        ({"deciding": (("quiz", "none"), ("none", "quiz"))}, "`deciding` has quiz against none twice"),
        ({"compare": (("quiz", "none"), ("quiz", "none"))}, "`compare` has quiz against none twice"),
        ({"deciding": (("quiz",),)}, r"`deciding` has \[quiz\](?s:.*)write \[arm, against\]"),
        ({"deciding": (("quiz", "none", "fruit", "fruit"),)}, r"`deciding` has \[quiz, none, fruit, fruit\]"),
        ({"expected": ("higher",)}, r"`expected` and `deciding` differ in length: 1 and 0(?s:.*)in their order"),
        ({"further_seeds": (4,)}, "`further_seeds` are for what `deciding` compares"),
        ({"further_seeds": (1,), "deciding": (("quiz", "none"),)}, "seed '1' appears twice"),
        ({"intermediates": (NONE, Intermediate(name="longer", longer_targets=5))}, "longer than their max_steps"),
        ({"targets": (Target(task="fruit", languages=("fr",)),)}, "no language 'fr'"),
        ({"intermediates": (Intermediate(name="quiz"),)}, "has nothing to train on"),
        ({"intermediates": (Intermediate(name="none", tasks=("quiz",)),)}, "the baseline"),
        ({"intermediates": (Intermediate(name="a", tasks=("twins",)),)}, "kind 'retrieval'"),
        ({"encoder": Pretrain(name="runs", text=("prose",))}, "cannot be a folder's name"),
        ({"encoder": Pretrain(name="mini", text=("fruit",))}, "of kind 'pair'"),
        (
            {"substitutions": (Substitution(task="fruit", split="dev", use_task="quiz", use_split="dev", why="x"),)},
            "cannot stand in",
        ),
        (
            {"substitutions": (Substitution(task="fruit", split="dev", use_split="dev", part=(0.5, 0.5), why="x"),)},
            "is empty",
        ),
        ({"substitutions": (Substitution(task="fruit", split="dev", use_split="test", why="x"),) * 2}, "two substitu"),
        ({"intermediates": (Intermediate(name="none", replay=Replay()),)}, "the baseline"),
        ({"intermediates": (Intermediate(name="a", replay=Replay(text=("prose",))),)}, "which has no end"),
        ({"intermediates": (Intermediate(name="a", tasks=("quiz",), replay=Replay(text=("fruit",))),)}, "of kind text"),
        ({"intermediates": (Intermediate(name="a", tasks=("quiz",), retention=Retention(kl=1.0)),)}, "needs replayed"),
        (
            {"intermediates": (Intermediate(name="a", tasks=("quiz",), training=Training(encoder="frozen")),)},
            "would pass it on unchanged",
        ),
        (
            {"intermediates": (Intermediate(name="a", tasks=("quiz",), replay=Replay(), training=LORA),)},
            r"one joint stage(?s:.*)retention\.lora_rank",
        ),
        ({"intermediates": (Intermediate(name="a", captions=Captions(card="prose")),)}, "of kind captioned"),
        ({"intermediates": (shown(image="none", objectives=asked("itm")),)}, "not possible without images: itm"),
        ({"intermediates": (shown(image="text"),)}, "captions can replace images only in contrastive"),
        ({"intermediates": (shown(negatives=3),)}, "contrastive with softmax"),
        ({"intermediates": (shown(objectives=asked("itm", "itm")),)}, "name each objective once"),
        ({"intermediates": (shown(negatives=3, tower_layers=2),)}, "not trained"),
        ({"intermediates": (Intermediate(name="a", replay=Replay(), languages=("de",)),)}, "no end|name tasks"),
        (
            {"targets": (Target(task="quiz", training=Training(max_length=384, stride=193)),)},
            "target 'quiz': a stride of 193 tokens in windows of 384",
        ),
        (
            {"intermediates": (Intermediate(name="a", tasks=("fruit", "quiz"), training=Training(max_length=100)),)},
            "arm 'a': a stride of 64 tokens in windows of 100",
        ),
        (
            {
                "targets": (Target(task="quiz", training=Training(max_length=384, stride=128)),),
                "encoder": Pretrain(name="mini", text=("prose",), architecture=Architecture(max_length=192)),
            },
            "a stride of 128 tokens in windows of 192",
        ),
        (
            {
                "substitutions": (
                    Substitution(task="fruit", split="dev", use_split="dev", without_rows_of=("frit",), why="x"),
                )
            },
            "Did you mean 'fruit'",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(world: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        expand(recipe(**changes), census(world))
