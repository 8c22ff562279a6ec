"""The inference benchmark's model and data: a trained pair classifier with a 250,002-piece tokenizer, and rows as text.

Pieces are made-up words of four letters, each a single piece, so that a row's text has exactly the tokens that
`training_rows` drew. Marker words indicate a row's label: a quarter of its tokens (at least three) are replaced by
words of that label, a twelfth (at least one) by words of another, and the model has to weigh them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
from training_rows import FIRST, LAST, PAD, SHAPES, UNKNOWN, Shape, make_rows

LABELS = ("entailment", "neutral", "contradiction")
SPECIAL_TOKENS = 4
"""Special tokens in a pair: <s> A </s></s> B </s>."""
MARKERS = 8
"""Number of words that indicate a label."""
TELLING, MISLEADING = 1 / 4, 1 / 12
"""Shares of a row's tokens that are words of its label, and of another one."""
LEARNING_RATE, TRAIN_TOKENS, ENOUGH = 2e-4, 512, 0.97
HELD_OUT = 6000
"""Rows at the beginning of the set that are predicted and never trained on (half of a smaller set)."""


@dataclass(frozen=True)
class Pairs:
    """Rows to predict: as text, with their labels (as numbers) and their lengths in tokens."""

    first: list[str]
    second: list[str]
    labels: list[int]
    lengths: np.ndarray


def make_pairs(shape: Shape, seed: int, count: int) -> Pairs:
    """The first `count` rows of the benchmark's set."""
    every, labels = _make_ids(shape, seed, count)
    sides = [[" ".join(map(word, side)) for side in _sides(row)] for row in every]
    lengths = np.array([len(row) for row in every])
    return Pairs([first for first, _ in sides], [second for _, second in sides], labels, lengths)


def _make_ids(shape: Shape, seed: int, count: int) -> tuple[list[np.ndarray], list[int]]:
    """Token ids and label of the first rows of the set: `<s> A </s></s> B </s>`, A twice as long as B."""
    rows, generator = make_rows(shape, seed), np.random.default_rng(seed + 1)
    markers = _markers()
    labels = [int(target[0]) for target in rows.targets[:count]]
    for ids, label in zip(rows.ids[:count], labels, strict=True):
        cut = 1 + max(1, 2 * (len(ids) - SPECIAL_TOKENS) // 3)
        inside = [*range(1, cut), *range(cut + 2, len(ids) - 1)]
        ids[cut : cut + 2] = LAST
        ids[inside] = _marked(ids[inside], label, markers, generator)
    return rows.ids[:count], labels


def _sides(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pieces of both texts of a row."""
    first_end = int(np.flatnonzero(ids == LAST)[0])
    return ids[1:first_end], ids[first_end + 2 : -1]


def _markers() -> np.ndarray:
    """(labels, MARKERS) ids of the marker words."""
    start = UNKNOWN + 1
    return np.arange(start, start + len(LABELS) * MARKERS).reshape(len(LABELS), MARKERS)


def _marked(pieces: np.ndarray, label: int, markers: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The pieces without accidental markers, but with some of this label's markers and fewer of another's."""
    pieces[np.isin(pieces, markers)] = markers.max() + 1
    telling, misleading = max(3, round(TELLING * len(pieces))), max(1, round(MISLEADING * len(pieces)))
    places = generator.permutation(len(pieces))
    pieces[places[:telling]] = generator.choice(markers[label], telling)
    misled = places[telling : telling + misleading]
    other = (label + generator.integers(1, len(LABELS))) % len(LABELS)
    pieces[misled] = generator.choice(markers[other], len(misled))
    return pieces


def word(piece: int) -> str:
    """The made-up word of a piece: four letters, different for every id."""
    letters = []
    for _ in range(4):
        piece, letter = divmod(int(piece), len(ascii_lowercase))
        letters.append(ascii_lowercase[letter])
    return "".join(letters)


def make_tokenizer(shape: Shape) -> Any:
    """A Unigram tokenizer (XLM-R's kind) with all the words as pieces."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = {FIRST: "<s>", PAD: "<pad>", LAST: "</s>", UNKNOWN: "<unk>", shape.vocabulary - 1: "<mask>"}
    pieces = [
        (special[at], 0.0) if at in special else (f"▁{word(at)}", -8.0 - at / shape.vocabulary)
        for at in range(shape.vocabulary)
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    ends = [("<s>", FIRST), ("</s>", LAST)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ends
    )
    names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in names.items()},
    )


def make_model(name: str, folder: Path, seed: int, train_seconds: float) -> float:
    """Write a trained stage's folder (encoder, head, tokenizer); returns its most recent training accuracy.

    With no seconds to train, the weights stay random.
    """
    from viaduct.heads.head import HeadSpec, build_head, save_head
    from viaduct.models.encoder import build_encoder, save_encoder, width
    from viaduct.models.numerics import prepare, seed_all
    from viaduct.runs.spec import Architecture

    shape = SHAPES[name]
    prepare("cpu", 1)
    seed_all("inference", seed)
    architecture = Architecture(
        layers=shape.layers, hidden=shape.width, heads=shape.heads, feed_forward=shape.feed_forward, dropout=0.0
    )
    encoder = build_encoder(architecture, shape.vocabulary, PAD)
    spec = HeadSpec("pair", LABELS)
    head = build_head(spec, width(encoder), 0.0)
    right = _train(encoder, head, shape, seed, train_seconds)
    folder.mkdir(parents=True, exist_ok=True)
    save_encoder(encoder, make_tokenizer(shape), folder / "encoder")
    save_head(head, spec, folder)
    return right


def _train(encoder: Any, head: Any, shape: Shape, seed: int, seconds: float) -> float:
    """Train on the rows that are not held out, until the time is up or nearly all are right; returns the recent share
    of rows that were right before they were trained on."""
    import torch

    from viaduct.encode.batch import collate, plan_batches
    from viaduct.encode.tokens import Builder
    from viaduct.heads.head import TaskModel
    from viaduct.models.vocabulary import restore, trim, used_ids

    ids, labels = _make_ids(shape, seed, shape.set_rows)
    start = min(HELD_OUT, len(ids) // 2)
    builder = Builder()
    for row, label in zip(ids[start:], labels[start:], strict=True):
        builder.example(0, [row], label=[label])
    encoded = builder.build()
    trimmed = trim(encoder, used_ids([encoded.ids], (PAD,)))
    model = TaskModel(encoder, head, trimmed).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / 30, total_iters=30)
    right, plan, started = 0.0, iter(()), time.monotonic()
    while time.monotonic() - started < seconds and right < ENOUGH:
        examples = next(plan, None)
        if examples is None:
            plan = iter(plan_batches(encoded.lengths, encoded.widths, TRAIN_TOKENS, seed))
            continue
        wanted = torch.from_numpy(encoded.fields["label"][examples].astype(np.int64))
        logits = model(collate(encoded, examples, PAD))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, wanted).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        warm_up.step()
        right = 0.95 * right + 0.05 * float((logits.argmax(1) == wanted).float().mean())
    model.eval()
    restore(encoder, trimmed)
    return right
