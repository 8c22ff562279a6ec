"""The captioning benchmark's stage: its pictures, captions and text, its tower, and the work it has to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stage_world import Pieces, card, context, lengths
from training_rows import SHAPES, Shape

from viaduct.rows import Row, Sentence
from viaduct.runs.field import make_work
from viaduct.runs.spec import Replay, Training
from viaduct.runs.stage import Context, Progress, Work
from viaduct.vision.fields import Captions, Objective
from viaduct.vision.rows import Captioned, Picture

LANGUAGES = ("en", "de")
CAPTIONS_EACH = 5
"""Captions per picture and language."""
FILES = 24
"""Number of picture files; the set repeats these pictures, so that only a few have to go through the tower."""
CAPTION_PIECES, CAPTION_SIGMA, CAPTION_LIMITS = 12.0, 0.25, (5, 38)
"""Pieces per caption, not counting special ones: log-normal like MS COCO's, clipped."""
LINE_PIECES, LINE_SIGMA, LINE_LIMITS = 24.0, 0.5, (6, 120)
LINES = 400
"""Lines of replayed text per language."""
HELD_LINES = 8
"""Additional lines, on which the stage measures forgetting (it uses as many as it finds)."""
DEV_PICTURES = 4
COMMON_WIDTH = 256

OBJECTIVES: Mapping[str, tuple[str, bool]] = {
    "ar_caption": ("ar_caption", False),
    "mlm_caption": ("mlm_caption", False),
    "contrastive": ("contrastive", False),
    "contrastive_replay": ("contrastive", True),
}
"""Name -> (the stage's objective, whether text is replayed alongside)."""


@dataclass(frozen=True)
class TowerShape:
    """The shape of a ViT."""

    layers: int
    width: int
    heads: int
    side: int = 224
    patch: int = 16


TOWERS = {
    "12x768": TowerShape(12, 768, 12),
    "6x384": TowerShape(6, 384, 6),
    "2x32": TowerShape(2, 32, 2, side=48, patch=12),
}


def write_tower(shape: TowerShape, seed: int, folder: Path) -> None:
    """Write a folder with a random ViT and its image processor."""
    import torch
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.width,
        image_size=shape.side,
        patch_size=shape.patch,
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": shape.side, "width": shape.side}).save_pretrained(folder)


def write_pictures(shape: TowerShape, seed: int, folder: Path) -> None:
    """Write picture files of noise, in the tower's input size."""
    from PIL import Image

    folder.mkdir()
    generator = np.random.default_rng(seed)
    for at in range(FILES):
        noise = generator.integers(0, 256, (shape.side, shape.side, 3), dtype=np.uint8)
        Image.fromarray(noise).save(picture_file(folder, at), compress_level=1)


def picture_file(folder: Path, number: int) -> Path:
    """The file of the picture with this number."""
    return folder / f"{number % FILES}.png"


def make_rows(shape: Shape, seed: int, pictures: Path) -> dict[tuple[str, str, str], Sequence[Row]]:
    """(card, split, language) -> rows: the captions and the text of both languages."""
    generator = np.random.default_rng(seed)
    count = shape.set_rows // (CAPTIONS_EACH * len(LANGUAGES))
    of_captions = lengths(
        generator,
        (count + DEV_PICTURES) * CAPTIONS_EACH * len(LANGUAGES),
        CAPTION_PIECES,
        CAPTION_SIGMA,
        CAPTION_LIMITS,
    )
    of_lines = lengths(generator, (LINES + HELD_LINES) * len(LANGUAGES), LINE_PIECES, LINE_SIGMA, LINE_LIMITS)
    pieces = Pieces(shape, seed, int(of_captions.sum() + of_lines.sum()))
    rows: dict[tuple[str, str, str], list[Row]] = {}
    captions, lines = iter(of_captions.tolist()), iter(of_lines.tolist())
    for code in LANGUAGES:
        for split, first, last in (("train", 0, count), ("dev", count, count + DEV_PICTURES)):
            rows["pictures", split, code] = [
                Captioned(
                    f"{at:06d}",
                    code,
                    Picture(str(picture_file(pictures, at))),
                    tuple(pieces.text(next(captions)) for _ in range(CAPTIONS_EACH)),
                    "rules",
                )
                for at in range(first, last)
            ]
        rows["text", "train", code] = [
            Sentence(str(at), code, pieces.text(next(lines))) for at in range(LINES + HELD_LINES)
        ]
    return dict(rows)


def work(objective: str, folder: Path, batch_tokens: int, steps: int, seed: int) -> Work:
    """A stage with only this objective, and XLM-R's usual settings."""
    asked, replays = OBJECTIVES[objective]
    replay = Replay(batch_tokens=batch_tokens, lines=LINES) if replays else None
    return make_work(
        "joint",
        captions=Captions(
            card="pictures",
            objectives=(Objective(name=asked),),  # type: ignore[arg-type]
            tower=str(folder / "tower"),
            common_width=COMMON_WIDTH,
            dev_captions=DEV_PICTURES,
        ),
        caption_languages=LANGUAGES,
        replay=replay,
        replay_languages=LANGUAGES if replays else (),
        training=Training(learning_rate=2e-5, max_steps=steps, epochs=99.0, batch_tokens=batch_tokens),
        seed=seed,
    )


def stage_context(asked: Any, shape: str, folder: Path, threads: int, progress: Progress) -> Context:
    """The context in which this work runs."""
    cards = (card("pictures", "captioned", LANGUAGES), card("text", "text", LANGUAGES))
    rows = make_rows(SHAPES[shape], asked.seed, folder / "pictures")
    return context(asked, folder, rows, threads, progress, cards)
