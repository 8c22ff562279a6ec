"""Encoders that others trained further, as arms: towers made up in open_clip's and M-CLIP's names, plain folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_world
import tiny
import torch
from safetensors.torch import load_file, save_file

from viaduct import api
from viaduct.errors import UsageError
from viaduct.miniature import world as miniature
from viaduct.models.encoder import load_encoder, save_encoder
from viaduct.results.store import Store
from viaduct.runs import collect
from viaduct.runs.encoder import Shape, is_tower
from viaduct.runs.execute import Options
from viaduct.runs.identity import identities
from viaduct.runs.plan import outline
from viaduct.runs.planned import warnings
from viaduct.runs.recipes import load_recipe
from viaduct.runs.spec import Intermediate, Recipe, Saw, Target, Training
from viaduct.runs.stage import kind_of
from viaduct.training.adopt import AdoptWork

WORDS = "embeddings.word_embeddings.weight"
Weights = dict[str, torch.Tensor]


def further(folder: Path) -> Weights:
    """The weights of an encoder, all slightly changed."""
    torch.manual_seed(7)
    return {name: weight + 0.01 * torch.randn_like(weight) for name, weight in load_file(folder).items()}


def open_clip(parent: Path, folder: Path, *, binary: bool = False, **changed: torch.Tensor) -> Path:
    """A two-tower model as open_clip 2.x saves it: without a transformers configuration."""
    folder.mkdir()
    text = further(parent / "model.safetensors") | changed
    every = {f"text.transformer.{name}": weight for name, weight in text.items()}
    every |= {"text.transformer.embeddings.position_ids": torch.arange(130)[None]}
    every |= {f"text.transformer.pooler.dense.{name}": torch.ones(32) for name in ("weight", "bias")}
    every |= {"text.proj.0.weight": torch.ones(24, 32), "text.proj.2.weight": torch.ones(16, 24)}
    every |= {"visual.conv1.weight": torch.ones(8, 3, 4, 4), "logit_scale": torch.tensor(4.6)}
    if binary:
        torch.save(every, folder / "open_clip_pytorch_model.bin")
    else:
        save_file(every, folder / "open_clip_model.safetensors")
    return folder


def m_clip(parent: Path, folder: Path, *, binary: bool = False) -> Path:
    """M-CLIP's encoder with its linear layer, configuration and tokenizer."""
    shutil.copytree(parent, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    every = {f"transformer.{name}": weight for name, weight in further(parent / "model.safetensors").items()}
    every |= {"LinearTransformation.weight": torch.ones(16, 32), "LinearTransformation.bias": torch.ones(16)}
    about = {"model_type": "M-CLIP", "modelBase": "xlm-roberta-large", "numDims": 16, "transformerDimensions": 32}
    (folder / "config.json").write_text(json.dumps(about))
    if binary:
        torch.save(every, folder / "pytorch_model.bin")
    else:
        save_file(every, folder / "model.safetensors")
    return folder


def classifier(parent: Path, folder: Path) -> Path:
    """An ordinary published model: the encoder with a head on top."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(parent, num_labels=3)
    model: Any = AutoModelForSequenceClassification.from_config(config)
    shutil.copytree(parent, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    state = {f"roberta.{name}": weight for name, weight in further(parent / "model.safetensors").items()}
    assert not model.load_state_dict(state, strict=False).unexpected_keys
    model.save_pretrained(folder)
    return folder


def adopted(encoder: Path, parent: Path, place: Path, *, compared: bool = True) -> Path:
    """Run the adoption stage; returns its output folder."""
    work = AdoptWork(encoder=str(encoder), revision=None, compared=compared)
    place.mkdir()
    (place / "output").mkdir()
    tiny.run(tiny.context(work, place, {}, encoder=parent))
    return place / "output"


MADE: dict[str, tuple[Callable[..., Path], dict[str, Any], str]] = {
    "open_clip": (open_clip, {}, "text.transformer."),
    "open_clip, .bin": (open_clip, {"binary": True}, "text.transformer."),
    "M-CLIP": (m_clip, {}, "transformer."),
    "M-CLIP, .bin": (m_clip, {"binary": True}, "transformer."),
    "classifier": (classifier, {}, ""),
}


@pytest.mark.parametrize("kind", MADE)
def test_what_others_trained_becomes_a_folder_that_opens(kind: str, tiny_encoder: Path, tmp_path: Path) -> None:
    make, options, prefix = MADE[kind]
    left = adopted(make(tiny_encoder, tmp_path / "theirs", **options), tiny_encoder, tmp_path / "stage")
    wanted = further(tiny_encoder / "model.safetensors")
    found = load_encoder(str(left / "encoder"), None).state_dict()
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert (left / "encoder" / "tokenizer.json").read_bytes() == (tiny_encoder / "tokenizer.json").read_bytes()
    told = json.loads((left / "adopted.json").read_text())
    assert set(told["loaded"]) == {prefix + name for name in wanted}
    others = {"open_clip": "visual.conv1.weight", "M-CLIP": "LinearTransformation.bias"}
    assert all(name in told["left"] for start, name in others.items() if kind.startswith(start))


def _without(folder: Path, name: str) -> None:
    path = folder / "open_clip_model.safetensors"
    save_file({key: weight for key, weight in load_file(path).items() if key != name}, path)


def _with(folder: Path, **more: torch.Tensor) -> None:
    path = folder / "open_clip_model.safetensors"
    save_file(load_file(path) | {name.replace("__", "."): weight for name, weight in more.items()}, path)


class Object:
    pass


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (
        lambda one: _without(one, f"text.transformer.{WORDS}"),
        rf"open_clip_model\.safetensors: 1 of .* from .*encoder: {WORDS} is missing",
    ),
    "shape": (
        lambda one: _with(one, **{f"text.transformer.{WORDS}": torch.ones(9, 32)}),
        r"has the shape \(9, 32\), but",
    ),
    "more layers": (
        lambda one: _with(one, **{"text.transformer.encoder.layer.2.output.dense.bias": torch.ones(32)}),
        r"encoder\.layer\.2\.output\.dense\.bias is not among those of",
    ),
    "not finite": (
        lambda one: _with(one, **{"text.transformer.embeddings.LayerNorm.bias": torch.full((32,), torch.nan)}),
        "LayerNorm.bias has non-finite values",
    ),
    "cut off": (
        lambda one: (one / "open_clip_model.safetensors").write_bytes(
            (one / "open_clip_model.safetensors").read_bytes()[:9000]
        ),
        r"open_clip_model\.safetensors is ",
    ),
    "no text tower": (
        lambda one: save_file({"visual.conv1.weight": torch.ones(3)}, one / "open_clip_model.safetensors"),
        r"open_clip_model\.safetensors: \d+ of the text encoder's weights",
    ),
    "more than weights": (
        lambda one: (
            (one / "open_clip_model.safetensors").unlink(),
            torch.save({"a": Object()}, one / "open_clip_pytorch_model.bin"),
        ),
        r"open_clip_pytorch_model\.bin holds objects other than weights",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_not_whole_is_refused_before_any_stage(
    kind: str, world: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    harm, words = DAMAGE[kind]
    tower = open_clip(tiny_encoder, tmp_path / "tower")
    harm(tower)
    with pytest.raises(UsageError, match=words):
        _run(world, tmp_path, tiny_encoder, Intermediate(name="image", encoder=str(tower), parent="none"))
    assert not list((tmp_path / "store").rglob("stage.json"))


def _run(data: Path, place: Path, encoder: Path, *arms: Intermediate) -> api.Result:
    return api.run(_recipe(encoder, *arms), data=data, store=place / "store", options=Options(device="cpu", threads=1))


def _recipe(encoder: Path, *arms: Intermediate, **changes: Any) -> Recipe:
    fields = {"encoder": str(encoder), "intermediates": (Intermediate(name="none"), *arms), "allow_unknown": True}
    return small_world.recipe(**{**fields, "targets": (Target(task="fruit"),), **changes})


def test_another_tokenizer_or_shape_is_refused(
    world: Path, tiny_encoder: Path, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    words = tiny.tokenizer(400)
    save_encoder(tiny.encoder(words), words, tmp_path / "small")
    with pytest.raises(UsageError, match=r"tokenizer of '.*small' gives different ids from that of"):
        _run(world, tmp_path, tiny_encoder, Intermediate(name="other", encoder=str(tmp_path / "small")))
    save_encoder(tiny.encoder(tiny_tokenizer, layers=3), tiny_tokenizer, tmp_path / "deep")
    with pytest.raises(UsageError, match=r"deep: 16 of .* encoder\.layer\.2\..* is not among those of"):
        _run(world, tmp_path, tiny_encoder, Intermediate(name="deep", encoder=str(tmp_path / "deep"), parent="none"))
    tower = open_clip(tiny_encoder, tmp_path / "tower")
    with pytest.raises(UsageError, match=r"does not state its own shape\n.*`parent`"):
        _run(world, tmp_path, tiny_encoder, Intermediate(name="image", encoder=str(tower)))


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ({"name": "a", "tasks": ("quiz",), "parent": "none"}, "has `parent` and no `encoder`"),
        ({"name": "a", "encoder": "FOLDER", "parent": "non"}, "Did you mean 'none'"),
        ({"name": "none", "encoder": "FOLDER"}, "baseline is named 'none'"),
        ({"name": "a", "encoder": "./nowhere", "revision": "1"}, "folder ./nowhere does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_plan(
    arm: dict[str, Any], words: str, world: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    made = Intermediate(**{key: str(tiny_encoder) if value == "FOLDER" else value for key, value in arm.items()})
    with pytest.raises(UsageError, match=words):
        api.plan(small_world.recipe(encoder=str(tiny_encoder), intermediates=(made,)), data=world, store=tmp_path / "s")


def test_its_content_is_its_identity_and_its_past_is_its_own(world: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    tower = open_clip(tiny_encoder, tmp_path / "tower")
    seen = Saw(data=("fruit", "mnly"), source="us")
    arms = (
        Intermediate(name="plain", encoder=str(tiny_encoder)),
        Intermediate(name="image", encoder=str(tower), parent="plain", encoder_saw=seen),
    )
    made = _recipe(tiny_encoder, *arms)
    planned = api.plan(made, data=world, store=tmp_path / "store")
    assert {"encoder/plain/adopt", "encoder/image/adopt"} <= {stage.path for stage in planned.plan.stages}
    train = {arm: f"encoder/{arm}/fruit/seed-1/train" for arm in ("none", "image")}
    moved = shutil.copytree(tower, tmp_path / "moved")
    again = _recipe(tiny_encoder, arms[0], arms[1].model_copy(update={"encoder": str(moved)}))
    assert _fingerprints(again, world) == _fingerprints(made, world)
    _with(moved, logit_scale=torch.tensor(1.0))
    other = _fingerprints(again, world)
    assert other[train["image"]] != planned.identities[train["image"]].fingerprint
    assert other[train["none"]] == planned.identities[train["none"]].fingerprint
    said = "\n".join(warnings(planned))
    assert "image begins with tower, already trained on fruit, mnly (us): not a first exposure for fruit" in said
    assert "encoder_saw: mnly is neither the name of a card" in said
    assert "plain begins with encoder, and what that was trained on is not known" in said
    assert "the encoders of image were trained by others, once each" in said
    about = collect.about(Store(tmp_path / "store"), collect.run_record(planned, command="", versions={}))
    assert about.seen_tasks == {} and about.roles == {"none": "none"}
    assert about.settings["image begins with"] == f"{tower}, trained from the encoder of plain"


def _fingerprints(made: Recipe, data: Path) -> dict[str, str]:
    planned = api.plan(made, data=data, store=Path("nowhere"))
    found = identities(planned.plan, planned.census.data)
    return {path: one.fingerprint for path, one in found.items()}


def test_an_arm_of_another_size_is_forecast_at_its_own(
    world: Path, tiny_encoder: Path, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    deep = tmp_path / "deep"
    save_encoder(tiny.encoder(tiny_tokenizer, layers=4), tiny_tokenizer, deep)
    arms = (
        Intermediate(name="deep", encoder=str(deep)),
        Intermediate(name="tower", encoder=str(open_clip(deep, tmp_path / "tower")), parent="deep"),
    )
    planned = api.plan(_recipe(tiny_encoder, *arms), data=world, store=tmp_path / "store")
    weight = {arm: planned.estimates[f"encoder/{arm}/fruit/seed-1/train"].weight for arm in ("none", "deep", "tower")}
    assert weight["deep"] == weight["tower"] == pytest.approx(2 * weight["none"])
    assert kind_of("adopt").shape_left(AdoptWork(encoder=str(deep), revision=None, compared=False)) == Shape(
        4, 32, 64, len(tiny_tokenizer)
    )


def test_the_released_recipe_is_planned_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    made = load_recipe("multimodal_released")
    planned = api.plan(made, data=tmp_path, store=tmp_path / "store")
    assert set(planned.plan.left_out) == {"large_image"}
    base, large = (planned.estimates[f"{planned.plan.encoder}/{arm}/pawsx/seed-1/train"] for arm in ("image", "large"))
    assert planned.load and planned.load.flops and base.tokens == large.tokens and 3 < large.weight / base.weight < 4
    asked = load_recipe("multimodal_released", overrides=["intermediates.large_image.revision=abc"])
    assert not outline(asked, small_world.census(tmp_path)).left_out


@pytest.mark.slow
def test_arms_run_to_a_report_and_the_parent_itself_changes_nothing(
    tiny_encoder: Path, tmp_path: Path, made_once: Any
) -> None:
    data = made_once("adopt-world", lambda folder: miniature.write(folder, seed=1, scale=0.02))
    towers = (open_clip(tiny_encoder, tmp_path / "tower", binary=True), m_clip(tiny_encoder, tmp_path / "mclip"))
    training = Training(max_steps=3, max_length=48, evaluations=1, dev_rows=20, batch_tokens=256)
    made = Recipe(
        name="released",
        hypothesis="none",
        encoder=str(tiny_encoder),
        intermediates=(
            Intermediate(name="none"),
            Intermediate(name="same", encoder=str(tiny_encoder), parent="none"),
            Intermediate(name="image", encoder=str(towers[0]), parent="none"),
            Intermediate(name="mclip+mnli", encoder=str(towers[1]), parent="none", tasks=("mnli",), training=training),
        ),
        targets=(
            Target(task="xnli", training=training, languages=("en", "de")),
            Target(task="tatoeba", languages=("de", "fr")),
        ),
        allow_unknown=True,
        miniature=True,
        measure=None,
    )
    result = api.run(made, data=data, store=tmp_path / "store", options=Options(device="cpu", threads=1))
    rows = result.scores
    scores = {
        arm: rows[rows.arm == arm].sort_values(["task", "language", "metric"]).value.tolist()
        for arm in ("none", "same", "image", "mclip+mnli")
    }
    assert scores["same"] == scores["none"] and len(scores["none"]) >= 4
    assert all(len(one) == len(scores["none"]) for one in scores.values())
    predicted = Store(tmp_path / "store").root / "encoder"
    ways = ("none", "same", "image")
    texts = [next((predicted / arm).rglob("predict/predictions/de.jsonl")).read_text() for arm in ways]
    assert texts[0] == texts[1] != texts[2]
    page = result.report.read_text(encoding="utf-8")
    assert "were trained by others, once each" in page and "trained from the encoder of none" in page


def test_towers_are_known_from_folders_that_transformers_opens(tiny_encoder: Path, tmp_path: Path) -> None:
    towers = (open_clip(tiny_encoder, tmp_path / "tower"), m_clip(tiny_encoder, tmp_path / "mclip"))
    assert all(is_tower(folder) for folder in towers)
    assert not is_tower(tiny_encoder) and not is_tower(tmp_path)
