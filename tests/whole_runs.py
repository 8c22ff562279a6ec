"""Recipes for whole runs that are killed or run out of disk: a tiny one with its own data, and one on a generated world
(at scale 0.02) with a stage of every kind."""

from __future__ import annotations

import json
import random
from pathlib import Path

import tiny

LANGUAGES = {"en": "eng", "de": "deu", "th": "tha"}
LABELS = ("contradiction", "entailment", "neutral")

EVERY_KIND = """
from viaduct.runs.spec import (
    Architecture, Intermediate, Mixture, Pretrain, Recipe, Replay, Retention, Retrieval, Target, Training,
)
from viaduct.serving.compression import Compression
from viaduct.serving.distil import Distil
from viaduct.serving.measure import Measure
from viaduct.vision.fields import Captions, Objective

SHORT = Training(
    learning_rate=1e-3, max_steps=STEPS, epochs=1e4, batch_tokens=128, max_length=64, stride=8, evaluations=4,
    dev_rows=30,
)
REPLAY = Replay(batch_tokens=96, max_length=32, lines=100)


def recipe():
    return Recipe(
        name="every_kind",
        hypothesis="a killed run ends as one that is left alone",
        encoder=Pretrain(
            name="mini",
            architecture=Architecture(layers=2, hidden=32, heads=2, feed_forward=64, vocabulary=600, max_length=96),
            parallel=("ntrex",),
            training=SHORT,
        ),
        intermediates=(
            Intermediate(name="none"),
            Intermediate(name="chain", tasks=("mnli", "squad"), training=SHORT),
            Intermediate(
                name="joint", tasks=("mnli", "panx"), together=Mixture(), replay=REPLAY, training=SHORT,
                retention=Retention(lora_rank=4, kl=0.1),
            ),
            Intermediate(
                name="seen", training=SHORT, replay=REPLAY,
                captions=Captions(
                    card="coco", objectives=(Objective(name="ar_caption"), Objective(name="contrastive")),
                    dev_captions=20, written=4, common_width=16,
                ),
            ),
            Intermediate(
                name="small",
                compression=Compression(vocabulary=("en", "de"), distil=Distil(layers=1, lines=100, training=SHORT)),
            ),
            Intermediate(name="rough", compression=Compression(precision="int8")),
        ),
        targets=(
            Target(task="xnli", training=SHORT, languages=("en", "de")),
            Target(task="udpos", training=SHORT, languages=("en", "de")),
            Target(task="tatoeba", languages=("de",), retrieval=Retrieval(layers=(1,))),
        ),
        measure=Measure(rows=3, rounds=1, round_rows=1),
    )
"""
KINDS = {"pretrain", "train", "joint", "distil", "compress", "predict", "score", "measure"}

TINY = """
from viaduct.runs.spec import Architecture, Intermediate, Pretrain, Recipe, Target, Training

PAIRS = Training(learning_rate=1e-3, epochs=2.0, batch_tokens=96, max_length=32, evaluations=5, dev_rows=50)


def recipe():
    return Recipe(
        name="tiny",
        hypothesis="a killed run ends as one that is left alone",
        encoder=Pretrain(
            name="mini",
            architecture=Architecture(layers=2, hidden=32, heads=2, feed_forward=64, vocabulary=400, max_length=64),
            parallel=("ntrex",),
            training=Training(learning_rate=1e-3, max_steps=STEPS, epochs=1e4, batch_tokens=256, max_length=64),
        ),
        intermediates=(Intermediate(name="none"), Intermediate(name="mnli", tasks=("mnli",), training=PAIRS)),
        targets=(Target(task="xnli", training=PAIRS, languages="available"),),
        measure=None,  # no two measurements are equal
    )
"""


def write_data(folder: Path) -> None:
    """Write text, parallel text, MultiNLI and XNLI in their official layouts: a few hundred made-up rows."""
    drawn = random.Random(1)
    files: dict[str, list[str]] = {}
    for language, iso3 in LANGUAGES.items():
        files[f"text/{language}.txt.gz"] = tiny.sentences(language) * 10
        side = "src" if language == "en" else "ref"
        files[f"NTREX-128/newstest2019-{side}.{iso3}.txt"] = tiny.sentences(language) * 3
    for split, count in (("train", 240), ("dev_matched", 60)):
        files[f"multinli_1.0/multinli_1.0_{split}.jsonl"] = [
            json.dumps({"gold_label": label, "sentence1": first, "sentence2": second})
            for label, first, second in (_pair(drawn, "en", number) for number in range(count))
        ]
    header = "language\tgold_label\tsentence1\tsentence2\tpairID"
    for split in ("dev", "test"):
        rows = [(language, number, *_pair(drawn, language, number)) for language in LANGUAGES for number in range(40)]
        lines = [f"{language}\t{label}\t{first}\t{second}\t{number}" for language, number, label, first, second in rows]
        files[f"XNLI-1.0/xnli.{split}.tsv"] = [header, *lines]
    for name, lines in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _pair(drawn: random.Random, language: str, number: int) -> tuple[str, str, str]:
    words = tiny.LANGUAGES[language]
    first = [drawn.choice(words) for _ in range(drawn.randint(2, 6))]
    second = {"contradiction": words[11], "entailment": first[0], "neutral": words[5]}
    label = LABELS[number % 3]
    return label, " ".join(first), f"{second[label]} {drawn.choice(words)}"
