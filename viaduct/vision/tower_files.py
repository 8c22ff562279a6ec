"""The contents of an image tower's folder: settings, weights and image processor; what is missing is named.

Weights are read from safetensors only, and image processors are used in their Pillow form only: nothing here needs
torchvision.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from PIL import Image

from viaduct.errors import UsageError, nearest, unknown
from viaduct.hub import unreachable
from viaduct.runs.encoder import may_be_on_hub, no_folder

KNOWN_TOWERS = (
    "openai/clip-vit-large-patch14",
    "google/siglip-base-patch16-224",
    "google/siglip2-base-patch16-256",
    "google/siglip2-base-patch16-naflex",
    "facebook/dinov2-base",
    "facebook/dinov2-with-registers-base",
    "facebook/dinov3-vitb16-pretrain-lvd1689m",
    "google/vit-base-patch16-224-in21k",
    "microsoft/resnet-50",
)
"""Hub names to suggest; any other of the same architectures works too."""

HUB_FILES = ("config.json", "preprocessor_config.json", "processor_config.json", "*.safetensors", "*.index.json")
PIL_FORM = {"DINOv3ViTImageProcessor": "SiglipImageProcessor"}
"""Processor without a Pillow form -> one that does the same with its settings: resize, rescale, normalise."""


def from_transformers(name: str) -> Any:
    """A class from transformers, whose logging is silenced. Raises AttributeError if it has no class of this name.

    Raises UsageError if it cannot be imported, for example because torchvision does not match torch.
    """
    try:
        import transformers

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        return getattr(transformers, name)
    except (ImportError, RuntimeError, OSError) as error:
        raise UsageError(
            f"transformers cannot import {name}: {first_line(error)}",
            fix="the usual cause is a torchvision that does not match torch: `pip uninstall torchvision`, which nothing"
            " here needs; see `viaduct doctor`",
        ) from error


def first_line(error: Exception) -> str:
    """The first line of an error's message; the name of its class if the message is empty."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def tower_folder(name: str, revision: str | None, others: Collection[str]) -> Path:
    """The folder of a tower, downloaded first if it is a Hub name; `others`: names to suggest that are not folders.

    Raises UsageError for an unknown name, a missing folder, and a download that fails.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if "/" not in name:
        raise unknown("image tower", name, [*others, *KNOWN_TOWERS])
    if revision is None or not may_be_on_hub(name):
        raise no_folder("image tower", name)
    import huggingface_hub  # slow to load, and only downloads need it
    from huggingface_hub.errors import HfHubHTTPError

    try:
        kept, patterns = unreachable() is not None, list(HUB_FILES)
        found = huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=patterns, local_files_only=kept
        )
        return Path(found)
    except (OSError, ValueError, HfHubHTTPError) as error:
        close = nearest(name, KNOWN_TOWERS)
        hint = f" Did you mean '{close}'?" if close and close != name else ""
        raise UsageError(
            f"the Hub does not provide the image tower '{name}' at revision {revision}: {first_line(error)}.{hint}",
            fix="connect to the network, accept the model's licence on its page if it has one, or name a local folder",
        ) from error


def tower_json(folder: Path, name: str, *, fix: str) -> dict[str, Any]:
    """The object in a JSON file of the folder. Raises UsageError if the file is missing or is not a JSON object."""
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"the image tower's folder {folder} has no {name}", fix=fix) from error
    except ValueError as error:
        raise UsageError(f"{folder / name} is not JSON: {error}", fix=fix) from error
    if not isinstance(found, dict):
        raise UsageError(f"{folder / name} is not a JSON object", fix=fix)
    return found


def weights(folder: Path) -> list[Path]:
    """The files that transformers reads the weights from. Raises UsageError if any are missing."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    fix = "use a revision that has model.safetensors, or convert the weights with `save_pretrained`"
    if not (folder / "model.safetensors.index.json").is_file():
        raise UsageError(f"the image tower's folder {folder} has no model.safetensors", fix=fix)
    parts = tower_json(folder, "model.safetensors.index.json", fix=fix).get("weight_map", {})
    paths = [folder / name for name in sorted(set(parts.values()))]
    absent = [path.name for path in paths if not path.is_file()]
    if absent or not paths:
        raise UsageError(f"the image tower's folder {folder} lacks {', '.join(absent) or 'all weights'}", fix=fix)
    return paths


def processor(folder: Path) -> Any:
    """The folder's image processor in its Pillow form. Raises UsageError if there is none, or none in that form."""
    stated = _stated(folder)
    base = stated.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
    try:
        form = from_transformers(f"{PIL_FORM.get(base, base)}Pil")
    except AttributeError as error:
        raise UsageError(
            f"the image processor in {folder}, {stated}, has no Pillow form in this version of transformers",
            fix="use a tower with the image processor of CLIP, SigLIP, ViT, DINO or ConvNeXt",
        ) from error
    return form.from_pretrained(folder, local_files_only=True)


def _stated(folder: Path) -> str:
    """The name of the image processor, from the file that transformers prefers."""
    fix = "copy preprocessor_config.json from the source of the weights"
    nested = "processor_config.json"
    settings = tower_json(folder, nested, fix=fix).get("image_processor") if (folder / nested).is_file() else None
    settings = settings or tower_json(folder, "preprocessor_config.json", fix=fix)
    stated = settings.get("image_processor_type") or settings.get("feature_extractor_type")
    if not isinstance(stated, str):
        raise UsageError(f"the image processor in {folder} does not state its image_processor_type", fix=fix)
    return stated


def grid(made: Any, patch: int) -> int:
    """Rows (= columns) of patches in a processor's output; if it keeps proportions, those of a square image.

    Raises UsageError if its output is neither squares of whole patches nor images that keep their proportions.
    """
    if hasattr(made, "max_num_patches"):
        return max(1, int(made.max_num_patches**0.5))
    blank = Image.new("RGB", (3 * patch, 2 * patch))
    height, width = made([blank], return_tensors="pt")["pixel_values"].shape[-2:]
    if height != width or height % patch:
        raise UsageError(
            f"the image processor makes images of {height} x {width} pixels here, not squares of whole patches"
            f" of {patch} pixels",
            fix="copy the preprocessor_config.json that was published with the weights",
        )
    return int(height) // patch
