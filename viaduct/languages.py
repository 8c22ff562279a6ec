"""The one table of languages: code, ISO 639-3 as in the data sets' file names, English name, script, family.

The 40 languages of XTREME (arXiv 2003.11080, table 6), with its families, except that Basque and Korean are isolates;
those added by XTREME-R (arXiv 2104.07412, table 8), and Czech, for which there are captions; then the other languages
of Belebele (families as in its README at 08633e8, which puts Nyanja, Tsonga and Pashto in a wrong one), of AfriXNLI and
MasakhaNER, and some that have a treebank or a large Wikipedia. Any other ISO 639 code is resolved by `langcodes` to a
name and usual script; its family is then unknown and counts as a family of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from viaduct.errors import UsageError, nearest, shortened

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

_FURTHER = """
acm acm Arab Afro-Asiatic  Mesopotamian Arabic
ak  twi Latn Niger-Congo   Akan
am  amh Ethi Afro-Asiatic  Amharic
apc apc Arab Afro-Asiatic  North Levantine Arabic
ars ars Arab Afro-Asiatic  Najdi Arabic
ary ary Arab Afro-Asiatic  Moroccan Arabic
arz arz Arab Afro-Asiatic  Egyptian Arabic
as  asm Beng Indo-Aryan    Assamese
ast ast Latn Romance       Asturian
ay  ayr Latn Aymaran       Aymara
ba  bak Cyrl Turkic        Bashkir
bbj bbj Latn Niger-Congo   Ghomala
be  bel Cyrl Slavic        Belarusian
bho bho Deva Indo-Aryan    Bhojpuri
bm  bam Latn Mande         Bambara
bo  bod Tibt Sino-Tibetan  Tibetan
br  bre Latn Celtic        Breton
bs  bos Latn Slavic        Bosnian
ca  cat Latn Romance       Catalan
ceb ceb Latn Austronesian  Cebuano
ckb ckb Arab Iranian       Central Kurdish
cy  cym Latn Celtic        Welsh
da  dan Latn Germanic      Danish
ee  ewe Latn Niger-Congo   Ewe
ff  ful Latn Niger-Congo   Fula
fo  fao Latn Germanic      Faroese
fon fon Latn Niger-Congo   Fon
fuv fuv Latn Niger-Congo   Nigerian Fulfulde
fy  fry Latn Germanic      Western Frisian
ga  gle Latn Celtic        Irish
gd  gla Latn Celtic        Scottish Gaelic
gl  glg Latn Romance       Galician
gn  grn Latn Tupian        Guarani
ha  hau Latn Afro-Asiatic  Hausa
hr  hrv Latn Slavic        Croatian
hy  hye Armn Armenian      Armenian
ig  ibo Latn Niger-Congo   Igbo
ilo ilo Latn Austronesian  Iloko
is  isl Latn Germanic      Icelandic
kac kac Latn Sino-Tibetan  Kachin
kea kea Latn Creole        Kabuverdianu
km  khm Khmr Austro-Asiatic Khmer
kn  kan Knda Dravidian     Kannada
ku  kmr Latn Iranian       Kurdish
ky  kir Cyrl Turkic        Kyrgyz
lb  ltz Latn Germanic      Luxembourgish
lg  lug Latn Niger-Congo   Ganda
ln  lin Latn Niger-Congo   Lingala
lo  lao Laoo Kra-Dai       Lao
luo luo Latn Nilo-Saharan  Luo
lv  lvs Latn Baltic        Latvian
mai mai Deva Indo-Aryan    Maithili
mg  plt Latn Austronesian  Malagasy
mi  mri Latn Austronesian  Maori
mk  mkd Cyrl Slavic        Macedonian
mn  khk Cyrl Mongolic      Mongolian
mos mos Latn Niger-Congo   Mossi
mt  mlt Latn Afro-Asiatic  Maltese
nb  nob Latn Germanic      Norwegian Bokmål
ne  npi Deva Indo-Aryan    Nepali
nn  nno Latn Germanic      Norwegian Nynorsk
no  nor Latn Germanic      Norwegian
nso nso Latn Niger-Congo   Northern Sotho
ny  nya Latn Niger-Congo   Nyanja
oc  oci Latn Romance       Occitan
om  gaz Latn Afro-Asiatic  Oromo
or  ory Orya Indo-Aryan    Odia
pbt pbt Arab Iranian       Southern Pashto
pcm pcm Latn Creole        Nigerian Pidgin
ps  pus Arab Iranian       Pashto
quy quy Latn Quechuan      Ayacucho Quechua
rn  run Latn Niger-Congo   Rundi
rw  kin Latn Niger-Congo   Kinyarwanda
sa  san Deva Indo-Aryan    Sanskrit
sd  snd Arab Indo-Aryan    Sindhi
se  sme Latn Uralic        Northern Sami
shn shn Mymr Kra-Dai       Shan
si  sin Sinh Indo-Aryan    Sinhala
sk  slk Latn Slavic        Slovak
sl  slv Latn Slavic        Slovenian
sn  sna Latn Niger-Congo   Shona
so  som Latn Afro-Asiatic  Somali
sq  als Latn Albanian      Albanian
sr  srp Cyrl Slavic        Serbian
ss  ssw Latn Niger-Congo   Swati
st  sot Latn Niger-Congo   Southern Sotho
su  sun Latn Austronesian  Sundanese
sv  swe Latn Germanic      Swedish
tg  tgk Cyrl Iranian       Tajik
ti  tir Ethi Afro-Asiatic  Tigrinya
tk  tuk Latn Turkic        Turkmen
tn  tsn Latn Niger-Congo   Tswana
ts  tso Latn Niger-Congo   Tsonga
tt  tat Cyrl Turkic        Tatar
ug  uig Arab Turkic        Uyghur
uz  uzn Latn Turkic        Uzbek
war war Latn Austronesian  Waray
xh  xho Latn Niger-Congo   Xhosa
yi  yid Hebr Germanic      Yiddish
yue yue Hant Sino-Tibetan  Cantonese
zu  zul Latn Niger-Congo   Zulu
"""
"""Languages of later data sets: code, ISO 639-3 as in FLORES-200, script, family, name."""

LANGUAGES: dict[str, Language] = {
    code: Language(code, iso3, name, script, family)
    for code, iso3, name, script, family in (line.split() for line in (_TABLE + _MORE).split("\n") if line)
}

"""The languages of XTREME and XTREME-R, and Czech: the cards of that time select from these."""

_KNOWN: dict[str, Language] = LANGUAGES | {
    code: Language(code, iso3, name, script, family)
    for code, iso3, script, family, name in (line.split(maxsplit=4) for line in _FURTHER.split("\n") if line)
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
"""Amount of text that XLM-R was pretrained on, in GiB (arXiv 1911.02116, table 6; Chinese: simplified). The rest of
`LANGUAGES` had none; languages outside `LANGUAGES` are not covered."""

FAMILY_ORDER: tuple[str, ...] = (
    "Germanic", "Romance", "Creole", "Celtic", "Baltic", "Slavic", "Albanian", "Greek", "Armenian", "Iranian",
    "Indo-Aryan", "Uralic", "Basque", "Turkic", "Mongolic", "Kartvelian", "Afro-Asiatic", "Nilo-Saharan", "Mande",
    "Niger-Congo", "Dravidian", "Austronesian", "Austro-Asiatic", "Kra-Dai", "Sino-Tibetan", "Koreanic", "Japonic",
    "Quechuan", "Aymaran", "Tupian",
)  # fmt: skip
"""Families ordered outwards from English (Indo-European first, then by area): the row order of heat maps. Families not
listed here come last."""

INDO_EUROPEAN = frozenset(FAMILY_ORDER[: FAMILY_ORDER.index("Uralic")])
"""The branches of Indo-European, which may share an effect."""


UNKNOWN_SCRIPT = "Zzzz"
"""The ISO 15924 code for an unknown script."""

_CODE = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?")
_SAME_SCRIPT = {"Hang": "Kore"}
"""FLORES-200's code for the Korean script -> ours."""
_FLORES = {"ar": "arb", "az": "azj", "ms": "zsm", "qu": "quy", "zh": "zho"}
"""Our code -> FLORES-200's, which names one variety where the ISO 639 code is that of a macrolanguage."""
_OUR_CODE = {"fil": "tl", "pus": "ps"}
"""CLDR's code -> ours."""


