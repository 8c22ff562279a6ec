"""Tatoeba: find the translation of each English sentence among another language's sentences; 36 languages, no training.

Line i of tatoeba.jav-eng.jav translates line i of tatoeba.jav-eng.eng:
    "Wedange wis adhem."  <->  "The tea has gone cold."

Sentences that occur twice are kept: line i still matches line i only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from viaduct.languages import XTREME
from viaduct.metrics.retrieval import tatoeba_accuracy
from viaduct.rows import Sentence
from viaduct.tasks.card import Files, Hub, Task, sources
from viaduct.tasks.formats import aligned_lines, parquet
from viaduct.tasks.published import published_scores

LANGUAGES = tuple(code for code in XTREME if code not in ("en", "ms", "my", "yo"))


def read_official(files: Files, language: str, _split: str) -> Iterator[Sentence]:
    """Both sides of LASER's files, matched line by line: ids `<language>-<line from 0>` and `en-<line from 0>`."""
    return _matched(aligned_lines(files["source"][0], files["target"][0]), language)


def read_hub(files: Files, language: str, _split: str) -> Iterator[Sentence]:
    """Both sides of the Hub's Parquet rows, which keep LASER's order; ids as in `read_official`."""
    pairs = parquet(files["rows"], ("source_sentence", "target_sentence"))
    return _matched(((source.rstrip("\r\n"), target.rstrip("\r\n")) for source, target in pairs), language)


def read_xtreme(files: Files, language: str, _split: str) -> Iterator[Sentence]:
    """Both sides of XTREME's files, without matches: there the English side is sorted to hide them.

    English ids are `en-sorted-<line from 0>`: predictions for them cannot be mistaken for predictions in LASER's order.
    """
    pairs = aligned_lines(files["source"][0], files["target"][0])
    for index, (source, _) in enumerate(pairs):
        yield Sentence(f"{language}-{index}", language, source, "source", None)
    for index, (_, target) in enumerate(pairs):
        yield Sentence(f"en-sorted-{index}", language, target, "target", None)


def _matched(pairs: Iterable[tuple[str, str]], language: str) -> Iterator[Sentence]:
    targets: list[str] = []
    for index, (source, target) in enumerate(pairs):
        yield Sentence(f"{language}-{index}", language, source, "source", (f"en-{index}",))
        targets.append(target)
    for index, target in enumerate(targets):
        yield Sentence(f"en-{index}", language, target, "target", (f"{language}-{index}",))


_FEWER_PAIRS = {"jv": 205, "ka": 746, "kk": 575, "ml": 687, "sw": 390, "ta": 307, "te": 234, "th": 548}
_STEM = "tatoeba/v1/tatoeba.{iso3}-eng"
_XTREME_STEM = "tatoeba/{language}-en"

CARD = Task(
    name="tatoeba",
    version=2,
    history=("1: first version", "2: the other direction is scored too"),
    title="Tatoeba",
    kind="retrieval",
    languages=LANGUAGES,
    sources=(
        *sources("official", read_official, {"source": f"{_STEM}.{{iso3}}", "target": f"{_STEM}.eng"}, splits="test"),
        *sources(Hub("google/xtreme", None), read_hub, "tatoeba.{iso3}/{split}-*.parquet", splits="test=validation"),
        *sources(
            "xtreme",
            read_xtreme,
            {"source": f"{_XTREME_STEM}.{{language}}", "target": f"{_XTREME_STEM}.en"},
            splits="test",
        ),
    ),
    metric=tatoeba_accuracy,
    metrics=("accuracy", "accuracy_into_english"),
    expected={(language, "test"): 2 * _FEWER_PAIRS.get(language, 1_000) for language in LANGUAGES},
    published=published_scores(
        "arXiv 2003.11080, average over the languages", ("accuracy",), {"XLM-R large": (0.573,), "mBERT": (0.387,)}
    ),
    licence="CC BY 2.0 FR",
    citation=(
        "Artetxe, Schwenk 2019: Massively Multilingual Sentence Embeddings for Zero-Shot Cross-Lingual Transfer "
        "and Beyond"
    ),
    differs=(
        "XTREME's paper says 33 languages; its repository, and we, evaluate 36. No revision of google/xtreme is "
        "pinned, for no public code was found that names one: files that are there are read, and `viaduct fetch` takes "
        "LASER's."
    ),
)
