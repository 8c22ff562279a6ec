from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import sentence_folder
from typer.testing import CliRunner

from viaduct import cli
from viaduct.errors import UsageError
from viaduct.miniature import world
from viaduct.results.xtreme import TARGETS
from viaduct.runs.evaluation import evaluation
from viaduct.runs.spec import Substitution


def model(folder: Path, **config: int) -> str:
    """A folder with nothing but a configuration."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_settings_follow_the_size_of_the_encoder(tmp_path: Path) -> None:
    base = evaluation(model(tmp_path / "base", hidden_size=768, num_hidden_layers=12))
    large = evaluation(model(tmp_path / "large", hidden_size=1024, num_hidden_layers=24))
    assert [target.task for target in base.targets] == list(TARGETS)
    by_task = {name: {one.task: one for one in recipe.targets} for name, recipe in (("b", base), ("l", large))}
    assert (by_task["b"]["xnli"].training.learning_rate, by_task["b"]["xnli"].training.epochs) == (2e-5, 5.0)
    assert by_task["b"]["xquad"].training.learning_rate == 3e-5
    # The rate at which XLM-R large fails to learn is never used.
    assert {one.training.learning_rate for one in large.targets if one.training.evaluations} == {1e-5}
    assert [by_task[size]["tatoeba"].retrieval.layers for size in "bl"] == [(8,), (14,)]
    assert by_task["b"]["xquad"].training == by_task["b"]["mlqa"].training, "else SQuAD is trained on twice"


def test_other_shapes_and_names(tmp_path: Path) -> None:
    xlm = evaluation(model(tmp_path / "XLM-17", emb_dim=1280, n_layers=16), tasks=("bucc",), seeds=(3,))
    assert (xlm.name, xlm.targets[0].retrieval.layers, xlm.seeds) == ("evaluate-xlm-17", None, (3,))
    with pytest.raises(UsageError, match="Did you mean 'xquad'"):
        evaluation(str(tmp_path / "XLM-17"), tasks=("xqad",))
    with pytest.raises(UsageError, match=r"folder somebody/something does not exist\n.*Hub needs a revision"):
        evaluation("somebody/something")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"has no config\.json"):
        evaluation(str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="does not say how wide"):
        evaluation(model(tmp_path / "odd", layers=3))


def test_no_layer_is_named_for_a_sentence_encoder(tmp_path: Path) -> None:
    folder = sentence_folder.write(tmp_path / "e5", width=384)
    made = evaluation(model(folder, hidden_size=384, num_hidden_layers=12), tasks=("tatoeba", "bucc"))
    assert [target.retrieval.layers for target in made.targets] == [None, None]


def test_a_sentence_encoders_modules_that_are_not_supported_stop_only_those_who_use_them(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_encoder, tmp_path / "st")
    sentence_folder.write(folder, width=32)
    (folder / "modules.json").write_text('[{"type": "custom_st.Transformer", "path": ""}]')
    world.write(tmp_path / "data", scale=0.01)
    options = ["--data", str(tmp_path / "data"), "--store", str(tmp_path / "store"), "--plan"]
    with pytest.raises(UsageError, match=r"modules\.json: a module 'custom_st\.Transformer' is not supported"):
        cli_run(["evaluate", str(folder), "--tasks", "tatoeba", *options])
    cli_run(["evaluate", str(folder), "--tasks", "tatoeba", "--set", "targets.tatoeba.retrieval.layers=[1]", *options])
    cli_run(["evaluate", str(folder), "--tasks", "udpos", *options])


def cli_run(words: list[str]) -> None:
    done = CliRunner().invoke(cli.app, words)
    if done.exception is not None:
        raise done.exception


def test_only_substitutions_that_concern_the_tasks_are_taken(tmp_path: Path) -> None:
    several = [
        Substitution(task=task, split="test", use_split="dev", why="the labels are not here")
        for task in ("xnli", "mnli", "bucc")
    ]
    folder = model(tmp_path / "base", hidden_size=768, num_hidden_layers=12)
    made = evaluation(folder, tasks=("xnli",), substitutions=several)
    assert [one.task for one in made.substitutions] == ["xnli", "mnli"]


def test_the_plan_shares_what_can_be_shared(tiny_encoder: Path, tmp_path: Path) -> None:
    world.write(tmp_path / "data", scale=0.01)
    options = ["--data", str(tmp_path / "data"), "--store", str(tmp_path / "store"), "--plan"]
    done = CliRunner().invoke(cli.app, ["evaluate", str(tiny_encoder), *options])
    assert done.exit_code == 0, done.output
    stages = [line.lstrip("│├└─ ") for line in done.output.splitlines()]
    trained = [stage for stage in stages if stage.startswith("train ")]
    assert len(trained) == 6, "XNLI, PAWS-X, POS, NER, TyDiQA, and SQuAD once for XQuAD and MLQA"
    assert sum(stage.startswith("predict ") and "and score it" in stage for stage in stages) == 9
    assert not (tmp_path / "store").exists()
