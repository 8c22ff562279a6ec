"""CCG supertags (English): the combinatory category of every word, from CCGbank (LDC2005T13), which needs a licence.

A sentence in the one-line form of the C&C tools, `word|part of speech|category`, and the same in CCGbank's AUTO files:
    Tea|NN|N boils|VBZ|S[dcl]\\NP
    (<T S[dcl] 1 2> (<T NP 0 1> (<L N NN NN Tea N>) ) (<L S[dcl]\\NP VBZ VBZ boils S[dcl]\\NP_7>) )

Sections 02-21 are train, 00 is dev and 23 is test, as is usual. There are over 1,200 categories and no closed list of
them, so the tags are those of the user's own training rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from viaduct.errors import DataError
from viaduct.metrics.tagging import tag_accuracy
from viaduct.rows import Tagged
from viaduct.tasks.card import Files, Source, Task, sources
from viaduct.tasks.formats import numbered_lines, without_end

SECTIONS = {"train": tuple(f"{number:02}" for number in range(2, 22)), "dev": ("00",), "test": ("23",)}

_ATOM = r"(?:(?:S|NP|N|PP|PR|conj|LRB|RRB)(?::\w+|\[\w+\])*|[^\w\s()\[\]/\\]+)"
_FLAT = rf"{_ATOM}(?:[/\\]{_ATOM})*"
_CATEGORY = re.compile(_FLAT, re.IGNORECASE)
_BRACKETED = re.compile(rf"\({_FLAT}\)", re.IGNORECASE)
_LEAF = re.compile(r"\(<L (\S+) (\S+) (\S+) (\S+) (\S+)>\)")
_NODE = re.compile(r"\(<T (\S+) \d+ \d+>")
_ID = re.compile(r"ID=(\S+)")

ESCAPES = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}
"""The Penn Treebank's escapes for brackets; it also writes a backslash before / and *."""

SLIPS = {r"((S[b]\NP)/NP)/": r"(S[b]\NP)/NP"}
"""A malformed category in CCGbank (section 05) -> its correction, as in the C&C tools' script."""


@lru_cache(maxsize=1 << 12)
def is_category(text: str) -> bool:
    """Whether this is a well-formed category, in CCGbank's notation or the Parallel Meaning Bank's.

    >>> is_category(r"(S[dcl]\\NP)/NP"), is_category(r"(s:dcl\\np)/np"), is_category("(S/NP"), is_category("NN")
    (True, True, False, False)
    """
    shorter = _BRACKETED.sub("NP", text)
    return bool(_CATEGORY.fullmatch(text)) if shorter == text else is_category(shorter)


def category(given: str, path: Path, line: int) -> str:
    """The category, corrected by `SLIPS`. Raises DataError with the line if it is malformed, so that no tag is taken
    from a wrong column."""
    text = SLIPS.get(given, given)
    if not is_category(text):
        raise DataError(f"'{given}' is not a category", path=path, line=line, fix="check that the file has supertags")
    return text


def read_stagged(files: Files, language: str, _split: str) -> Iterator[Tagged]:
    """The sentences of a file in the one-line form; ids count from 0. Comments and blank lines may come first."""
    path = files["rows"][0]
    index = 0
    for number, ended in numbered_lines(path):
        line = without_end(ended)
        if not index and (not line.strip() or line.startswith("# ")):
            continue
        words = [item.rsplit("|", 2) for item in line.split()]
        if not words or any(len(parts) != 3 for parts in words):
            raise DataError("not words of the form word|part of speech|category", path=path, line=number)
        tags = tuple(category(parts[2], path, number) for parts in words)
        yield Tagged(str(index), language, tuple(_word(parts[0]) for parts in words), tags)
        index += 1


def read_auto(files: Files, language: str, _split: str) -> Iterator[Tagged]:
    """The sentences of AUTO files, section by section; ids are the file's ("wsj_0001.1")."""
    for section in sorted(files):
        for path in files[section]:
            yield from _trees(path, language)


def _trees(path: Path, language: str) -> Iterator[Tagged]:
    name = ""
    for number, line in numbered_lines(path):
        if (match := _ID.match(line)) is not None:
            name = match[1]
            continue
        leaves = _LEAF.findall(line)
        rest, nodes = _NODE.subn("", _LEAF.sub("", line))
        if not name or not leaves or rest.replace(" ", "").strip() != ")" * nodes:
            message = "not a derivation" if name else "a derivation without its ID line"
            raise DataError(message, path=path, line=number, fix="use CCGbank's own files")
        tags = tuple(category(leaf[0], path, number) for leaf in leaves)
        yield Tagged(name, language, tuple(_word(leaf[3]) for leaf in leaves), tags)
        name = ""


def _word(given: str) -> str:
    return ESCAPES.get(given) or given.replace(r"\/", "/").replace(r"\*", "*")


def _auto(folder: str) -> list[Source]:
    """One source per split, since each split has its own sections."""
    return [
        Source("official", {one: f"{folder}/{one}/wsj_*.auto" for one in sections}, read_auto, {split: split})
        for split, sections in SECTIONS.items()
    ]


CARD = Task(
    name="ccg",
    title="CCG supertagging (CCGbank)",
    kind="tagged",
    languages=("en",),
    sources=(
        *_auto("ccgbank_1_1/data/AUTO"),
        *_auto("ccgbank/data/AUTO"),
        *sources(
            "official",
            read_stagged,
            "ccgbank/wsj{split}.stagged",
            "ccgbank/gold/wsj{split}.stagged",
            splits="train=02-21 dev=00 test=23",
        ),
    ),
    metric=tag_accuracy,
    metrics=("token_accuracy",),
    trained_on="ccg",
    licence="LDC User Agreement (LDC2005T13); nothing of it is part of this package",
    citation="Hockenmaier, Steedman 2007: CCGbank (Computational Linguistics 33:3)",
    differs=(
        "The division by sections is the customary one. No source that we could read counts the sentences of each "
        "split, so none are compared: the LDC's catalogue says about 49,000 in all, 99.44 % of the treebank's. How "
        "arXiv 2005.13013 divides them we could not read either. Accuracy is over all words: a category that training "
        "never saw counts as wrong (papers often count the 425 most frequent categories only). Brackets and slashes "
        "are written as such, not as the Penn Treebank escapes them. One category of section 05 that is none is "
        "corrected as the C&C tools do."
    ),
)
