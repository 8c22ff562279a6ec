"""The languages once: code, ISO 639-3 as used by the datasets' file names, English name, script, family.

The 40 languages of XTREME (arXiv 2003.11080, table 6), families as there, with Basque and Korean as isolates; then
those that XTREME-R adds (arXiv 2104.07412, table 8), and Czech, in which there are captions. Nothing else in the
package types a language list: cards select from this table.
"""

from __future__ import annotations

from dataclasses import dataclass

from viaduct.errors import unknown

ENGLISH = "en"


@dataclass(frozen=True, slots=True)
class Language:
    """One language: `code` is XTREME's, `iso3` is LASER's and NTREX's usual code, `script` is ISO 15924."""

    code: str
    iso3: str
    name: str
    script: str
    family: str


_TABLE = """
af afr Afrikaans  Latn Germanic
ar ara Arabic     Arab Afro-Asiatic
bg bul Bulgarian  Cyrl Slavic
bn ben Bengali    Beng Indo-Aryan
de deu German     Latn Germanic
el ell Greek      Grek Greek
en eng English    Latn Germanic
es spa Spanish    Latn Romance
et est Estonian   Latn Uralic
eu eus Basque     Latn Basque
fa pes Persian    Arab Iranian
fi fin Finnish    Latn Uralic
fr fra French     Latn Romance
he heb Hebrew     Hebr Afro-Asiatic
hi hin Hindi      Deva Indo-Aryan
hu hun Hungarian  Latn Uralic
id ind Indonesian Latn Austronesian
it ita Italian    Latn Romance
ja jpn Japanese   Jpan Japonic
jv jav Javanese   Latn Austronesian
ka kat Georgian   Geor Kartvelian
kk kaz Kazakh     Cyrl Turkic
ko kor Korean     Kore Koreanic
ml mal Malayalam  Mlym Dravidian
mr mar Marathi    Deva Indo-Aryan
ms msa Malay      Latn Austronesian
my mya Burmese    Mymr Sino-Tibetan
nl nld Dutch      Latn Germanic
pt por Portuguese Latn Romance
ru rus Russian    Cyrl Slavic
sw swh Swahili    Latn Niger-Congo
ta tam Tamil      Taml Dravidian
te tel Telugu     Telu Dravidian
th tha Thai       Thai Kra-Dai
tl tgl Tagalog    Latn Austronesian
tr tur Turkish    Latn Turkic
ur urd Urdu       Arab Indo-Aryan
vi vie Vietnamese Latn Austro-Asiatic
yo yor Yoruba     Latn Niger-Congo
zh cmn Chinese    Hans Sino-Tibetan
"""
"""XTREME."""

_MORE = """
az aze Azerbaijani Latn Turkic
gu guj Gujarati    Gujr Indo-Aryan
ht hat Haitian     Latn Creole
lt lit Lithuanian  Latn Baltic
pa pan Punjabi     Guru Indo-Aryan
pl pol Polish      Latn Slavic
qu que Quechua     Latn Quechuan
ro ron Romanian    Latn Romance
uk ukr Ukrainian   Cyrl Slavic
wo wol Wolof       Latn Niger-Congo
cs ces Czech       Latn Slavic
"""
"""XTREME-R, and Czech."""

LANGUAGES: dict[str, Language] = {
    code: Language(code, iso3, name, script, family)
    for code, iso3, name, script, family in (line.split() for line in (_TABLE + _MORE).split("\n") if line)
}

XTREME: tuple[str, ...] = tuple(line.split()[0] for line in _TABLE.strip().splitlines())
"""Codes of the languages that XTREME's tasks are chosen from."""

CC100_GIB: dict[str, float] = {
    "af": 1.3, "ar": 28.0, "az": 6.5, "bg": 57.5, "bn": 8.4, "cs": 16.3, "de": 66.6, "el": 46.9, "en": 300.8,
    "es": 53.3, "et": 6.1, "eu": 2.0, "fa": 111.6, "fi": 54.3, "fr": 56.8, "gu": 1.9, "he": 31.6, "hi": 20.2,
    "hu": 58.4, "id": 148.3, "it": 30.2, "ja": 69.3, "jv": 0.2, "ka": 9.1, "kk": 6.4, "ko": 54.2, "lt": 13.7,
    "ml": 7.6, "mr": 2.8, "ms": 8.5, "my": 1.6, "nl": 29.3, "pa": 0.8, "pl": 44.6, "pt": 49.1, "ro": 61.4, "ru": 278.0,
    "sw": 1.6, "ta": 12.2, "te": 4.7, "th": 71.7, "tl": 3.1, "tr": 20.9, "uk": 84.6, "ur": 5.7, "vi": 137.3,
    "zh": 46.9,
}  # fmt: skip
"""Text that XLM-R was pretrained on, in GiB (arXiv 1911.02116, table 6; Chinese: simplified). Others had none."""

FAMILY_ORDER: tuple[str, ...] = (
    "Germanic", "Romance", "Creole", "Baltic", "Slavic", "Greek", "Iranian", "Indo-Aryan", "Uralic", "Basque",
    "Turkic", "Kartvelian", "Afro-Asiatic", "Niger-Congo", "Dravidian", "Austronesian", "Austro-Asiatic", "Kra-Dai",
    "Sino-Tibetan", "Koreanic", "Japonic", "Quechuan",
)  # fmt: skip
"""Families from English outwards (Indo-European first, then by area), the row order of heat maps."""

INDO_EUROPEAN = frozenset(FAMILY_ORDER[: FAMILY_ORDER.index("Uralic")])
"""Branches of one family, which may have an effect in common."""


def language(code: str) -> Language:
    """The language with this code. Raises UsageError with the nearest code when there is none."""
    if code not in LANGUAGES:
        raise unknown("language", code, LANGUAGES)
    return LANGUAGES[code]


def family_of(code: str) -> str:
    """The language's family, "other" for a code that the table does not have."""
    return LANGUAGES[code].family if code in LANGUAGES else "other"
