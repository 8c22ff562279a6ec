"""Image features: computing them into the cache, and reading random rows of the cache.

`python benchmarks/features.py` prints a table and, as its last line, one JSON object with the ratios and raw samples.

Building: JPEG files of 640 x 480 pixels through a small ViT (4 layers x 192, patches of 16, 224 pixels, random
weights). Ours opens, hashes, scales, computes, pools to 49 tokens and writes; `transformers` does the usual without a
cache: Pillow image processor and model on batches, results discarded. The features are compared.

Reading: 1,024 random rows of 64 x 768 float16, from our memory-mapped shards and as slices of safetensors files of the
same sizes. All files are in the page cache, so this measures overhead and copies, not the disk.
Everything runs in one process, ours and theirs in turn. Samples are pairs: wall-clock seconds, CPU seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

from viaduct.serving.machine import device_name
from viaduct.vision.features import Features, build_features
from viaduct.vision.rows import Picture
from viaduct.vision.shards import Shards
from viaduct.vision.towers import load_tower

OURS, TRANSFORMERS, SAFETENSORS = "viaduct", "transformers", "safetensors"
Seconds = tuple[float, float]
"""(wall-clock seconds, CPU seconds); if their ratios disagree, something else was using the machine."""
BATCH = 32
TOKENS, WIDTH, PICKS, SHARD_ROWS = 64, 768, 1024, 2000
ROUNDING = 2e-2
"""Tolerance for features around 1: half precision, and products in another order."""


def jpegs(folder: Path, count: int, seed: int) -> list[Path]:
    """Write files of smooth noise, which compresses about as well as photographs."""
    generator = np.random.default_rng(seed)
    folder.mkdir()
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        coarse = generator.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def opened(picture: Picture) -> Image.Image:
    with Image.open(picture.path) as image:
        return image.convert("RGB")


def small_vit(folder: Path, seed: int) -> None:
    import transformers

    torch.manual_seed(seed)
    shape = {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 768}
    transformers.ViTModel(transformers.ViTConfig(**shape), add_pooling_layer=False).save_pretrained(folder)
    transformers.ViTImageProcessorPil().save_pretrained(folder)


def build_ours(model: Path, paths: list[Path], cache: Path) -> np.ndarray:
    """All tokens, read back after they were written."""
    pictures = [(path.name, Picture(str(path))) for path in paths]
    tower = load_tower(str(model), None)
    options: dict[str, Any] = {"opener": opened, "batch": BATCH, "skip_damaged": False}
    features = build_features(pictures, tower, cache, progress=lambda *_: None, **options)
    return features.tokens(features.ids)


def build_theirs(model: Path, paths: list[Path]) -> np.ndarray:
    """The first batch's tokens, pooled like ours."""
    import transformers

    processor = transformers.ViTImageProcessorPil.from_pretrained(model)
    vit = transformers.ViTModel.from_pretrained(model, add_pooling_layer=False).eval()
    found = []
    for at in range(0, len(paths), BATCH):
        images = [opened(Picture(str(path))) for path in paths[at : at + BATCH]]
        with torch.inference_mode():
            found.append(vit(**processor(images, return_tensors="pt")).last_hidden_state[:, 1:].numpy())
    patches = found[0].reshape(len(found[0]), 7, 2, 7, 2, -1)
    return patches.mean((2, 4)).reshape(len(patches), 49, -1)


def building(options: argparse.Namespace, folder: Path) -> tuple[dict[str, list[Seconds]], float]:
    """Seconds of each repetition, and the largest difference between the features."""
    paths = jpegs(folder / "images", options.images, options.seed)
    small_vit(folder / "vit", options.seed)
    build_ours(folder / "vit", paths[:2], folder / "warm")  # loads libraries
    samples: dict[str, list[Seconds]] = {OURS: [], TRANSFORMERS: []}
    apart = 0.0
    for repetition in range(options.repetitions):
        ours = timed(samples[OURS], lambda at=repetition: build_ours(folder / "vit", paths, folder / f"cache-{at}"))
        theirs = timed(samples[TRANSFORMERS], lambda: build_theirs(folder / "vit", paths))
        apart = max(apart, float(np.abs(ours[: len(theirs)].astype(np.float32) - theirs).max()))
        say(f"building {repetition + 1}/{options.repetitions}", samples)
    return samples, apart


def timed(samples: list[Seconds], work: Callable[[], Any]) -> Any:
    wall, cpu = time.monotonic(), time.process_time()
    found = work()
    samples.append((time.monotonic() - wall, time.process_time() - cpu))
    return found


def ratio(samples: dict[str, list[Seconds]], theirs: str, clock: int) -> float:
    """Their median over ours, in wall-clock seconds (0) or CPU seconds (1)."""
    return median(one[clock] for one in samples[theirs]) / median(one[clock] for one in samples[OURS])


