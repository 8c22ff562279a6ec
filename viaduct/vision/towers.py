"""Frozen image towers, which turn a picture into a few patch vectors and one vector of the whole, always the same way.

A tower is never trained. Its features are computed once (`viaduct.vision.features`) under a key that covers everything
that determines them, so the model itself is loaded only when there is a picture to compute.

Shape letters: N images, P patch tokens after pooling, D width of the tower, L its own tokens, H and W rows and columns
of patches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from viaduct.encode.tokens import Array
from viaduct.errors import UsageError
from viaduct.models.linear import use_onednn
from viaduct.models.numerics import products_in, quick_format
from viaduct.tasks.hashes import file_sha256
from viaduct.vision import tower_files

CODE = 1
"""Bump this when the same weights start to give different features, so that older features are not read."""

GRIDS = {"patches": 4, "patches-64": 8}
"""Towers without weights: raw pixels, in this many rows and columns of patches."""
RAW_SIDE = 64
MAX_TOKENS = 64

NOT_FEATURES = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")
"""Fields of a config.json that do not affect features."""


@dataclass(frozen=True)
class Family:
    """How the image model of an architecture is loaded and called in transformers."""

    model: str
    resizes: bool = False
    """Whether it must be told to interpolate its position embeddings for images of another size."""
    options: tuple[tuple[str, Any], ...] = ()
    shape: Callable[[Any], tuple[int, int]] = lambda config: (int(config.patch_size), int(config.hidden_size))
    """config -> (width of a patch in pixels, width of the model)."""


def _convolved(config: Any) -> tuple[int, int]:
    """`shape` of a ResNet: the stem halves the image twice, each stage once, the first only if the config says so."""
    halved = 1 + len(config.depths) + config.downsample_in_first_stage
    return 2**halved, int(config.hidden_sizes[-1])


FAMILIES: Mapping[str, Family] = {
    "clip": Family("CLIPVisionModel", resizes=True),
    "siglip": Family("SiglipVisionModel", resizes=True),
    "siglip2": Family("Siglip2VisionModel"),
    "dinov2": Family("Dinov2Model"),
    "dinov2_with_registers": Family("Dinov2WithRegistersModel"),
    "dinov3_vit": Family("DINOv3ViTModel"),
    # Many published ViTs lack the pooler's weights: it would be random.
    "vit": Family("ViTModel", resizes=True, options=(("add_pooling_layer", False),)),
    "resnet": Family("ResNetModel", shape=_convolved),
}
"""model_type of config.json, without "_vision_model" -> its family. SigLIP 2 of fixed resolution says "siglip", only
NaFlex says "siglip2"."""


@dataclass(frozen=True)
class Tower:
    """A frozen image tower; `about` is everything that determines its features, as JSON."""

    name: str
    width: int
    tokens: int
    about: Mapping[str, Any]
    compute: Callable[[Sequence[Image.Image]], tuple[Array, Array]]
    """Computes what `encode` returns, all in float32. On the CPU an image's features are bit-identical in any batch."""

    @cached_property
    def key(self) -> str:
        """SHA-256 (hex) of `about`: towers with the same key give the same features."""
        return hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()

    def encode(self, images: Sequence[Image.Image]) -> tuple[Array, Array]:
        """tokens_NPD float16, the patches without class and register tokens, and vector_ND float32, one for each image.

        Takes RGB images of any size. Raises UsageError if values are not finite or do not fit into float16, and
        whatever loading the weights raises.
        """
        tokens_NPD, vector_ND = self.compute(images)
        with np.errstate(over="ignore"):
            half_NPD = tokens_NPD.astype(np.float16)
        if not np.isfinite(half_NPD).all() or not np.isfinite(vector_ND).all():
            raise UsageError(
                f"the image tower '{self.name}' gives values that are not numbers or beyond float16 (65,504)",
                fix="use another tower; this one's weights may be damaged",
            )
        return half_NPD, vector_ND


