"""Part-of-speech tagging, XTREME's "POS" (Universal Dependencies v2.5): give every token its universal part of speech.

    Tagged(id="0", language="es", tokens=("Vamos", "al", "mar"), tags=("VERB", "ADP", "NOUN"))

Sources: the treebanks as released, joined per language in the order of their file names and flattened as XTREME does
(`conll.read_conllu`); XTREME's own files; the Hub's table.
"""

from __future__ import annotations

from viaduct.languages import LANGUAGES as TABLE
from viaduct.languages import XTREME as ALL
from viaduct.metrics.tagging import udpos_scores
from viaduct.tasks.card import XTREME_HUB, Task, sources
from viaduct.tasks.conll import hub_tags, token_tags, treebanks
from viaduct.tasks.published import REMBERT_PAPER, XTREME_PAPER, counts_of, published_scores

LABELS = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM",
    "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X",
)  # fmt: skip
"""The 17 universal tags, in the order of the Hub's label ids. `_` (never annotated) is refused, never mapped to X."""

LANGUAGES = tuple(code for code in ALL if code not in {"bn", "jv", "ka", "ml", "ms", "my", "sw"})
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
# they include Ancient Greek, Old French, Old Russian, Classical Chinese and Swiss German (its script takes every
# treebank whose name contains the language's).

_ROWS = [cell.replace("-", "0").split() for cell in _COUNTS.strip().replace("\n", "|").split("|")]
_FROM_HUB = {code: TABLE[code].name for code in LANGUAGES if code not in {"de", "el", "fr", "mr", "ru", "zh"}}
"""Our language code -> the Hub's word for it; see `differs` on the others."""

CARD = Task(
    name="udpos",
    title="Part-of-speech tagging (Universal Dependencies v2.5)",
    kind="tagged",
    languages=LANGUAGES,
    labels=LABELS,
    sources=(
        *sources("official", treebanks(LABELS), "ud-treebanks-v2.5/UD_*/{language}_*-ud-{split}.conllu*"),
        *sources("xtreme", token_tags(LABELS), "udpos/{split}-{language}.tsv"),
        *sources(XTREME_HUB, hub_tags("pos_tags", LABELS), "udpos.{language}/{split}-*.parquet", languages=_FROM_HUB),
    ),
    metric=udpos_scores,
    metrics=("f1", "precision", "recall", "token_accuracy"),
    trained_on="udpos",
    expected=counts_of(("train", "dev", "test"), {code: tuple(map(int, numbers)) for code, *numbers in _ROWS}),
    published=(
        *published_scores(f"{XTREME_PAPER}; later printed as 0.715", ("f1",), {"mBERT": (0.703,)}),
        *published_scores(f"{XTREME_PAPER}; later printed as 0.738", ("f1",), {"XLM-R large": (0.726,)}),
        *published_scores(REMBERT_PAPER, ("f1",), {"RemBERT": (0.765,)}),
    ),
    licence="by treebank; several are non-commercial (CC BY-NC-SA)",
    citation="Nivre et al. 2020, Universal Dependencies v2 (LREC); task: Hu et al. 2020, XTREME (arXiv 2003.11080)",
    differs=(
        "Files that XTREME's scripts wrote may come from another UD release than 2.5; the count shows it. "
        "Where XTREME's converter stops (two equally high words, tag not in its list) ours ranks the tag last. "
        "The Hub's rows are syntactic words, not surface tokens (contractions are split), so scores on them do not "
        "compare with published ones. Not read from the Hub: German, Greek, French, Russian and Chinese, which hold "
        "other languages too, and Marathi, whose contractions are missing because their parts have no form."
    ),
)
