"""What an encoder was trained on before, by the recipe, a known name or a model card; and which tasks that affects."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import small_world

from viaduct import api
from viaduct.results.store import Store
from viaduct.runs import collect
from viaduct.runs.encoder_history import (
    ALIASES,
    FAMILIES,
    History,
    history,
    licence_of,
    said_of_history,
    seen_before,
)
from viaduct.runs.planned import warnings
from viaduct.runs.spec import Intermediate, Recipe, Saw, Target
from viaduct.tasks.catalogue import Catalogue

ARMS = tuple(
    Intermediate(name=name, tasks=tasks)
    for name, tasks in {
        "none": (),
        "mnli": ("mnli",),
        "two": ("hellaswag", "squad2"),
        "hellaswag": ("hellaswag",),
    }.items()
)
TARGETS = tuple(Target(task=name) for name in ("xnli", "xquad", "panx", "tatoeba", "xcopa"))


def recipe(encoder: str, **changes: Any) -> Recipe:
    fields: dict[str, Any] = {"intermediates": ARMS, "targets": TARGETS, "revision": "1234"}
    return small_world.recipe(**{**fields, "encoder": encoder, **changes})


def past(encoder: str, **changes: Any) -> tuple[Recipe, History]:
    asked = recipe(encoder, **changes)
    return asked, history(asked, Catalogue.builtin())


@pytest.mark.parametrize(
    ("encoder", "tasks", "arms"),
    [
        ("intfloat/multilingual-e5-small", {"xnli", "xquad", "tatoeba"}, {"mnli", "two"}),
        ("BAAI/bge-m3", {"xnli", "xquad", "tatoeba"}, {"mnli", "two"}),
        ("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", {"xnli", "tatoeba"}, {"mnli"}),
        ("sentence-transformers/LaBSE", {"tatoeba"}, set()),
        ("deepset/xlm-roberta-large-squad2", {"xquad"}, {"two"}),
        ("joeddav/xlm-roberta-large-xnli", {"xnli"}, {"mnli"}),
        ("MoritzLaurer/mDeBERTa-v3-base-xnli-multilingual-nli-2mil7", {"xnli"}, {"mnli"}),
        ("FacebookAI/xlm-roberta-large", set(), set()),
        ("microsoft/mdeberta-v3-base", set(), set()),
        ("google-bert/bert-base-multilingual-cased", set(), set()),
    ],
)
def test_common_encoders_are_known(encoder: str, tasks: set[str], arms: set[str]) -> None:
    asked, found = past(encoder)
    assert found.saw is not None and found.saw.source
    touched = seen_before(asked, found)
    assert (set(touched[0]), set(touched[1])) == (tasks, arms)
    assert bool(said_of_history(asked, found)) == bool(tasks)


def test_others_are_unknown_and_that_is_said() -> None:
    asked, found = past("somebody/encoder")
    assert found.words == "unknown" and seen_before(asked, found) == ({}, {})
    (line,) = said_of_history(asked, found)
    assert line.startswith("what somebody--encoder was trained on before this run is not known")


def test_a_recipe_goes_before_the_name() -> None:
    saw = Saw(data=("wikiann",), source="its makers")
    asked, found = past("intfloat/multilingual-e5-small", encoder_saw=saw)
    assert seen_before(asked, found) == ({"panx": "wikiann"}, {})
    assert said_of_history(asked, found) == (
        "intfloat--multilingual-e5-small had already been trained on wikiann (its makers), so this is not a first"
        " exposure to the task for panx: no claim is decided there, and 'none' is not a baseline without the task",
    )
    assert past("somebody/encoder", encoder_saw=Saw(data=(), source="its makers"))[1].words == (
        "plain text only (its makers)"
    )


def test_data_that_touch_several_arms_are_named_once() -> None:
    asked, found = past("intfloat/multilingual-e5-small")
    arm = Intermediate(name="both", tasks=("mnli", "squad"))
    asked = asked.model_copy(update={"intermediates": (*asked.intermediates, arm)})
    (line,) = said_of_history(asked, found)
    named = line.partition("already been trained on ")[2].partition(" (")[0].split(", ")
    assert "nli" in named and "squad" in named and len(named) == len(set(named))


def test_a_misspelt_name_is_said_to_mark_nothing() -> None:
    said = said_of_history(*past("somebody/encoder", encoder_saw=Saw(data=("mnly", "ms_marco"), source="its makers")))
    assert said == (
        "encoder_saw: mnly is neither the name of a card nor a data set known here, so it marks no task (did you mean"
        " mnli?)",
    )


def test_a_model_card_beside_the_files_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    card = folder / "README.md"
    card.write_text("---\nbase_model: FacebookAI/xlm-roberta-base\ndatasets:\n- nyu-mll/multi_nli\n---\n# Mine\n")
    asked, found = past(str(folder))
    assert seen_before(asked, found) == ({"xnli": "multi_nli"}, {"mnli": "multi_nli"})
    card.write_text("---\nbase_model:\n- intfloat/multilingual-e5-base\n---\n")
    assert set(seen_before(*past(str(folder)))[0]) == {"xnli", "xquad", "tatoeba"}
    assert licence_of(str(folder), None) is None
    card.write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    assert licence_of(str(folder), None) == "cc-by-nc-4.0"
    for text in ("# No front matter\n", "---\n: [\n---\n", "---\nlanguage: de\n---\n", "---\n- a\n---\n", "---\n"):
        card.write_text(text)
        assert past(str(folder))[1].saw is None


def test_an_encoder_made_here_has_seen_nothing() -> None:
    made = small_world.recipe()
    found = history(made, Catalogue.builtin())
    assert found.touched == {} and said_of_history(made, found) == ()


def test_families_and_aliases_name_cards() -> None:
    named = {one for family in FAMILIES for one in family} | {one for cards in ALIASES.values() for one in cards}
    assert named <= {card.name for card in Catalogue.builtin()}


def test_plan_and_report_say_it_and_stages_stay_what_they_are(world: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    encoder = shutil.copytree(tiny_encoder, tmp_path / "ready")
    asked = small_world.recipe(encoder=str(encoder), allow_unknown=True)
    told = asked.model_copy(update={"encoder_saw": Saw(data=("fruit",), source="us")})
    plans = [api.plan(one, data=world, store=tmp_path / "store") for one in (asked, told)]
    assert plans[0].identities == plans[1].identities
    (line,) = [line for line in warnings(plans[1]) if "already been trained on" in line]
    assert line.startswith(
        "note: ready had already been trained on fruit (us), so this is not a first exposure to the task for fruit,"
        " berry:"
    )
    record = collect.run_record(plans[1], command="", versions={})
    about = collect.about(Store(tmp_path / "store"), record)
    assert about.seen_tasks == {"fruit": "fruit", "berry": "fruit"} and about.seen_arms == {}
    assert about.encoder_details["trained before on"] == "fruit (us)"
