"""xFlickrCO: 2,000 photographs of Flickr30k and COCO, each described once in each of 8 languages; test only.

A line of xFlickrCO/annotations/sw/test.jsonl would look like this:
    {"sentences": ["Mtoto anarusha tiara."], "id": "1007129816", "img_path": "1007129816.jpg"}

The images are expected in the folders of Flickr30k and COCO.
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.errors import DataError
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.formats import json_lines
from viaduct.vision.caption_files import FLICKR30K, Photos, caption_text
from viaduct.vision.rows import Captioned

LANGUAGES = ("de", "en", "es", "id", "ja", "ru", "tr", "zh")


def read(files: Files, language: str, _split: str) -> Iterator[Captioned]:
    """The rows of a file, without those whose only caption is blank (see `differs`)."""
    path = files["rows"][0]
    photos = Photos(path.parents[3], FLICKR30K)
    for line, (sentences, name) in json_lines(path, ("sentences", "img_path")):
        if not isinstance(sentences, list) or not sentences:
            raise DataError("'sentences' is not a list of captions", path=path, line=line)
        if len(sentences) == 1 and isinstance(sentences[0], str) and not sentences[0].strip():
            continue
        yield photos.row(name, [caption_text(one, path, line) for one in sentences], language, path, line)


CARD = Task(
    name="xflickrco",
    title="xFlickrCO",
    kind="captioned",
    languages=LANGUAGES,
    sources=sources("official", read, "xFlickrCO/annotations/{language}/test.jsonl", splits="test"),
    expected={(language, "test"): 2_000 for language in LANGUAGES},
    licence="annotations MIT; images under Flickr's terms of use",
    citation="Bugliarello et al. 2022: IGLUE: A Benchmark for Transfer Learning across Modalities, Tasks, Languages",
    differs=(
        "One caption in German and one in Indonesian is published blank: these rows are left out, so both have 1,999. "
        "The 1,000 Flickr photos are the test split of `flickr30k` and `multi30k`. The 1,000 of COCO are of val2014, "
        "most of which is in train2017: a model trained on `coco` has seen them."
    ),
)