def load_tower(
    name: str, revision: str | None, *, max_tokens: int = MAX_TOKENS, device: torch.device | None = None
) -> Tower:
    """The tower of this name: "patches", "patches-64", a local folder, or a Hub name at a revision (its commit).

    Patch tokens are averaged two by two until at most `max_tokens` are left. The weights are hashed here, and loaded
    onto `device` (None: the CPU) at the first image. Raises UsageError for an unknown name and for a folder without an
    image tower, weights or an image processor.
    """
    if max_tokens < 1:
        raise UsageError(f"at most {max_tokens} tokens of an image are requested", fix="allow at least 1; 64 is usual")
    if name in GRIDS:
        return _raw_patches(name, max_tokens)
    folder = tower_files.tower_folder(name, revision, GRIDS)
    settings = tower_files.tower_json(folder, "config.json", fix="name a folder that AutoModel.from_pretrained opens")
    kind = str(settings.get("model_type"))
    family = FAMILIES.get(kind.removesuffix("_vision_model"))
    if family is None:
        raise UsageError(
            f"'{name}' is not a supported image tower: its config.json has the model_type '{kind}'",
            fix=f"give a model of one of these types: {', '.join(sorted(FAMILIES))}",
        )
    weights = tower_files.weights(folder)
    config = tower_files.from_transformers(family.model).config_class.from_pretrained(folder, local_files_only=True)
    processor = tower_files.processor(folder)
    patch, width = family.shape(config)
    grid = pooled = tower_files.grid(processor, patch)
    while pooled**2 > max_tokens:
        pooled = (pooled + 1) // 2
    model = _Model(folder, family, processor, device or torch.device("cpu"), grid, pooled, width)
    about = {
        "code": CODE,
        "config": {field: value for field, value in settings.items() if field not in NOT_FEATURES},
        "weights": {path.name: file_sha256(path) for path in weights},
        "processor": {"class": type(processor).__name__, **processor.to_dict()},
        "backend": "pil",
        "pooling": [grid, pooled],
        "dtype": "bfloat16" if model.precision == "bf16" else "float32",
    }
    return Tower(name, width, pooled**2, json.loads(json.dumps(about, default=str)), model)


def _raw_patches(name: str, max_tokens: int) -> Tower:
    grid, patch = GRIDS[name], RAW_SIDE // GRIDS[name]
    if grid * grid > max_tokens:
        raise UsageError(f"'{name}' has {grid * grid} tokens, but only {max_tokens} are allowed", fix="allow more")

    def compute(images: Sequence[Image.Image]) -> tuple[Array, Array]:
        tokens_NPD = np.empty((len(images), grid * grid, patch * patch * 3), np.float32)
        for at, image in enumerate(images):
            scaled = image.convert("RGB").resize((RAW_SIDE, RAW_SIDE), Image.Resampling.BILINEAR)
            pixels = np.asarray(scaled, dtype=np.float32) / 127.5 - 1.0
            cut = pixels.reshape(grid, patch, grid, patch, 3).transpose(0, 2, 1, 3, 4)
            tokens_NPD[at] = cut.reshape(tokens_NPD.shape[1:])
        return tokens_NPD, tokens_NPD.mean(axis=1)

    about = {"code": CODE, "tower": "patches", "grid": grid, "side": RAW_SIDE, "resample": "bilinear", "backend": "pil"}
    return Tower(name, patch * patch * 3, grid * grid, about, compute)


