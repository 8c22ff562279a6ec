from __future__ import annotations

import sys
from pathlib import Path

import pytest

from viaduct.errors import UsageError
from viaduct.runs.encoder import encoder_identity
from viaduct.runs.recipes import apply, load_recipe
from viaduct.runs.spec import Pretrain, Recipe

YAML = """
name: small
hypothesis: it helps
encoder: {name: mini, text: [prose]}
targets:
  - {task: fruit, training: {epochs: 2}}
  - {task: twins}
seeds: [1, 2]
"""
PYTHON = """
from viaduct.runs.spec import Pretrain, Recipe, Target, Training

def recipe():
    targets = (Target(task="fruit", training=Training(epochs=2)), Target(task="twins"))
    return Recipe(name="small", hypothesis="it helps", encoder=Pretrain(name="mini", text=("prose",)), targets=targets,
                  seeds=(1, 2))
"""


def write(folder: Path, text: str, name: str = "recipe.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def loaded(tmp_path: Path) -> Recipe:
    return load_recipe(write(tmp_path, YAML))


def test_yaml_and_python_give_the_same_recipe(tmp_path: Path, loaded: Recipe) -> None:
    assert load_recipe(write(tmp_path, PYTHON, "recipe.py")) == loaded
    value = PYTHON.replace("def recipe():", "def make():") + "\nRECIPE = make()\n"
    assert load_recipe(write(tmp_path, value, "value.py")) == loaded


def test_a_recipe_may_import_from_the_files_beside_it_and_is_never_given_those_of_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from shared_seeds import SEEDS\n" + PYTHON.replace("(1, 2)", "SEEDS")
    for number, folder in ((1, tmp_path / "a"), (2, tmp_path / "b")):
        folder.mkdir()
        write(folder, f"SEEDS = ({number},)\n", "shared_seeds.py")
        write(folder, text, "recipe.py")
    write(tmp_path / "a", "", "json.py")  # never imported from there
    before = list(sys.path)
    monkeypatch.delitem(sys.modules, "shared_seeds", raising=False)
    assert load_recipe(tmp_path / "a" / "recipe.py").seeds == (1,) and sys.path == before
    with pytest.raises(UsageError, match=r"b/shared_seeds.py: a module 'shared_seeds' is loaded from .*/a/"):
        load_recipe(tmp_path / "b" / "recipe.py")
    monkeypatch.delitem(sys.modules, "shared_seeds")
    assert load_recipe(tmp_path / "b" / "recipe.py").seeds == (2,)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs: 2", "epoch: 2", "unknown field 'targets.fruit.training.epoch'; did you mean 'epochs'"),
        ("epochs: 2", "epochs: many", "targets.fruit.training.epochs: 'many' .str. was given; .*number"),
        ("seeds", "seed", "unknown field 'seed'; did you mean 'seeds'"),
        ("it helps", "' '", "the hypothesis is empty"),
        ("text: [prose]", "txt: [prose]", "unknown field 'encoder.txt'; did you mean 'text'"),
        ("task: twins", "layer: 2", "the field 'targets.1.task' is missing"),
        ("task: twins", "task: fruit", "target 'fruit' appears twice"),
        ("name: small", "name: Small!", "name: 'Small!' .str. was given; .*pattern"),
        ("[1, 2]", "[1, 2", "line 9: not YAML"),
        ("[1, 2]", "[1:30]", "seeds.0: '1:30' .str. was given; .*valid integer"),
        ("[1, 2]", "[true]", r"seeds: \[True\] .list. was given; write a number"),
        ("[1, 2]", f"[{'1' * 5000}]", "not YAML: .*5000 digits"),
        ("[1, 2]", "[" * 50_000, "not YAML: .*recursion"),
        ("epochs: 2", "learning_rate: true", "learning_rate: True .bool. was given; write a number"),
        ("epochs: 2", "evaluations: 1000000000", "allowed is at least 0 and at most 10,000"),
        ("text: [prose]", "text: [prose, prose]", "encoder.text: .* was given; 'prose' appears twice$"),
        (
            "task: twins",
            "task: twins, languages: []",
            r"targets.twins.languages: \[\] .list. was given; name at least one",
        ),
        ("task: twins", "task: twins, languages: [de, sw, de]", "targets.twins.languages: .*; 'de' appears twice$"),
        ("task: twins", "task: twins, retrieval: {layers: [1, 1]}", "retrieval.layers: .*; '1' appears twice$"),
        ("name: small", f"name: {'a' * 300}", "name: .* was given; .*at most 100 characters"),
    ],
)
def test_mistakes_in_yaml_are_told_with_file_and_field(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = write(tmp_path, YAML.replace(old, new))
    with pytest.raises(UsageError, match=words) as error:
        load_recipe(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs=2", "epoch=2", "line 5: unknown field 'epoch'; did you mean 'epochs'"),
        ("Pretrain, Recipe", "Pretrian, Recipe", "line 2: ImportError"),
        ("def recipe():", "def recipe(:", "line 4: SyntaxError"),
        ("return Recipe", "Recipe", "the file gives nothing"),
    ],
)
def test_mistakes_in_python_are_told_with_file_and_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = write(tmp_path, PYTHON.replace(old, new), "recipe.py")
    with pytest.raises(UsageError, match=words) as error:
        load_recipe(path)
    assert str(path) in str(error.value)


