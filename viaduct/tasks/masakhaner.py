"""MasakhaNER 2.0: persons, organisations and places in news in 20 African languages, annotated by hand.

Lines of MasakhaNER2.0/data/hau/test.txt, a token and its tag separated by a space; an empty line ends a sentence:
    Jihar B-LOC
    Kano I-LOC
    . O
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.metrics.tagging import panx_scores
from viaduct.rows import Tagged
from viaduct.tasks.card import Files, Task, sources
from viaduct.tasks.conll import read_token_tags
from viaduct.tasks.panx import LABELS
from viaduct.tasks.published import counts_of

DATES = ("B-DATE", "I-DATE")
_COUNTS = {
    "bm": ("bam", 4_463, 638, 1_274), "bbj": ("bbj", 3_384, 483, 966), "ee": ("ewe", 3_505, 501, 1_001),
    "fon": ("fon", 0, 621, 1_240), "ha": ("hau", 5_716, 816, 1_633), "ig": ("ibo", 7_634, 1_090, 2_181),
    "rw": ("kin", 7_825, 1_118, 2_235), "lg": ("lug", 4_942, 706, 1_412), "luo": ("luo", 5_161, 737, 1_474),
    "mos": ("mos", 4_532, 648, 1_294), "pcm": ("pcm", 5_646, 806, 1_613), "ny": ("nya", 6_250, 893, 1_785),
    "sn": ("sna", 6_207, 887, 1_773), "sw": ("swa", 6_593, 942, 1_883), "tn": ("tsn", 3_489, 499, 996),
    "ak": ("twi", 4_240, 605, 1_211), "wo": ("wol", 4_593, 656, 1_312), "xh": ("xho", 5_718, 817, 1_633),
    "yo": ("yor", 6_877, 983, 1_964), "zu": ("zul", 5_848, 836, 1_670),
}  # fmt: skip
"""Our language code -> the code in file paths, and sentences in train, dev and test (0: the sources disagree)."""


def read(files: Files, language: str, _split: str) -> Iterator[Tagged]:
    """The sentences of a file, with date tags replaced by O; ids count from 0."""
    sentences = read_token_tags(files["rows"][0], (*LABELS, *DATES), separator=" ")
    for number, (tokens, tags) in enumerate(sentences):
        yield Tagged(str(number), language, tokens, tags and tuple("O" if tag in DATES else tag for tag in tags))


CARD = Task(
    name="masakhaner",
    title="MasakhaNER 2.0",
    kind="tagged",
    languages=tuple(_COUNTS),
    labels=LABELS,
    sources=sources(
        "official",
        read,
        "masakhane-ner/MasakhaNER2.0/data/{language}/{split}.txt",
        "MasakhaNER2.0/data/{language}/{split}.txt",
        languages={code: word for code, (word, *_) in _COUNTS.items()},
    ),
    metric=panx_scores,
    metrics=("f1", "precision", "recall", "token_accuracy"),
    trained_on="panx",
    expected=counts_of(("train", "dev", "test"), {code: numbers for code, (_, *numbers) in _COUNTS.items()}),
    licence="CC BY-NC 4.0; the news have licences of their own",
    citation="Adelani et al. 2022: MasakhaNER 2.0: Africa-centric Transfer Learning for Named Entity Recognition "
    "(arXiv 2210.12391)",
    differs=(
        "Trained on the English names of PAN-X, which have no dates, so dates count as no name. Counts: the README at "
        "204fbd6, but for the test sets of Mossi and Pidgin, which are in each other's place there, and the training "
        "set of Tswana, by the Hub's totals; those contradict the README's training set of Fon too. Twi is called by "
        "the code of Akan, ak."
    ),
)
