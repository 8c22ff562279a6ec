"""Part-of-speech tagging, XTREME's "POS" (Universal Dependencies v2.5): give every token its universal part of speech.

    Tagged(id="0", language="es", tokens=("Vamos", "al", "mar"), tags=("VERB", "ADP", "NOUN"))

Sources: the treebanks as released, joined per language in the order of their file names and flattened as XTREME does
(`conll.read_conllu`); XTREME's own files; the Hub's table.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from viaduct.errors import DataError
from viaduct.languages import LANGUAGES as ALL_LANGUAGES
from viaduct.languages import XTREME
from viaduct.metrics.tagging import udpos_scores
from viaduct.rows import Tagged
from viaduct.tasks.card import Files, Hub, Published, Source, Task
from viaduct.tasks.conll import hub_sentences, number, read_conllu, read_token_tags, treebank_files

LABELS = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM",
    "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X",
)  # fmt: skip
"""The 17 universal tags, in the order of the Hub's numbers. `_` (never annotated) is refused, never mapped to X."""

LANGUAGES = tuple(code for code in XTREME if code not in {"bn", "jv", "ka", "ml", "ms", "my", "sw"})
"""The 33 of XTREME's 40 languages that had a treebank."""

_COUNTS = """
af  1315   194   425   | ar  6075   909  1680 | bg  8907  1115  1116 | de 166849 19233     -
en 21253  3974  5440   | es 28492  3054  3147 | et 25749  3125  3760 | eu   5396  1798  1799
fa  4798   599   600   | fi 27198  3239  4422 | he  5241   484   491 | hi  13304  1659  2684
hu   910   441   449   | id  4477   559  1557 | it 29685  2278  3518 | ja   7125   511  2372
kk    31     -  1047   | ko 27410  3016  4276 | mr   373    46    47 | nl  18051  1394  1471
pt 17992  1770  2681   | ta   400    80   120 | te  1051   131   146 | th      -     -  1000
tl     -     -    55   | tr  3664   988  4785 | ur  4043   552   535 | vi   1400   800   800
yo     -     -   100
"""
# Sentences in train, dev, test: dataset card of google/xtreme. Its el, fr, ru and zh, and the test of de, are left out:
# they are sums with Ancient Greek, Old French, Old Russian, Classical Chinese and Swiss German (its script takes every
# treebank whose name contains the language's).

_NOT_FROM_HUB = {"de", "el", "fr", "mr", "ru", "zh"}
"""See `differs`."""


def _expected() -> dict[tuple[str, str], int]:
    cells = (cell.split() for cell in _COUNTS.strip().replace("\n", "|").split("|"))
    return {
        (language, split): int(count)
        for language, *counts in cells
        for split, count in zip(("train", "dev", "test"), counts, strict=True)
        if count != "-"
    }


def read_treebanks(files: Files, language: str, split: str) -> Iterable[Tagged]:
    """Rows of all treebanks of the language."""
    treebanks = treebank_files(files["rows"])
    if not treebanks:
        raise DataError("neither a .conllu nor a .conllu.gz file", path=files["rows"][0], fix="unpack the release")
    return number(chain.from_iterable(read_conllu(path, language, LABELS) for path in treebanks), language)


def read_xtreme(files: Files, language: str, split: str) -> Iterable[Tagged]:
    """Rows of XTREME's `token TAB tag` file; without tags where it was stripped."""
    return number(read_token_tags(files["rows"][0], LABELS), language)


def read_hub(files: Files, language: str, split: str) -> Iterable[Tagged]:
    """Rows of the Hub's table."""
    return number(hub_sentences(files["rows"], "pos_tags", LABELS), language)


CARD = Task(
    name="udpos",
    version=1,
    title="Part-of-speech tagging (Universal Dependencies v2.5)",
    kind="tagged",
    languages=LANGUAGES,
    sources=(
        Source(
            layout="official",
            files={"rows": "ud-treebanks-v2.5/UD_*/{language}_*-ud-{split}.conllu*"},
            read=read_treebanks,
        ),
        Source(layout="xtreme", files={"rows": "udpos/{split}-{language}.tsv"}, read=read_xtreme),
        Source(
            layout="hub",
            files={"rows": "udpos.{language}/{split}-*.parquet"},
            read=read_hub,
            splits={"train": "train", "dev": "validation", "test": "test"},
            languages={code: ALL_LANGUAGES[code].name for code in LANGUAGES if code not in _NOT_FROM_HUB},
            # Named as the head of `main` by the Hub's page of the folder PAN-X.af ("Convert dataset to Parquet (#9)").
            hub=Hub("google/xtreme", "ec5f1f46e9af79639a90684a7a70a956c4998f04"),
        ),
    ),
    metric=udpos_scores,
    metrics=("f1", "precision", "recall", "token_accuracy"),
    trained_on="udpos",
    licence="by treebank; several are non-commercial (CC BY-NC-SA)",
    citation="Nivre et al. 2020, Universal Dependencies v2 (LREC); task: Hu et al. 2020, XTREME (arXiv 2003.11080)",
    labels=LABELS,
    expected=_expected(),
    published=(
        Published("mBERT", "f1", 0.703, "XTREME, arXiv 2003.11080; later printed as 0.715"),
        Published("XLM-R large", "f1", 0.726, "XTREME, arXiv 2003.11080; later printed as 0.738"),
        Published("RemBERT", "f1", 0.765, "Chung et al. 2021, arXiv 2010.12821"),
    ),
    differs=(
        "Files that XTREME's scripts wrote may come from another UD release than 2.5; the count shows it. "
        "Where XTREME's converter stops (two equally high words, tag not in its list) ours ranks the tag last. "
        "The Hub's rows are syntactic words, not surface tokens (contractions are split), so scores on them do not "
        "compare with published ones. Not read from the Hub: German, Greek, French, Russian and Chinese, which hold "
        "other languages too, and Marathi, whose contractions are missing because their parts have no form."
    ),
)