@cache
def language(given: str) -> Language:
    """The language with this ISO 639 code, with or without a script: "da", "hau", "eng_Latn", "zh-Hant".

    Its `code` is the one used everywhere: the shortest code ("en" for "eng_Latn"), plus the script if that is not the
    usual one ("zh-Hant"). Raises UsageError for anything that is not such a code.
    """
    if given in _KNOWN:
        return _KNOWN[given]
    matched = _CODE.fullmatch(given)
    plain = None if matched is None else _plain(matched[1].lower())
    if matched is None or plain is None:
        close = nearest(shortened(given), _KNOWN)
        raise UsageError(
            f"unknown language '{shortened(given)}'." + (f" Did you mean '{close}'?" if close else ""),
            fix="use a code of ISO 639, with a script where it is not the usual one: da, hau, eng_Latn, zh-Hant",
        )
    script = (matched[2] or plain.script).capitalize()
    script = _SAME_SCRIPT.get(script, script)
    if script == plain.script:
        return plain
    return replace(plain, code=f"{plain.code}-{script}", name=f"{plain.name} ({script})", script=script)


def _plain(code: str) -> Language | None:
    """The language of a code without script; None if there is no such language."""
    if code in _KNOWN:
        return _KNOWN[code]
    import langcodes  # takes a quarter of a second to import, and languages in the table do not need it

    if not langcodes.tag_is_valid(code):
        return None
    short = langcodes.Language.get(langcodes.standardize_tag(code, macro=True)).language or code
    short = _OUR_CODE.get(short, short)
    if short in _KNOWN:
        return _KNOWN[short]
    name = _name(short)
    return Language(short, langcodes.Language.get(short).to_alpha3(), name, _script(short), f"{name}, family unknown")


