"""A package outside Viaduct uses all six doors from one file, registered through a real entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from preloaded import Preloaded

PACKAGE = Path(__file__).with_name("package")
RECIPE = """
name: tempered
hypothesis: a higher temperature trains another model
encoder:
  name: tiny
  architecture: {layers: 1, hidden: 16, heads: 2, feed_forward: 32, vocabulary: 300, max_length: 32, dropout: 0.0}
  training: {max_steps: 2, max_length: 16, batch_tokens: 256}
targets:
  - {task: verses, training: {max_steps: 4, batch_tokens: 64, evaluations: 1}, tempered: {temperature: 5.0}}
measure: null
"""


def viaduct(*arguments: object, installed: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line in a separate process, where the package is installed or not."""
    paths = [str(PACKAGE), *sys.path] if installed else sys.path
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    command = [sys.executable, "-m", "viaduct", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a recipe."""
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "data" / "verses").mkdir(parents=True)
    (folder / "data" / "text").mkdir()
    for code, words in (
        ("en", "the sea is wide and the night is long"),
        ("de", "das Meer ist weit die Nacht ist lang"),
    ):
        lines = [" ".join(words.split()[at % 4 : at % 4 + 3 + at % 5]) + f" {at}" for at in range(40)]
        (folder / "data" / "text" / f"{code}.txt.gz").write_text("".join(f"{one}\n" for one in lines), encoding="utf-8")
        for split in ("train", "dev", "test"):
            rows = (f"{one} {split}\t{'iamb' if at % 3 else 'trochee'}\n" for at, one in enumerate(lines[:12]))
            (folder / "data" / "verses" / f"{split}-{code}.tsv").write_text("".join(rows), encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


def run(preloaded: Preloaded, world: Path, store: str, *overrides: str) -> tuple[bytes, str]:
    """(the trained target's weights, the page of the report)."""
    asked = [part for one in overrides for part in ("--set", one)]
    options = ["--data", world / "data", "--store", world / store, "--device", "cpu", "--threads", 1]
    log = world / f"{store}.log"
    ran = preloaded.viaduct(["run", world / "recipe.yaml", *options, *asked], log, [PACKAGE])
    assert ran.wait(timeout=200) == 0, log.read_text(encoding="utf-8")
    (encoder,) = (world / store / "tiny" / "none" / "verses" / "seed-1").glob("*/encoder")
    page = (world / store / "runs" / "tempered" / "report.html").read_text(encoding="utf-8")
    return (encoder / "model.safetensors").read_bytes(), page


def test_a_recipe_with_all_of_it_runs_to_its_report(preloaded: Preloaded, world: Path) -> None:
    weights, page = run(preloaded, world, "store")
    assert '<h2 id="verses">' in page and "none, seed 1: 4.0 steps, logits divided by 5.0" in page
    target = world / "store" / "tiny" / "none" / "verses" / "seed-1"
    record = json.loads((target / "tempered" / "stage.json").read_text(encoding="utf-8"))
    assert record["identity"]["work"]["temperature"] == 5.0
    scores = json.loads((target / "score" / "scores.json").read_text(encoding="utf-8"))
    assert [(one["language"], one["metric"], one["n"]) for one in scores] == [("en", "metre", 12), ("de", "metre", 12)]
    others, plain = run(preloaded, world, "plain", "targets.verses.tempered=null")
    assert weights != others, "the field decides how the target is trained"
    assert '<h2 id="verses">' not in plain


def test_its_names_are_known_as_built_in_ones_are(world: Path) -> None:
    assert "iamb, trochee" in viaduct("tasks", "verses").stdout
    assert viaduct("scan", "the sea is wide").stdout == "4 words\n"
    asked = ("plan", world / "recipe.yaml", "--data", world / "data")
    planned = viaduct(*asked, "--set", "targets.verses.tempered.heat=2")
    assert planned.returncode == 2 and "unknown field 'heat'" in planned.stderr
    refused = viaduct(*asked, installed=False)
    assert refused.returncode == 2 and "unknown field 'targets.verses.tempered'" in refused.stderr


def test_a_broken_package_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "broken-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n", encoding="utf-8")
    (folder / "entry_points.txt").write_text("[viaduct.plugins]\nbroken = no_such_module:ROOM\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = viaduct("tasks", installed=False)
    assert found.returncode == 2 and "the plug-in 'broken' cannot be loaded" in found.stderr
    assert "Traceback" not in found.stderr


BAD = {
    "a plug-in offers the command 'plan'": "from viaduct.command import Command\n"
    "ROOM = Room('bad', commands=(Command('plan', print),))",
    "a plug-in adds the field 'seeds'": "from viaduct.runs.field import RecipeField\n"
    "class Seeds(RecipeField[int]):\n    name, owner, model = 'seeds', 'recipe', int\n"
    "ROOM = Room('bad', fields=(Seeds(),))",
    "the plug-in 'bad' has a room 'vision', and that name is taken": "ROOM = Room('vision')",
    "the plug-in 'bad' gives bad:ROOM, which is not a viaduct.doors.Room": "ROOM = 3",
    "offers 3 through the door commands: it has no name": "ROOM = Room('bad', commands=(3,))",
    "the plug-in 'bad' cannot be loaded: ZeroDivisionError": "ROOM = 1 / 0",
}


@pytest.mark.parametrize(("message", "module"), BAD.items(), ids=range(len(BAD)))
def test_a_package_that_cannot_be_meant_is_refused_in_one_message(message: str, module: str, tmp_path: Path) -> None:
    folder = tmp_path / "bad-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n", encoding="utf-8")
    (folder / "entry_points.txt").write_text("[viaduct.plugins]\nbad = bad:ROOM\n", encoding="utf-8")
    (tmp_path / "bad.py").write_text(f"from viaduct.doors import Room\n{module}\n", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in (str(tmp_path), *sys.path) if path)}
    command = [sys.executable, "-m", "viaduct", "plan", str(tmp_path / "recipe.yaml"), "--data", str(tmp_path)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 2 and message in found.stderr, found.stderr
    assert "Traceback" not in found.stderr
