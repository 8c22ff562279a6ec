"""Flickr8k: photographs of people and dogs, each described by five people in English; its test split in Chinese too.

flickr8k/Flickr8k_text/Flickr8k.token.txt              1000268201_693b08cb0e.jpg#0 <tab> A girl climbs the stairs .
flickr8k/flickr8kcn/flickr8kzhmtest.captions.txt       1056338697_4f7d7ce270.jpg#zhm#0 一个女孩在爬楼梯。
flickr8k/Flicker8k_Dataset/1000268201_693b08cb0e.jpg   (its published name is spelled so)
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.tasks.card import Files, Source, Task
from viaduct.vision.caption_files import FLICKR8K, listed_photos, read_karpathy, read_tokens
from viaduct.vision.rows import Captioned

_LISTS = "flickr8k/Flickr8k_text/Flickr_8k.{split}Images.txt"


def read(files: Files, language: str, _split: str) -> Iterator[Captioned]:
    """The listed images with their captions; in the Chinese file a space, not a tab, ends the key."""
    path = files["rows"][0]
    captions = read_tokens(path, " " if language == "zh" else "\t")
    yield from listed_photos(files["images"][0], captions, language, path.parents[2], FLICKR8K)


def read_json(files: Files, language: str, split: str) -> Iterator[Captioned]:
    """The rows of one split of Karpathy's dataset_flickr8k.json."""
    path = files["rows"][0]
    yield from read_karpathy(path, language, split, path.parents[1], FLICKR8K)


CARD = Task(
    name="flickr8k",
    version=1,
    title="Flickr8k",
    kind="captioned",
    languages=("en", "zh"),
    sources=(
        Source(
            "official",
            {"rows": "flickr8k/Flickr8k_text/Flickr8k.token.txt", "images": _LISTS},
            read,
            languages={"en": "en"},
        ),
        Source(
            "official",
            {"rows": "flickr8k/flickr8kcn/flickr8kzhmtest.captions.txt", "images": _LISTS},
            read,
            {"test": "test"},
            {"zh": "zh"},
        ),
        Source("official", {"rows": "flickr8k/dataset_flickr8k.json"}, read_json, languages={"en": "en"}),
    ),
    metric=None,
    metrics=(),
    trained_on=None,
    expected={("en", "train"): 6_000, ("en", "dev"): 1_000, ("en", "test"): 1_000, ("zh", "test"): 1_000},
    licence="non-commercial research use; images under Flickr's terms of use",
    citation=(
        "Hodosh, Young, Hockenmaier 2013: Framing Image Description as a Ranking Task; Li et al. 2016: Adding Chinese "
        "Captions to Images"
    ),
    differs=(
        "Of the 8,092 images with captions 92 are in no split, one of them misspelt in the token file; they are left "
        "out. The Chinese captions are translations by people of the English ones. "
        "Ids are Flickr's photo numbers; see `flickr30k` on the photos that both have."
    ),
)
