"""A tower without torch that counts what it computes, and a process that builds features with it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from viaduct.errors import DataError
from viaduct.vision import features as features_module
from viaduct.vision.features import Features, build_features
from viaduct.vision.rows import Picture

ROW_BYTES = 16 * 12 * 2


@dataclass
class Counting:
    """16 patches of 2 x 2 pixels of the image at 8 x 8; interrupted before it computes more than `stop` images."""

    key: str = "counting"
    tokens: int = 16
    width: int = 12
    computed: int = 0
    stop: int | None = None
    seconds: float = 0.0

    def encode(self, images: Sequence[Image.Image]) -> tuple[np.ndarray, np.ndarray]:
        if self.stop is not None and self.computed + len(images) > self.stop:
            raise KeyboardInterrupt
        time.sleep(self.seconds)
        self.computed += len(images)
        pixels = np.stack([np.asarray(image.resize((8, 8)), dtype=np.float32) / 255 for image in images])
        tokens = pixels.reshape(-1, 4, 2, 4, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 16, 12)
        return tokens.astype(np.float16), tokens.mean(1)


def opener(picture: Picture) -> Image.Image:
    """Opens a picture that is a file of its own, as RGB."""
    try:
        with Image.open(picture.path) as image:
            return image.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(str(error), path=Path(picture.path), fix="download it again") from error


def silent(done: float, total: float, note: str) -> None:
    """Shows no progress, but checks that its values make sense."""
    assert 0 <= done <= total and note


def build(pictures: Sequence[tuple[str, Picture]], tower: Any, cache: Path, **options: Any) -> Features:
    """`build_features` with defaults for the options that a test does not care about."""
    chosen = {"opener": opener, "batch": 3, "progress": silent, "skip_damaged": False, **options}
    return build_features(pictures, tower, cache, **chosen)


def main(folder: Path) -> None:
    """Builds features of the folder's ten pictures slowly, two per shard; prints how many are done, then computed."""
    features_module.SHARD_BYTES = 2 * ROW_BYTES
    files = [(f"p{seed}", Picture(str(folder / "images" / f"{seed}.png"))) for seed in range(10)]
    tower = Counting(seconds=0.05)
    build(files, tower, folder, batch=1, progress=lambda done, total, note: print(done, flush=True))  # noqa: T201
    print(tower.computed)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
