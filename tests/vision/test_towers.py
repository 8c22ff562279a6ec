"""Every architecture matches transformers on the same pixels; anything that changes features changes the key."""

from __future__ import annotations

import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import small_towers
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from simulated_device import simulated

from viaduct.errors import UsageError
from viaduct.models import linear
from viaduct.vision.towers import load_tower, pool_cells, pool_halves

PIL = {
    "clip": "CLIPImageProcessorPil",
    "siglip": "SiglipImageProcessorPil",
    "siglip2": "Siglip2ImageProcessorPil",
    "dinov2": "BitImageProcessorPil",
    "dinov2-registers": "BitImageProcessorPil",
    "dinov3": "SiglipImageProcessorPil",
    "resnet": "ConvNextImageProcessorPil",
    "vit": "ViTImageProcessorPil",
}
BEFORE = {"clip": 1, "siglip": 0, "siglip2": 0, "dinov2": 1, "dinov2-registers": 4, "dinov3": 5, "resnet": 0, "vit": 1}
"""The number of class and register tokens before the patches."""


@pytest.fixture(params=small_towers.TOWERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(name: str, tmp_path: Path) -> Path:
    return small_towers.write(name, tmp_path / name)


def direct(name: str, folder: Path, image: Image.Image) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """The output of transformers alone: (patches, vector, (rows, columns))."""
    processor = getattr(transformers, PIL[name]).from_pretrained(folder)
    options = {"add_pooling_layer": False} if name == "vit" else {}
    model = getattr(transformers, small_towers.TOWERS[name][0]).from_pretrained(folder, **options).eval()
    inputs = processor([image], return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs)
    hidden = output.last_hidden_state[0]
    if name == "resnet":
        return hidden.permute(1, 2, 0).reshape(64, 32).numpy(), output.pooler_output[0, :, 0, 0].numpy(), (8, 8)
    rows, columns = inputs["spatial_shapes"][0].tolist() if "spatial_shapes" in inputs else (8, 8)
    patches = hidden[BEFORE[name] :][: rows * columns]
    return patches.numpy(), (hidden[0] if name == "vit" else output.pooler_output[0]).numpy(), (rows, columns)


def test_it_gives_the_bits_of_transformers(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_AVAILABLE", False)  # other products, other last bits: see ..._products_are_close
    tower = load_tower(str(folder), None)
    assert (tower.width, tower.tokens) == (32, 64)
    images = small_towers.pictures()
    tokens_NPD, vector_ND = tower.compute(images)
    assert tokens_NPD.dtype == vector_ND.dtype == np.float32
    for image, tokens_PD, vector_D in zip(images, tokens_NPD, vector_ND, strict=True):
        patches, vector, shape = direct(name, folder, image)
        if shape == (8, 8):
            np.testing.assert_array_equal(tokens_PD, patches)
        np.testing.assert_array_equal(vector_D, vector)


def test_on_a_gpu_it_gives_what_it_gives_on_the_cpu(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = small_towers.pictures()
    expected_NPD, expected_ND = load_tower(str(folder), None).compute(images)
    with simulated(monkeypatch) as device:
        tokens_NPD, vector_ND = load_tower(str(folder), None, device=torch.device("cuda")).compute(images)
    assert device.calls > 10
    np.testing.assert_allclose(tokens_NPD, expected_NPD, atol=2e-5, rtol=1e-4)
    np.testing.assert_allclose(vector_ND, expected_ND, atol=2e-5, rtol=1e-4)


def test_half_precision_is_the_rounded_float32_and_products_are_close(name: str, folder: Path) -> None:
    tower = load_tower(str(folder), None)
    images = small_towers.pictures()
    exact_NPD, exact_ND = tower.compute(images)
    tokens_NPD, vector_ND = tower.encode(images)
    assert tokens_NPD.dtype == np.float16 and vector_ND.dtype == np.float32
    np.testing.assert_array_equal(tokens_NPD, exact_NPD.astype(np.float16))
    np.testing.assert_array_equal(vector_ND, exact_ND)
    patches, vector, _ = direct(name, folder, images[2])
    np.testing.assert_allclose(exact_NPD[2], patches, atol=2e-5, rtol=1e-4)
    np.testing.assert_allclose(exact_ND[2], vector, atol=2e-5, rtol=1e-4)
    alone = tower.compute(images[1:2])
    np.testing.assert_array_equal(alone[0][0], exact_NPD[1])  # whatever else is in the batch
    np.testing.assert_array_equal(alone[1][0], exact_ND[1])
    assert [len(part) for part in tower.encode([])] == [0, 0]


def test_tokens_are_averaged_until_few_enough_are_left(name: str, folder: Path) -> None:
    images = small_towers.pictures()[:2]
    every = load_tower(str(folder), None)
    few = load_tower(str(folder), None, max_tokens=20)
    assert few.tokens == 16 and few.key != every.key
    tokens_NPD, vector_ND = few.compute(images)
    if name != "siglip2":
        expected = every.compute(images)[0].reshape(2, 4, 2, 4, 2, 32).mean(axis=(2, 4)).reshape(2, 16, 32)
        np.testing.assert_allclose(tokens_NPD, expected, atol=1e-5)
    np.testing.assert_array_equal(vector_ND, every.compute(images)[1])


HALF = {"height": 24, "width": 24}
SMALLER: dict[str, dict[str, Any]] = {
    "clip": {"size": 24, "crop_size": 24},
    "resnet": {"size": {"shortest_edge": 32}},
    "siglip2": {"max_num_patches": 16},
    "dinov2": {"size": {"shortest_edge": 27}, "crop_size": HALF},
    "dinov2-registers": {"size": {"shortest_edge": 27}, "crop_size": HALF},
}


def test_smaller_images_have_fewer_patches(name: str, tmp_path: Path) -> None:
    """For image processors that make images of another size than the model was trained on."""
    whole = load_tower(str(small_towers.write(name, tmp_path / "whole")), None)
    tower = load_tower(str(small_towers.write(name, tmp_path / "half", **SMALLER.get(name, {"size": HALF}))), None)
    assert tower.tokens == 16 and tower.key != whole.key
    tokens_NPD, vector_ND = tower.encode(small_towers.pictures())
    assert tokens_NPD.shape == (4, 16, 32) and vector_ND.shape == (4, 32)


def test_proportions_are_kept_and_the_grid_is_the_same_for_all(tmp_path: Path) -> None:
    folder = small_towers.write("siglip2", tmp_path)
    tower = load_tower(str(folder), None)
    for image in (small_towers.picture(1, 40, 90), small_towers.picture(2, 200, 20)):
        patches, _, (rows, columns) = direct("siglip2", folder, image)
        assert rows != columns and rows * columns <= 64
        grid = patches.reshape(rows, columns, 32)
        expected = [
            grid[r * rows // 8 : -(-(r + 1) * rows // 8), c * columns // 8 : -(-(c + 1) * columns // 8)].mean((0, 1))
            for r in range(8)
            for c in range(8)
        ]
        np.testing.assert_allclose(tower.compute([image])[0][0], expected, atol=1e-4)


@given(st.integers(1, 15), st.integers(1, 70), st.integers(0, 9))
def test_pooling_is_the_mean_of_two_by_two(grid: int, max_tokens: int, seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal((2, grid, grid, 3)).astype(np.float32)
    wanted, expected = grid, values
    while wanted**2 > max_tokens:
        half = -(-wanted // 2)
        cells = [
            [expected[:, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].mean((1, 2)) for c in range(half)] for r in range(half)
        ]
        wanted, expected = half, np.array(cells).transpose(2, 0, 1, 3)
    found = pool_halves(torch.from_numpy(values).reshape(2, grid * grid, 3), grid, wanted)
    np.testing.assert_allclose(found.numpy(), expected.reshape(2, wanted**2, 3), atol=1e-5)


def test_both_ways_to_pool_agree_on_squares() -> None:
    tokens_NLD = torch.randn(1, 256, 5)
    for pooled in (16, 8, 4):
        expected = pool_halves(tokens_NLD, 16, pooled)[0]
        torch.testing.assert_close(pool_cells(tokens_NLD[0], (16, 16), pooled), expected)


def test_raw_patches_are_the_pixels() -> None:
    image = small_towers.picture(5, 64, 64)
    pixels = np.asarray(image, dtype=np.float32) / 127.5 - 1
    for name, grid, patch in (("patches", 4, 16), ("patches-64", 8, 8)):
        tower = load_tower(name, None)
        assert (tower.tokens, tower.width) == (grid * grid, patch * patch * 3)
        tokens_NPD, vector_ND = tower.compute([image])
        for at in range(grid * grid):
            row, column = divmod(at, grid)
            cut = pixels[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            np.testing.assert_array_equal(tokens_NPD[0, at], cut.reshape(-1))
        np.testing.assert_allclose(vector_ND[0], tokens_NPD[0].mean(0), atol=1e-6)
        assert np.abs(tower.encode([image])[0] - tokens_NPD).max() < 2**-11
        assert tower.encode([small_towers.picture(1, 33, 9).convert("L")])[0].shape == tokens_NPD.shape
        assert [len(part) for part in tower.encode([])] == [0, 0]
    with pytest.raises(UsageError, match="16 are allowed"):
        load_tower("patches-64", None, max_tokens=16)


def test_whatever_changes_features_changes_the_key(tmp_path: Path) -> None:
    same = [load_tower(str(small_towers.write("vit", tmp_path / str(copy))), None) for copy in (1, 2)]
    assert same[0].key == same[1].key and same[0].name != same[1].name and len(same[0].key) == 64
    other = {
        "weights": small_towers.write("vit", tmp_path / "weights", seed=1),
        "mean": small_towers.write("vit", tmp_path / "mean", image_mean=[0.4, 0.5, 0.5]),
        "filter": small_towers.write("vit", tmp_path / "filter", resample=3),
        "side": small_towers.write("vit", tmp_path / "side", size=24),
        "config": small_towers.write("vit", tmp_path / "config"),
        "kind": small_towers.write("siglip", tmp_path / "kind"),
    }
    config = json.loads((other["config"] / "config.json").read_text())
    (other["config"] / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-3}))
    keys = [load_tower(str(folder), None).key for folder in other.values()]
    keys += [load_tower(str(tmp_path / "1"), None, max_tokens=count).key for count in (16, 4)]
    keys += [load_tower(name, None).key for name in ("patches", "patches-64")]
    assert len({same[0].key, *keys}) == 1 + len(keys)
    # Bookkeeping fields do not change the key.
    config = json.loads((tmp_path / "2" / "config.json").read_text())
    (tmp_path / "2" / "config.json").write_text(json.dumps({**config, "transformers_version": "4.0"}))
    assert load_tower(str(tmp_path / "2"), None).key == same[0].key


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2"])
def test_of_two_towers_the_image_tower_is_loaded(kind: str, tmp_path: Path) -> None:
    """The folder of a whole CLIP or SigLIP model gives what its image model gives alone."""
    prefix = {"clip": "CLIP", "siglip": "Siglip", "siglip2": "Siglip2"}[kind]
    _, config, processor = small_towers.TOWERS[kind]
    text = {**small_towers.WIDE, "vocab_size": 50, "max_position_embeddings": 8}
    torch.manual_seed(0)
    both = getattr(transformers, f"{prefix}Model")(
        getattr(transformers, f"{prefix}Config")(vision_config=config, text_config=text)
    )
    both.save_pretrained(tmp_path / "both")
    both.vision_model.save_pretrained(tmp_path / "alone")
    for name in ("both", "alone"):
        (tmp_path / name / "preprocessor_config.json").write_text(json.dumps(processor))
    images = small_towers.pictures()
    found, expected = (load_tower(str(tmp_path / name), None).compute(images) for name in ("both", "alone"))
    for one, other in zip(found, expected, strict=True):
        # Last bits may differ: products depend on where a weight begins in its file, and so in memory.
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_settings_and_weights_in_several_files_are_read(tmp_path: Path) -> None:
    """processor_config.json with the image processor inside, and sharded weights with an index."""
    folder = small_towers.write("vit", tmp_path / "one")
    parts = tmp_path / "parts"
    transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False).save_pretrained(parts, max_shard_size="20KB")
    assert len(list(parts.glob("*.safetensors"))) > 1
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (parts / "processor_config.json").write_text(json.dumps({"image_processor": settings, "processor_class": "X"}))
    images = small_towers.pictures()
    for one, other in zip(*(load_tower(str(at), None).compute(images) for at in (folder, parts)), strict=True):
        np.testing.assert_array_equal(one, other)
    next(parts.glob("*-00002-*.safetensors")).unlink()
    with pytest.raises(UsageError, match="lacks model-00002"):
        load_tower(str(parts), None)


def test_names_that_are_no_towers_are_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown image tower 'patchs'. Did you mean 'patches'\?"):
        load_tower("patchs", None)
    with pytest.raises(UsageError, match=r"Did you mean 'facebook/dinov2-base'\?"):
        load_tower("dinov2-base", None)
    with pytest.raises(UsageError, match=r"folder .*nowhere does not exist"):
        load_tower(str(tmp_path / "nowhere"), None)
    with pytest.raises(UsageError, match=r"folder facebook/dinov2-base does not exist\n.*Hub needs a revision"):
        load_tower("facebook/dinov2-base", None)


def test_a_hub_name_is_downloaded_once_and_failing_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small_towers.write("dinov2", tmp_path)
    asked: list[Any] = []

    def download(name: str, *, revision: str, allow_patterns: list[str], local_files_only: bool) -> str:
        asked.append((name, revision))
        assert "*.safetensors" in allow_patterns and not any(one.endswith(".bin") for one in allow_patterns)
        if name != "someone/tower":
            raise ConnectionError("no network\nat all")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr("viaduct.vision.tower_files.unreachable", lambda: None)
    assert load_tower("someone/tower", "abc").key == load_tower(str(folder), None).key
    assert asked == [("someone/tower", "abc")]
    with pytest.raises(UsageError, match=r"revision abc: no network. Did you mean 'facebook/dinov2-base'\?"):
        load_tower("facebook/dinov2-bose", "abc")


def test_folders_that_are_no_image_towers_are_refused(tmp_path: Path, tiny_encoder: Path) -> None:
    with pytest.raises(UsageError, match="model_type 'xlm-roberta'"):
        load_tower(str(tiny_encoder), None)
    with pytest.raises(UsageError, match=r"has no config.json"):
        load_tower(str(tmp_path), None)
    folder = small_towers.write("vit", tmp_path / "vit")
    settings = (folder / "preprocessor_config.json").read_text()
    for text, words in {
        "{": "is not JSON",
        "[]": "is not a JSON object",
        "{}": "does not state its image_processor_type",
        '{"image_processor_type": "SamImageProcessor2"}': "SamImageProcessor2, has no Pillow form",
        '{"image_processor_type": "CLIPImageProcessor", "do_center_crop": false}': "not squares of whole patches",
    }.items():
        (folder / "preprocessor_config.json").write_text(text)
        with pytest.raises(UsageError, match=words):
            load_tower(str(folder), None)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UsageError, match=r"has no preprocessor_config.json\n.*copy preprocessor_config.json"):
        load_tower(str(folder), None)
    (folder / "preprocessor_config.json").write_text(settings)
    with pytest.raises(UsageError, match="at most 0 tokens"):
        load_tower(str(folder), None, max_tokens=0)
    shutil.move(folder / "model.safetensors", folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"has no model.safetensors"):
        load_tower(str(folder), None)


def test_weights_that_do_not_fit_are_refused_at_the_first_image(tmp_path: Path) -> None:
    folder = small_towers.write("vit", tmp_path / "vit")
    config = json.loads((folder / "config.json").read_text())
    image = [small_towers.picture(0)]
    for change, words in (({"num_hidden_layers": 3}, "lacks 1"), ({"intermediate_size": 65}, "cannot be loaded")):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(UsageError, match=words):
            load_tower(str(folder), None).encode(image)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-50])
    with pytest.raises(UsageError, match=r"cannot be loaded.*\n.*download it again"):
        load_tower(str(folder), None).encode(image)


def test_values_beyond_float16_are_refused(tmp_path: Path) -> None:
    folder = small_towers.write("siglip", tmp_path)
    model = transformers.SiglipVisionModel.from_pretrained(folder)
    model.post_layernorm.bias.data.fill_(1e5)
    model.save_pretrained(folder)
    with pytest.raises(UsageError, match="beyond float16"):
        load_tower(str(folder), None).encode([small_towers.picture(0)])


def test_a_broken_torchvision_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small_towers.write("siglip", tmp_path)

    class Broken(types.ModuleType):
        utils = transformers.utils

        def __getattr__(self, name: str) -> Any:
            raise ModuleNotFoundError(f"Could not import module '{name}'. Are this object's requirements defined?")

    monkeypatch.setitem(sys.modules, "transformers", Broken("transformers"))
    with pytest.raises(UsageError, match=r"cannot import SiglipVisionModel(.|\n)*pip uninstall torchvision"):
        load_tower(str(folder), None)
