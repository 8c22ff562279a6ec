"""The real files, if available: as many rows as published, and every quotation mark where it belongs."""

from __future__ import annotations

from pathlib import Path

import pytest
from holdings import languages_there

from viaduct.tasks import (
    bucc,
    ccg_pmb,
    commonsenseqa,
    cosmosqa,
    hellaswag,
    mnli,
    ntrex,
    pawsx,
    qqp,
    snli,
    squad2,
    tatoeba,
    text,
    xnli,
)
from viaduct.tasks.card import Task, read
from viaduct.vision.cards import flickr8k

STRIPPED_XNLI = ("ar", "de", "en", "hi", "sw", "th", "ur", "zh")


@pytest.mark.parametrize(
    ("card", "split", "languages", "layout", "labelled"),
    [
        (xnli.CARD, "dev", xnli.LANGUAGES, "xtreme", True),
        (xnli.CARD, "test", STRIPPED_XNLI, "xtreme", False),
        (pawsx.CARD, "dev", pawsx.LANGUAGES, "xtreme", True),
        (pawsx.CARD, "test", pawsx.LANGUAGES, "xtreme", False),
        (tatoeba.CARD, "test", tatoeba.LANGUAGES, "official", True),
        (bucc.CARD, "dev", ("zh",), "xtreme", True),
        (ntrex.CARD, "train", ntrex.CARD.languages, "official", False),
        (snli.CARD, "dev", ("en",), "official", True),
        (snli.CARD, "test", ("en",), "official", True),
        (qqp.BIMPM, "dev", ("en",), "official", True),
        (qqp.BIMPM, "test", ("en",), "official", True),
        (squad2.CARD, "dev", ("en",), "official", True),
        (hellaswag.CARD, "dev", ("en",), "official", True),
        (cosmosqa.CARD, "dev", ("en",), "official", True),
        (commonsenseqa.CARD, "train", ("en",), "official", True),
        (commonsenseqa.CARD, "dev", ("en",), "official", True),
        (commonsenseqa.CARD, "test", ("en",), "official", False),
        *((flickr8k.JOINED, split, flickr8k.JOINED.languages, "official", True) for split in ("train", "dev", "test")),
        (ccg_pmb.CARD, "train", ("en",), "official", True),
        (ccg_pmb.CARD, "dev", ccg_pmb.LANGUAGES, "official", True),
        (ccg_pmb.CARD, "test", ccg_pmb.LANGUAGES, "official", True),
    ],
    ids=lambda value: value.name if isinstance(value, Task) else None,
)
def test_counts_equal_the_published(
    shared_data: Path, card: Task, split: str, languages: tuple[str, ...], layout: str, labelled: bool
) -> None:
    for language in languages:
        dataset = read(card, shared_data, language, split)
        assert dataset.expected is not None
        assert dataset.expected in (None, len(dataset.rows))
        assert (dataset.layout, dataset.labelled) == (layout, labelled)


def test_csv_quoting_leaves_no_doubled_marks(shared_data: Path) -> None:
    for language in ("es", "fr", "ko"):
        rows = read(pawsx.CARD, shared_data, language, "dev").rows
        assert not any('""' in row.first + row.second for row in rows)


def test_an_unquoted_training_file_loses_no_rows(shared_data: Path) -> None:
    dataset = read(mnli.CARD, shared_data, "en", "train")
    assert len(dataset.rows) == 15_001
    assert (len(dataset.rows), dataset.expected) == (15_001, 392_702)


def test_bucc_gold_pairs(shared_data: Path) -> None:
    rows = read(bucc.CARD, shared_data, "zh", "dev").rows
    assert sum(len(row.match or ()) for row in rows if row.side == "source") == 257


def test_text_is_there_in_every_language(shared_data: Path) -> None:
    assert languages_there(text.CARD, shared_data, "train") == text.CARD.languages
    assert len(read(text.CARD, shared_data, "af", "train").rows) == 9_040
