"""Flickr8k: photographs of people and dogs, each described by five people in English; its test split in Chinese too.

flickr8k/Flickr8k_text/Flickr8k.token.txt              1000268201_693b08cb0e.jpg#0 <tab> A girl climbs the stairs .
flickr8k/flickr8kcn/flickr8kzhmtest.captions.txt       1056338697_4f7d7ce270.jpg#zhm#0 一个女孩在爬楼梯。
flickr8k/Flicker8k_Dataset/1000268201_693b08cb0e.jpg   (spelled as published)

`flickr8k_joined` has captions of the same photographs from several sets, one file in that format for each language:
flickr8k/captions/Flickr8k.de.token.txt
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.errors import DataError
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.formats import text_lines
from viaduct.vision.caption_files import Photos, karpathy_split, listed_photos, once, read_tokens
from viaduct.vision.rows import Captioned

FOLDERS = ("flickr8k/Flicker8k_Dataset", "flickr8k/Images")
LISTS = "flickr8k/Flickr8k_text/Flickr_8k.{split}Images.txt"

# In the Chinese file a space, not a tab, ends the key.
_read = listed_photos(lambda path, language: read_tokens(path, " " if language == "zh" else "\t"), 2, *FOLDERS)


def read_joined(files: Files, language: str, _split: str) -> Iterator[Captioned]:
    """The photographs of a list that have captions in this language, each with its captions in order of their numbers.

    Raises DataError with the list's line number for a photograph that has another name in the captions file.
    """
    listed, path = files["images"][0], files["rows"][0]
    captions, photos = read_tokens(path), Photos(path.parents[2], FOLDERS)
    known = {name.partition("_")[0]: name for name in captions}
    for line, name in once(text_lines(listed), listed):
        if (theirs := known.get(name.partition("_")[0], name)) != name:
            raise DataError(f"'{theirs}' of {path.name} is called '{name}' here", path=listed, line=line)
        if name in captions:
            texts = [captions[name][number] for number in sorted(captions[name])]
            yield photos.row(name, texts, language, listed, line)


CARD = Task(
    name="flickr8k",
    title="Flickr8k",
    kind="captioned",
    languages=("en", "zh"),
    sources=(
        *sources(
            "official",
            _read,
            {"rows": "flickr8k/Flickr8k_text/Flickr8k.token.txt", "images": LISTS},
            languages=("en",),
        ),
        *sources(
            "official",
            _read,
            {"rows": "flickr8k/flickr8kcn/flickr8kzhmtest.captions.txt", "images": LISTS},
            splits="test",
            languages=("zh",),
        ),
        *sources("official", karpathy_split(*FOLDERS), "flickr8k/dataset_flickr8k.json", languages=("en",)),
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

_PHOTOS = {"ar en zh": (6_000, 1_000, 1_000), "cs de fr": (5_528, 934, 929), "es id ja ru tr": (173, 36, 30)}
"""Photographs with captions, by languages: train, dev and test."""

JOINED = Task(
    name="flickr8k_joined",
    title="Flickr8k in eleven languages",
    kind="captioned",
    languages=("ar", "cs", "de", "en", "es", "fr", "id", "ja", "ru", "tr", "zh"),
    sources=sources(
        "official", read_joined, {"rows": "flickr8k/captions/Flickr8k.{language}.token.txt", "images": LISTS}
    ),
    expected={
        (code, split): count
        for codes, counted in _PHOTOS.items()
        for code in codes.split()
        for split, count in zip(("train", "dev", "test"), counted, strict=True)
    },
    licence="non-commercial research use; images under Flickr's terms of use",
    citation=(
        "Hodosh, Young, Hockenmaier 2013; Li et al. 2016 (zh); ElJundi et al. 2020 (ar); Elliott et al. 2016, 2017 and "
        "Barrault et al. 2018, Multi30k (de fr cs); Bugliarello et al. 2022, xFlickrCO (es id ja ru tr)"
    ),
    differs=(
        "Joined by Flickr's numbers, which Flickr8k and Flickr30k share; the splits are those of Flickr8k. Photographs "
        "without captions in a language are left out there: nearly all have captions in ar en zh, nine tenths in de fr "
        "cs, and 243 in es id ja ru tr. Captions in ar are machine translations that people corrected, those in fr cs "
        "and one of the German ones translations by people."
    ),
)
