"""Multi30k: Flickr30k's photographs described in English, German and French.

    multi30k/data/task1/image_splits/val.txt    1018148011.jpg
    multi30k/data/task1/raw/val.de.gz           Zwei Kinder tragen einen Drachen.
    flickr30k/flickr30k-images/1018148011.jpg   (or multi30k/images/; for test_coco COCO's folders)

Task 1: one English description of each photograph and its translations by people. Task 2: five English and five German
descriptions of each, written independently of one another.
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.formats import aligned_lines
from viaduct.vision.caption_files import FLICKR30K, Photos, caption_text, once
from viaduct.vision.rows import Captioned

_FOLDERS = ("multi30k/images", *FLICKR30K)
"""Where the images are looked for: those of 2017 and 2018 are not Flickr30k's."""

_SPLITS = {"train": 29_000, "dev": 1_014, "test": 1_000, "test_2017": 1_000, "test_2018": 1_071, "test_coco": 461}
_DATA = "multi30k/data"
_LICENCE = "non-commercial research use; images under Flickr's terms of use"


def read(files: Files, language: str, _split: str) -> Iterator[Captioned]:
    """Line i of the caption file, or of each of them, describes line i of the list (`name.jpg`, or `name.jpg#number`).

    Raises DataError if the files differ in their number of lines, for blank lines, and for an image that occurs twice.
    """
    images = files["images"][0]
    photos = Photos(images.parents[4], _FOLDERS)
    columns = [aligned_lines(images, path) for path in files["rows"]]
    names = (name.partition("#")[0] for name, _ in columns[0])
    for (line, name), pairs in zip(once(names, images), zip(*columns, strict=True), strict=True):
        texts = [caption_text(text, path, line) for (_, text), path in zip(pairs, files["rows"], strict=True)]
        yield photos.row(name, texts, language, images, line)


CARD = Task(
    name="multi30k",
    title="Multi30k, translations",
    kind="captioned",
    languages=("en", "de", "fr"),
    sources=sources(
        "official",
        read,
        {"rows": f"{_DATA}/task1/raw/{{split}}.{{language}}.gz", "images": f"{_DATA}/task1/image_splits/{{split}}.txt"},
        splits="train dev=val test=test_2016_flickr test_2017=test_2017_flickr test_2018=test_2018_flickr"
        " test_coco=test_2017_mscoco",
    ),
    expected={(language, split): rows for language in ("en", "de", "fr") for split, rows in _SPLITS.items()},
    licence=_LICENCE,
    citation="Elliott et al. 2016: Multi30K: Multilingual English-German Image Descriptions",
    differs=(
        "Czech is left out: it is not among our languages. test is the Flickr test set of 2016; the others are of 2017 "
        "and 2018. Ids are Flickr's photo numbers, in test_coco COCO's."
    ),
)

TASK2 = Task(
    name="multi30k_task2",
    title="Multi30k, five descriptions each",
    kind="captioned",
    languages=("en", "de"),
    sources=sources(
        "official",
        read,
        {
            "rows": f"{_DATA}/task2/raw/{{split}}.[1-5].{{language}}.gz",
            "images": f"{_DATA}/task2/image_splits/{{split}}_images.txt",
        },
        splits="train dev=val test=test_2016",
    ),
    expected={(language, split): _SPLITS[split] for language in ("en", "de") for split in ("train", "dev", "test")},
    licence=_LICENCE,
    citation="Elliott et al. 2016: Multi30K: Multilingual English-German Image Descriptions",
    differs="Ids are Flickr's photo numbers, the same as in `multi30k`.",
)
