"""How plans, identities and reports treat sentence encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sentence_folder
import torch
from safetensors.torch import save_file
from small_world import census, expand, recipe

from viaduct.inference.predict import PredictWork
from viaduct.runs.description import settings
from viaduct.runs.identity import literals
from viaduct.runs.sentence_encoder import makers_of
from viaduct.runs.spec import Retrieval, Target

PREDICTED: dict[str, Any] = {"task": "t", "languages": ("de",), "split": "test", "max_length": 64, "stride": 8}


def test_a_sentence_encoder_is_used_as_it_is_meant_and_another_one_by_the_best_layer(
    world: Path, tmp_path: Path
) -> None:
    """Given dev data, and if the recipe says nothing else; after training, the makers' modules are one candidate."""

    def vectors(folder: Path, **how: Any) -> dict[str, tuple[Any, Any]]:
        targets = tuple(Target(task=task, retrieval=Retrieval(**how)) for task in ("twins", "mine"))
        plan = expand(recipe(encoder=str(folder), seeds=(1,), targets=targets), census(world))
        works = {stage.path: stage.work for stage in plan.stages if stage.work.kind == "predict"}
        return {path.split("/", 1)[1]: (work.retrieval.layers, work.makers) for path, work in works.items()}

    plain, made = tmp_path / "plain", sentence_folder.write(tmp_path / "st", width=4, prompts={"query": "q: "})
    for folder in (plain, made):
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text("{}")
    paths = [f"{arm}/predict" for arm in ("none/twins", "none/mine", "quiz/twins/seed-1", "quiz/mine/seed-1")]
    makers = makers_of(str(made), None)
    assert vectors(plain) == dict(zip(paths, [(None, None), ("all", None)] * 2, strict=True))
    expected = [(None, makers), (None, makers), (None, makers), ("all", makers)]
    assert vectors(made) == dict(zip(paths, expected, strict=True))
    assert vectors(made, layers=(1,)) == dict.fromkeys(paths, ((1,), None))
    assert set(vectors(made, pooling="first").values()) == {(None, None), ("all", None)}
    assert makers is not None
    unprompted = {found for _, found in vectors(made, prompt="").values()}
    assert unprompted == {makers.model_copy(update={"prompt": ""})}
    words = settings(recipe(encoder=str(made), targets=(Target(task="mine"),)), census(world).data.folder.catalogue)
    assert words["target mine"].startswith("not trained; the makers' modules: mean pooling, normalised, prompt 'q: '")


def test_where_a_sentence_encoder_lies_is_no_part_of_an_identity(world: Path, tmp_path: Path) -> None:
    folders = [sentence_folder.write(tmp_path / name / "st", width=4, dense=2) for name in "ab"]
    works = [PredictWork(**{**PREDICTED, "makers": makers_of(str(folder), None)}) for folder in folders]
    assert works[0] != works[1] and literals(works[0]) == literals(works[1])
    state = {"linear.weight": torch.zeros(2, 4), "linear.bias": torch.zeros(2)}
    save_file(state, folders[1] / "2_Dense" / "model.safetensors")
    other = PredictWork(**{**PREDICTED, "makers": makers_of(str(folders[1]), None)})
    assert literals(other) != literals(works[1]), "but its weights are"
    assert "makers" not in literals(PredictWork(**PREDICTED))