def test_words_mean_what_yaml_1_2_says(tmp_path: Path) -> None:
    changed = YAML.replace("[1, 2]", "[010, 2]").replace("task: twins", "task: twins, languages: [no, sw]")
    made = load_recipe(write(tmp_path, changed.replace("epochs: 2", "learning_rate: 1e-5")))
    assert made.seeds == (10, 2) and made.targets[1].languages == ("no", "sw")
    assert made.targets[0].training.learning_rate == 1e-5
    assert load_recipe(write(tmp_path, YAML), overrides=["seeds=[010]"]).seeds == (10,)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_text_in_another_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, YAML)
    path.write_bytes(YAML.replace("hypothesis: ", "hypothesis: é").encode(encoding))
    with pytest.raises(UsageError, match=r"byte [\d,]+ is not UTF-8\n.*save the file as text in UTF-8"):
        load_recipe(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no recipe file"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match=r"not '\.toml'"):
        load_recipe(write(tmp_path, "", "recipe.toml"))
    with pytest.raises(UsageError, match="a mapping of fields"):
        load_recipe(write(tmp_path, "- 1"))
    with pytest.raises(UsageError, match=r"recipe.py, line 2: SystemExit: 0"):
        load_recipe(write(tmp_path, "import sys\nsys.exit(0)", "recipe.py"))


def test_set_reaches_every_level(loaded: Recipe) -> None:
    changed = apply(
        loaded,
        [
            "targets.*.training.max_steps=5",
            "targets.fruit.training.epochs=1",
            "encoder.training.max_steps=50",
            "seeds=[3]",
        ],
    )
    assert [target.training.max_steps for target in changed.targets] == [5, 5]
    assert [target.training.epochs for target in changed.targets] == [1.0, 3.0]
    assert isinstance(changed.encoder, Pretrain) and changed.encoder.training.max_steps == 50
    assert changed.encoder.text == ("prose",)
    assert changed.seeds == (3,)


def test_later_settings_win_and_seeds_win_over_all(tmp_path: Path) -> None:
    path = write(tmp_path, YAML)
    assert load_recipe(path, overrides=["name=a", "name=b"]).name == "b"
    assert load_recipe(path, overrides=["seeds=[9]"], seeds=(4, 5)).seeds == (4, 5)
    with pytest.raises(UsageError, match="--seeds: recipe small: seed '4' appears twice"):
        load_recipe(path, seeds=(4, 4))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("targets.friut.training.epochs=1", "unknown target 'friut'. Did you mean 'fruit'"),
        ("targets.fruit.training.epoch=1", "unknown field 'epoch'. Did you mean 'epochs'"),
        ("target.fruit.split=dev", "unknown field 'target'. Did you mean 'targets'"),
        ("targets.fruit=1", "name a field of 'fruit'"),
        ("name.first=1", "it has no 'first'"),
        ("seeds=one", "seeds: 'one' .str. was given"),
        ("seeds", "not of the form field=value"),
        ("seeds=[1", "not YAML"),
    ],
)
def test_mistakes_in_set_are_told(loaded: Recipe, override: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        apply(loaded, [override])
    assert f"--set {override}" in str(error.value)


@pytest.mark.parametrize("name", ["recipe.yaml", "recipe.py"])
def test_folders_that_a_recipe_names_are_relative_to_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = tmp_path / "project"
    for folder in ("models/mine", "tower"):
        (beside / folder).mkdir(parents=True)
    fields = {
        "name": "own",
        "hypothesis": "h",
        "encoder": "models/mine",
        "intermediates": [
            {"name": "none"},
            {"name": "other", "encoder": "../elsewhere"},
            {"name": "hub", "encoder": "owner/name", "revision": "abc"},
            {"name": "seen", "captions": {"card": "coco", "tower": "tower"}},
        ],
        "targets": [{"task": "xnli"}],
    }
    text = f"from viaduct.runs.spec import Recipe\nRECIPE = Recipe(**{fields!r})"
    file = write(beside, text if name.endswith("py") else repr(fields), name)
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(file)
    assert recipe.encoder == str(beside / "models/mine")
    assert [arm.encoder for arm in recipe.intermediates] == [None, str(beside / "../elsewhere"), "owner/name", None]
    assert recipe.intermediates[3].captions.tower == str(beside / "tower")
    assert load_recipe(file.relative_to(tmp_path)) == recipe


@pytest.mark.parametrize(("encoder", "hub"), [("models/mine", True), ("./mine", False), ("a/b/c", False)])
def test_a_folder_that_does_not_exist_is_called_that(tmp_path: Path, encoder: str, hub: bool) -> None:
    file = write(tmp_path, f"{{name: a, hypothesis: h, encoder: {encoder}, targets: [{{task: xnli}}]}}")
    with pytest.raises(UsageError, match=r"the encoder's folder .* does not exist") as refused:
        encoder_identity(str(load_recipe(file).encoder), None)
    assert encoder.removeprefix("./") in str(refused.value)
    assert ("Hub" in str(refused.value)) is hub
