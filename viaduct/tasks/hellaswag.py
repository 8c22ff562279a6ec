"""HellaSwag (English): how does a video description or a how-to article continue? Four endings, one by a human.

A line of hellaswag_train.jsonl (the test file has no `label`):
    {"ind": 7, "activity_label": "Making tea", "ctx_a": "A kettle boils.", "ctx_b": "the cook",
     "endings": ["pours the water.", "sings.", "swims.", "is a kettle."], "label": 0, ...}

The context is `ctx_a`; every ending is read after `ctx_b`, the beginning of its sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from viaduct.errors import DataError
from viaduct.metrics.classification import accuracy
from viaduct.rows import Choice
from viaduct.tasks.card import Files, Hub, Task, sources
from viaduct.tasks.formats import index_of, json_objects, numbered_lines, parquet, without_end
from viaduct.tasks.published import counts

ENDINGS = 4
_SPLITS = "train dev=val test"
_HUB = Hub("Rowan/hellaswag", "218ec52e09a7e7462a5400043bb9a69a41d06b76")

_TITLE = re.compile(r"(?<=\S)\s*\[title\]")
_MARK = re.compile(r"\[(?:header|title|step|substeps)\]")


def _plain(text: str) -> str:
    """The text without WikiHow's marks: " [title]" ends a sentence, the others are removed, and so are surplus spaces.

    >>> _plain("[header] How to make tea [title] Boil water. [step] Use a kettle.")
    'How to make tea. Boil water. Use a kettle.'
    """
    return " ".join(_MARK.sub(" ", _TITLE.sub(". ", text)).split()).removeprefix(". ")


def read_json_lines(files: Files, language: str, _split: str) -> Iterator[Choice]:
    """The rows of the released files; ids are line numbers, counted from 0."""
    path = files["rows"][0]
    for line, record in json_objects(path, ("ctx_a", "ctx_b", "endings")):
        endings, label = record["endings"], record.get("label")
        if not isinstance(endings, list) or len(endings) != ENDINGS:
            raise DataError(f"'endings' is not a list of {ENDINGS} texts", path=path, line=line)
        label = None if label is None else index_of(str(label), ENDINGS, path, line)
        texts = (record["ctx_a"], record["ctx_b"], *endings)
        if not all(isinstance(text, str) for text in texts):
            raise DataError("'ctx_a', 'ctx_b' and 'endings' are not all text", path=path, line=line)
        yield _choice(line - 1, language, record["ctx_a"], record["ctx_b"], endings, label)


def read_text_form(files: Files, language: str, _split: str) -> Iterator[Choice]:
    """The rows of the text form, six lines each: "activity: context", label, four endings; ids count rows from 0.

    Raises DataError for a blank line and for an incomplete last row.
    """
    path = files["rows"][0]
    row: list[str] = []
    index = 0
    for number, line in numbered_lines(path):
        row.append(without_end(line))
        if not row[-1].strip():
            raise DataError("the line is blank", path=path, line=number, fix="download the file again")
        if len(row) == 2 + ENDINGS:
            context, label, *endings = row
            yield _choice(index, language, context, "", endings, index_of(label, ENDINGS, path, number - ENDINGS))
            row, index = [], index + 1
    if row:
        message = f"the last row has {len(row)} lines where {2 + ENDINGS} are expected"
        raise DataError(message, path=path, line=number, fix="download the file again: it may be cut off")


def read_hub(files: Files, language: str, _split: str) -> Iterator[Choice]:
    """The rows of the Hub's Parquet files; label "" means that it was stripped."""
    path = files["rows"][0]
    rows = parquet(files["rows"], ("ctx_a", "ctx_b", "endings", "label"))
    for index, (first, second, endings, given) in enumerate(rows):
        if not isinstance(endings, list) or len(endings) != ENDINGS or not isinstance(first + second, str):
            raise DataError(f"row {index} does not have {ENDINGS} endings", path=path)
        label = index_of(given, ENDINGS, path, None) if given else None
        yield _choice(index, language, first, second, endings, label)


def _choice(index: int, language: str, context: str, start: str, endings: list[str], label: int | None) -> Choice:
    return Choice(
        str(index), language, _plain(context), _plain(start), tuple(_plain(ending) for ending in endings), label
    )


CARD = Task(
    name="hellaswag",
    title="How video captions and WikiHow articles go on (HellaSwag)",
    kind="choice",
    languages=("en",),
    sources=(
        *sources(
            "official",
            read_json_lines,
            "hellaswag/hellaswag_{split}.jsonl",
            "hellaswag/data/hellaswag_{split}.jsonl",
            splits=_SPLITS,
        ),
        *sources("official", read_text_form, "hellaswag/hellaswag_{split}_full.txt*", splits=_SPLITS),
        *sources(_HUB, read_hub, "data/{split}-*.parquet"),
    ),
    metric=accuracy,
    metrics=("accuracy",),
    trained_on="hellaswag",
    expected=counts(("en",), train=39_905, dev=10_042, test=10_003),
    licence="MIT",
    citation="Zellers et al. 2019: HellaSwag: Can a Machine Really Finish Your Sentence? (arXiv 1905.07830)",
    differs=(
        "The marks [header], [title], [step] and [substeps] of the WikiHow half are taken out, as the text form and "
        "today's evaluations do; the paper and jiant leave them in. The text form has the activity before the context, "
        "where the released files keep it apart (and it is not read). The labels of test are not public. Revision of "
        "the Hub dataset: as pinned in several public repositories, which read the same file names there."
    ),
)
