"""Named entities, XTREME's "NER" (PAN-X, balanced splits of WikiAnn): find persons, organisations and locations.

    Tagged(id="0", language="en", tokens=("Ada", "Lovelace", "in", "London"), tags=("B-PER", "I-PER", "O", "B-LOC"))

Silver labels from Wikipedia links. In zh, ja and th a token is one character and `#` stands for a blank.
Sources: the archives as released (`en:Ada TAB B-PER`), unpacked into a folder per language or, as XTREME does it, into
`{language}-{split}`; XTREME's own files; the Hub's table.
"""

from __future__ import annotations

from collections.abc import Iterable

from viaduct.languages import XTREME
from viaduct.metrics.tagging import panx_scores
from viaduct.rows import Tagged
from viaduct.tasks.card import Files, Hub, Published, Source, Task
from viaduct.tasks.conll import hub_sentences, number, read_token_tags

LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
"""In the order of the Hub's numbers."""

LANGUAGES = XTREME

_COUNTS = {
    (20_000, 10_000): "ar bg de el en es fa fi fr he hu id it ja ko nl pt ru th tr vi zh",
    (20_000, 1_000): "ms ur",
    (15_000, 10_000): "et",
    (15_000, 1_000): "ta",
    (10_000, 10_000): "eu ka",
    (10_000, 1_000): "bn ml tl",
    (5_000, 1_000): "af hi mr",
    (1_000, 1_000): "kk sw te",
    (100, 100): "jv my yo",
}
"""(train, test) sentences by language; dev has as many as test. From the dataset card of google/xtreme."""


def _expected() -> dict[tuple[str, str], int]:
    return {
        (language, split): count
        for (train, test), languages in _COUNTS.items()
        for language in languages.split()
        for split, count in (("train", train), ("dev", test), ("test", test))
    }


def read_archive(files: Files, language: str, split: str) -> Iterable[Tagged]:
    """Rows of an original file, whose tokens begin with the language and a colon."""
    return number(read_token_tags(files["rows"][0], LABELS, prefix=f"{language}:"), language)


def read_xtreme(files: Files, language: str, split: str) -> Iterable[Tagged]:
    """Rows of XTREME's `token TAB tag` file; without tags where it was stripped."""
    return number(read_token_tags(files["rows"][0], LABELS), language)


def read_hub(files: Files, language: str, split: str) -> Iterable[Tagged]:
    """Rows of the Hub's table."""
    return number(hub_sentences(files["rows"], "ner_tags", LABELS), language)


CARD = Task(
    name="panx",
    version=1,
    title="Named entities (PAN-X / WikiAnn)",
    kind="tagged",
    languages=LANGUAGES,
    sources=(
        Source(layout="official", files={"rows": "panx_dataset/{language}/{split}"}, read=read_archive),
        Source(layout="official", files={"rows": "panx_dataset/{language}-{split}"}, read=read_archive),
        # before XTREME's files, whose test sets are stripped
        Source(
            layout="hub",
            files={"rows": "PAN-X.{language}/{split}-*.parquet"},
            read=read_hub,
            splits={"train": "train", "dev": "validation", "test": "test"},
            # Named as the head of `main` by the Hub's page of the folder PAN-X.af ("Convert dataset to Parquet (#9)").
            hub=Hub("google/xtreme", "ec5f1f46e9af79639a90684a7a70a956c4998f04"),
        ),
        Source(layout="xtreme", files={"rows": "panx/{split}-{language}.tsv"}, read=read_xtreme),
    ),
    metric=panx_scores,
    metrics=("f1", "precision", "recall", "token_accuracy"),
    trained_on="panx",
    licence="none stated; the text is from Wikipedia",
    citation="Pan et al. 2017 (ACL); splits: Rahimi et al. 2019 (ACL); task: Hu et al. 2020, XTREME (arXiv 2003.11080)",
    labels=LABELS,
    expected=_expected(),
    published=(
        Published("mBERT", "f1", 0.622, "XTREME, arXiv 2003.11080"),
        Published("XLM-R large", "f1", 0.654, "XTREME, arXiv 2003.11080"),
        Published("RemBERT", "f1", 0.701, "Chung et al. 2021, arXiv 2010.12821"),
    ),
    differs="A token that is nothing but its language prefix is kept as an empty token, with its tag.",
)