def say(what: str, samples: dict[str, list[Seconds]]) -> None:
    last = ", ".join(f"{who} {seconds[-1][0]:.3f} s" for who, seconds in samples.items())
    print(f"{what}: {last}", file=sys.stderr, flush=True)


def cached(rows: int, folder: Path, seed: int) -> tuple[Features, list[Path]]:
    """The same random rows in our shards and in safetensors files."""
    generator = np.random.default_rng(seed)
    shards, files = Shards(folder / "shards", "random", TOKENS, WIDTH), []
    for start in range(0, rows, SHARD_ROWS):
        count = min(SHARD_ROWS, rows - start)
        tokens = generator.standard_normal((count, TOKENS, WIDTH), dtype=np.float32).astype(np.float16)
        names = [hashlib.sha256(str(start + row).encode()).digest() for row in range(count)]
        with shards.locked(lambda: None):
            shards.add(names, tokens, np.zeros((count, WIDTH), np.float32))
        files.append(folder / f"{start}.safetensors")
        save_file({"features": tokens}, files[-1])
    return Features(shards, {str(row): divmod(row, SHARD_ROWS) for row in range(rows)}, {}), files


def reading(options: argparse.Namespace, folder: Path) -> dict[str, list[Seconds]]:
    features, files = cached(options.rows, folder, options.seed)
    generator = np.random.default_rng(options.seed)
    samples: dict[str, list[Seconds]] = {OURS: [], SAFETENSORS: []}
    slices = [safe_open(path, framework="np").get_slice("features") for path in files]

    def theirs(wanted: np.ndarray) -> np.ndarray:
        found = np.empty((len(wanted), TOKENS, WIDTH), np.float16)
        for position, row in enumerate(wanted.tolist()):
            shard, within = divmod(row, SHARD_ROWS)
            found[position] = slices[shard][within : within + 1]
        return found

    for repetition in range(options.reads + 1):
        wanted = generator.integers(0, options.rows, PICKS)
        first = timed(samples[OURS], lambda wanted=wanted: features.tokens(wanted))
        second = timed(samples[SAFETENSORS], lambda wanted=wanted: theirs(wanted))
        if not np.array_equal(first, second):
            raise SystemExit("the two gave different rows")
        if repetition == 0:  # the first read fetches pages
            samples = {who: [] for who in samples}
    say("reading", samples)
    return samples


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        build, apart = building(options, Path(folder))
    if apart > ROUNDING:
        raise SystemExit(f"features differ by {apart:.3f}")
    with tempfile.TemporaryDirectory() as folder:
        read = reading(options, Path(folder))
    shape = f"{PICKS}x{TOKENS}x{WIDTH}"
    thousand = {who: 1000 * median(one[0] for one in seconds) / options.images for who, seconds in build.items()}
    print(f"\nbuilding, {options.images} images, {options.threads} thread(s), {options.repetitions} repetition(s)")
    for who, seconds in thousand.items():
        print(f"{who:15}{seconds:9.1f} s per 1,000 images")
    print(f"reading {shape} of {options.rows:,} rows, {options.reads} times")
    for who, samples in read.items():
        middle = median(one[0] for one in samples)
        print(f"{who:15}{1000 * middle:9.1f} ms{PICKS * TOKENS * WIDTH * 2e-9 / middle:9.1f} GB/s")
    pairs = {
        f"build_vit_4x192/{TRANSFORMERS}": (build, TRANSFORMERS),
        f"read_{shape}/{SAFETENSORS}": (read, SAFETENSORS),
    }
    report = {
        "ratios": {name: ratio(*pair, 0) for name, pair in pairs.items()},
        "cpu_ratios": {name: ratio(*pair, 1) for name, pair in pairs.items()},
        "seconds_per_1000_images": thousand,
        "features_apart": apart,
        "samples": {"build": build, "read": read},
        "images": options.images,
        "rows": options.rows,
        "threads": options.threads,
        "device": device_name(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "numpy", "pillow", "safetensors")},
        },
        "quick": options.quick,
        "total_seconds": time.monotonic() - started,
    }
    print(f"Viaduct is {', '.join(f'{value:.2f}x as fast ({name})' for name, value in report['ratios'].items())}")
    print(json.dumps(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, help="to build (default 1000; quick: 100)")
    parser.add_argument("--rows", type=int, help="of the cache to read from (default 20000, 4 GB; quick: 4000)")
    parser.add_argument("--repetitions", type=int, default=5, help="of building")
    parser.add_argument("--reads", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="about a minute")
    options = parser.parse_args()
    options.images = options.images or (100 if options.quick else 1000)
    options.rows = options.rows or (4000 if options.quick else 20_000)
    return options


if __name__ == "__main__":
    main()
