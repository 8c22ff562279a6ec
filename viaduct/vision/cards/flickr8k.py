"""Flickr8k: photographs of people and dogs, each described by five people in English; its test split in Chinese too.

flickr8k/Flickr8k_text/Flickr8k.token.txt              1000268201_693b08cb0e.jpg#0 <tab> A girl climbs the stairs .
flickr8k/flickr8kcn/flickr8kzhmtest.captions.txt       1056338697_4f7d7ce270.jpg#zhm#0 一个女孩在爬楼梯。
flickr8k/Flicker8k_Dataset/1000268201_693b08cb0e.jpg   (its published name is spelled so)
"""

from __future__ import annotations

from viaduct.tasks.card import Task, sources
from viaduct.vision.caption_files import karpathy_split, listed_photos, read_tokens

_FOLDERS = ("flickr8k/Flicker8k_Dataset", "flickr8k/Images")
_LISTS = "flickr8k/Flickr8k_text/Flickr_8k.{split}Images.txt"

# In the Chinese file a space, not a tab, ends the key.
_read = listed_photos(lambda path, language: read_tokens(path, " " if language == "zh" else "\t"), 2, *_FOLDERS)

CARD = Task(
    name="flickr8k",
    title="Flickr8k",
    kind="captioned",
    languages=("en", "zh"),
    sources=(
        *sources(
            "official",
            _read,
            {"rows": "flickr8k/Flickr8k_text/Flickr8k.token.txt", "images": _LISTS},
            languages=("en",),
        ),
        *sources(
            "official",
            _read,
            {"rows": "flickr8k/flickr8kcn/flickr8kzhmtest.captions.txt", "images": _LISTS},
            splits="test",
            languages=("zh",),
        ),
        *sources("official", karpathy_split(*_FOLDERS), "flickr8k/dataset_flickr8k.json", languages=("en",)),
    ),
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
