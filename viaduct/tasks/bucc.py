"""BUCC 2018: find the translation pairs in two large sets of sentences, most of which have no partner; 4 languages.

    de-en.sample.de    de-000000003 <tab> Der Tee ist kalt.
    de-en.sample.en    en-000000041 <tab> The tea is cold.
    de-en.sample.gold  de-000000003 <tab> en-000000041

As in XTREME, the official sample is "dev" (the mining threshold is tuned on it) and the official training set "test".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from viaduct.errors import DataError, nearest
from viaduct.metrics.retrieval import bucc_f1
from viaduct.rows import Sentence
from viaduct.tasks.card import Files, Source, Task, sources
from viaduct.tasks.formats import text_lines
from viaduct.tasks.published import published_scores

LANGUAGES = ("de", "fr", "ru", "zh")


def read(files: Files, language: str, _split: str) -> Iterator[Sentence]:
    """The sentences of both sides, first all of the other language, then all English ones; ids are the files' own.

    A sentence without a partner has the match (); without a gold file every match is None. Raises DataError with the
    line if it is not `id <tab> text`, if an id occurs twice, or if a gold id belongs to no sentence.
    """
    source, target = _sentences(files["source"][0]), _sentences(files["target"][0])
    partners = _partners(files["gold"][0], source, target) if "gold" in files else None
    sides: tuple[tuple[Literal["source", "target"], dict[str, str]], ...] = (("source", source), ("target", target))
    for side, sentences in sides:
        for given, text in sentences.items():
            match = None if partners is None else tuple(partners.get(given, ()))
            yield Sentence(given, language, text, side, match)


def _fields(path: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text_lines(path), start=1):
        fields = line.split("\t")
        if len(fields) != 2 or not all(field.strip() for field in fields):
            found = f"'{line[:60]}'"
            raise DataError(f"two fields with a tab between are expected, not {found}", path=path, line=number)
        yield number, fields[0], fields[1]


def _sentences(path: Path) -> dict[str, str]:
    sentences: dict[str, str] = {}
    for number, given, text in _fields(path):
        if given in sentences:
            raise DataError(f"the id '{given}' occurs twice", path=path, line=number, fix="download the file again")
        sentences[given] = text
    return sentences


def _partners(path: Path, source: Mapping[str, str], target: Mapping[str, str]) -> dict[str, list[str]]:
    """Id -> partners, both ways; a pair listed twice counts once, as in XTREME's evaluate.py."""
    partners: dict[str, list[str]] = {}
    for number, ours, theirs in _fields(path):
        for given, known in ((ours, source), (theirs, target)):
            if given not in known:
                close = nearest(given, known)
                hint = f" Did you mean '{close}'?" if close else ""
                message = f"no sentence has the id '{given}'.{hint}"
                raise DataError(message, path=path, line=number, fix="download gold and sentences again")
        if theirs not in partners.setdefault(ours, []):
            partners[ours].append(theirs)
            partners.setdefault(theirs, []).append(ours)
    return partners


def _roles(stem: str) -> dict[str, str]:
    """Role -> path pattern of each of the three files."""
    return {"source": f"{stem}.{{language}}", "target": f"{stem}.en", "gold": f"{stem}.gold"}


_OFFICIAL = _roles("bucc2018/{language}-en/{language}-en.{split}")

CARD = Task(
    name="bucc",
    title="BUCC 2018",
    kind="mining",
    languages=LANGUAGES,
    sources=(
        *sources("official", read, _OFFICIAL, splits="dev=sample test=training"),
        Source(
            "xtreme", _roles("bucc2018/{language}-en.{split}"), read, {"dev": "dev", "test": "test"}, optional=("gold",)
        ),
    ),
    metric=bucc_f1,
    metrics=("f1", "precision", "recall"),
    expected={("zh", "dev"): 8_624 + 13_589},
    pairs={
        (language, split): count
        for split, counted in (("dev", (1_038, 929, 2_374, 257)), ("test", (9_580, 9_086, 14_435, 1_899)))
        for language, count in zip(LANGUAGES, counted, strict=True)
    },
    published=published_scores(
        "arXiv 2003.11080, average over the 4 languages", ("f1",), {"XLM-R large": (0.660,), "mBERT": (0.567,)}
    ),
    licence="research use only",
    citation="Zweigenbaum, Sharoff, Rapp 2018: Overview of the Third BUCC Shared Task",
    differs=(
        "The paper's numbers of test pairs (1,896 to 14,330) are of the official test set; its repository, and we, "
        "call the training set 'test' (1,899 to 14,435 pairs). No Hub source: google/xtreme keeps the gold pairs only, "
        "and mining without the sentences that have no partner is another, much easier task. Numbers of sentences are "
        "stated where they could be counted: zh dev."
    ),
)