def _name(code: str) -> str:
    """The English name: CLDR's, else the one in the registry of language tags, which has every ISO 639 code."""
    from babel import Locale

    known: str | None = Locale.parse("en").languages.get(code)
    if known is not None:
        return known
    from langcodes.registry_parser import parse_registry

    registry = parse_registry()  # type: ignore[no-untyped-call]
    return next((str(one["Description"][0]) for one in registry if one.get("Subtag") == code), code)


def _script(code: str) -> str:
    """The usual script according to CLDR; `UNKNOWN_SCRIPT` if it does not say."""
    from babel.core import get_global

    likely: str = get_global("likely_subtags").get(code, f"{code}_{UNKNOWN_SCRIPT}")
    return likely.split("_")[1]


def flores_code(code: str) -> str:
    """FLORES-200's name for one of our codes: "arb_Arab" for "ar", "zho_Hant" for "zh-Hant"."""
    one = language(code)
    script = next((theirs for theirs, ours in _SAME_SCRIPT.items() if ours == one.script), one.script)
    return f"{_FLORES.get(code.partition('-')[0], one.iso3)}_{script}"


@cache
def is_language(code: str) -> bool:
    """Whether there is such a language."""
    try:
        language(code)
    except UsageError:
        return False
    return True


def family_of(code: str) -> str:
    """The language's family. An unknown family counts as one of its own, and its name says so."""
    return language(code).family if is_language(code) else f"{code}, family unknown"


def name_of(code: str) -> str:
    """The language's name; the code itself if there is no such language."""
    return language(code).name if is_language(code) else code


def families_in_order(families: Iterable[str]) -> tuple[str, ...]:
    """The distinct families in the order of `FAMILY_ORDER`; families not in it come last, by name."""
    return tuple(sorted(set(families), key=lambda one: (_RANKS.get(one, len(_RANKS)), one)))


_RANKS = {family: rank for rank, family in enumerate(FAMILY_ORDER)}
