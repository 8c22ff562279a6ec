"""`viaduct new`, the schema of recipes, and shell completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from viaduct.cli import app
from viaduct.runs.recipes import load_recipe


def test_a_new_recipe_is_one_that_loads_and_says_what_its_fields_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["new", "mine"])
    assert done.exit_code == 0 and "recipe: mine.yaml" in done.output
    recipe = load_recipe("mine.yaml")
    assert (recipe.name, [arm.name for arm in recipe.intermediates]) == ("mine", ["none", "squad"])
    text = Path("mine.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=recipe.schema.json\n") and text.count("#") > 8
    schema = json.loads(Path("recipe.schema.json").read_text())
    assert set(yaml.safe_load(text)) <= set(schema["properties"])
    assert schema["required"] == ["name", "hypothesis", "encoder", "targets"]
    assert "Hub revision" in schema["properties"]["revision"]["description"]
    assert schema["$defs"]["Training"]["additionalProperties"] is False
    again = CliRunner().invoke(app, ["new", "mine.yaml"])
    assert "mine.yaml already exists" in str(again.exception) and Path("mine.yaml").read_text() == text
    assert CliRunner().invoke(app, ["new", "other.yml"]).exit_code == 0
    assert load_recipe("other.yml").name == "other"
    wrong = CliRunner().invoke(app, ["new", "my.py"])
    assert str(wrong.exception) == "my.py: a new recipe is a YAML file\n  how to fix: viaduct new my"


@pytest.mark.parametrize("name", ["a/b", "Great Idea", "my.py"])
def test_a_name_that_cannot_be_is_refused_and_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["new", name]).exit_code != 0
    assert not list(tmp_path.iterdir())


def test_the_shell_completes_commands_and_options() -> None:
    def completed(words: str) -> list[str]:
        environment = {**os.environ, "_VIADUCT_COMPLETE": "complete_bash", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
        program = "import sys; sys.argv = ['viaduct']; from viaduct.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
        )
        return done.stdout.split()

    assert completed("viaduct fe") == ["fetch"]
    assert "--languages" in completed("viaduct fetch --l")
