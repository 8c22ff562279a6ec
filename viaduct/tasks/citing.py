"""Credits for what a result is based on: licences of data, and BibTeX entries for data and methods."""

from __future__ import annotations

import re
from collections.abc import Iterable

from viaduct.tasks.card import Task

NON_COMMERCIAL = re.compile(r"\bNC\b|non-?commercial", re.IGNORECASE)

METHODS = {
    "viaduct": "The Viaduct developers 2026: Viaduct: intermediate-task training for multilingual encoders, text and "
    "images",
    "phang2020": "Phang et al. 2020: English Intermediate-Task Training Improves Zero-Shot Cross-Lingual Transfer Too "
    "(arXiv 2005.13013)",
    "hu2020": "Hu et al. 2020: XTREME: A Massively Multilingual Multi-task Benchmark for Evaluating Cross-lingual "
    "Generalization (arXiv 2003.11080)",
}
_CITATION = re.compile(r"(?P<authors>[^:]+?) (?P<year>[12]\d{3}): (?P<title>.+?)(?: \(arXiv (?P<eprint>[\d.]+)\))?")
_SPECIAL = re.compile(r"([&%$#_{}])")


def is_non_commercial(licence: str) -> bool:
    """Whether the licence forbids commercial use."""
    return NON_COMMERCIAL.search(licence) is not None


def bibtex(cards: Iterable[Task]) -> str:
    """One BibTeX entry per card and per method; a citation in an unusual format goes into a note."""
    named = {card.name: (card.citation, card.title) for card in cards} | {
        key: (citation, key) for key, citation in METHODS.items()
    }
    return "\n".join(_entry(key, *both) for key, both in named.items())


def _entry(key: str, citation: str, title: str) -> str:
    found = _CITATION.fullmatch(citation)
    fields = {"title": title, "note": citation} if found is None else found.groupdict()
    if found is not None:
        authors = re.sub(r",? et al\.$", ", others", found["authors"]).split(", ")
        fields["authors"] = " and ".join(authors) if len(authors) > 1 else f"{{{authors[0]}}}"
    names = {"authors": "author"}
    lines = [f"  {names.get(name, name)} = {{{_escaped(value)}}}" for name, value in fields.items() if value]
    if fields.get("eprint"):
        lines.append("  archivePrefix = {arXiv}")
    return "@misc{" + ",\n".join([key, *lines]) + "\n}\n"


def _escaped(text: str) -> str:
    """Braces around a whole name keep BibTeX from splitting it; all other special characters are escaped."""
    inner = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    escaped = _SPECIAL.sub(r"\\\1", inner)
    return f"{{{escaped}}}" if inner != text else escaped
