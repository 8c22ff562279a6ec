"""When two rows are the same for the question whether one is both trained and evaluated on.

They are when their letters, digits and signs (+, ->, $) are: case, blanks, punctuation, tokenisation and the order of
a pair do not count, nor do labels. Of questions only the context is compared, since one paragraph has many.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

from viaduct.rows import Row

_NOT_LETTERS = re.compile(r"[\W_]+")


def text_key(row: Row) -> int:
    """A number of 64 bits for what must not be in both training and evaluation rows (`Row.compared`): equal for equal
    letters, digits and signs."""
    return _key(row.compared)


@lru_cache(maxsize=256)  # the questions of a paragraph follow one another
def _key(texts: tuple[str, ...]) -> int:
    plain = "\n".join(sorted(map(_plain, texts)))
    return int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest(), "big")


def _plain(text: str) -> str:
    """The letters, digits and signs in lower case; a text without any stays as it is."""
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return _NOT_LETTERS.sub(_signs, folded) or text


def _signs(match: re.Match[str]) -> str:
    """What means something of characters that are no letters: arrows, plus, currencies; not quotes or accents."""
    return "".join(one for one in match.group() if unicodedata.category(one) in ("Sm", "So", "Sc"))
