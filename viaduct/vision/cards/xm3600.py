"""Crossmodal-3600: 3,600 photographs from all over the world, described by native speakers in 36 languages; test only.

A line of xm3600/captions.jsonl, shortened; the image is xm3600/images/0123456789abcdef.jpg:
    {"image/key": "0123456789abcdef", "sw": {"caption": ["Kijiji kando ya ziwa."]}, "fil": {"caption": ["Isang nayon"]}}
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.errors import DataError
from viaduct.languages import LANGUAGES as TABLE
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.formats import json_lines
from viaduct.vision.caption_files import caption_text, find_picture, path_below
from viaduct.vision.rows import Captioned

_CODES = "ar bn cs da de el en es fa fi fil fr he hi hr hu id it ja ko mi nl no pl pt quz ro ru sv sw te th tr uk vi zh"
_OURS = {"fil": "tl", "quz": "qu"}
CODES = {_OURS.get(code, code): code for code in _CODES.split() if _OURS.get(code, code) in TABLE}
"""Our code -> the code in the file."""


def read(files: Files, language: str, _split: str) -> Iterator[Captioned]:
    """Every image with its captions in this language, in the file's order; ids are the images' keys.

    Raises DataError with the line number for an image without this language, and for captions that are empty or not
    text.
    """
    path = files["rows"][0]
    code = CODES[language]
    for line, (key, made) in json_lines(path, ("image/key", code)):
        captions = made.get("caption") if isinstance(made, dict) else None
        if not isinstance(captions, list) or not captions:
            raise DataError(f"'{code}' has no list of captions", path=path, line=line, fix="download the file again")
        image = path_below(path.parent / "images", f"{key}.jpg", path, line)
        texts = tuple(caption_text(one, path, line) for one in captions)
        yield Captioned(str(key), language, find_picture(image), texts, "people")


CARD = Task(
    name="xm3600",
    title="Crossmodal-3600",
    kind="captioned",
    languages=tuple(CODES),
    sources=sources("official", read, "xm3600/captions.jsonl", splits="test"),
    expected={(language, "test"): 3_600 for language in CODES},
    licence="captions CC BY 4.0; images CC BY 2.0 (Open Images)",
    citation="Thapliyal et al. 2022: Crossmodal-3600: A Massively Multilingual Multimodal Evaluation Dataset",
    differs="Croatian, Czech, Danish, Maori, Norwegian and Swedish are left out: they are not among our languages.",
)
