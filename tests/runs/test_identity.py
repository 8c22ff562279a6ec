from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from small_world import add_cards, census, expand, recipe

from viaduct.errors import UsageError
from viaduct.runs.encoder import encoder_identity
from viaduct.runs.identity import Identity, difference, identities
from viaduct.runs.score import SCORE
from viaduct.runs.spec import Intermediate, Recipe, Substitution, Target, Training
from viaduct.tasks.catalogue import Catalogue

QUIZ_HALF = Substitution(task="fruit", split="dev", use_split="test", part=(0.0, 0.5), why="first words")


def known(world: Path, asked: Recipe) -> dict[str, Identity]:
    found = census(world)
    return identities(expand(asked, found), found.data)


def fingerprints(world: Path, asked: Recipe) -> dict[str, str]:
    return {path: one.fingerprint for path, one in known(world, asked).items()}


def changed(world: Path, before: Recipe, after: Recipe) -> set[str]:
    old, new = fingerprints(world, before), fingerprints(world, after)
    return {path for path in old if path in new and old[path] != new[path]}


def test_the_same_recipe_has_the_same_fingerprints(world: Path) -> None:
    assert not changed(world, recipe(), recipe(hypothesis="in other words"))


def test_a_literal_changes_its_stage_and_all_that_follow_only(world: Path) -> None:
    arm = Intermediate(name="quiz", tasks=("quiz",), training=Training(epochs=1.0))
    found = changed(world, recipe(), recipe(intermediates=(Intermediate(name="none"), arm)))
    assert found == {path for path in fingerprints(world, recipe()) if path.startswith("mini/quiz/")}


def test_data_change_what_reads_them_and_all_that_follow(world: Path) -> None:
    before = fingerprints(world, recipe())
    path = world / "berry" / "test-de.tsv"
    path.write_text(path.read_text(encoding="utf-8").replace("second 7", "second seven"), encoding="utf-8")
    after = fingerprints(world, recipe())
    assert {path for path in before if before[path] != after[path]} == {path for path in before if "/berry/" in path}


def test_a_reworded_reason_changes_nothing(world: Path) -> None:
    reworded = QUIZ_HALF.model_copy(update={"why": "other words"})
    assert not changed(world, recipe(substitutions=(QUIZ_HALF,)), recipe(substitutions=(reworded,)))
    assert changed(world, recipe(), recipe(substitutions=(QUIZ_HALF,)))


def test_cards_whose_rows_are_left_out_count_where_there_are_any(world: Path) -> None:
    without = QUIZ_HALF.model_copy(update={"without_rows_of": ("twins",)})
    assert changed(world, recipe(substitutions=(QUIZ_HALF,)), recipe(substitutions=(without,)))
    plain = identities(expand(recipe(substitutions=(QUIZ_HALF,)), census(world)), census(world).data)[
        "mini/none/fruit/seed-1/train"
    ]
    assert "without_rows_of" not in plain.content["work"]["substitutions"][0]


def test_versions_of_code_and_cards_count(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprints(world, recipe())
    monkeypatch.setattr(SCORE, "version", 99)
    scored = fingerprints(world, recipe())
    assert {path for path in before if before[path] != scored[path]} == {p for p in before if p.endswith("/score")}
    add_cards(monkeypatch.setattr, [dataclasses.replace(Catalogue.builtin().task("twins"), version=2)])
    after = fingerprints(world, recipe())
    assert {path for path in before if scored[path] != after[path]} == {p for p in before if "/twins/" in p}


def test_the_way_that_rows_become_sequences_counts_for_those_who_read_such_rows(world: Path) -> None:
    """Before version 2 the stride was cut to a quarter of the window; stages trained that way must not be reused."""
    found = known(world, recipe(targets=(Target(task="fruit"), Target(task="quiz"))))
    kinds = {path: one.content.get("kinds") for path, one in found.items()}
    assert {path for path, one in kinds.items() if one} == {path for path in kinds if "quiz/seed" in path}
    assert kinds["mini/none/quiz/seed-1/train"] == {"span": 3}


def test_a_folder_is_known_by_its_content(world: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "notes.md").write_text(name)
    assert encoder_identity(str(tmp_path / "one"), None) == encoder_identity(str(tmp_path / "two"), None)
    (tmp_path / "two" / "model.safetensors").write_bytes(b"other")
    assert encoder_identity(str(tmp_path / "one"), None) != encoder_identity(str(tmp_path / "two"), None)
    targets = (Target(task="twins"),)
    found = identities(
        expand(recipe(encoder=str(tmp_path / "one"), targets=targets), census(world)), census(world).data
    )
    assert found["one/none/twins/predict"].content["encoder"]


def test_hub_names_need_a_revision() -> None:
    assert encoder_identity("owner/name", "abc") == {"hub": "owner/name", "revision": "abc"}
    with pytest.raises(UsageError, match=r"does not exist\n.*needs a revision"):
        encoder_identity("owner/name", None)
    with pytest.raises(UsageError, match="does not exist"):
        encoder_identity("./no/such/folder", None)


def test_differences_are_told_field_by_field() -> None:
    old = {"work": {"training": {"epochs": 3.0}, "seed": 1}, "inputs": {"encoder": "a" * 64}, "data": {}}
    new = {"work": {"training": {"epochs": 1.0}, "seed": 1}, "inputs": {"encoder": "b" * 64}, "data": {"x": "y"}}
    assert difference(old, new) == (
        "data: {} -> absent",
        'data.x: absent -> "y"',
        f"inputs.encoder: {'a' * 12} -> {'b' * 12}",
        "work.training.epochs: 3.0 -> 1.0",
    )
    assert difference(old, old) == ()
