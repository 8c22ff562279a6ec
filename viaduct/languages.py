"""The languages once: code, ISO 639-3 as used by the datasets' file names, English name, script, family.

The 40 languages of XTREME (arXiv 2003.11080, table 6), families as there, with Basque and Korean as isolates; then
those that XTREME-R adds (arXiv 2104.07412, table 8). Nothing else in the package types a language list: cards select
from this table.
"""

from __future__ import annotations

from dataclasses import dataclass

from viaduct.errors import unknown


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
"""
"""XTREME-R."""

LANGUAGES: dict[str, Language] = {
    code: Language(code, iso3, name, script, family)
    for code, iso3, name, script, family in (line.split() for line in (_TABLE + _MORE).split("\n") if line)
}

XTREME: tuple[str, ...] = tuple(line.split()[0] for line in _TABLE.strip().splitlines())
"""Codes of the languages that XTREME's tasks are chosen from."""

FAMILY_ORDER: tuple[str, ...] = (
    "Germanic", "Romance", "Creole", "Baltic", "Slavic", "Greek", "Iranian", "Indo-Aryan", "Uralic", "Basque",
    "Turkic", "Kartvelian", "Afro-Asiatic", "Niger-Congo", "Dravidian", "Austronesian", "Austro-Asiatic", "Kra-Dai",
    "Sino-Tibetan", "Koreanic", "Japonic", "Quechuan",
)  # fmt: skip
"""Families from English outwards (Indo-European first, then by area), the row order of heat maps."""


def language(code: str) -> Language:
    """The language with this code. Raises UsageError with the nearest code when there is none."""
    if code not in LANGUAGES:
        raise unknown("language", code, LANGUAGES)
    return LANGUAGES[code]
