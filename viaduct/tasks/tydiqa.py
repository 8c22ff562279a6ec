"""TyDiQA-GoldP v1.1: information-seeking questions by people in their own language; answer with a span of a passage.

    Span(id="swahili-1-0", language="sw", context="Mto Tay huelekea Perth.", question="Mto Tay huelekea wapi?",
         answers=(Answer("Perth", 17),))

Splits: `train` is the official train set; `test` is the official dev set, because the official test set is hidden
(XTREME does the same); `dev` exists for English only and is that same English file, on which XTREME selects
checkpoints. A score on English test is therefore a score on the selection data.

Sources: the official files with all languages (ids begin with the language's name) or with one; XTREME's files, whose
train ids were cut down to their last number and so repeat. There, ids combine the position and that number: "17-0".
"""

from __future__ import annotations

from dataclasses import replace

from viaduct.errors import DataError
from viaduct.languages import LANGUAGES as TABLE
from viaduct.metrics.qa import squad_scores
from viaduct.rows import Row, Span
from viaduct.tasks.card import XTREME_HUB, Files, Hub, Reader, Source, Task, sources
from viaduct.tasks.published import REMBERT_PAPER, XTREME_PAPER, counts_of, published_scores
from viaduct.tasks.squad_json import read_squad, squad_file, squad_table

LANGUAGES = ("en", "ar", "bn", "fi", "id", "ko", "ru", "sw", "te")
_SCORES = ("f1", "exact_match")
_NAMES = {code: TABLE[code].name.lower() for code in LANGUAGES}

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


def _of_language(read: Reader) -> Reader:
    """A reader for files of all languages, which keeps the rows whose id begins with the language's name."""

    def read_language(files: Files, language: str, split: str) -> tuple[Row, ...]:
        prefix = f"{_NAMES[language]}-"
        kept = tuple(row for row in read(files, language, split) if row.id.startswith(prefix))
        if not kept:
            fix = "check that this is the original file"
            raise DataError(f"no question's id begins with '{prefix}'", path=files["rows"][0], fix=fix)
        return kept

    return read_language


def read_xtreme(files: Files, language: str, _split: str) -> tuple[Span, ...]:
    """Rows of XTREME's file for one language; answers are None if they were blanked.

    An id that lacks the language's name is made unique by its position in the file, counted from 0.
    """
    rows = read_squad(files["rows"][0], language, repeated_ids=True)
    prefix = f"{_NAMES[language]}-"
    return tuple(
        row if row.id.startswith(prefix) else replace(row, id=f"{position}-{row.id}")
        for position, row in enumerate(rows)
    )


def _held_out(published: str | Hub, read: Reader, pattern: str, words: dict[str, str]) -> list[Source]:
    """Sources with the same files as `test` for every language and as `dev` for English."""
    word = "dev" if isinstance(published, str) else "validation"
    test = sources(published, read, pattern, splits=f"test={word}", languages=words)
    return [*test, *sources(published, read, pattern, splits=f"dev={word}", languages={"en": words["en"]})]


_FOLDER = "tydiqa/tydiqa-goldp-v1.1"
_CODES = {code: code for code in LANGUAGES}
_OFFICIAL, _PARQUET = _of_language(squad_file), _of_language(squad_table)

CARD = Task(
    name="tydiqa",
    title="Question answering (TyDiQA-GoldP v1.1)",
    kind="span",
    languages=LANGUAGES,
    sources=(
        *sources("official", _OFFICIAL, f"{_FOLDER}-train.json", splits="train"),
        *_held_out("official", _OFFICIAL, f"{_FOLDER}-dev/tydiqa-goldp-dev-{{language}}.json", _NAMES),
        *_held_out("official", _OFFICIAL, f"{_FOLDER}-dev.json", _CODES),
        # before XTREME's files, whose held-out questions are stripped
        *sources(XTREME_HUB, _PARQUET, "tydiqa/{split}-*.parquet", splits="train"),
        *_held_out(XTREME_HUB, _PARQUET, "tydiqa/{split}-*.parquet", _CODES),
        *sources("xtreme", read_xtreme, f"{_FOLDER}-train/tydiqa*.{{language}}.train.json", splits="train"),
        *_held_out("xtreme", read_xtreme, f"{_FOLDER}-dev/tydiqa*.{{language}}.dev.json", _CODES),
    ),
    metric=squad_scores,
    metrics=_SCORES,
    trained_on="tydiqa",
    expected={**counts_of(("train", "test"), _COUNTS), ("en", "dev"): _COUNTS["en"][1]},
    published=(
        *published_scores(XTREME_PAPER, _SCORES, {"mBERT": (0.597, 0.439), "XLM-R large": (0.651, 0.450)}),
        *published_scores(REMBERT_PAPER, _SCORES, {"RemBERT": (0.770, 0.630)}),
    ),
    licence="Apache 2.0",
    citation="Clark et al. 2020, TyDi QA (TACL, arXiv 2003.05002); task: Hu et al. 2020, XTREME (arXiv 2003.11080)",
    differs=(
        "Dev of English equals test of English, as in XTREME. XTREME's table gives 634 questions for English dev; "
        "v1.1, which its scripts download, has 440. Answers are normalised as English in every language, as in XTREME."
    ),
)
