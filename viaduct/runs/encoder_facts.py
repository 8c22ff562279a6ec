"""What an encoder's own files say about it, for the report."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from viaduct.runs.spec import Pretrain, Recipe


def encoder_details(recipe: Recipe, pretrained: Path) -> dict[str, str]:
    """Facts about the recipe's encoder from its own files, as far as they are here; `pretrained`: the directory of the
    stage that makes it, for one that is made."""
    encoder = recipe.encoder
    if isinstance(encoder, Pretrain):
        folder = pretrained / "encoder"
        facts = {"made by": "this recipe", "text": ", ".join((*encoder.text, *encoder.parallel))}
    else:
        folder = Path(encoder).expanduser()
        facts = {"name": encoder}
        if recipe.revision is not None:
            facts["revision"] = recipe.revision
    config = folder / "config.json"
    if config.is_file():
        raw: dict[str, Any] = json.loads(config.read_text(encoding="utf-8"))
        for name, key in (("layers", "num_hidden_layers"), ("width", "hidden_size"), ("vocabulary", "vocab_size")):
            if key in raw:
                facts[name] = f"{raw[key]:,}"
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if weights:
        facts["parameters"] = f"{sum(count_parameters(path) for path in weights):,}"
    return facts


def count_parameters(path: Path) -> int:
    """Number of values in a safetensors file, from its header alone (format: 8 bytes length, then JSON)."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(length))
    total = 0
    for name, entry in header.items():
        if name != "__metadata__":
            size = 1
            for extent in entry["shape"]:
                size *= extent
            total += size
    return total
