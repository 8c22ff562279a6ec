"""Flickr30k: photographs of people and what they do, each described by five people in English.

    flickr30k/results_20130124.token     1000092795.jpg#0 <tab> Two boys carry a kite .
    flickr30k/flickr30k-images/1000092795.jpg

Read from Karpathy's dataset_flickr30k.json, from the official token file, or from Kaggle's results.csv. The last two
have no splits, so those of Multi30k's image lists are used: `multi30k/data/task1/image_splits/`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from viaduct.errors import DataError
from viaduct.tasks.card import Task, sources
from viaduct.tasks.formats import numbered_lines, without_end
from viaduct.vision.caption_files import (
    FLICKR30K,
    Numbered,
    add_caption,
    karpathy_split,
    listed_photos,
    read_tokens,
)

UNPARTED = (("2199200615.jpg", 4),)
"""(image, number) of the caption in results.csv whose line lacks the bar after the number."""

_LISTS = "multi30k/data/task1/image_splits/{split}.txt"
_SPLITS = "train dev=val test=test_2016_flickr"
_UNPARTED = re.compile(r"(\d+)\s+(\S.*)")


def read_bars(path: Path, unparted: Collection[tuple[str, int]] = UNPARTED) -> Numbered:
    """The captions of a file with the header `image_name| comment_number| comment`.

    `unparted` lists the (image, number) pairs whose line is known to lack the second bar: there the first white space
    after the number separates it from the caption. Raises DataError with the line number for any other line without two
    bars, a different header, a caption number that is not numeric or occurs twice for an image.
    """
    captions: Numbered = {}
    for line, text in numbered_lines(path):
        fields = [field.strip() for field in without_end(text).split("|", 2)]
        if line == 1:
            if fields != ["image_name", "comment_number", "comment"]:
                message = f"the header is '{without_end(text)}', not 'image_name| comment_number| comment'"
                raise DataError(message, path=path, line=1)
            continue
        if len(fields) == 2 and (match := _UNPARTED.fullmatch(fields[1])) and (fields[0], int(match[1])) in unparted:
            fields = [fields[0], match[1], match[2]]
        if len(fields) != 3 or not fields[1].isdecimal():
            message = f"not `image| number| caption`: '{without_end(text)[:60]}'"
            raise DataError(message, path=path, line=line, fix="separate name, number and caption with bars")
        add_caption(captions, fields[0], int(fields[1]), fields[2], path, line)
    return captions


CARD = Task(
    name="flickr30k",
    title="Flickr30k",
    kind="captioned",
    languages=("en",),
    sources=(
        *sources("official", karpathy_split(*FLICKR30K), "flickr30k/dataset_flickr30k.json"),
        *sources(
            "official",
            listed_photos(lambda path, _: read_tokens(path), 1, *FLICKR30K),
            {"rows": "flickr30k/results_20130124.token", "images": _LISTS},
            splits=_SPLITS,
        ),
        *sources(
            "official",
            listed_photos(lambda path, _: read_bars(path), 1, *FLICKR30K),
            {"rows": "flickr30k/results.csv", "images": _LISTS},
            splits=_SPLITS,
        ),
    ),
    expected={("en", "train"): 29_000, ("en", "dev"): 1_014, ("en", "test"): 1_000},
    licence="non-commercial research use; images under Flickr's terms of use",
    citation="Young et al. 2014: From Image Descriptions to Visual Denotations",
    differs=(
        "One line of results.csv lacks a bar and is read as caption 4 of 2199200615.jpg; other such lines are refused. "
        "Ids are Flickr's photo numbers, as in `flickr8k` and `multi30k`, which share photos across splits: 173 of "
        "Flickr8k's train split are in the test split here, and 871 of its test split are in the train split here."
    ),
)
