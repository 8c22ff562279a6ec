"""Flickr30k: photographs of people and what they do, each described by five people in English.

    flickr30k/results_20130124.token     1000092795.jpg#0 <tab> Two boys carry a kite .
    flickr30k/flickr30k-images/1000092795.jpg

Read from Karpathy's dataset_flickr30k.json, from the official token file, or from Kaggle's results.csv. The last two
have no splits: those of Multi30k's image lists are taken, `multi30k/data/task1/image_splits/`.
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.tasks.card import Files, Source, Task
from viaduct.vision.caption_files import FLICKR30K, listed_photos, read_karpathy, read_pipes, read_tokens
from viaduct.vision.rows import Captioned

UNPARTED = (("2199200615.jpg", 4),)
"""The caption of results.csv whose line lacks the bar after its number."""

_LISTS = "multi30k/data/task1/image_splits/{split}.txt"
_WORDS = {"train": "train", "dev": "val", "test": "test_2016_flickr"}


def read_json(files: Files, language: str, split: str) -> Iterator[Captioned]:
    """The rows of one split of dataset_flickr30k.json."""
    path = files["rows"][0]
    yield from read_karpathy(path, language, split, path.parents[1], FLICKR30K)


def read_token(files: Files, language: str, _split: str) -> Iterator[Captioned]:
    """The listed images of results_20130124.token."""
    path = files["rows"][0]
    yield from listed_photos(files["images"][0], read_tokens(path), language, path.parents[1], FLICKR30K)


def read_csv(files: Files, language: str, _split: str) -> Iterator[Captioned]:
    """The listed images of results.csv."""
    path = files["rows"][0]
    yield from listed_photos(files["images"][0], read_pipes(path, UNPARTED), language, path.parents[1], FLICKR30K)


CARD = Task(
    name="flickr30k",
    version=1,
    title="Flickr30k",
    kind="captioned",
    languages=("en",),
    sources=(
        Source("official", {"rows": "flickr30k/dataset_flickr30k.json"}, read_json),
        Source("official", {"rows": "flickr30k/results_20130124.token", "images": _LISTS}, read_token, _WORDS),
        Source("official", {"rows": "flickr30k/results.csv", "images": _LISTS}, read_csv, _WORDS),
    ),
    metric=None,
    metrics=(),
    trained_on=None,
    expected={("en", "train"): 29_000, ("en", "dev"): 1_014, ("en", "test"): 1_000},
    licence="non-commercial research use; images under Flickr's terms of use",
    citation="Young et al. 2014: From Image Descriptions to Visual Denotations",
    differs=(
        "One line of results.csv lacks a bar and is read as caption 4 of 2199200615.jpg; other such lines are refused. "
        "Ids are Flickr's photo numbers, as in `flickr8k` and `multi30k`, which share photos across splits: 173 of "
        "Flickr8k's train split are in the test split here, and 871 of its test split are in the train split here."
    ),
)
