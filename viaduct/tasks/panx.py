"""Named entities, XTREME's "NER" (PAN-X, balanced splits of WikiAnn): find persons, organisations and locations.

    Tagged(id="0", language="en", tokens=("Ada", "Lovelace", "in", "London"), tags=("B-PER", "I-PER", "O", "B-LOC"))

Silver labels from Wikipedia links. In zh, ja and th a token is one character and `#` marks a space.
Sources: the archives as released (`en:Ada TAB B-PER`), unpacked into a folder per language or, as XTREME does it, into
`{language}-{split}`; XTREME's own files; the Hub's table.
"""

from __future__ import annotations

from viaduct.languages import XTREME as LANGUAGES
from viaduct.metrics.tagging import panx_scores
from viaduct.tasks.card import XTREME_HUB, Task, sources
from viaduct.tasks.conll import hub_tags, token_tags
from viaduct.tasks.published import REMBERT_PAPER, XTREME_PAPER, counts_of, published_scores

LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
"""The seven tags, in the order of the Hub's label ids."""

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

CARD = Task(
    name="panx",
    title="Named entities (PAN-X / WikiAnn)",
    kind="tagged",
    languages=LANGUAGES,
    labels=LABELS,
    sources=(
        *sources(
            "official",
            token_tags(LABELS, prefix="{language}:"),
            "panx_dataset/{language}/{split}",
            "panx_dataset/{language}-{split}",
        ),
        # before XTREME's files, whose test sets are stripped
        *sources(XTREME_HUB, hub_tags("ner_tags", LABELS), "PAN-X.{language}/{split}-*.parquet"),
        *sources("xtreme", token_tags(LABELS, may_have="{language}:"), "panx/{split}-{language}.tsv"),
    ),
    metric=panx_scores,
    metrics=("f1", "precision", "recall", "token_accuracy"),
    trained_on="panx",
    expected=counts_of(
        ("train", "dev", "test"),
        {code: (train, test, test) for (train, test), codes in _COUNTS.items() for code in codes.split()},
    ),
    published=(
        *published_scores(XTREME_PAPER, ("f1",), {"mBERT": (0.622,), "XLM-R large": (0.654,)}),
        *published_scores(REMBERT_PAPER, ("f1",), {"RemBERT": (0.701,)}),
    ),
    licence="none stated; the text is from Wikipedia",
    citation="Pan et al. 2017 (ACL); splits: Rahimi et al. 2019 (ACL); task: Hu et al. 2020, XTREME (arXiv 2003.11080)",
    differs="A token that is nothing but its language prefix is kept as an empty token, with its tag.",
)
