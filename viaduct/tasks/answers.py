"""Finds answers again in translated contexts, and detects which are lost."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

from viaduct.rows import Answer, Span

UNPARTED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "HANGUL")
"""Prefixes of the Unicode names of characters in scripts without spaces between words; Korean words have particles
attached."""


def realigned(row: Span) -> Span | None:
    """The row with each answer at the position the file gives, or at the nearest one where it occurs as whole words,
    in the spelling of the context; None if an answer occurs nowhere. A row without answers is returned unchanged."""
    if row.answers is None:
        return row
    found = [placed for answer in row.answers if (placed := _placed(answer, row.context)) is not None]
    return replace(row, answers=tuple(found)) if len(found) == len(row.answers) else None


def _placed(answer: Answer, context: str) -> Answer | None:
    text = answer.text.strip()
    if not text:
        return None
    told = answer.start + answer.text.index(text)
    for wanted, within in ((text, context), (text.lower(), context.lower())):
        if len(within) != len(context):
            break  # lower-casing changed the length, so positions would shift
        found = [at for at in range(len(within)) if within.startswith(wanted, at)]
        found = [at for at in found if at == told or not any(_cuts(context, end) for end in (at, at + len(text)))]
        if found:
            start = min(found, key=lambda at: abs(at - answer.start))
            return Answer(context[start : start + len(text)], start)
    return None


def _cuts(context: str, at: int) -> bool:
    """Whether this position is inside a word."""
    return 0 < at < len(context) and all(map(_is_of_word, context[at - 1 : at + 1]))


def _is_of_word(one: str) -> bool:
    return unicodedata.category(one)[0] in "LMN" and not unicodedata.name(one, "").startswith(UNPARTED)
