"""The words of the miniature world: the names of things, places and days in each of the 14 languages.

Names and list patterns come from the libraries `emoji` (names of emoji) and Babel (CLDR: territories, days, lists).
Nothing is translated here: the only text of our own is punctuation marks. The things and places are fixed lists of
emoji and territory codes; a thing whose names in the installed `emoji` are not suitable (see `_usable`) is left out.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import emoji
from babel import Locale

from viaduct.errors import DataError, unknown

LANGUAGES = ("en", "ar", "de", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh")
"""The languages of the `emoji` library, English first."""

OF_TASK: dict[str, tuple[str, ...]] = {
    "xnli": ("en", "ar", "de", "es", "fr", "ru", "tr", "zh"),
    "pawsx": ("en", "de", "es", "fr", "ja", "ko", "zh"),
    "udpos": LANGUAGES,
    "panx": LANGUAGES,
    "xquad": ("en", "ar", "de", "es", "ru", "tr", "zh"),
    "mlqa": ("en", "ar", "de", "es", "zh"),
    "tydiqa": ("en", "ar", "id", "ko", "ru"),
    "bucc": ("de", "fr", "ru", "zh"),
    "tatoeba": LANGUAGES[1:],
}
"""Task -> the subset of its languages that the miniature world has."""

SPACELESS = ("ja", "zh")
"""Languages written without spaces between words."""

PICTURED = tuple("✈⚓☁☄✉⚙⌨⚡")
"""Things that are single glyphs in DejaVu Sans, so pictures can show them."""

UNPICTURED = tuple("🐜🍌🔔🐦🦴🚌")
"""Things with short names but without a glyph."""

PLACES = ("BR", "CA", "CL", "CU", "EG", "ES", "FI", "FR")
"""ISO 3166 codes of territories whose names are short and a single word in all languages."""

Joint = Literal["and", "or"]

_PATTERNS: dict[Joint, str] = {"and": "standard", "or": "or"}
_MARKS = {
    "ar": {";": "؛", "?": "؟"},
    "fa": {";": "؛", "?": "؟"},
    "ja": {":": "：", ";": "；", "?": "？", ".": "。", "(": "（", ")": "）"},
    "zh": {":": "：", ";": "；", "?": "？", ".": "。", "(": "（", ")": "）"},
}
"""Language -> mark -> the same mark in its script; all other marks are used unchanged."""

_MAX_WORDS = 3
_MAX_LENGTH = 22
_MIN_THINGS = 12
_INVISIBLE = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufe0f]")


@dataclass(frozen=True)
class Lexicon:
    """The words of one language. Names have the same index in every language."""

    language: str
    things: tuple[str, ...]
    """The first `num_pictured()` of them can be shown in pictures."""
    places: tuple[str, ...]
    days: tuple[str, ...]
    """Monday first."""
    separators: dict[Joint, dict[str, str]]
    """Joint -> position in the list ("2" for a list of two, "start", "middle", "end") -> the text between two items."""
    marks: dict[str, str]

    def mark(self, sign: str) -> str:
        """This punctuation mark or sign in the language's script."""
        return self.marks.get(sign, sign)

    def between(self, joint: Joint, length: int) -> tuple[str, ...]:
        """The `length` - 1 separators of a list of `length` items, including CLDR's spaces."""
        found = self.separators[joint]
        if length <= 2:
            return (found["2"],) * (length - 1)
        return (found["start"], *(found["middle"],) * (length - 3), found["end"])


@lru_cache(maxsize=1)
def things() -> tuple[str, ...]:
    """The emoji that the world is made of, pictured ones first.

    Raises DataError if the installed `emoji` has too few of them.
    """
    for language in LANGUAGES:
        emoji.config.load_language(language)
    taken: dict[str, set[str]] = {language: _other_names(language) for language in LANGUAGES}
    chosen = []
    for sign in PICTURED + UNPICTURED:
        names = {language: _thing_name(sign, language) for language in LANGUAGES}
        if not all(_usable(name, taken[language]) for language, name in names.items()):
            continue
        chosen.append(sign)
        for language, name in names.items():
            taken[language].add(name.casefold())
    if len(chosen) < _MIN_THINGS:
        raise DataError(
            f"the installed 'emoji' library {emoji.__version__} has only {len(chosen)} of the things required",
            fix="install emoji 2.12 or newer",
        )
    return tuple(chosen)


def num_pictured() -> int:
    """How many of the things have a glyph; these come first."""
    return sum(sign in PICTURED for sign in things())


@lru_cache(maxsize=len(LANGUAGES))
def lexicon(language: str) -> Lexicon:
    """The words of this language. Raises UsageError for a language that the world does not have."""
    if language not in LANGUAGES:
        raise unknown("language of the miniature world", language, LANGUAGES)
    locale = Locale.parse(language)
    return Lexicon(
        language=language,
        things=tuple(_thing_name(sign, language) for sign in things()),
        places=tuple(_clean(locale.territories[code]) for code in PLACES),
        days=tuple(_clean(locale.days["stand-alone"]["wide"][day]) for day in range(7)),
        separators={joint: _separators(locale, name) for joint, name in _PATTERNS.items()},
        marks=_MARKS.get(language, {}),
    )


def _thing_name(sign: str, language: str) -> str:
    """The emoji's name; "" if the installed `emoji` has none."""
    entry = emoji.EMOJI_DATA.get(sign + "\ufe0f") or emoji.EMOJI_DATA.get(sign) or {}
    return _clean(str(entry.get(language, "")).strip(":").replace("_", " "))


def _other_names(language: str) -> set[str]:
    locale = Locale.parse(language)
    return {locale.territories[code].casefold() for code in PLACES} | {
        name.casefold() for name in locale.days["stand-alone"]["wide"].values()
    }


def _usable(name: str, taken: set[str]) -> bool:
    """Whether the name exists, is short, has only letters, spaces and hyphens, and does not name something else."""
    letters = all(
        character == " " or character == "-" or unicodedata.category(character)[0] in "LM" for character in name
    )
    short = 0 < len(name) <= _MAX_LENGTH and len(name.split()) <= _MAX_WORDS
    return short and letters and name.casefold() not in taken


def _separators(locale: Locale, name: str) -> dict[str, str]:
    patterns = locale.list_patterns[name]
    return {place: _clean(patterns[place].removeprefix("{0}").removesuffix("{1}")) for place in _PLACES_IN_LIST}


_PLACES_IN_LIST = ("2", "start", "middle", "end")


def _clean(text: str) -> str:
    """The text in NFC without the invisible marks of writing direction and emoji style."""
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