@dataclass
class _Model:
    """The image model of a folder, and the computation from images to pooled tokens."""

    folder: Path
    family: Family
    processor: Any
    device: torch.device
    grid: int
    """Rows (= columns) of patches of a square image."""
    pooled: int
    """Rows (= columns) of tokens."""
    width: int

    @cached_property
    def precision(self) -> str:
        """Precision of the matrix products."""
        return "bf16" if quick_format(self.device) == "bf16" else "fp32"  # float16 may overflow

    @cached_property
    def module(self) -> Any:
        """The torch module, ready to be called. Raises UsageError if the weights do not match config.json."""
        fix = "its config.json and its weights do not match, or are damaged; download it again"
        try:
            module, info = tower_files.from_transformers(self.family.model).from_pretrained(
                self.folder,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **dict(self.family.options),
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            what = f"the weights in {self.folder} cannot be loaded: {tower_files.first_line(error)}"
            raise UsageError(what, fix=fix) from error
        # Counters that only training reads: not all published weights have them.
        missing = sorted(key for key in info["missing_keys"] if not key.endswith("num_batches_tracked"))
        if missing:
            what = f"{self.folder} lacks {len(missing)} of its image tower's weights, the first is {missing[0]}"
            raise UsageError(what, fix=fix)
        return use_onednn(module).eval().requires_grad_(False).to(self.device)

    def __call__(self, images: Sequence[Image.Image]) -> tuple[Array, Array]:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            inputs = list(pool.map(lambda image: self.processor([image], return_tensors="pt"), images))
        # One at a time costs the CPU nothing, and keeps the features independent of the batch.
        step = 1 if self.device.type == "cpu" else max(1, len(images))
        parts = [self._pass(inputs[at : at + step]) for at in range(0, len(inputs), step)]
        none = np.zeros((0, self.pooled**2, self.width), np.float32), np.zeros((0, self.width), np.float32)
        tokens, vectors = zip(none, *parts, strict=True)
        return np.concatenate(tokens), np.concatenate(vectors)

    def _pass(self, inputs: Sequence[Mapping[str, torch.Tensor]]) -> tuple[Array, Array]:
        batch: dict[str, Any] = {name: torch.cat([one[name] for one in inputs]).to(self.device) for name in inputs[0]}
        if self.family.resizes:
            batch["interpolate_pos_encoding"] = batch["pixel_values"].shape[-1] != self.module.config.image_size
        with torch.inference_mode(), products_in(self.precision, self.device):
            output = self.module(**batch)
        hidden_NLD, vector_ND = output.last_hidden_state.float(), output.pooler_output
        if hidden_NLD.ndim == 4:  # rows and columns of a convolution's output
            hidden_NLD, vector_ND = hidden_NLD.flatten(2).transpose(1, 2), vector_ND.flatten(1)
        if "spatial_shapes" in batch:  # images that keep their proportions, padded to the same number of patches
            shapes = batch["spatial_shapes"].tolist()
            cells = [pool_cells(one_LD, (h, w), self.pooled) for one_LD, (h, w) in zip(hidden_NLD, shapes, strict=True)]
            tokens_NPD, has_class = torch.stack(cells), False
        else:
            tokens_NPD = pool_halves(hidden_NLD[:, -(self.grid**2) :], self.grid, self.pooled)
            has_class = hidden_NLD.shape[1] > self.grid**2
        if vector_ND is None:
            vector_ND = hidden_NLD[:, 0] if has_class else tokens_NPD.mean(1)
        return tokens_NPD.cpu().numpy(), vector_ND.float().cpu().numpy()


def pool_halves(tokens_NLD: torch.Tensor, grid: int, pooled: int) -> torch.Tensor:
    """(N, grid * grid, D) -> (N, pooled * pooled, D): means over 2 x 2 patches, repeated as often as needed.

    If the number of rows is odd, the last row (and column) is averaged alone.
    """
    images, _, width = tokens_NLD.shape
    tokens_NDHW = tokens_NLD.transpose(1, 2).reshape(images, width, grid, grid)
    while tokens_NDHW.shape[-1] > pooled:
        tokens_NDHW = avg_pool2d(tokens_NDHW, 2, ceil_mode=True)
    return tokens_NDHW.flatten(2).transpose(1, 2)


def pool_cells(tokens_LD: torch.Tensor, shape: tuple[int, int], pooled: int) -> torch.Tensor:
    """(L, D) -> (pooled * pooled, D): the mean of the patches that each cell of a square grid touches.

    For images that keep their proportions, of which the first H * W tokens are patches. On square grids of `pooled`
    times a power of two it equals `pool_halves`.
    """
    height, width = shape
    cells_DHW: torch.Tensor = adaptive_avg_pool2d(tokens_LD[: height * width].T.reshape(-1, height, width), pooled)
    return cells_DHW.flatten(1).T
