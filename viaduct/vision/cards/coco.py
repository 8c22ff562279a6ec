"""COCO captions: photographs of everyday scenes, each described by five people in English; and Karpathy's splits of it.

    coco/annotations/captions_val2017.json      {"images": [{"id": 42, "file_name": "000000000042.jpg"}],
                                                 "annotations": [{"id": 7, "image_id": 42, "caption": "A red kite."}]}
    coco/val2017/000000000042.jpg

Translations are files of the same form, one per language, beside the English one: `captions_val2017.de.json`. Their
`info.origin` must say who made them ("people", "machine"; see `captions.ORIGINS`).
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.languages import LANGUAGES
from viaduct.tasks.card import Files, Source, Task
from viaduct.vision.caption_files import read_coco, read_karpathy
from viaduct.vision.rows import Captioned


def read(files: Files, language: str, _split: str) -> Iterator[Captioned]:
    """The rows of one annotation file; the images are in the folder of its split. See `captions.read_coco`."""
    path = files["rows"][0]
    folder = path.name.removeprefix("captions_").partition(".")[0]
    yield from read_coco(path, language, path.parents[1] / folder, "people" if language == "en" else None)


def read_split(files: Files, language: str, split: str) -> Iterator[Captioned]:
    """The rows of one of Karpathy's splits; the images are looked for in COCO's folders of 2014 and of 2017."""
    path = files["rows"][0]
    yield from read_karpathy(path, language, split, path.parents[1], ())


CARD = Task(
    name="coco",
    version=1,
    title="COCO captions 2017",
    kind="captioned",
    languages=tuple(LANGUAGES),
    sources=(
        Source(
            "official",
            {"rows": "coco/annotations/captions_{split}2017{language}.json"},
            read,
            {"train": "train", "dev": "val"},
            {code: "" if code == "en" else f".{code}" for code in LANGUAGES},
        ),
    ),
    metric=None,
    metrics=(),
    trained_on=None,
    expected={("en", "train"): 118_287, ("en", "dev"): 5_000},
    licence="captions CC BY 4.0; images under Flickr's terms of use",
    citation="Chen et al. 2015: Microsoft COCO Captions: Data Collection and Evaluation Server",
    differs=(
        "val2017 is called dev; captions of the test images are not public. Most of Karpathy's test images "
        "(`coco_karpathy`) are in train2017: never train on the one and evaluate on the other."
    ),
)

KARPATHY = Task(
    name="coco_karpathy",
    version=1,
    title="COCO captions, Karpathy's splits",
    kind="captioned",
    languages=("en",),
    sources=(Source("official", {"rows": "coco/dataset_coco.json"}, read_split),),
    metric=None,
    metrics=(),
    trained_on=None,
    expected={("en", "train"): 113_287, ("en", "dev"): 5_000, ("en", "test"): 5_000},
    licence="captions CC BY 4.0; images under Flickr's terms of use",
    citation="Karpathy, Fei-Fei 2015: Deep Visual-Semantic Alignments for Generating Image Descriptions",
    differs="restval is part of train, as in published captioning results. Ids are COCO's, the same as in `coco`.",
)
