"""What a plan's stages would take on some devices: operations from the encoder's shape, hours from a table of devices.

For telling hours from weeks before anything runs; never reported as a measurement. What stages took is in the report.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from viaduct.runs.spec import Pretrain


class Shape(NamedTuple):
    """An encoder's sizes."""

    layers: int
    width: int
    feed_forward: int
    vocabulary: int

    @property
    def weights(self) -> int:
        """Of the layers; embeddings, biases and LayerNorm are not counted."""
        return self.layers * (4 * self.width**2 + 2 * self.width * self.feed_forward)

    @property
    def token_flops(self) -> float:
        """Operations of one forward pass per token: two per weight. Attention's own products are left out: 3 % in
        XLM-R large at 200 tokens, 7 % in a narrow encoder (width 256) at 100."""
        return 2.0 * self.weights

    @property
    def guess_flops(self) -> float:
        """Operations of guessing one masked token among the whole vocabulary."""
        return 2.0 * self.width * self.vocabulary

    @property
    def num_bytes(self) -> int:
        """Of its weights in float32, embeddings included."""
        return 4 * (self.weights + self.vocabulary * self.width)


class Device(NamedTuple):
    """What is assumed of one device."""

    name: str
    flops: float
    """Operations per second of long matrix products."""
    step: float
    """Seconds that every step takes besides: an accelerator that is given 32 short rows at a time mostly waits."""
    basis: str

    def seconds(self, flops: float, steps: float) -> float:
        """What so many operations in so many steps take."""
        return flops / self.flops + steps * self.step


DEVICES = (
    Device("one CPU core", 1.0e11, 0.0, "100 GFLOP/s in float32: measured, 4 layers of 256 on an AVX-512 server core"),
    Device("one A100", 0.4 * 312e12, 0.02, "40 % of 312 TFLOP/s in bfloat16, and 20 ms a step: assumed, at best"),
    Device("one H100", 0.4 * 989e12, 0.02, "40 % of 989 TFLOP/s in bfloat16, and 20 ms a step: assumed, at best"),
)

KNOWN = {
    "xlm-roberta-base": Shape(12, 768, 3072, 250_002),
    "xlm-roberta-large": Shape(24, 1024, 4096, 250_002),
    "bert-base-multilingual-cased": Shape(12, 768, 3072, 119_547),
}
"""Of encoders that are planned with before they are downloaded, by the last part of their name."""


def shape_of(encoder: str | Pretrain, revision: str | None) -> Shape | None:
    """The encoder's shape, from the recipe, its folder, the Hub's local cache or `KNOWN`; None when none of them says.

    Nothing is downloaded.
    """
    if isinstance(encoder, Pretrain):
        made = encoder.architecture
        return Shape(made.layers, made.hidden, made.feed_forward, made.vocabulary)
    folder = Path(encoder).expanduser()
    config = folder / "config.json" if folder.is_dir() else _cached(encoder, revision)
    found = None if config is None or not config.is_file() else _from_config(config)
    return found or KNOWN.get(encoder.rpartition("/")[2].lower())


def _cached(encoder: str, revision: str | None) -> Path | None:
    if encoder.count("/") > 1 or encoder.startswith((".", "/", "~")):
        return None
    import huggingface_hub  # slow to load, and folders do not need it

    found = huggingface_hub.try_to_load_from_cache(encoder, "config.json", revision=revision)
    return Path(found) if isinstance(found, str) else None


def _from_config(path: Path) -> Shape | None:
    """The shape by XLM-R's names of its sizes, None where a configuration has others."""
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sizes = (raw[name] for name in ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size"))
        return Shape(*map(int, sizes))
    except (ValueError, TypeError, KeyError):
        return None
