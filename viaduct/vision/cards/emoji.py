"""Emoji: Noto's pictures, each with one caption: its name in CLDR, in XTREME's 40 languages.

    emoji/names.tsv     codepoints <tab> group <tab> subgroup <tab> af <tab> ... <tab> zh
                        1f415 <tab> animals-nature <tab> animal-mammal <tab> hond <tab> ... <tab> 狗
    emoji/noto-emoji/png/72/emoji_u1f415.png

You provide the table: CLDR's annotations (`tts`), one row per emoji, with the codepoints as in Noto's file names.

Train, dev and test (80, 10, 10 percent) have different concepts, the same in all languages, by the hash of the concept.
Emoji that differ only in the person ("man farmer", "woman farmer") are one concept, and so are all families, which Noto
draws alike: otherwise the test pictures would occur in training.
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.errors import NoRowsError
from viaduct.languages import XTREME
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.formats import columns
from viaduct.vision.caption_files import caption_text, find_picture, part_of, path_below
from viaduct.vision.rows import Captioned

_PERSON = {"1f468", "1f469", "1f9d1", "2640", "2642", "200d", "fe0f"}
"""Man, woman, adult, the gender signs, and the characters that join them."""
_CHILD = {"1f466", "1f467", "1f9d2"}
_FAMILY = "1f46a"


def concept(codepoints: str) -> str:
    """An emoji's concept: its codepoints without those of persons. A lone person or child stays; all families are one.

    "1f468_200d_1f33e" (man farmer) -> "1f33e"; "1f468" (man) -> "1f468".
    """
    parts = codepoints.split("_")
    rest = [part for part in parts if part not in _PERSON]
    if not rest or len(parts) == 1:
        return codepoints
    return _FAMILY if set(rest) <= _CHILD else "_".join(rest)


def read(files: Files, language: str, split: str) -> Iterator[Captioned]:
    """The emoji of the split that have a name in this language; ids are their codepoints. See `formats.columns`."""
    path = files["rows"][0]
    pictures = path.parent / "noto-emoji" / "png" / "72"
    named = False
    for line, (codepoints, name) in columns(path, ("codepoints", language)):
        if not name.strip():
            continue
        named = True
        if part_of("emoji", concept(codepoints)) == split:
            picture = find_picture(path_below(pictures, f"emoji_u{codepoints}.png", path, line))
            yield Captioned(codepoints, language, picture, (caption_text(name, path, line),), "names")
    if not named:
        raise NoRowsError(f"no emoji has a name in '{language}'", path=path)


CARD = Task(
    name="emoji",
    title="Emoji and their names",
    kind="captioned",
    languages=XTREME,
    sources=sources("official", read, "emoji/names.tsv"),
    licence="pictures Apache 2.0 (Noto), names Unicode License V3 (CLDR)",
    citation="Noto Emoji (Google); Unicode Common Locale Data Repository",
    differs=(
        "The division into splits is ours: there is no published one. An emoji without a name in a language is no row "
        "there."
    ),
)
