"""TyDiQA-GoldP v1.1: questions by people who want to know, in their own language; answer with a span of a passage.

    Span(id="swahili-1-0", language="sw", context="Mto Tay huelekea Perth.", question="Mto Tay huelekea wapi?",
         answers=(Answer("Perth", 17),))

Splits: `train` is the official train set; `test` is the official dev set, because the official test set is hidden
(XTREME does the same); `dev` exists for English only and is that same English file, on which XTREME selects
checkpoints. A score on English test is therefore a score on the selection data.

Sources: the official files with all languages (ids begin with the language's name) or one of them; XTREME's files,
whose train ids were cut down to their last number and repeat. There the id is the position and that number: "17-0".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from viaduct.errors import DataError
from viaduct.languages import LANGUAGES as ALL_LANGUAGES
from viaduct.metrics.qa import squad_scores
from viaduct.rows import Span
from viaduct.tasks.card import Files, Hub, Published, Reader, Source, Task
from viaduct.tasks.squad_json import hub_spans, read_squad

LANGUAGES = ("en", "ar", "bn", "fi", "id", "ko", "ru", "sw", "te")

_NAMES = {code: ALL_LANGUAGES[code].name.lower() for code in LANGUAGES}

_COUNTS = {
    "ar": (14_805, 921),
    "bn": (2_390, 113),
    "en": (3_696, 440),
    "fi": (6_855, 782),
    "id": (5_702, 565),
    "ko": (1_625, 276),
    "ru": (6_490, 812),
    "sw": (2_755, 499),
    "te": (5_563, 669),
}
"""(train, official dev) questions by language; they add up to the 49,881 and 5,077 of google/xtreme's dataset card."""

Layout = Literal["official", "xtreme", "hub"]


def _of_language(rows: Iterable[Span], language: str, path: Path) -> tuple[Span, ...]:
    prefix = f"{_NAMES[language]}-"
    kept = tuple(row for row in rows if row.id.startswith(prefix))
    if not kept:
        raise DataError(
            f"no question's id begins with '{prefix}'", path=path, fix="check that this is the original file"
        )
    return kept


def read_official(files: Files, language: str, split: str) -> Iterable[Span]:
    """The rows of this language in a released JSON file, which may hold all languages."""
    path = files["rows"][0]
    return _of_language(read_squad(path, language), language, path)


def read_xtreme(files: Files, language: str, split: str) -> Iterable[Span]:
    """Rows of XTREME's file of one language; without answers where they were blanked.

    An id that lacks the language's name is made unique by its position in the file, counted from 0.
    """
    rows = read_squad(files["rows"][0], language, repeated_ids=True)
    prefix = f"{_NAMES[language]}-"
    return tuple(
        row if row.id.startswith(prefix) else replace(row, id=f"{position}-{row.id}")
        for position, row in enumerate(rows)
    )


def read_hub(files: Files, language: str, split: str) -> Iterable[Span]:
    """The rows of this language in the Hub's table of all languages."""
    return _of_language(hub_spans(files["rows"], language), language, files["rows"][0])


def _held_out(
    layout: Layout, pattern: str, read: Reader, words: Mapping[str, str], hub: Hub | None = None
) -> list[Source]:
    """The same files as `test` of every language and as `dev` of English."""
    word = "validation" if layout == "hub" else "dev"
    english = {"en": words["en"]}
    return [
        Source(layout=layout, files={"rows": pattern}, read=read, splits={"test": word}, languages=words, hub=hub),
        Source(layout=layout, files={"rows": pattern}, read=read, splits={"dev": word}, languages=english, hub=hub),
    ]


_TRAIN = {"train": "train"}
_CODES = {code: code for code in LANGUAGES}
# Named as the head of `main` by the Hub's page of the folder PAN-X.af ("Convert dataset to Parquet (#9)").
_HUB = Hub("google/xtreme", "ec5f1f46e9af79639a90684a7a70a956c4998f04")

CARD = Task(
    name="tydiqa",
    version=1,
    title="Question answering (TyDiQA-GoldP v1.1)",
    kind="span",
    languages=LANGUAGES,
    sources=(
        Source("official", {"rows": "tydiqa/tydiqa-goldp-v1.1-train.json"}, read_official, _TRAIN),
        *_held_out("official", "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{language}.json", read_official, _NAMES),
        *_held_out("official", "tydiqa/tydiqa-goldp-v1.1-dev.json", read_official, _CODES),
        # before XTREME's files, whose held-out questions are stripped
        Source("hub", {"rows": "tydiqa/{split}-*.parquet"}, read_hub, _TRAIN, hub=_HUB),
        *_held_out("hub", "tydiqa/{split}-*.parquet", read_hub, _CODES, _HUB),
        Source("xtreme", {"rows": "tydiqa/tydiqa-goldp-v1.1-train/tydiqa*.{language}.train.json"}, read_xtreme, _TRAIN),
        *_held_out("xtreme", "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa*.{language}.dev.json", read_xtreme, _CODES),
    ),
    metric=squad_scores,
    metrics=("f1", "exact_match"),
    trained_on="tydiqa",
    licence="Apache 2.0",
    citation="Clark et al. 2020, TyDi QA (TACL, arXiv 2003.05002); task: Hu et al. 2020, XTREME (arXiv 2003.11080)",
    expected={
        **{(language, "train"): train for language, (train, _) in _COUNTS.items()},
        **{(language, "test"): test for language, (_, test) in _COUNTS.items()},
        ("en", "dev"): _COUNTS["en"][1],
    },
    published=(
        Published("mBERT", "f1", 0.597, "XTREME, arXiv 2003.11080"),
        Published("mBERT", "exact_match", 0.439, "XTREME, arXiv 2003.11080"),
        Published("XLM-R large", "f1", 0.651, "XTREME, arXiv 2003.11080"),
        Published("XLM-R large", "exact_match", 0.450, "XTREME, arXiv 2003.11080"),
        Published("RemBERT", "f1", 0.770, "Chung et al. 2021, arXiv 2010.12821"),
        Published("RemBERT", "exact_match", 0.630, "Chung et al. 2021, arXiv 2010.12821"),
    ),
    differs=(
        "Dev of English equals test of English, as in XTREME. XTREME's table gives 634 questions for English dev; "
        "v1.1, which its scripts download, has 440. Answers are normalised as English in every language, as in XTREME."
    ),
)
