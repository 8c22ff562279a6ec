"""COCO captions: photographs of everyday scenes, each described by five people in English; and Karpathy's splits of it.

    coco/annotations/captions_val2017.json      {"images": [{"id": 42, "file_name": "000000000042.jpg"}],
                                                 "annotations": [{"id": 7, "image_id": 42, "caption": "A red kite."}]}
    coco/val2017/000000000042.jpg

Translations are files in the same format, one per language, next to the English one: `captions_val2017.de.json`. Their
`info.origin` must say who made them ("people", "machine"; see `caption_files.ORIGINS`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from viaduct.errors import DataError
from viaduct.languages import LANGUAGES
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.formats import json_file, member
from viaduct.vision.caption_files import (
    ORIGINS,
    caption_text,
    failure,
    find_picture,
    karpathy_split,
    path_below,
)
from viaduct.vision.rows import Captioned


def read(files: Files, language: str, _split: str) -> Iterator[Captioned]:
    """The images of an annotation file that have captions, in file order; ids are COCO's.

    The file's `info.origin` says who made the captions; without it, people made the English ones. Raises DataError if
    the origin is unknown, for an image or annotation id that occurs twice, an annotation of an image that is not
    listed, and captions that are not text.
    """
    path = files["rows"][0]
    content = json_file(path)
    info = content.get("info") if isinstance(content, Mapping) else None
    usual = "people" if language == "en" else None
    origin = info.get("origin", usual) if isinstance(info, Mapping) else usual
    if origin not in ORIGINS:
        raise DataError(
            f"it does not say who made the captions: info.origin is {origin!r}",
            path=path,
            fix=f"""add "origin": "machine" to its "info", or another one of {", ".join(ORIGINS)}""",
        )
    folder = path.parents[1] / path.name.removeprefix("captions_").partition(".")[0]
    images: dict[str, Path] = {}
    captions: dict[str, list[str]] = {}
    for place, id, image in _with_ids(path, content, "images", "image id"):
        images[id] = path_below(folder, member(path, image, place, "file_name", str), path, place)
    for place, _, annotation in _with_ids(path, content, "annotations", "annotation id"):
        id = _id(path, annotation, place, "image_id")
        if id not in images:
            raise failure(f"no image has the id {id}", path, place, "list the image under `images`")
        captions.setdefault(id, []).append(caption_text(annotation.get("caption"), path, place))
    for id, file in images.items():
        if id in captions:
            yield Captioned(id, language, find_picture(file), tuple(captions[id]), origin)


def _with_ids(path: Path, content: object, key: str, word: str) -> Iterator[tuple[str, str, Any]]:
    """(place, id, object) for each object in this list of the file."""
    seen: set[str] = set()
    for at, one in enumerate(member(path, content, "the file", key, list)):
        place = f"{key}[{at}]"
        id = _id(path, one, place, "id")
        if id in seen:
            raise failure(f"the {word} {id} occurs twice", path, place, "download the file again")
        seen.add(id)
        yield place, id, one


def _id(path: Path, given: object, place: str, key: str) -> str:
    if not isinstance(given, Mapping) or key not in given:
        raise failure(f"it has no '{key}'", path, place, "give a captions file in COCO's format")
    value = given[key]
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise failure(f"'{key}' is {value!r}, but must be a number or text", path, place)
    return str(value)


CARD = Task(
    name="coco",
    title="COCO captions 2017",
    kind="captioned",
    languages=tuple(LANGUAGES),
    sources=sources(
        "official",
        read,
        "coco/annotations/captions_{split}2017{language}.json",
        splits="train dev=val",
        languages={code: "" if code == "en" else f".{code}" for code in LANGUAGES},
    ),
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
    title="COCO captions, Karpathy's splits",
    kind="captioned",
    languages=("en",),
    sources=sources("official", karpathy_split(), "coco/dataset_coco.json"),
    expected={("en", "train"): 113_287, ("en", "dev"): 5_000, ("en", "test"): 5_000},
    licence="captions CC BY 4.0; images under Flickr's terms of use",
    citation="Karpathy, Fei-Fei 2015: Deep Visual-Semantic Alignments for Generating Image Descriptions",
    differs="restval is part of train, as in published captioning results. Ids are COCO's, the same as in `coco`.",
)
