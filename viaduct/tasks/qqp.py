"""Quora Question Pairs (English): do two questions ask the same thing? "1" if they do.

A line of QQP/dev.tsv, GLUE's file (columns id, qid1, qid2, question1, question2, is_duplicate):
    7  13  14  How do I boil tea?  How is tea made?  1

`qqp_bimpm` is another split of the same pairs, with tokenised text. Its dev and test rows are training rows of `qqp`,
so these are two separate cards.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from viaduct.errors import DataError, unknown
from viaduct.metrics.classification import paraphrase_scores
from viaduct.rows import Pair
from viaduct.tasks.card import Files, Hub, Task, sources
from viaduct.tasks.formats import numbered_lines, tab_separated, without_end
from viaduct.tasks.pairs import hub_pairs, label_of, pairs
from viaduct.tasks.published import counts

LABELS = ("0", "1")
_NAMES = {label: label for label in LABELS}
_COLUMNS = ("question1", "question2", "is_duplicate")
_HUB = Hub("nyu-mll/glue", "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c")


def read_glue(files: Files, language: str, split: str) -> Iterator[Pair]:
    """The pairs of GLUE's files, read without quoting; ids are line numbers after the header, counted from 0.

    A line break inside a question splits a row into lines with too few fields. These are left out, as by everyone who
    counts 363,846 rows in train and 40,430 in dev; a last line with too few fields is refused as truncated. Test files
    have no labels.
    """
    path = files["rows"][0]
    names = _COLUMNS if split != "test" else _COLUMNS[:2]
    header: list[str] = []
    places: list[int] = []
    for number, line in numbered_lines(path):
        fields = without_end(line).split("\t")
        if number == 1:
            header = fields
            for name in names:
                if name not in header:
                    raise DataError(str(unknown("column", name, header)), path=path, line=1)
            places = [header.index(name) for name in names]
        elif len(fields) == len(header):
            first, second, *rest = (fields[place] for place in places)
            label = label_of(rest[0], _NAMES, path, number) if rest else None
            yield Pair(str(number - 2), language, first, second, label)
        elif len(fields) > len(header):
            message = f"{len(fields)} tab-separated fields, but the header has {len(header)}"
            raise DataError(message, path=path, line=number, fix="download the file again")
    if len(fields) < len(header):
        raise DataError("the last row is cut off", path=path, line=number, fix="download the file again")


read_three_columns = pairs(partial(tab_separated, widths=(3,)), _NAMES)
"""Question, question, label; no header, no quoting."""
read_partition = pairs(partial(tab_separated, widths=(4,)), _NAMES, at=(1, 2, 0))
"""The original files: label, question, question, pair number."""
_HUB_NAMES = {"not_duplicate": "0", "duplicate": "1"}
read_hub = hub_pairs(("question1", "question2", "label"), LABELS, others=_HUB_NAMES)

CARD = Task(
    name="qqp",
    title="Quora Question Pairs (GLUE)",
    kind="pair",
    languages=("en",),
    labels=LABELS,
    sources=(
        *sources("official", read_glue, "QQP/{split}.tsv", "qqp/{split}.tsv"),
        *sources(_HUB, read_hub, "qqp/{split}-*.parquet"),
    ),
    metric=paraphrase_scores,
    metrics=("accuracy", "f1"),
    trained_on="qqp",
    expected=counts(("en",), train=363_846, dev=40_430, test=390_965),
    licence="Quora's terms of service: non-commercial use",
    citation="Wang et al. 2019: GLUE (arXiv 1804.07461); data: Iyer, Dandekar, Csernai 2017 (Quora)",
    differs=(
        "The labels of test are not public. Checkpoints are chosen by accuracy; jiant chooses by the mean of accuracy "
        "and F1. Revision of the Hub dataset: as pinned in several public repositories."
    ),
)

BIMPM = Task(
    name="qqp_bimpm",
    title="Quora Question Pairs (split of BiMPM)",
    kind="pair",
    languages=("en",),
    labels=LABELS,
    sources=(
        *sources("official", read_partition, "Quora_question_pair_partition/{split}.tsv"),
        *sources("official", read_three_columns, "quora/{split}.txt", "qqp/bimpm_split_tokenised/{split}.txt"),
    ),
    metric=paraphrase_scores,
    metrics=("accuracy", "f1"),
    trained_on="qqp_bimpm",
    expected=counts(("en",), train=384_348, dev=10_000, test=10_000),
    licence=CARD.licence,
    citation="Wang, Hamza, Florian 2017: Bilateral Multi-Perspective Matching (arXiv 1702.03814)",
    differs=(
        "The text is tokenised (blanks around punctuation). Dev and test are balanced. The three-column files are "
        "those that later repositories made from the original four-column ones."
    ),
)
