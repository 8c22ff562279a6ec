"""Pictures of things and their captions: small scenes drawn with the glyphs of DejaVu Sans.

A scene has one to three things on a two-by-two grid; its captions name them in reading order, once as a list and once
with numbers. Colours and backgrounds are random, except that the red heart is red.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from viaduct.miniature.lexicon import num_pictured, things
from viaduct.miniature.sentences import Meaning, ended, listing, numbering, thing

SIZE = 64
"""Width and height in pixels."""

_CELL = SIZE // 2
_GLYPH = 24
_JITTER = 3
_BACKGROUNDS = ("#ffffff", "#f4efe1", "#e3eef8", "#e9f5e4")
_COLOURS = ("#1f1f1f", "#1f4fb4", "#1d7a3a", "#7a2fa0", "#b35a00", "#00757a")
_RED = "#c8102e"
_HEART = "❤"


@dataclass(frozen=True, slots=True)
class Scene:
    """The things of a scene and their grid cells in reading order, and the seed of the drawing."""

    things: tuple[int, ...]
    cells: tuple[int, ...]
    """Grid cells, 0 to 3 in reading order, ascending; one per thing."""
    seed: int
    captions: tuple[Meaning, ...]


def scene(random: Random, fewest: int = 1) -> Scene:
    """A new scene of `fewest` to three different things."""
    count = random.randint(fewest, 3)
    shown = tuple(random.sample(range(num_pictured()), count))
    cells = tuple(sorted(random.sample(range(4), count)))
    captions = (ended((listing([thing(index) for index in shown]),)), ended(numbering(shown)))
    return Scene(shown, cells, random.getrandbits(32), captions)


def held_out(count: int, random: Random) -> tuple[Scene, ...]:
    """`count` scenes of two or three things, no two of which name the same things in the same order."""
    found: dict[tuple[int, ...], Scene] = {}
    while len(found) < count:
        made = scene(random, fewest=2)
        found.setdefault(made.things, made)
    return tuple(found.values())


def many(count: int, random: Random, held: frozenset[tuple[int, ...]]) -> tuple[Scene, ...]:
    """`count` scenes whose things, or their order, differ from those held out. The same things may appear again, drawn
    anew: names can only be learned from things that are shown alone."""
    found: list[Scene] = []
    while len(found) < count:
        made = scene(random)
        if made.things not in held:
            found.append(made)
    return tuple(found)


def png(made: Scene) -> bytes:
    """The picture as a PNG file; the same scene and library versions give the same bytes."""
    random = Random(made.seed)
    image = Image.new("RGB", (SIZE, SIZE), random.choice(_BACKGROUNDS))
    draw = ImageDraw.Draw(image)
    for index, cell in zip(made.things, made.cells, strict=True):
        sign = things()[index]
        colour = _RED if sign == _HEART else random.choice(_COLOURS)
        x = cell % 2 * _CELL + _CELL // 2 + random.randint(-_JITTER, _JITTER)
        y = cell // 2 * _CELL + _CELL // 2 + random.randint(-_JITTER, _JITTER)
        draw.text((x, y), sign, font=_font(), fill=colour, anchor="mm")
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=False)
    return file.getvalue()


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), _GLYPH)
