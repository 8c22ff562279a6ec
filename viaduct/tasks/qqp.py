"""Quora Question Pairs (English): do two questions ask the same? "1" if they do.

A line of QQP/dev.tsv, GLUE's file (columns id, qid1, qid2, question1, question2, is_duplicate):
    7  13  14  How do I boil tea?  How is tea made?  1

`qqp_bimpm` is another split of the same pairs, with tokenised text. Its dev and test rows are training rows of `qqp`,
so the two are two cards.
"""

from __future__ import annotations

from collections.abc import Iterator

from viaduct.errors import DataError, unknown
from viaduct.metrics.classification import paraphrase_scores
from viaduct.rows import Pair
from viaduct.tasks.card import Files, Hub, Source, Task
from viaduct.tasks.formats import hub_pairs, label_of, numbered_lines, table, without_end

LANGUAGES = ("en",)
LABELS = ("0", "1")
NAMES = {label: label for label in LABELS}
COLUMNS = ("question1", "question2", "is_duplicate")


def read_glue(files: Files, language: str, split: str) -> Iterator[Pair]:
    """The pairs of GLUE's files, read without quoting; the id is the number of the line after the header, from 0.

    A line break inside a question tears a row into lines with too few fields. They are left out, as by everyone who
    counts 363,846 rows in train and 40,430 in dev; a last line with too few fields is refused as cut off. Test files
    have no labels.
    """
    path = files["rows"][0]
    names = COLUMNS if split != "test" else COLUMNS[:2]
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
            label = label_of(rest[0], NAMES, path, number) if rest else None
            yield Pair(str(number - 2), language, first, second, label)
        elif len(fields) > len(header):
            message = f"{len(fields)} tab-separated fields, but the header has {len(header)}"
            raise DataError(message, path=path, line=number, fix="download the file again")
    if len(fields) < len(header):
        raise DataError("the last row is cut off", path=path, line=number, fix="download the file again")


def read_three_columns(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of files with question, question, label; no header, no quoting. The id is the row's number from 0."""
    path = files["rows"][0]
    for index, (line, (first, second, label)) in enumerate(table(path, widths=(3,))):
        yield Pair(str(index), language, first, second, label_of(label, NAMES, path, line))


def read_partition(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The same of the original files, with label, question, question, number of the pair."""
    path = files["rows"][0]
    for index, (line, (label, first, second, _)) in enumerate(table(path, widths=(4,))):
        yield Pair(str(index), language, first, second, label_of(label, NAMES, path, line))


def read_hub(files: Files, language: str, _split: str) -> Iterator[Pair]:
    """The pairs of the Hub's Parquet files; label id 1 is "1"."""
    return hub_pairs(files["rows"], language, ("question1", "question2", "label"), LABELS)


CARD = Task(
    name="qqp",
    version=1,
    title="Quora Question Pairs (GLUE)",
    kind="pair",
    languages=LANGUAGES,
    labels=LABELS,
    sources=(
        Source("official", {"rows": "QQP/{split}.tsv"}, read_glue),
        Source("official", {"rows": "qqp/{split}.tsv"}, read_glue),
        Source(
            "hub",
            {"rows": "qqp/{split}-*.parquet"},
            read_hub,
            {"train": "train", "dev": "validation", "test": "test"},
            hub=Hub("nyu-mll/glue", "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"),
        ),
    ),
    metric=paraphrase_scores,
    metrics=("accuracy", "f1"),
    trained_on="qqp",
    expected={("en", "train"): 363_846, ("en", "dev"): 40_430, ("en", "test"): 390_965},
    licence="Quora's terms of service: non-commercial use",
    citation="Wang et al. 2019: GLUE (arXiv 1804.07461); data: Iyer, Dandekar, Csernai 2017 (Quora)",
    differs=(
        "The labels of test are not public. Checkpoints are chosen by accuracy; jiant chooses by the mean of accuracy "
        "and F1. Revision of the Hub dataset: as pinned in several public repositories."
    ),
)

BIMPM = Task(
    name="qqp_bimpm",
    version=1,
    title="Quora Question Pairs (split of BiMPM)",
    kind="pair",
    languages=LANGUAGES,
    labels=LABELS,
    sources=(
        Source("official", {"rows": "Quora_question_pair_partition/{split}.tsv"}, read_partition),
        Source("official", {"rows": "quora/{split}.txt"}, read_three_columns),
        Source("official", {"rows": "qqp/bimpm_split_tokenised/{split}.txt"}, read_three_columns),
    ),
    metric=paraphrase_scores,
    metrics=("accuracy", "f1"),
    trained_on="qqp_bimpm",
    expected={("en", "train"): 384_348, ("en", "dev"): 10_000, ("en", "test"): 10_000},
    licence="Quora's terms of service: non-commercial use",
    citation="Wang, Hamza, Florian 2017: Bilateral Multi-Perspective Matching (arXiv 1702.03814)",
    differs=(
        "The text is tokenised (blanks around punctuation). Dev and test are balanced. The three-column files are "
        "those that later repositories made from the original four-column ones."
    ),
)
