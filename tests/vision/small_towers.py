"""Random image towers of every architecture, small enough to make for each test, and pictures to feed them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
WIDE = {**SHAPE, "intermediate_size": 64}
SIDE, PATCH = 48, 6
"""8 x 8 patches."""
SQUARE = {"height": SIDE, "width": SIDE}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SEEN = {"image_size": SIDE, "patch_size": PATCH}
CROPPED = {"size": {"shortest_edge": 54}, "crop_size": SQUARE, "resample": 3, "do_center_crop": True}

TOWERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "clip": (
        "CLIPVisionModel",
        {**WIDE, **SEEN},
        # The form of the first published CLIP models: plain numbers, and the name of an older class.
        {"feature_extractor_type": "CLIPFeatureExtractor", "size": SIDE, "crop_size": SIDE, "resample": 3},
    ),
    "siglip": (
        "SiglipVisionModel",
        {**WIDE, **SEEN},
        {"image_processor_type": "SiglipImageProcessorFast", "size": SQUARE, "resample": 3},
    ),
    "siglip2": (
        "Siglip2VisionModel",
        {**WIDE, "num_patches": 64, "patch_size": PATCH},
        {"image_processor_type": "Siglip2ImageProcessor", "patch_size": PATCH, "max_num_patches": 64},
    ),
    "dinov2": (
        "Dinov2Model",
        {**SHAPE, **SEEN, "mlp_ratio": 2},
        {"image_processor_type": "BitImageProcessor", **CROPPED, **IMAGENET},
    ),
    "dinov2-registers": (
        "Dinov2WithRegistersModel",
        {**SHAPE, **SEEN, "mlp_ratio": 2, "num_register_tokens": 3},
        {"image_processor_type": "BitImageProcessor", **CROPPED, **IMAGENET},
    ),
    "dinov3": (
        "DINOv3ViTModel",
        {**WIDE, **SEEN, "num_register_tokens": 4},
        {"image_processor_type": "DINOv3ViTImageProcessorFast", "size": SQUARE, "resample": 2, **IMAGENET},
    ),
    "resnet": (
        "ResNetModel",
        {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 1], "layer_type": "basic"},
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 64}, "do_normalize": False},
    ),
    "vit": ("ViTModel", {**WIDE, **SEEN}, {"image_processor_type": "ViTImageProcessor", "size": SIDE, "resample": 2}),
}
"""name -> (class in transformers, its configuration, its preprocessor_config.json)."""


def write(name: str, folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """A folder with a random tower of this architecture; `changes` apply to its image processor."""
    model_class, config, processor = TOWERS[name]
    torch.manual_seed(seed)
    form = getattr(transformers, model_class)
    model = form(form.config_class(**config))
    for parameter in model.parameters():  # layer norms too: none may be the identity
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**processor, **changes}), encoding="utf-8")
    return folder


def picture(seed: int, width: int = 60, height: int = 44) -> Image.Image:
    """An RGB picture of noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def pictures() -> list[Image.Image]:
    """Pictures of several shapes."""
    return [picture(0), picture(1, 40, 90), picture(2, SIDE, SIDE), picture(3, 7, 5)]
