"""Joint stages: what is trained together, in which order, and what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModel

from viaduct.errors import UsageError
from viaduct.results.record import ImageUse, Retained
from viaduct.rows import Captioned, Picture, Row, Sentence
from viaduct.runs.spec import Captions, Mixture, Objective, Replay, Retention, Training
from viaduct.runs.stage import Context, JointWork
from viaduct.training import joint

CAPTIONED = ("en", "de", "ru")
COLOURS = ("red", "green", "blue", "yellow", "black", "white", "cyan", "magenta", "brown", "orange", "grey", "pink")
TRAINING = Training(learning_rate=2e-3, max_steps=6, epochs=99.0, batch_tokens=400, max_length=32, evaluations=2)


def captioned(folder: Path, split: str, count: int) -> dict[str, list[Row]]:
    """Language -> rows: an image is of one colour, and its caption is the word of the same number."""
    drawn = np.random.default_rng(0 if split == "train" else 1)
    rows: dict[str, list[Row]] = {code: [] for code in CAPTIONED}
    for at in range(count):
        word = at % len(COLOURS)
        image = Image.new("RGB", (16, 16), COLOURS[word])
        path = folder / f"{split}-{at}.png"
        image.paste("white", (int(drawn.integers(12)), int(drawn.integers(12)), 14, 14))
        image.save(path)
        for code in CAPTIONED:
            words = tiny.LANGUAGES[code]
            text = f"{words[word]} {words[(word * 5 + at // 12) % 12]}"
            rows[code].append(Captioned(f"{split}-{at}", code, Picture(str(path)), (text,), "rules"))
    return rows


@pytest.fixture
def make(tmp_path: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function from a stage's work to its context."""
    encoder = tmp_path / "made" / "encoder"
    tiny.save(tiny.encoder(tiny_tokenizer), tiny_tokenizer, encoder)
    (tmp_path / "images").mkdir()
    known: dict[tuple[str, str, str], list[Row]] = {}
    for split, count in (("train", 36), ("dev", 12)):
        for code, rows in captioned(tmp_path / "images", split, count).items():
            known["pictures", split, code] = rows
    for code in tiny.LANGUAGES:
        lines = [Sentence(str(at), code, text) for at, text in enumerate(tiny.sentences(code) * 8)]
        known["text", "train", code] = list(lines)
    for name, kind in (("pairs", "pair"), ("tags", "tagged")):
        for split, seed in (("train", 1), ("dev", 2)):
            known[name, split, "en"] = list(tiny.rows(kind, 24, seed=seed))
    cards = {name: tiny.card(name, kind) for name, kind in (("pairs", "pair"), ("tags", "tagged"))}
    cards |= {"text": tiny.card("text", "text"), "pictures": tiny.card("pictures", "captioned")}
    for module in ("viaduct.training.joint", "viaduct.training.replayed"):
        monkeypatch.setattr(f"{module}.task", cards.__getitem__)

    def context(name: str = "a", **settings: Any) -> Context:
        work = JointWork(**{"training": TRAINING, "seed": 1} | settings)
        return tiny.context(tmp_path / name, work, known, encoder=str(encoder))

    return context


def weights(context: Context) -> dict[str, torch.Tensor]:
    return load_file(context.directory / "encoder" / "model.safetensors")


def test_tests_are_written() -> None:
    raise NotImplementedError
